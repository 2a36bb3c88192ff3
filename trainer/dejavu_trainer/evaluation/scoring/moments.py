"""Scores one season: the served forecasts at moments of last minutes and overtimes, and their references."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.moment import TABLES_FROM
from dejavu_models.arrays import Floats
from dejavu_models.components.ensemble import Ensemble, GameOpinions
from dejavu_models.components.features import LIVE_COLUMNS
from dejavu_models.metrics import leader_probability
from dejavu_models.moments.model import MomentModel
from dejavu_models.types import HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.distribution import VALUES, LatticeDistribution
from dejavu_models.uncertainty.lattice.inputs import LiveColumns, LiveKind, is_used
from dejavu_trainer.data.moments import moments_to_array
from dejavu_trainer.evaluation.figures import seconds_left
from dejavu_trainer.evaluation.scoring.baselines import logistic_regression
from dejavu_trainer.evaluation.scoring.lattice_scores import scored
from dejavu_trainer.evaluation.table import MOMENTS, Columns
from dejavu_trainer.training.ratings import RatedGames

_SEED: Final = 49
_INVERSE_PENALTY: Final = 100.0
"""That of the logistic regressions: scarcely any, so that few overtimes have a fit too."""


def score_moments(
    models: Ensemble,
    calibration: LatticeCalibration,
    moments: MomentModel,
    earlier: RatedGames,
    test: RatedGames,
) -> Columns:
    """Score forecasts after each play that changes the state, from the minute before `TABLES_FROM` on.

    Args:
        models: the components.
        calibration: calibration of the models.
        moments: tables of moments.
        earlier: all games before the test games; the logistic regression is fitted on them.
        test: test games.

    Returns:
        Columns of a table: the served forecast, the logistic regression, and the leader, whose team has probability 1
        (½ if the game is tied).
    """
    result: Columns = {}
    places = np.random.default_rng(_SEED)
    for index, horizon in enumerate(HORIZONS):
        past, states = _states(earlier, horizon), _states(test, horizon)
        if not len(states):
            continue
        game = states[:, 0].astype(np.int64)
        outcomes = test.games.outcomes[game, index]
        made = _served(models, calibration, moments, horizon, states, test.games.levels[game], test.margins[game])
        logistic = np.full(len(states), np.nan)
        for overtime in (False, True):
            of_past, of_states = (_is_overtime(each) == overtime for each in (past, states))
            if of_past.any() and of_states.any():
                before = past[of_past][:, 0].astype(np.int64)
                logistic[of_states] = logistic_regression(
                    _terms(past[of_past], horizon, earlier.margins[before]),
                    earlier.games.outcomes[before, index] > 0,
                    _terms(states[of_states], horizon, test.margins[game[of_states]]),
                    _INVERSE_PENALTY,
                )
        target, leads = MOMENTS[horizon], states[:, 2]
        result |= {
            f"{target}.game": game.astype(np.int32),
            f"{target}.second": states[:, 1].astype(np.float32),
            f"{target}.outcome": outcomes.astype(np.int16),
            f"{target}.lead": leads.astype(np.int16),
            f"{target}.logistic.probability": logistic.astype(np.float32),
            f"{target}.leader.probability": leader_probability(leads).astype(np.float32),
        }
        served = scored(made, outcomes, places.uniform(-0.5, 0.5, len(states)))
        result |= {f"{target}.served.{name}": each for name, each in served.items()}
    return result


def _states(rated: RatedGames, horizon: Horizon) -> Floats:
    """Return the states of games that are scored, (states, 1 + COLUMNS): the game's index first."""
    first, end = 60.0 * (TABLES_FROM[horizon] - 1), horizon.seconds
    states = moments_to_array(rated.games.moments).astype(np.float64)
    used = states[:, 1] >= first
    if horizon is Horizon.HALFTIME:
        used &= states[:, 1] < end
    return states[used]


def _is_overtime(states: Floats) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = states[:, 1] >= Horizon.FINAL.seconds
    return result


def _served(
    models: Ensemble,
    calibration: LatticeCalibration,
    moments: MomentModel,
    horizon: Horizon,
    states: Floats,
    levels: Floats,
    margins: Floats,
) -> LatticeDistribution:
    """Return the served distributions of states of games with these differentials and margins.

    See `Forecaster._at_moment`.
    """
    _, elapsed, leads, totals, sides, in_air, free_throws = states.T
    minute, index = TABLES_FROM[horizon] - 1, HORIZONS.index(horizon)
    made = [
        moments.game(horizon, seconds, lead, int(side), margin, in_air=bool(shot), free_throws=int(coming))
        for seconds, lead, side, margin, shot, coming in zip(
            *(each.tolist() for each in (seconds_left(elapsed, horizon), leads, sides, margins, in_air, free_throws)),
            strict=True,
        )
    ]
    values = VALUES.tolist()
    below = np.array([[each.cumulative(value) for value in values] for each in made])
    mass = np.maximum(np.diff(below, axis=1, prepend=0.0), 0.0)  # a difference may be rounded to below 0
    share = elapsed / 60.0 - minute
    kinds = calibration.kinds(MarginSource.KNOWN)
    with_ball = (sides != 0) & (LiveKind.POSSESSION in kinds and is_used(LiveKind.POSSESSION, minute))
    for kind, of_kind in ((LiveKind.POSSESSION, with_ball), (LiveKind.NONE, ~with_ball)):
        rows = np.flatnonzero(of_kind & (share < 1))
        if not len(rows):
            continue
        points = leads[rows] + models.linear.increments(minute, leads[rows], margins[rows])[:, index]
        live = LiveColumns.of(kind, [totals[rows], sides[rows], in_air[rows]]) if kind else None
        # The pattern of the minute, with the lead at the moment as its last differential.
        patterns, of_rows = levels[rows, :minute].copy(), np.full((len(rows), minute, len(LIVE_COLUMNS)), np.nan)
        patterns[:, -1] = leads[rows]
        if kind:
            of_rows[:, -1, [0, 3, 4]] = np.stack([totals[rows], sides[rows], in_air[rows]], axis=1)
        opinions = GameOpinions(models, MarginSource.KNOWN, patterns, margins[rows], of_rows)
        model = calibration.model(MarginSource.KNOWN, kind)
        if live is not None:
            points = points + model.shifts(horizon, minute, live)
        base = model.base(horizon, minute, points, leads[rows], margins[rows], live)
        before = base.finished(opinions.pool(base).below).mass
        mass[rows] = (1 - share[rows])[:, None] * before + share[rows][:, None] * mass[rows]
    return LatticeDistribution(mass)


def _terms(states: Floats, horizon: Horizon, margins: Floats) -> Floats:
    """Return the terms of the logistic regression on lead, seconds left and rating.

    They let it be as good as it can be with these three: the lead in units of what the seconds left allow, its extremes
    apart, and a margin that counts less with every second and more in a close game.
    """
    left, leads = seconds_left(states[:, 1], horizon), states[:, 2]
    scaled = leads / np.sqrt(left + 3.0)
    columns = (
        scaled, np.clip(scaled, -1.5, 1.5), np.clip(leads, -1, 1), np.clip(leads, -3, 3) / (left + 3.0) ** 0.25,
        margins * np.sqrt(left + 3.0) / 50.0, margins / 10.0 * np.exp(-np.abs(scaled)),
    )  # fmt: skip
    return np.stack(columns, axis=1)
