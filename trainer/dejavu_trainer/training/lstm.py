"""Fits the LSTM with torch and writes it as an ONNX graph.

One layer reads the minutes; a linear head turns its state after each of them into what should be added to the linear
models for both horizons. The head starts at zero, that is, at the linear models: what little there is to learn beyond
them is learned from there. Each epoch shows a game once, with its expected margin or without, as it was or mirrored:
home and away exchanged, every sign turned, which is as good a game. The weights that are kept are a running mean of
those that the optimiser went through (Polyak & Juditsky, Acceleration of stochastic approximation by averaging, 1992).
Inputs and outputs are scaled inside the graph, so that nothing outside can do it differently.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from dejavu_models.arrays import Floats
from dejavu_models.point import features
from dejavu_models.point.lstm import INPUT, OUTPUT, Lstm
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, MarginSource

GRADIENT_NORM = 1.0
PARITY_TOLERANCE = 1e-4
"""How far, in points, the served graph may be from the torch model."""

_PASSED = np.array([[minute > horizon.last_slot for horizon in HORIZONS] for minute in range(1, MAX_SLOTS + 1)])
"""(47, 2): where a horizon has passed after a minute."""


class FitError(RuntimeError):
    """A fit whose result can't be used."""


@dataclass(frozen=True, slots=True)
class LstmConfig:
    """What the fit does not choose for itself; chosen on the seasons up to 2018.

    Attributes:
        hidden: units of the layer.
        members: how many networks, from seeds of their own, the graph holds and takes the mean of.
        batch: games a step.
        epochs: passes over the games. With the running mean, errors on later seasons fell to the end, while stopping
            early on a few hundred games that were held out stopped by chance.
        learning_rate, weight_decay: of AdamW (Loshchilov & Hutter, 2019).
        known_share: of the games of an epoch that are shown with their expected margin.
        memory: steps over which the running mean of the weights reaches back.
    """

    hidden: int = 32
    members: int = 1
    batch: int = 128
    epochs: int = 40
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    known_share: float = 2 / 3
    memory: float = 100.0

    @property
    def steps(self) -> int:
        """Epochs of all members: steps that `fit_lstm` reports."""
        return self.members * self.epochs


@dataclass(frozen=True, slots=True)
class LstmExamples:
    """Games to learn from.

    Attributes:
        levels: (n, 47), differentials after each minute, in points.
        margins: (n,), expected final differentials before the game, in points; finite.
        residuals: (n, 47, 2 modes, 2 horizons), what the linear models leave, in points.
    """

    levels: Floats
    margins: Floats
    residuals: Floats

    def in_mode(self, mode: MarginSource) -> tuple[Tensor, Tensor]:
        """Steps (n, 47, channels) and what should be said after each (n, 47, 2), in points."""
        margins = self.margins if mode == MarginSource.KNOWN else np.full_like(self.margins, np.nan)
        steps = torch.from_numpy(features.minute_steps(self.levels, margins))
        return steps, torch.from_numpy(self.residuals[:, :, mode].astype(np.float32))


@dataclass(frozen=True, slots=True)
class TrainedLstm:
    """The fitted LSTM.

    Attributes:
        graph: the ONNX graph.
        epochs: passes over the games.
        parity: largest difference between torch and ONNX Runtime on them, in points.
    """

    graph: bytes
    epochs: int
    parity: float


class LstmNetwork(nn.Module):
    """(n, minutes, channels) in points → (n, minutes, 2) in points.

    Args:
        steps: (n, 47, channels) games, whose spread scales inputs.
        spreads: (47, 2), standard deviation of what the linear models leave, in points; 0 where a horizon has passed.
        hidden: units.
    """

    step_scale: Tensor
    spreads: Tensor

    def __init__(self, steps: Tensor, spreads: Tensor, hidden: int) -> None:
        super().__init__()
        # Scaled, not centred: a mirrored game must be the mirror image of its inputs. An input that hardly varies in
        # little data must not be divided by next to nothing.
        self.register_buffer("step_scale", steps.square().mean(dim=(0, 1)).sqrt().clamp(min=0.1))
        self.register_buffer("spreads", spreads)
        self.lstm = nn.LSTM(features.STEP_CHANNELS, hidden, batch_first=True)
        self.head = nn.Linear(hidden, len(HORIZONS))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, steps: Tensor) -> Tensor:
        """What should be added to the linear models, in points."""
        states, _ = self.lstm(steps / self.step_scale)
        residuals: Tensor = self.head(states) * self.spreads[: steps.shape[1]]
        return residuals


