"""Scores of a fold: of what a server would have forecast, and of forecasts that know a line or who plays."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from tests.support.builders.box_scores import with_box_scores
from tests.support.builders.folds import (
    figure,
    linear_points,
    random_walks,
    rated_walks,
    steady_lstm,
    walk_fold,
    walk_models,
    walks_database,
)
from tests.support.builders.models import symmetric_model
from tests.support.builders.third_component import fitted

from dejavu_models.arrays import Floats
from dejavu_models.components.ensemble import POOLED, Ensemble, Weights
from dejavu_models.player_ratings import LineupWeights, PlayerRatings
from dejavu_models.types import CASES, HORIZONS, AdaptationMode, Horizon, MarginSource
from dejavu_models.uncertainty.adaptive import BOUNDS, Tracker
from dejavu_models.uncertainty.issued import IntervalAdapter, IssuedDistribution
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration, Situation
from dejavu_models.uncertainty.lattice.margin_model import LiveKind
from dejavu_trainer.data.events import no_box_scores
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.figures import ALPHAS, LEVELS, Figures, Table, lead_groups
from dejavu_trainer.evaluation.fold_scores import (
    ALONE,
    LINE,
    PARTS,
    PLAYERS,
    REFERENCES,
    SERVED,
    STATIC,
    factors_of_days_before,
    lattice_forecasts,
    score_fold,
    season_factors,
    served,
)
from dejavu_trainer.evaluation.references import logistic_probabilities
from dejavu_trainer.reports.backtest import fair_tables
from dejavu_trainer.training import linear
from dejavu_trainer.training.calibrate import conformalized, fit_tables
from dejavu_trainer.training.linear import LEAST_LINES, fit_linear
from dejavu_trainer.training.ratings import RatedGames, rate_players
from dejavu_trainer.training.weights import ServedTables, live_columns


@pytest.fixture(scope="module")
def fold() -> Table:
    return walk_fold(2033, games=500)


ServedWalks = tuple[Ensemble, LatticeCalibration, RatedGames, Floats]
"""The models that forecast the games of the fold, and the factors of the season before each game, (n, 2)."""


@pytest.fixture(scope="module")
def served_walks() -> ServedWalks:
    test = rated_walks(500, range(2030, 2034), 0).of_seasons([2033])
    models, calibration = walk_models(2033, 500, 0)
    known = ServedTables.of_source(models, calibration, MarginSource.KNOWN, test)
    factors = season_factors(linear.linear_points(models.linear, test), known, test.margins)
    assert (np.abs(factors[-1] - 1) > 0.002).all(), "they make a difference"
    return models, calibration, test, factors


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("served", MarginSource.KNOWN),
        ("static", MarginSource.KNOWN),
        ("frozen", MarginSource.RATED),
        ("no_teams", MarginSource.UNKNOWN),
    ],
)
@pytest.mark.parametrize(("horizon", "minute"), [(Horizon.HALFTIME, 18), (Horizon.FINAL, 5), (Horizon.FINAL, 47)])
def test_what_is_scored_is_what_would_be_served(
    fold: Table, served_walks: ServedWalks, name: str, source: MarginSource, horizon: Horizon, minute: int
) -> None:
    """Point, probability and interval ends are those of the served distribution, in every seventh game."""
    models, calibration, test, factors = served_walks
    place = HORIZONS.index(horizon)
    points = linear_points(models, test, source, minute)[:, place]
    margins = {MarginSource.KNOWN: test.margins, MarginSource.RATED: test.margins / 2}.get(source)
    leads = test.games.levels[:, minute - 1]
    live, _ = live_columns(test.games, LiveKind.SCORES)

    def found(column: str) -> float:
        scored: float = fold.by_minute(horizon, f"{name}.{column}")[game, minute - 1]
        return scored

    for game in range(0, 500, 7):
        situation = Situation(horizon, minute, source)
        of_game = live[[game], minute - 1]
        point = float(points[game]) + calibration.shift(situation, of_game)
        margin = None if margins is None else float(margins[game])
        distribution = calibration.game(situation, point, float(leads[game]), margin, of_game)
        served = IssuedDistribution(distribution, None, None)
        if name in SERVED:
            adapter = IntervalAdapter(Tracker(), float(factors[game, place]))
            served = IssuedDistribution(distribution, AdaptationMode.ON, adapter)
        assert found("point") == pytest.approx(point, abs=1e-4)
        assert found("probability") == pytest.approx(served.home_lead_probability(), abs=1e-6)
        for level, alpha in zip(LEVELS, ALPHAS, strict=True):
            adapted = served.adaptation(alpha, served.static(alpha))
            interval = served.static(alpha) if adapted is None else adapted.adapted
            assert (found(f"lower_{level}"), found(f"upper_{level}")) == (interval.lower, interval.upper)


def test_the_components_alone_and_other_weights_stand_beside_what_is_served(
    fold: Table, served_walks: ServedWalks
) -> None:
    linear, calibration, test, _ = served_walks
    earlier, some = rated_walks(500, range(2030, 2034), 0).of_seasons([2032]), test.select(np.arange(500) < 40)
    weights = Weights.fixed(*PARTS["documents"].values[0, 0].tolist(), names=(*POOLED, "gbm"))
    models = Ensemble(linear.linear, (walks_database(), steady_lstm(0.5, 0.1), fitted()), weights)
    table = score_fold(models, calibration, earlier=earlier, calibrate=earlier, test=some, frozen_margins=some.margins)
    points = {name: table.of("final", f"{name}.point") for name in (STATIC, *PARTS)}
    assert points["base"] == pytest.approx(fold.of("final", f"{STATIC}.point")[: 40 * 47])
    assert points["documents"] == pytest.approx(points[STATIC])
    assert points["documents"] == pytest.approx(0.4 * points["dejavu"] + 0.6 * points["lstm"], abs=1e-4)
    for one, other in combinations((*PARTS, f"{ALONE}gbm"), 2):
        assert not np.allclose(table.of("final", f"{one}.crps"), table.of("final", f"{other}.crps"))


def test_the_logistic_regression_finds_the_curve_that_chance_follows() -> None:
    """Random walks of normal steps with known drift have a known probability of ending above 0."""
    past, asked = rated_walks(3000, range(2030, 2031), 5), rated_walks(300, range(2031, 2032), 6)
    found = logistic_probabilities(past, asked)
    for minute in (12, 36):
        lead, left = asked.games.levels[:, minute - 1], 48 - minute
        mean = lead + asked.margins * left / 48 + 0.05 * left
        truth = np.array(
            [0.5 * (1 + np.tanh(0.8 * m / (2.5 * left**0.5))) for m in mean]
        )  # approximates the normal CDF
        assert np.abs(found[:, CASES.index((1, minute))] - truth).mean() < 0.03


def test_a_regression_on_games_that_all_ended_alike_is_nearly_sure() -> None:
    rated = rated_walks(40, range(2030, 2031), 7)
    won = rated.select(rated.games.final > 0)
    found = logistic_probabilities(won, rated)[:, [index == 1 for index, _ in CASES]]
    assert (found > 0.999).all()
    assert (found < 1).all()


def test_the_games_counted_are_those_that_calibrate_by_the_size_of_their_lead(fold: Table) -> None:
    calibrate = rated_walks(500, range(2030, 2034), 0).of_seasons([2032])
    leads = calibrate.games.levels
    cells = fold.columns["fold.cell_games"][0]
    for case, (_, minute) in enumerate(CASES):
        assert cells[case].tolist() == np.bincount(lead_groups(leads[:, minute - 1]), minlength=4).tolist()
    said = [fold.columns[f"fold.{name}"][0] for name in ("calibration_games", "train_seasons", "calibration_seasons")]
    assert said == [500, "2030 2031", "2032"]


def test_each_game_is_forecast_by_the_tables_that_a_server_would_use() -> None:
    """A game whose points are not known must not take the live inputs from the other games of its season."""
    games, margins = rated_walks(40, range(2033, 2034), 3)
    live, without = symmetric_model(LiveKind.SCORES), symmetric_model()
    points = np.repeat(games.levels[:, :47, None], 2, axis=2) + np.random.default_rng(1).normal(0, 3, (40, 47, 2))
    live_inputs = games.live.copy()
    live_inputs[7, :, 0], live_inputs[9, 20, 2] = np.nan, np.nan
    final_total = games.final_total.copy()
    final_total[3] = -1  # at the end: no live input
    some = replace(games, live=live_inputs, final_total=final_total)

    of_all, of_some, of_none = (
        lattice_forecasts(points, tables, margins)
        for tables in (
            ServedTables([live, without], games),
            ServedTables([live, without], some),
            ServedTables([without], games),
        )
    )
    lacking = np.isin(np.arange(40), [7, 9])
    for name, mixed in of_some.items():
        assert np.allclose(mixed[lacking], of_none[name][lacking], atol=1e-5, equal_nan=True)
        assert np.allclose(mixed[~lacking], of_all[name][~lacking], atol=1e-5, equal_nan=True)
    assert np.abs(of_all["crps"] - of_none["crps"]).max(axis=1).min() > 0.001, "the tables differ in every game"


def test_a_day_is_forecast_without_what_its_own_games_teach() -> None:
    squares = np.full(300, 4.0)  # intervals have half the width that they need
    of_one_day = factors_of_days_before(squares, np.zeros(300, dtype=np.int64))
    assert (of_one_day == 1).all()
    by_days = factors_of_days_before(squares, np.arange(300) // 3)
    assert (by_days[:3] == 1).all()
    assert (np.diff(by_days[::3]) >= 0).all()
    assert (by_days.reshape(-1, 3) == by_days[::3, None]).all()
    assert by_days[-1] == BOUNDS[1]


SEASONS = range(2020, 2024)


GAMES = LEAST_LINES * 7 // 20
"""Games per season: the three seasons before the last have enough lines together."""


WITHOUT = 7
"""One game in this many has no box score."""


def games_with_lines() -> Games:
    """Games about whose finals the lines contain information and the ratings none; with box scores."""
    games = with_box_scores(random_walks(GAMES, SEASONS))
    games.box_scores[::WITHOUT] = no_box_scores(len(games))[::WITHOUT]
    noise = np.random.default_rng(2).normal(0, 9, len(games))
    line = (games.final * 0.5 + noise * 0.5).astype(np.float32)
    line[::50] = np.nan
    return replace(games, line=line)


@pytest.fixture(scope="module")
def informed() -> Table:
    games = games_with_lines()
    rated = RatedGames(games, np.random.default_rng(3).normal(0, 4, len(games)))
    past, test = rated.of_seasons([2020, 2021, 2022]), rated.of_seasons([2023])
    models = Ensemble(fit_linear(*past, curved=True))
    newest = past.of_seasons([2022])
    calibration = conformalized(fit_tables(past, past.margins / 2), models, newest, newest.margins / 2)
    assert calibration.has_line
    assert calibration.model(MarginSource.LINE).games == np.isfinite(newest.games.line).sum()
    players = replace(rate_players(PlayerRatings(), past.games)[1], weights=LineupWeights(1.0, 0.3, -0.2))
    frozen = test.margins / 2
    return score_fold(
        models, calibration, earlier=past, calibrate=newest, test=test, frozen_margins=frozen, players=players
    )


@pytest.fixture(scope="module")
def figures(informed: Table) -> Figures:
    return Figures(informed, resamples=50)


@pytest.mark.nightly
def test_what_is_added_is_scored_with_references_that_know_it_too(informed: Table, figures: Figures) -> None:
    assert served(informed) == (*SERVED, PLAYERS, LINE)
    for name, reference in product((PLAYERS, LINE), ("served", *REFERENCES)):
        known = reference if reference == "served" else f"{reference}_{name}"
        assert figure(figures, "final", name, "brier", known).value < 0.05
    assert figure(figures, "final", LINE, "crps", "served").upper < -0.02
    early, late = (
        figure(figures, "final", LINE, "crps", "served", kind="minute", group=minute).value for minute in ("1", "42")
    )
    assert early < late, "the line tells the more the earlier it is"
    fair = {table.title: table for table in fair_tables(figures)}
    assert list(fair) == [f"Against references that know {what} too" for what in ("ratings", "who plays", "the line")]
    for table in fair.values():
        assert all(len(row) == len(table.header) for row in table.rows)


@pytest.mark.nightly
@pytest.mark.parametrize(("knows", "least", "most"), [(LINE, 1, 0), (PLAYERS, 0.99, 0.5)])
def test_games_of_which_it_is_not_known_are_forecast_as_without_it(
    informed: Table, knows: str, least: float, most: float
) -> None:
    """The factor of the season moves few points of games without line-ups."""
    test = games_with_lines().of_seasons([2023])
    lacking = np.isnan(test.line) if knows == LINE else np.array([not lines for lines in test.box_scores])
    assert 0 < lacking.sum() < len(informed)
    names = [(knows, "served"), *((f"{name}_{knows}", name) for name in REFERENCES if knows == LINE)]
    for name, other in names:
        column = "point" if knows == PLAYERS else "probability"
        same = np.equal(*(informed.by_minute(Horizon.FINAL, f"{each}.{column}") for each in (name, other)))
        assert same[lacking].mean() >= least
        assert same[~lacking].all(axis=1).mean() <= most
