"""Scores all forecasters on the same games, after every minute and at moments; figures are computed from these scores.

The references use all earlier games, see `references`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.box_score import MARKS, mark_of
from dejavu_feed.moment import TABLES_FROM
from dejavu_models.arrays import Floats
from dejavu_models.components.ensemble import Ensemble, GameOpinions, Weights
from dejavu_models.components.features import LIVE_COLUMNS
from dejavu_models.metrics import leader_probability
from dejavu_models.moments import MomentModel
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.types import CASES, COMPONENTS, HORIZONS, MAX_SLOTS, Horizon, MarginSource
from dejavu_models.uncertainty.adaptive import MAX_SCORE, QUARTER_MIDPOINTS, SeasonScale
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.distribution import VALUES, LatticeDistribution
from dejavu_models.uncertainty.lattice.margin_model import LiveColumns, LiveKind, is_used
from dejavu_trainer.data.games import Games, moments_to_array
from dejavu_trainer.evaluation.figures import (
    LEAD_EDGES,
    MARGINS,
    MOMENTS,
    TIP_OFF,
    Columns,
    Table,
    case_columns,
    choose,
    lead_groups,
    scored,
    seconds_left,
    whole_number_scores,
)
from dejavu_trainer.evaluation.references import logistic_regression, persistence, references
from dejavu_trainer.training.calibrate import CalibratedModels
from dejavu_trainer.training.linear import have_line, linear_points
from dejavu_trainer.training.ratings import LineupGames, RatedGames, carry, margins_with_frozen_ratings, rate_players
from dejavu_trainer.training.weights import ServedTables, fits_live_tables


def season_factors(points: Floats, tables: ServedTables, margins: Floats) -> Floats:
    """Return the factors of the scores before each game of a season, (n, 2) by horizon, from the days before.

    They are the factors of a server that starts with the season, from the forecasts at the middle of each quarter.

    Args:
        points: (n, 47 minutes, 2 horizons), point forecasts, in points.
        tables: the tables of the games, of one season and in order of date.
        margins: (n,), expected final differentials before tip-off, in points; NaN if unknown.
    """
    games = tables.games
    result = np.empty((len(games), len(HORIZONS)))
    for index, horizon in enumerate(HORIZONS):
        minutes = [minute for minute in QUARTER_MIDPOINTS if minute in horizon.forecast_minutes]
        made = (tables.distribution(points, margins, index, minute)[1] for minute in minutes)
        squares = np.mean([_squared_scores(each, games.outcomes[:, index]) for each in made], axis=0)
        result[:, index] = factors_of_days_before(squares, games.date)
    return result


def factors_of_days_before(squares: Floats, days: NDArray[Any]) -> Floats:
    """Return the factor of the scores before each of n games, (n,), from the games of the days before.

    Args:
        squares: (n,), squared scores of the games.
        days: (n,), their days, in any form that can be ordered.
    """
    state, result = SeasonScale(), np.empty(len(squares))
    for day in np.unique(days):
        of_day = np.flatnonzero(days == day)
        result[of_day] = state.factor
        for game in of_day:
            state = state.after(float(squares[game]))
    return result


def lattice_forecasts(points: Floats, tables: ServedTables, margins: Floats, factors: Floats | None = None) -> Columns:
    """Score the forecasts of games.

    Args:
        points: (n, 47 minutes, 2 horizons), point forecasts, in points.
        tables: the tables of the games.
        margins: (n,), expected final differentials before tip-off, in points; NaN if unknown.
        factors: (n, 2), of the scores by horizon, see `season_factors`; 1 by default.
    """

    def forecast(index: int, minute: int) -> tuple[Floats, LatticeDistribution]:
        center, made = tables.distribution(points, margins, index, minute)
        return center, made if factors is None else _scaled(made, factors[:, index])

    return whole_number_scores(forecast, tables.games.outcomes)


def _scaled(made: LatticeDistribution, factors: Floats) -> LatticeDistribution:
    """Return the distributions with all normal scores multiplied by factors, (n,)."""
    from scipy import special  # imported late: it takes a second

    below = special.ndtr(special.ndtri(np.clip(made.below, 0.0, 1.0)) / factors[:, None])
    below[:, -1] = 1.0
    return LatticeDistribution(np.diff(below, axis=1, prepend=0.0))


def _squared_scores(made: LatticeDistribution, outcomes: Floats) -> Floats:
    """Return the squared normal scores of outcomes at the middle of their probability, (n,)."""
    from scipy import special  # imported late: it takes a second

    scores = np.clip(special.ndtri(made.pit(outcomes)), -MAX_SCORE, MAX_SCORE)
    squares: Floats = np.square(scores)
    return squares


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


SERVED: Final = ("served", "frozen", "no_teams")
"""The forecasts of a server, with carried ratings; with ratings frozen before the season; without teams.

