"""Fits the LSTM with torch and exports it as an ONNX graph.

One layer reads the minutes; a linear head maps its state after each minute to the predicted residuals of the linear
models for both horizons. The head is initialized to zero, so that training starts at the linear models. Each epoch
shows each game once, with or without its expected margin, as it was or mirrored (home and away exchanged, signs
inverted) as data augmentation. The final weights are a running mean over the optimiser's steps (Polyak & Juditsky,
Acceleration of stochastic approximation by averaging, 1992). Inputs and outputs are scaled inside the graph, so that
training and serving cannot differ in scaling.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from dejavu_models.point import features
from dejavu_models.point.lstm import Lstm
from dejavu_models.point.lstm_graph import INPUT, OUTPUT
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, Horizon, MarginSource
from dejavu_trainer.execution import Advance
from dejavu_trainer.training.lstm_config import FitError, LstmConfig, LstmExamples, TrainedLstm
from dejavu_trainer.training.ratings import margins_in_mode

GRADIENT_NORM = 1.0
PARITY_TOLERANCE = 1e-4
"""Largest accepted difference between the exported graph and the torch model, in points."""

_PASSED = np.array([[minute > horizon.last_slot for horizon in HORIZONS] for minute in Horizon.FINAL.forecast_minutes])
"""(47, 2): whether a horizon has passed after a minute."""


class LstmNetwork(nn.Module):
    """Network (n, minutes, channels) in points → (n, minutes, 2) in points.

    Args:
        steps: (n, 47, channels) training inputs, whose root mean square scales the inputs.
        spreads: (47, 2), spread of the linear models' residuals, in points; 0 where a horizon has passed.
        hidden: units of the layer.
    """

    step_scale: Tensor
    spreads: Tensor

    def __init__(self, steps: Tensor, spreads: Tensor, hidden: int) -> None:
        super().__init__()
        # Scaled, not centred, so that mirroring a game inverts the signs of its inputs. Clamped, so that an input with
        # near-zero spread in a small data set is not divided by it.
        self.register_buffer("step_scale", steps.square().mean(dim=(0, 1)).sqrt().clamp(min=0.1))
        self.register_buffer("spreads", spreads)
        self.lstm = nn.LSTM(features.STEP_CHANNELS, hidden, batch_first=True)
        self.head = nn.Linear(hidden, len(HORIZONS))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, steps: Tensor) -> Tensor:
        """Predict the residuals of the linear models, in points."""
        states, _ = self.lstm(steps / self.step_scale)
        residuals: Tensor = self.head(states) * self.spreads[: steps.shape[1]]
        return residuals


class LstmEnsemble(nn.Module):
    """Mean of several networks."""

    def __init__(self, members: list[LstmNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, steps: Tensor) -> Tensor:
        """Return the mean prediction of the members, in points."""
        return torch.stack([member(steps) for member in self.members]).mean(dim=0)


def fit_lstm(examples: LstmExamples, recipe: LstmConfig, seed: int, advance: Advance) -> TrainedLstm:
    """Fit the LSTM.

    Args:
        examples: training games.
        recipe: the hyperparameters.
        seed: random seed; the same seed and games give the same graph on the same machine.
        advance: called with 1 after each epoch of each member, recipe.steps times in all.

    Raises:
        FitError: if the loss diverges, or the graph's results differ from the model's.
    """
    with _reproducible():
        seeds = range(seed * recipe.members, (seed + 1) * recipe.members)
        members = [_train(examples, recipe, each, advance) for each in seeds]
        network: nn.Module = members[0] if len(members) == 1 else LstmEnsemble(members)
        network.eval()
        graph = _export(network, _in_mode(examples, MarginSource.KNOWN)[0][:2])
        return TrainedLstm(graph, _parity(network, graph, examples))


def _train(examples: LstmExamples, recipe: LstmConfig, seed: int, advance: Advance) -> LstmNetwork:
    torch.manual_seed(seed)
    modes = [_in_mode(examples, mode) for mode in MARGIN_SOURCES]
    network = LstmNetwork(modes[MarginSource.KNOWN][0], _spreads(examples), recipe.hidden)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(1 - 1 / recipe.memory)  # type: ignore[no-untyped-call]
    smooth = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=average)
    for epoch in range(1, recipe.epochs + 1):
        total = torch.zeros(())
        for batch in torch.split(torch.randperm(len(examples.levels)), recipe.batch):
            known = (torch.rand(len(batch)) < recipe.known_share)[:, None, None]
            sign = torch.where(torch.rand(len(batch)) < 0.5, -1.0, 1.0)[:, None, None]
            steps, targets = (
                torch.where(known, with_margin[batch], without[batch])
                for without, with_margin in zip(*modes, strict=True)
            )
            optimizer.zero_grad()
            loss = _squared_error(network(_mirrored(steps, sign)), targets * sign, network.spreads)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
            optimizer.step()
            smooth.update_parameters(network)
            total += loss.detach()
        if not torch.isfinite(total):
            raise FitError(f"the LSTM's loss diverged in epoch {epoch}")
        advance(1)
    return cast("LstmNetwork", smooth.module)


def _in_mode(examples: LstmExamples, mode: MarginSource) -> tuple[Tensor, Tensor]:
    """Return the inputs (n, 47, channels) and the targets (n, 47, 2), in points."""
    steps = torch.from_numpy(features.minute_steps(examples.levels, margins_in_mode(mode, examples.margins)))
    return steps, torch.from_numpy(examples.residuals[:, :, mode].astype(np.float32))


def _squared_error(predicted: Tensor, targets: Tensor, spreads: Tensor) -> Tensor:
    """Return the mean squared error in units of the spread at each minute, without horizons that have passed."""
    open_cases = (spreads > 0).nonzero(as_tuple=True)
    error = (predicted - targets)[:, open_cases[0], open_cases[1]] / spreads[open_cases]
    return error.square().mean()


def _spreads(examples: LstmExamples) -> Tensor:
    spreads = np.sqrt(np.square(examples.residuals).mean(axis=(0, 2))).clip(min=0.1)
    return torch.from_numpy(np.where(_PASSED, 0.0, spreads).astype(np.float32))


_SIGNED_CHANNELS = torch.tensor([True, True, False, True, False])
"""Channels of `features.minute_steps` that change sign when home and away are exchanged."""


def _mirrored(steps: Tensor, sign: Tensor) -> Tensor:
    """Exchange home and away in games whose sign, (n, 1, 1), is −1."""
    return torch.where(_SIGNED_CHANNELS, steps * sign, steps)


def _export(network: nn.Module, example: Tensor) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The tracing exporter is deprecated, but writes one small file and needs no other library.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # Tracing turns a check of the number of channels into a constant; the number of minutes stays dynamic.
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python boolean")
        # Concerns LSTMs whose initial state depends on the batch size; the parity check runs other batch sizes.
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size other than 1")
        path = Path(folder) / "lstm.onnx"
        axes = {0: "games", 1: "minutes"}
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: axes, OUTPUT: axes},
            dynamo=False,
        )
        return path.read_bytes()


def _parity(network: nn.Module, graph: bytes, examples: LstmExamples) -> float:
    """Return the largest difference between torch and ONNX Runtime, in points, for several batch sizes and lengths.

    Raises:
        FitError: if it exceeds PARITY_TOLERANCE.
    """
    served = Lstm(graph)
    with torch.inference_mode():
        expected = network(_in_mode(examples, MarginSource.KNOWN)[0]).numpy()
    parity = 0.0
    for games, minutes in ((len(expected), MAX_SLOTS), (1, MAX_SLOTS), (1, 1), (min(len(expected), 50), 18)):
        predicted = served.residuals(examples.levels[:games, :minutes], examples.margins[:games])
        parity = max(parity, float(np.abs(predicted - expected[:games, :minutes]).max()))
    if not parity <= PARITY_TOLERANCE:
        raise FitError(f"the exported LSTM differs from the trained one by {parity} points")
    return parity


@contextmanager
def _reproducible() -> Iterator[None]:
    """Use one thread, deterministic algorithms and a separate random state in torch; restore them afterwards."""
    # Not use_deterministic_algorithms: it also configures torch's compiler, whose imports take two seconds.
    threads, deterministic = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("error")
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(deterministic)
