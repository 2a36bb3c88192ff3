"""Fits the LSTM with torch and writes it as an ONNX graph.

Two layers of 64 units read the minutes; a linear head turns the last state into the increment. The head starts at
zero, that is, at the mean increment of the training games: what little there is to learn beyond it is then learned
from there. Inputs and target are normalised inside the graph, so that nothing outside can do it differently.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dejavu_models import features
from dejavu_models.arrays import Floats
from dejavu_models.lstm import INPUT, OUTPUT, Lstm

HIDDEN = 64
LAYERS = 2
BATCH = 256
MAX_EPOCHS = 60
PATIENCE = 8
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-3
GRADIENT_NORM = 1.0
PARITY_TOLERANCE = 1e-4
"""How far, in points, the served graph may be from the torch model."""


class FitError(RuntimeError):
    """A fit whose result can't be used."""


@dataclass(frozen=True)
class Examples:
    """Games to learn from.

    Attributes:
        patterns: (n, minutes), in points.
        increments: (n,) from the last slot to the horizon, in points.
    """

    patterns: Floats
    increments: Floats


@dataclass(frozen=True)
class LstmFit:
    """The fitted LSTM.

    Attributes:
        graph: the ONNX graph.
        epochs: passes over the training games; the weights are those after `best_epoch`.
        validation_mse: mean squared error on the games held out, points².
        parity: largest difference between torch and ONNX Runtime on them, in points.
    """

    graph: bytes
    epochs: int
    best_epoch: int
    validation_mse: float
    parity: float


class Network(nn.Module):
    """(n, minutes, 2) in points → (n,) in points."""

    step_mean: Tensor
    step_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, steps: Tensor, target: Tensor) -> None:
        super().__init__()
        self.register_buffer("step_mean", steps.mean(dim=0))
        # An input that hardly varies in little data must not be divided by next to nothing.
        self.register_buffer("step_scale", steps.std(dim=0).clamp(min=0.1))
        self.register_buffer("target_mean", target.mean())
        self.register_buffer("target_scale", target.std().clamp(min=0.1))
        self.lstm = nn.LSTM(features.STEP_CHANNELS, HIDDEN, LAYERS, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, steps: Tensor) -> Tensor:
        """Increments, in points."""
        states, _ = self.lstm((steps - self.step_mean) / self.step_scale)
        increments: Tensor = self.head(states[:, -1])[:, 0] * self.target_scale + self.target_mean
        return increments


def fit_lstm(learn: Examples, validate: Examples, seed: int, advance: Callable[[int], object]) -> LstmFit:
    """Fits on `learn` until `validate`, the later games, no longer gain.

    Args:
        learn: games to learn from.
        validate: games for early stopping; all of them later than those.
        seed: of initial weights and the order of games; the same seed and games give the same graph on one machine.
        advance: called with 1 after each of at most MAX_EPOCHS epochs, and with the rest at an early end.

    Raises:
        FitError: if the loss diverges, or the graph does not compute what the model does.
    """
    with _reproducible(seed):
        steps, increments = _tensors(learn)
        network = Network(steps, increments)
        epochs, best_epoch, validation_mse = _train(network, steps, increments, validate, seed, advance)
        network.eval()
        graph = _export(network, steps[:2])
        parity = _parity(network, graph, validate.patterns)
    return LstmFit(graph, epochs, best_epoch, validation_mse, parity)


def _tensors(examples: Examples) -> tuple[Tensor, Tensor]:
    steps = torch.from_numpy(features.minute_steps(examples.patterns))
    return steps, torch.from_numpy(examples.increments.astype(np.float32))


def _train(
    network: Network, steps: Tensor, increments: Tensor, validate: Examples, seed: int, advance: Callable[[int], object]
) -> tuple[int, int, float]:
    """Trains in place and restores the best weights; epochs run, the best of them and its mean squared error."""
    later_steps, later_increments = _tensors(validate)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    order = torch.Generator().manual_seed(seed)
    best, best_epoch, epoch = _mse(network, later_steps, later_increments), 0, 0
    best_state = copy.deepcopy(network.state_dict())
    while epoch < MAX_EPOCHS and epoch - best_epoch < PATIENCE:
        epoch += 1
        network.train()
        for batch in torch.split(torch.randperm(len(steps), generator=order), BATCH):
            # In units of the target's variance, so that the learning rate suits any stage.
            error = (network(steps[batch]) - increments[batch]) / network.target_scale
            optimizer.zero_grad()
            error.square().mean().backward()
            nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
            optimizer.step()
        mse = _mse(network, later_steps, later_increments)
        if not np.isfinite(mse):
            raise FitError(f"the LSTM's loss diverged in epoch {epoch}")
        if mse < best:
            best, best_epoch = mse, epoch
            best_state = copy.deepcopy(network.state_dict())
        advance(1)
    advance(MAX_EPOCHS - epoch)
    network.load_state_dict(best_state)
    return epoch, best_epoch, best


def _mse(network: Network, steps: Tensor, increments: Tensor) -> float:
    network.eval()
    with torch.inference_mode():
        return float((network(steps) - increments).square().mean())


def _export(network: Network, example: Tensor) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The exporter by tracing is deprecated, but writes one small file and needs no further library.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # It fixes what is fixed: the number of minutes and the layers' sizes.
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python boolean")
        # It fears LSTMs whose initial states depend on the batch; the parity check runs over other batch sizes.
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size other than 1")
        path = Path(folder) / "lstm.onnx"
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "games"}, OUTPUT: {0: "games"}},
            dynamo=False,
        )
        return path.read_bytes()


def _parity(network: Network, graph: bytes, patterns: Floats) -> float:
    """The largest difference between torch and ONNX Runtime, in points; for many games at once and for one.

    Raises:
        FitError: if it is more than PARITY_TOLERANCE.
    """
    served = Lstm(graph, minutes=patterns.shape[1])
    with torch.inference_mode():
        expected = network(torch.from_numpy(features.minute_steps(patterns))).numpy()
    parity = float(np.abs(served.predict(patterns) - expected).max())
    parity = max(parity, float(np.abs(served.predict(patterns[:1]) - expected[:1]).max()))
    if not parity <= PARITY_TOLERANCE:
        raise FitError(f"the exported LSTM differs from the trained one by {parity} points")
    return parity


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms and a seed of its own, and everything as it was afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)