Their scores are multiplied by a factor of the season, as a server does by default.
"""

STATIC: Final = "static"
"""The served forecasts without the factor of the season."""

NO_LIVE: Final = "no_live"
"""The served forecasts without total points and last scores, as for requests that do not have them."""

PLAYERS: Final = "players"
"""The served forecasts with expected margins that use the line-ups so far. Scored if the models have ratings of players
and the line-ups of at least half of the test games are known; the other games are forecast as without them."""

PARTS: Final = {
    "base": Weights.fixed(1.0, 0.0, 0.0),
    "dejavu": Weights.fixed(0.0, 1.0, 0.0),
    "lstm": Weights.fixed(0.0, 0.0, 1.0),
    "documents": Weights.fixed(0.0, 0.4, 0.6),
}
"""Other weights of the components: the linear models alone, each other component alone, and Dejavu and the LSTM by 0.4
and 0.6; with carried ratings and the served ranks, without the factor of the season. Scored if the models have both
components."""

ALONE: Final = "alone_"
"""Begins the name of the forecasts by a component of another package alone, before that of the component."""

LINE: Final = "line"
"""The served forecasts with the closing line of a betting market as their expected margin. They and the references
with the line are scored if the models and at least half of the test games have lines; a game without one is forecast as
without the line."""

REFERENCES: Final = ("linear", "normal", "logistic")
"""References that know the lead and an expected margin, see `references.references`; in a name with `_line` or
`_players`, the line or who plays too."""

EXPECTATIONS: Final = ("carried", "frozen", "home advantage")
"""Forecasters of the margin at tip-off: carried ratings, ratings frozen before the season, and home advantage alone."""

LEAST_SHARE: Final = 0.5
"""Least share of test games with a line, or with known line-ups."""


def served(table: Table) -> tuple[str, ...]:
    """Return the forecasters that the verdict checks: SERVED, and PLAYERS and LINE if they are there."""
    names = table.forecasters(MARGINS[HORIZONS[0]])
    return (*SERVED, *(name for name in (PLAYERS, LINE) if name in names))


def score(models: CalibratedModels, games: Games) -> Table:
    """Score calibrated models on one or more games later than all games of the models; see `score_fold`."""
    test, _ = carry(models.after, games)
    table = score_fold(
        models.models,
        models.calibration,
        earlier=models.games,
        calibrate=models.calibrate,
        test=test,
        frozen_margins=margins_with_frozen_ratings(models.after, games),
        players=models.players,
    )
    if models.moments is None:
        return table
    of_moments = score_moments(models.models, models.calibration, models.moments, models.games, test)
    return Table(table.columns | of_moments)


def score_fold(
    models: Ensemble,
    calibration: LatticeCalibration,
    *,
    earlier: RatedGames,
    calibrate: RatedGames,
    test: RatedGames,
    frozen_margins: Floats,
    players: PlayerRatings | None = None,
) -> Table:
    """Score models on games of one season, later than all their training and calibration games.

    Args:
        models: the components.
        calibration: calibration of the models, as served.
        earlier: all games before the test games, including `calibrate`, with margins from carried ratings; the
            references are fitted on them.
        calibrate: the games whose ranks made `calibration`.
        test: test games, at least one, with margins from carried ratings.
        frozen_margins: (n,), margins of the test games with ratings frozen before the first of them, in points.
        players: ratings of players after all earlier games; None if the models have none.
    """
    past, games = earlier.games, test.games
    points = linear_points(models.linear, test)
    known = ServedTables.of_source(models, calibration, MarginSource.KNOWN, test)
    factors = season_factors(points, known, test.margins)
    without = ServedTables.of_source(models, calibration, MarginSource.KNOWN, test, with_live=False)
    forecasts = {
        "served": lattice_forecasts(points, known, test.margins, factors),
        "frozen": _of_source(models, calibration, MarginSource.RATED, RatedGames(games, frozen_margins), factors),
        "no_teams": _of_source(
            models, calibration, MarginSource.UNKNOWN, RatedGames(games, np.full(len(games), np.nan)), factors
        ),
        NO_LIVE: lattice_forecasts(points, without, test.margins, factors),
        STATIC: lattice_forecasts(points, known, test.margins),
        **_parts(models, calibration, points, test),
        "persistence": persistence(past, games),
        **references(earlier, test),
    }
    if players is not None:
        forecasts |= _with_players(models, calibration, players, earlier, test)
    if calibration.has_line and have_line(games).mean() >= LEAST_SHARE:
        forecasts |= _with_line(models, calibration, past, test, forecasts)
    # Tables with live inputs are calibrated only by games that have live inputs.
    counted = calibrate.games.select(fits_live_tables(calibrate.games)) if known.use_live else calibrate.games
    apart = past.season[~np.isin(past.game_id, calibrate.games.game_id)]
    expected = (test.margins, frozen_margins, np.full(len(games), past.final.mean()))
    rows = np.arange(len(games), dtype=np.int32)
    return Table(
        {
            "fold.season": games.season[:1].astype(np.int16),
            "fold.train_seasons": _seasons(apart if len(apart) else past.season),
            "fold.calibration_seasons": _seasons(calibrate.games.season),
            "fold.calibration_games": np.array([len(counted)]),
            "fold.total_games": np.array([0]),
            "fold.cell_games": _cell_games(counted)[None],
            **{f"game.{name}": getattr(games, name) for name in ("game_id", "season", "date", "home", "away")},
            **case_columns(MARGINS, forecasts, rows, games.outcomes, games.levels),
            f"{TIP_OFF}.game": rows,
            f"{TIP_OFF}.second": np.zeros(len(games), np.float32),
            f"{TIP_OFF}.outcome": games.final.astype(np.int16),
            **{
                f"{TIP_OFF}.{name}.point": each.astype(np.float32)
                for name, each in zip(EXPECTATIONS, expected, strict=True)
            },
        }
    )


def _of_source(
    models: Ensemble, calibration: LatticeCalibration, source: MarginSource, rated: RatedGames, factors: Floats
) -> Columns:
    """Return the forecasts of games with margins of a source."""
    tables = ServedTables.of_source(models, calibration, source, rated)
    return lattice_forecasts(linear_points(models.linear, rated), tables, rated.margins, factors)


def _cell_games(calibrate: Games) -> NDArray[np.int32]:
    """Return the calibration games by case and lead group, (cases, 4)."""
    groups = lead_groups(calibrate.levels)
    by_minute = np.stack([np.bincount(of_minute, minlength=len(LEAD_EDGES) + 1) for of_minute in groups.T])
    return np.array([by_minute[minute - 1] for _, minute in CASES], dtype=np.int32)


def _parts(models: Ensemble, calibration: LatticeCalibration, points: Floats, test: RatedGames) -> dict[str, Columns]:
    """Return the forecasts by the weights of PARTS, and by other components alone; none without COMPONENTS."""
    if models.components[: len(COMPONENTS)] != COMPONENTS:
        return {}
    result, names = {}, models.weights.names
    alone = {ALONE + each: Weights.fixed(*(float(name == each) for name in names), names=names) for each in names[3:]}
    for name, weights in (PARTS | alone).items():
        tables = ServedTables.of_source(replace(models, weights=weights), calibration, MarginSource.KNOWN, test)
        result[name] = lattice_forecasts(points, tables, test.margins)
    return result


def _with_line(
    models: Ensemble, calibration: LatticeCalibration, earlier: Games, test: RatedGames, forecasts: dict[str, Columns]
) -> dict[str, Columns]:
    """Return the forecasts of models and references with the line; as without it for games that have none."""
    games, lined = test.games, have_line(test.games)
    lines = RatedGames(games, np.where(lined, games.line, test.margins).astype(np.float64))
    points = linear_points(models.linear, lines, line=True)
    tables = ServedTables.of_source(models, calibration, MarginSource.LINE, lines)
    past = earlier.select(have_line(earlier))
    of_line = {
        LINE: lattice_forecasts(points, tables, lines.margins, season_factors(points, tables, lines.margins)),
        **_named(references(RatedGames(past, past.line.astype(np.float64)), lines), LINE),
    }
    without = ("served", *REFERENCES)
    pairs = zip(of_line.items(), without, strict=True)
    return {name: choose(lined, each, forecasts[other]) for (name, each), other in pairs}


def _with_players(
    models: Ensemble, calibration: LatticeCalibration, players: PlayerRatings, earlier: RatedGames, test: RatedGames
) -> dict[str, Columns]:
    """Return the forecasts of models and references that use line-ups; none if too few line-ups are known.

    The references are fitted with the line-ups of earlier games, and know those of a game that the models know.
    """
    line_ups = rate_players(players, test.games)[0]
    if np.isfinite(line_ups.usual).mean() < LEAST_SHARE:
        return {}
    marks = np.array([mark_of(minute) for minute in range(1, MAX_SLOTS + 1)])
    of_test = _by_mark(test, line_ups, players)
    points = np.empty((len(test.games), MAX_SLOTS, len(HORIZONS)))
    for mark, rated in enumerate(of_test):
        slots = np.flatnonzero(marks == mark)
        points[:, slots] = linear_points(models.linear, rated)[:, slots]
    margins = np.stack([rated.margins for rated in of_test], axis=1)[:, marks]
    tables = ServedTables.of_source(models, calibration, MarginSource.KNOWN, RatedGames(test.games, margins))
    of_past = _by_mark(earlier, rate_players(PlayerRatings(), earlier.games)[0], players)
    of_cases = marks[[minute - 1 for _, minute in CASES]]
    cases = [np.flatnonzero(of_cases == mark).tolist() for mark in range(len(MARKS))]
    by_mark = [references(past, rated, of) for past, rated, of in zip(of_past, of_test, cases, strict=True)]
    order = np.argsort(np.concatenate(cases))
    pooled = {
        name: {column: np.concatenate([each[name][column] for each in by_mark], axis=1)[:, order] for column in columns}
        for name, columns in by_mark[0].items()
    }
    served_players = lattice_forecasts(points, tables, margins, season_factors(points, tables, margins))
    return {PLAYERS: served_players, **_named(pooled, PLAYERS)}


def _named(forecasts: dict[str, Columns], known: str) -> dict[str, Columns]:
    """Return forecasts of references by names that say what they know beside ratings."""
    return {f"{name}_{known}": columns for name, columns in forecasts.items()}


def _by_mark(rated: RatedGames, line_ups: LineupGames, players: PlayerRatings) -> list[RatedGames]:
    """Return games with the margins that line-ups known at each of MARKS give."""
    added = line_ups.added(players.weights, rated.margins)
    return [RatedGames(rated.games, rated.margins + added[:, mark]) for mark in range(len(MARKS))]


def _seasons(season: NDArray[np.integer]) -> NDArray[np.str_]:
    return np.array([" ".join(map(str, np.unique(season).tolist()))])
