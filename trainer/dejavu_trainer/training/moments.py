"""Fits the tables of moments: smoothed frequencies of how the lead changed in earlier games; see `MomentModel`."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.pattern import REGULATION_MINUTES
from dejavu_models.arrays import Floats
from dejavu_models.moments import CHANGES, IN_AIR, MOST_CHANGE, MOST_LEAD, NOT_KNOWN, SECONDS, STATES, MomentModel
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.data.games import Games, moments_to_array

MIN_GAMES: Final = 1000
"""Least number of games with states at moments for tables of them."""

# Chosen on 2016–2019, by the Brier score of the winner after each play.
_TIME_WIDTH: Final = 0.25
"""Standard deviation of the kernel in time, in the logarithm of seconds left + 2."""
_LEAD_WIDTH: Final = 1.0
"""Standard deviation of the kernel in the lead at 60 seconds left, in points; it grows with the root of the time."""
_LEAST_LEAD_WIDTH: Final = 0.15
_PRIOR_GAMES: Final = 10.0
"""Weight of the frequencies at similar leads, by a kernel of more than three times the width, in games."""
_FLOOR: Final = 1e-4
"""Probability of changes that no game had, with a spread of the order of what the seconds left allow."""
_DRIFT: Final = 2.2
"""Points of lead that a point of the expected margin is worth, relative to its share of the time: the stronger team
gains more in the minutes that decide."""

_FREE_THROW: Final = 0.76
"""Probability to make a free throw: 76.4 % of 45,950 from 45:00 on in 2014–2019 were."""
_BIN_WIDTH: Final = 0.02
"""Width of the bins in which states are counted, in the logarithm of seconds left + 2."""
_BINS_TO: Final = 350.0
"""Seconds left of the earliest states that are counted: some more than the tables have, for the kernel in time."""
_BINS: Final = 260

_LEADS: Final = np.arange(-MOST_LEAD, MOST_LEAD + 1)
_GAME_SECONDS: Final = 60.0 * REGULATION_MINUTES


def fit_moments(games: Games) -> MomentModel | None:
    """Fit the tables to games.

    Returns:
        The tables, rounded as they are stored in a bundle; None if fewer than MIN_GAMES have states at moments.
    """
    known = np.array([len(states) > 0 for states in games.moments], dtype=bool)
    if known.sum() < MIN_GAMES:
        return None
    games = games.select(known)
    mass = {
        horizon: _monotone(_smoothed(_counts(games, horizon), np.array(SECONDS[horizon], dtype=np.float64), len(games)))
        for horizon in HORIZONS
    }
    made = MomentModel(mass, _DRIFT / _GAME_SECONDS, _FREE_THROW, len(games))
    return MomentModel.from_bytes(made.to_bytes())  # as a server reads it


def _counts(games: Games, horizon: Horizon) -> Floats:
    """Return the numbers of changes by state, bin of time, lead and change, from the side with the ball.

    A state counts when it begins, as it is forecast: a team that has had the ball for a while is nearer to its shot.
    """
    rows = moments_to_array(games.moments).astype(np.float64)
    left = horizon.seconds - rows[:, 1]
    rows = rows[(left > 0) & (left <= _BINS_TO) & (rows[:, -1] == 0)]
    game, elapsed, leads, _, sides, in_air, _ = rows.T
    bins = _bin(horizon.seconds - elapsed)
    at_end = games.differentials[game.astype(np.int64), horizon.minutes - 1].astype(np.float64)
    counts = np.zeros((STATES, _BINS, len(_LEADS), len(CHANGES)))
    for state, side, of_state in (
        (0, sides, (sides != 0) & (in_air == 0)),
        (IN_AIR, sides, (sides != 0) & (in_air > 0)),
        *((NOT_KNOWN, np.full_like(leads, sign), np.ones_like(leads, dtype=bool)) for sign in (1.0, -1.0)),
    ):
        own, change = (side * leads)[of_state], (side * (at_end - leads))[of_state]
        lead = (np.clip(own, -MOST_LEAD, MOST_LEAD) + MOST_LEAD).astype(np.int64)
        place = (np.clip(change, -MOST_CHANGE, MOST_CHANGE) + MOST_CHANGE).astype(np.int64)
        np.add.at(counts[state], (bins[of_state], lead, place), 1.0)
    return counts


def _bin(seconds: Floats) -> NDArray[np.int64]:
    """Return the bins of time, equal in the logarithm of seconds left + 2."""
    result: NDArray[np.int64] = ((np.log(seconds + 2.0) - np.log(2.0)) / _BIN_WIDTH).astype(np.int64)
    return result


def _smoothed(counts: Floats, seconds: Floats, games: int) -> Floats:
    """Return probabilities from counts; with no seconds left, nothing changes."""
    centers = np.log(2.0) + _BIN_WIDTH * (np.arange(_BINS) + 0.5)
    in_time = np.exp(-0.5 * np.square((np.log(seconds + 2.0)[:, None] - centers) / _TIME_WIDTH))
    pooled = np.einsum("st,atxc->asxc", in_time, counts)
    # A game counts as one at every second, however many states it has there.
    pooled *= games / np.maximum(pooled[NOT_KNOWN].sum(axis=(1, 2)) / 2, 1e-9)[:, None, None]
    result = np.zeros((len(counts), len(seconds), *counts.shape[2:]))
    result[:, 0, :, MOST_CHANGE] = 1.0
    for row, left in enumerate(seconds[1:].tolist(), start=1):
        width = _LEAD_WIDTH * np.sqrt(left / 60.0) + _LEAST_LEAD_WIDTH
        near, wide = (_lead_kernel(each) for each in (width, 3 * width + 1))
        own, similar = (np.einsum("xy,ayc->axc", kernel, pooled[:, row]) for kernel in (near, wide))
        similar /= np.maximum(similar.sum(axis=-1, keepdims=True), 1e-9)
        frequency = (own + _PRIOR_GAMES * similar) / (own.sum(axis=-1, keepdims=True) + _PRIOR_GAMES)
        floor = np.exp(-np.abs(CHANGES) / (1.0 + 0.5 * np.sqrt(left)))
        result[:, row] = (1 - _FLOOR) * frequency + _FLOOR * floor / floor.sum()
    result /= result.sum(axis=-1, keepdims=True)
    return result


def _lead_kernel(width: float) -> Floats:
    result: Floats = np.exp(-0.5 * np.square((_LEADS[:, None] - _LEADS) / width))
    return result


def _monotone(mass: Floats) -> Floats:
    """Return probabilities with which a greater lead never makes a greater final lead less probable.

    By isotonic rearrangement: the mean of the largest non-increasing functions of the lead below the distribution
    function, and of the least ones above it (Chernozhukov, Fernández-Val & Galichon 2009, for the principle).
    """
    ends = np.arange(-MOST_LEAD - MOST_CHANGE, MOST_LEAD + MOST_CHANGE + 1)
    of_end = np.zeros((*mass.shape[:-1], len(ends)))
    for place in range(len(_LEADS)):
        of_end[..., place, place : place + len(CHANGES)] = mass[..., place, :]
    below = np.cumsum(of_end, axis=-1)
    under = np.minimum.accumulate(below, axis=-2)
    over = np.maximum.accumulate(below[..., ::-1, :], axis=-2)[..., ::-1, :]
    of_end = np.diff((under + over) / 2, axis=-1, prepend=0.0)
    result = np.empty_like(mass)
    for place in range(len(_LEADS)):
        inner = of_end[..., place, place : place + len(CHANGES)].copy()
        inner[..., 0] += of_end[..., place, :place].sum(axis=-1)
        inner[..., -1] += of_end[..., place, place + len(CHANGES) :].sum(axis=-1)
        result[..., place, :] = inner
    result = np.maximum(result, 0.0)
    result /= result.sum(axis=-1, keepdims=True)
    return result
