"""Fits the LSTM with torch and stores its weights.

One layer reads the minutes; a linear head maps its state after each minute, with the live inputs, to a mean and the
logarithm of a scale of the standardised residual, for both horizons. The loss is the continuous ranked probability
score of the normal distribution with them (Gneiting & Raftery 2007, equation 5). The head is initialized to zero, so
that training starts at the linear models. Each epoch shows each game once, with or without its expected margin and live
inputs, as it was or mirrored (home and away exchanged, signs inverted) as data augmentation. The final weights are a
running mean over the optimiser's steps (Polyak & Juditsky, Acceleration of stochastic approximation by averaging,
1992). The scales of inputs and outputs are stored with the weights, so that training and serving cannot differ in
scaling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from dejavu_models.arrays import Floats, Singles
from dejavu_models.components import features
from dejavu_models.components.component import Advance, LstmConfig, TrainingGames
from dejavu_models.components.features import OUTPUTS
from dejavu_models.errors import FitError
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS

GRADIENT_NORM = 1.0


class LstmNetwork(nn.Module):
    """Network (n, minutes, channels) and live features (n, minutes, 5) → outputs (n, minutes, OUTPUTS).

    Args:
        steps: (n, 47, channels) training inputs, whose root mean square scales the inputs.
        spreads: (47, 2), spread of the standardised residuals; 0 where a horizon has passed.
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
        self.head = nn.Linear(hidden + features.LIVE_CHANNELS, OUTPUTS)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, steps: Tensor, live: Tensor) -> Tensor:
        """Return the means of the standardised residuals by horizon, and the logarithms of their scales."""
        states, _ = self.lstm(steps / self.step_scale)
        means, log_scales = self.head(torch.cat([states, live], dim=-1)).chunk(2, dim=-1)
        return torch.cat([means * self.spreads[: steps.shape[1]], log_scales], dim=-1)


def train(
    games: TrainingGames, live: Singles, settings: LstmConfig, seed: int, advance: Advance
) -> tuple[list[dict[str, Singles]], Singles]:
    """Fit the networks; see `Lstm.fit`.

    Args:
        games: the games.
        live: (n, 47, 5), their `features.live_features`.
        settings: the hyperparameters.
        seed: random seed.
        advance: called with 1 after each epoch of each network.

    Returns:
        The weights of each network by the names of `Lstm`, and the mean outputs for the games with their
        margins and live inputs, (n, 47, OUTPUTS), without bounds.

    Raises:
        FitError: if the loss diverges.
    """
    with _reproducible():
        with_live, targets = torch.from_numpy(live), _targets(games.residuals)
        margins = np.full_like(games.margins, np.nan), games.margins
        steps = [torch.from_numpy(features.minute_steps(games.levels, each)) for each in margins]
        seeds = range(seed * settings.members, (seed + 1) * settings.members)
        networks = [_train(steps, with_live, targets, settings, each, advance) for each in seeds]
        with torch.inference_mode():
            outputs = torch.stack([network(steps[1], with_live) for network in networks]).mean(dim=0)
        return [_weights_of(each) for each in networks], _array(outputs)


def _targets(residuals: Floats) -> Tensor:
    """Return residuals by minute, (2, 2, n, 47, 2 horizons); 0 for a horizon that has passed."""
    result = np.zeros((*residuals.shape[:3], MAX_SLOTS, len(HORIZONS)), np.float32)
    for column, (horizon, minute) in enumerate(CASES):
        result[..., minute - 1, horizon] = residuals[..., column]
    return torch.from_numpy(result)


def _train(
    steps: list[Tensor], live_of: Tensor, targets_of: Tensor, recipe: LstmConfig, seed: int, advance: Advance
) -> LstmNetwork:
    torch.manual_seed(seed)
    without_margin, with_margin = steps
    network = LstmNetwork(with_margin, _spreads(targets_of), recipe.hidden)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(1 - 1 / recipe.memory)  # type: ignore[no-untyped-call]
    smooth = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=average)
    for epoch in range(1, recipe.epochs + 1):
        total = torch.zeros(())
        for batch in torch.split(torch.randperm(len(live_of)), recipe.batch):
            known, with_live = (torch.rand(len(batch)) < recipe.known_share for _ in range(2))
            sign = torch.where(torch.rand(len(batch)) < 0.5, -1.0, 1.0)[:, None, None]
            inputs = torch.where(known[:, None, None], with_margin[batch], without_margin[batch])
            live = live_of[batch] * with_live[:, None, None]
            targets = targets_of[known.long(), with_live.long(), batch] * sign
            optimizer.zero_grad()
            outputs = network(_mirrored(inputs, sign, _SIGNED_STEPS), _mirrored(live, sign, _SIGNED_LIVE))
            loss = _crps(outputs, targets, network.spreads)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
            optimizer.step()
            smooth.update_parameters(network)
            total += loss.detach()
        if not torch.isfinite(total):
            raise FitError(f"the LSTM's loss diverged in epoch {epoch}")
        advance(1)
    return cast("LstmNetwork", smooth.module)


def _crps(outputs: Tensor, targets: Tensor, spreads: Tensor) -> Tensor:
    """Return the mean score in units of the spread at each minute, without horizons that have passed."""
    open_cases = (spreads > 0).nonzero(as_tuple=True)
    means, log_scales = (each[:, open_cases[0], open_cases[1]] for each in outputs.chunk(2, dim=-1))
    scales = torch.exp(log_scales)
    score = (targets[:, open_cases[0], open_cases[1]] - means) / spreads[open_cases] / scales
    density = torch.exp(-score.square() / 2) / math.sqrt(2 * math.pi)
    return (scales * (score * torch.erf(score / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))).mean()


def _spreads(targets: Tensor) -> Tensor:
    """Return the root mean square of residuals by minute and horizon; 0 where a horizon has passed."""
    spreads = targets.double().square().mean(dim=(0, 1, 2)).sqrt()
    return torch.where(spreads > 0, spreads.clamp(min=0.1), 0.0).float()


_SIGNED_STEPS = torch.tensor([True, True, False, True, False])
"""Channels of `features.minute_steps` that change sign when home and away are exchanged."""

_SIGNED_LIVE = torch.tensor([False, True, True, True, True])
"""The same of `features.live_features`."""


def _mirrored(values: Tensor, sign: Tensor, signed: Tensor) -> Tensor:
    """Exchange home and away in games whose sign, (n, 1, 1), is −1."""
    return torch.where(signed, values * sign, values)


def _weights_of(network: LstmNetwork) -> dict[str, Singles]:
    """Return the weights of a network, with the gates in the order of `Lstm`."""
    layer = network.lstm.state_dict()
    of_input, recurrent, bias = (
        _reordered(each)
        for each in (layer["weight_ih_l0"], layer["weight_hh_l0"], layer["bias_ih_l0"] + layer["bias_hh_l0"])
    )
    return {
        "scale": _array(network.step_scale),
        "input": of_input,
        "recurrent": recurrent,
        "bias": bias,
        "head": _array(network.head.weight.T),
        "head_bias": _array(network.head.bias),
        "spreads": _array(network.spreads),
    }


def _reordered(gates: Tensor) -> Singles:
    """Return the rows of four gates in the order input, output, forget, cell; torch has input, forget, cell, output."""
    of_input, forget, cell, output = torch.chunk(gates, 4)
    return _array(torch.cat([of_input, output, forget, cell]))


def _array(values: Tensor) -> Singles:
    array: Singles = values.detach().contiguous().numpy()
    return array


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