class LstmEnsemble(nn.Module):
    """The mean of several networks."""

    def __init__(self, members: list[LstmNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, steps: Tensor) -> Tensor:
        """The mean of what the members say, in points."""
        return torch.stack([member(steps) for member in self.members]).mean(dim=0)


def fit_lstm(examples: LstmExamples, recipe: LstmConfig, seed: int, advance: Callable[[int], object]) -> TrainedLstm:
    """Fits the LSTM.

    Args:
        examples: games to learn from.
        recipe: how.
        seed: of initial weights and the order of games; the same seed and games give the same graph on one machine.
        advance: called with 1 after each of recipe.steps epochs.

    Raises:
        FitError: if the loss diverges, or the graph does not compute what the model does.
    """
    with _reproducible():
        members = [
            _train(examples, recipe, seed * recipe.members + member, advance) for member in range(recipe.members)
        ]
        network: nn.Module = members[0] if len(members) == 1 else LstmEnsemble(members)
        network.eval()
        graph = _export(network, examples.in_mode(MarginSource.KNOWN)[0][:2])
        parity = _parity(network, graph, examples)
    return TrainedLstm(graph, recipe.epochs, parity)


def _train(examples: LstmExamples, recipe: LstmConfig, seed: int, advance: Callable[[int], object]) -> LstmNetwork:
    torch.manual_seed(seed)
    modes = [examples.in_mode(mode) for mode in MARGIN_SOURCES]
    network = LstmNetwork(modes[MarginSource.KNOWN][0], _spreads(examples), recipe.hidden)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(1 - 1 / recipe.memory)  # type: ignore[no-untyped-call]
    smooth = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=average)
    for epoch in range(1, recipe.epochs + 1):
        total = torch.zeros(())
        for batch in torch.split(torch.randperm(len(examples.levels)), recipe.batch):
            known = (torch.rand(len(batch)) < recipe.known_share)[:, None, None]
            sign = torch.where(torch.rand(len(batch)) < 0.5, -1.0, 1.0)[:, None, None]
            steps, due = (
                torch.where(known, with_margin[batch], without[batch])
                for without, with_margin in zip(*modes, strict=True)
            )
            optimizer.zero_grad()
            loss = _squared_error(network(_mirrored(steps, sign)), due * sign, network.spreads)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
            optimizer.step()
            smooth.update_parameters(network)
            total += loss.detach()
        if not torch.isfinite(total):
            raise FitError(f"the LSTM's loss diverged in epoch {epoch}")
        advance(1)
    return cast("LstmNetwork", smooth.module)


def _squared_error(said: Tensor, due: Tensor, spreads: Tensor) -> Tensor:
    """In units of the spread at each minute; a horizon that has passed has none and does not count."""
    coming = (spreads > 0).nonzero(as_tuple=True)
    error = (said - due)[:, coming[0], coming[1]] / spreads[coming]
    return error.square().mean()


def _spreads(examples: LstmExamples) -> Tensor:
    spreads = np.sqrt(np.square(examples.residuals).mean(axis=(0, 2))).clip(min=0.1)
    return torch.from_numpy(np.where(_PASSED, 0.0, spreads).astype(np.float32))


_SIGNED = torch.tensor([True, True, False, True, False])
"""The channels of `features.minute_steps` that turn when home and away are exchanged."""


def _mirrored(steps: Tensor, sign: Tensor) -> Tensor:
    """Games with home and away exchanged where the sign, (n, 1, 1), is −1."""
    return torch.where(_SIGNED, steps * sign, steps)


def _export(network: nn.Module, example: Tensor) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The exporter by tracing is deprecated, but writes one small file and needs no further library.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # It fixes what is fixed: the number of channels, which the LSTM checks. The number of minutes stays free.
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python boolean")
        # It fears LSTMs whose initial states depend on the batch; the parity check runs over other batch sizes.
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
    """The largest difference between torch and ONNX Runtime, in points; for many games and for one, long and short.

    Raises:
        FitError: if it is more than PARITY_TOLERANCE.
    """
    served = Lstm(graph)
    with torch.inference_mode():
        expected = network(examples.in_mode(MarginSource.KNOWN)[0]).numpy()
    parity = 0.0
    for games, minutes in ((len(expected), MAX_SLOTS), (1, MAX_SLOTS), (1, 1), (min(len(expected), 50), 18)):
        found = served.residuals(examples.levels[:games, :minutes], examples.margins[:games])
        parity = max(parity, float(np.abs(found - expected[:games, :minutes]).max()))
    if not parity <= PARITY_TOLERANCE:
        raise FitError(f"the exported LSTM differs from the trained one by {parity} points")
    return parity


@contextmanager
def _reproducible() -> Iterator[None]:
    """One thread, deterministic algorithms and random numbers of its own, and everything as it was afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)
