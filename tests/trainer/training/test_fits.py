"""Fitted models find what made games, and hold as often as they say on games that they have not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.folds import (
    database_of,
    paced_games,
    random_walks,
    rated_walks,
    rows_of,
    walked,
    with_column,
    with_moments,
)
from tests.support.harness.present import present
from tests.trainer.harness import assert_intervals_hold

from dejavu_models.components.component import ignore
from dejavu_models.components.dejavu import BIN_CENTERS
from dejavu_models.components.ensemble import Ensemble
from dejavu_models.components.linear import CUBE
from dejavu_models.moments import IN_AIR, MOST_CHANGE, MOST_LEAD, NOT_KNOWN, SECONDS
from dejavu_models.ratings import TotalFilter
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, Horizon, MarginSource
from dejavu_trainer.data.games import Games, no_moments
from dejavu_trainer.training.calibrate import fit_tables
from dejavu_trainer.training.linear import LEAST_LINES, fit_linear, linear_points
from dejavu_trainer.training.moments import MIN_GAMES as MIN_MOMENTS
from dejavu_trainer.training.moments import fit_moments
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.totals import (
    MIN_GAMES,
    TotalGames,
    carry_totals,
    fit_total_model,
    fit_totals,
    frozen_totals,
    total_games,
)
from dejavu_trainer.training.weights import ServedTables

HALFTIME, FINAL = HORIZONS.index(Horizon.HALFTIME), HORIZONS.index(Horizon.FINAL)
UNKNOWN, KNOWN = MarginSource.UNKNOWN, MarginSource.KNOWN


def foretold(count: int) -> tuple[Games, np.ndarray]:
    """Games whose final lead is exactly the lead after 40 minutes + 3 − 0.25 · that lead + 2 · margin."""
    games = random_walks(count, range(2020, 2021))
    margins = np.random.default_rng(1).integers(-8, 9, count).astype(float)
    leads = games.differentials[:, 39] // 4 * 4
    differentials = games.differentials.copy()
    differentials[:, 39] = leads
    final = (leads + 3 - leads // 4 + 2 * margins).astype(np.int16)
    return replace(games, differentials=differentials, final=final), margins


def left(games: Games, margins: np.ndarray, *, curved: bool = False) -> np.ndarray:
    """What models fitted to games leave of them, (n, 47, 2 horizons)."""
    models = fit_linear(games, margins, curved=curved)
    residuals: np.ndarray = games.outcomes[:, None] - linear_points(models, RatedGames(games, margins))
    return residuals


@pytest.mark.parametrize("lined", [0, LEAST_LINES, LEAST_LINES - 1])
def test_coefficients_that_made_games_are_found_and_the_line_has_its_own_if_enough_games_have_one(lined: int) -> None:
    games, margins = foretold(LEAST_LINES + 50)
    line = np.where(np.arange(len(games)) < lined, margins / 2, np.nan).astype(np.float32)
    models = fit_linear(replace(games, line=line), margins)
    unknown, of_ratings, of_line = models.coefficients[FINAL, 40]
    assert of_ratings == pytest.approx([3.0, -0.25, 2.0, 0.0], abs=1e-9)
    assert of_line == pytest.approx([3.0, -0.25, 4.0 if lined == LEAST_LINES else 2.0, 0.0], abs=1e-9)
    lead = games.differentials[:, 39].astype(float)
    slope, intercept = np.polyfit(lead, games.final - lead, 1)
    assert unknown == pytest.approx([intercept, slope, 0.0, 0.0], abs=1e-9)
    slope, intercept = np.polyfit(margins, games.outcomes[:, 0], 1)
    assert models.coefficients[HALFTIME, 0, KNOWN] == pytest.approx([intercept, 0.0, slope, 0.0], abs=1e-9)
    mean = games.outcomes[:, 0].mean()
    assert models.coefficients[HALFTIME, 0, UNKNOWN] == pytest.approx([mean, 0.0, 0.0, 0.0], abs=1e-9)
    assert np.isnan(models.coefficients[HALFTIME, 24:]).all()
    assert np.isfinite(models.coefficients[HALFTIME, :24]).all()
    assert np.isfinite(models.coefficients[FINAL]).all()


def test_a_cube_that_made_games_is_found_if_it_is_fitted() -> None:
    games = random_walks(300, range(2020, 2021))
    leads = games.differentials[:, 39].astype(int) // 10 * 10
    differentials = games.differentials.copy()
    differentials[:, 39] = leads
    final = (leads - leads**3 // 1000).astype(np.int16)
    made, margins = replace(games, differentials=differentials, final=final), np.zeros(300)
    plain, cubed = fit_linear(made, margins), fit_linear(made, margins, curved=True)
    for source in (UNKNOWN, KNOWN):
        assert cubed.coefficients[FINAL, 40, source] == pytest.approx([0.0, 0.0, 0.0, -1.0], abs=1e-9)
    assert not np.nan_to_num(plain.coefficients[..., CUBE]).any()
    assert np.array_equal(cubed.coefficients[HALFTIME], plain.coefficients[HALFTIME], equal_nan=True)
    after, before = (np.abs(left(made, margins, curved=each)[:, 39, FINAL]).max() for each in (True, False))
    assert after < 0.1 * before


def test_the_correction_repairs_a_cubic_error_that_all_minutes_have_and_leaves_the_rest() -> None:
    """Here the favourite adds to a lead of either side in the square: the linear models with a cube lack that term."""
    games, chance = random_walks(2000, range(2020, 2021)), np.random.default_rng(1)
    leads, margins = chance.normal(0, 9, len(games)).round(), chance.normal(0, 6, len(games))
    final = leads + leads**2 * margins / 100 + chance.normal(0, 4, len(games))
    made = replace(
        games,
        differentials=np.repeat(leads[:, None], 48, axis=1).astype(np.int16),
        final=np.where(final.round() == 0, 1, final.round()).astype(np.int16),
    )
    plain, curved = (fit_linear(made, margins, curved=each) for each in (False, True))
    before, after = (left(made, margins, curved=each)[:, :, FINAL] for each in (False, True))
    assert after.std() < 0.8 * before.std()
    assert not plain.corrections.any()
    assert not plain.spreads.any()
    assert not curved.corrections[UNKNOWN, [1, 3, 4, 5]].any()
    assert curved.corrections[KNOWN].all()
    assert not curved.spreads[:, 0].any()
    assert (curved.spreads[:, 1:] > 0).all()
    assert np.array_equal(curved.coefficients[HALFTIME], plain.coefficients[HALFTIME], equal_nan=True)


@pytest.mark.parametrize("sign", [1, -1])
def test_similar_games_tell_what_their_residuals_have_in_common(sign: int) -> None:
    """Here games with a lead end a scale above what the linear models forecast, and trailing ones as much below."""
    past, new = walked(600), walked(100, seed=9)
    residuals = np.stack([sign * np.sign(past.games.levels[:, minute - 1]) for _, minute in CASES], axis=1)
    database = database_of(past, residuals, groups=60, nearest=3)
    for minute in (10, MAX_SLOTS):
        rows = rows_of(new, minute)
        means = database.histograms(1, minute, database.nearest(rows)) @ BIN_CENTERS
        far = np.abs(rows.patterns[:, -1]) > 8
        assert means[far] == pytest.approx(sign * np.sign(rows.patterns[far, -1]), abs=0.45)


def test_intervals_and_probabilities_hold_on_games_that_were_not_seen() -> None:
    past, unseen = rated_walks(700, range(2020, 2023), 0), rated_walks(1000, range(2023, 2024), 5)
    models, tables = Ensemble(fit_linear(*past, curved=True)), fit_tables(past, past.margins)
    points = linear_points(models.linear, unseen)
    for with_live in (False, True):
        served = ServedTables.of_source(models, tables, MarginSource.KNOWN, unseen, with_live=with_live)
        assert served.use_live is with_live
        for index, minute in ((0, 6), (0, 18), (1, 12), (1, 36), (1, 44), (1, 47)):
            _, made = served.distribution(points, unseen.margins, index, minute)
            outcomes = unseen.games.outcomes[:, index]
            assert_intervals_hold(made, outcomes, errors=4)
            assert made.home_leads.mean() == pytest.approx((outcomes > 0).mean(), abs=0.04)
            assert np.mean(made.crps(outcomes)) < np.abs(outcomes - outcomes.mean()).mean()


GAMES = with_moments(random_walks(300, range(2020, 2024)))


def test_the_tables_have_the_frequencies_of_the_games() -> None:
    model = present(fit_moments(GAMES))
    assert model.games == len(GAMES)
    row = SECONDS[Horizon.FINAL].index(60)
    leads = GAMES.differentials[:, 46]
    change = GAMES.differentials[:, 47] - leads
    tied = model.mass[Horizon.FINAL][NOT_KNOWN, row, MOST_LEAD]
    values = np.arange(-MOST_CHANGE, MOST_CHANGE + 1)
    assert tied @ values == pytest.approx(0, abs=0.3)  # the same from both sides
    assert np.sqrt(tied @ np.square(values)) == pytest.approx(
        np.sqrt(np.square(change[abs(leads) < 8]).mean()), rel=0.2
    )
    # The less time, the less changes.
    still = model.mass[Horizon.FINAL][NOT_KNOWN, :, MOST_LEAD, MOST_CHANGE]
    assert still[0] == 1
    assert (np.diff(still[1:]) < 0.02).all()
    assert model.mass[Horizon.FINAL][IN_AIR].sum(axis=-1) == pytest.approx(1, abs=1e-5)


def test_too_few_games_with_states_have_no_tables() -> None:
    moments = GAMES.moments.copy()
    moments[MIN_MOMENTS - 1 :] = no_moments(len(GAMES))[MIN_MOMENTS - 1 :]
    assert fit_moments(replace(GAMES, moments=moments)) is None
    moments[MIN_MOMENTS - 1] = GAMES.moments[MIN_MOMENTS - 1]
    assert fit_moments(replace(GAMES, moments=moments)) is not None


@pytest.fixture(scope="module")
def games() -> Games:
    return paced_games(520, range(2020, 2024))


@pytest.fixture(scope="module")
def unseen(games: Games) -> TotalGames:
    later = paced_games(1500, range(2024, 2025), seed=5)
    _, after = carry_totals(TotalFilter.start(), games)
    return total_games(later, carry_totals(after, later)[0])


def test_intervals_hold_on_games_that_were_not_seen(games: Games, unseen: TotalGames) -> None:
    model = fit_total_model(total_games(games, carry_totals(TotalFilter.start(), games)[0]))
    for index, minute in ((0, 6), (0, 18), (1, 12), (1, 36), (1, 44), (1, 47)):
        made = model.distribution(HORIZONS[index], minute, unseen.at(minute))
        # The residuals of the fit and those of the season vary independently.
        assert_intervals_hold(made, unseen.outcomes[:, index], errors=5)


def test_games_without_points_are_left_out_and_too_few_give_no_totals(games: Games) -> None:
    assert len(games) > MIN_GAMES
    missing = replace(games, final_total=games.final_total.copy())
    missing.final_total[::2] = -1
    expected, after = carry_totals(TotalFilter.start(), missing)
    assert np.isnan(expected[::2]).all()
    assert np.isfinite(expected[1::2]).all()
    assert after.date == games.date[-1]
    fitted = present(fit_totals(missing, 2, ignore))
    assert fitted.models[MarginSource.KNOWN].games == len(games) // 2
    missing.final_total[: len(games) - 900] = -1
    assert fit_totals(missing, 2, ignore) is None


def test_frozen_ratings_expect_the_same_of_a_game_however_the_season_goes(games: Games) -> None:
    _, before = carry_totals(TotalFilter.start(), games)
    season = paced_games(60, range(2024, 2025), seed=9)
    higher = replace(
        season,
        live=with_column(season, "total_points", season.totals + 40),
        final_total=season.final_total + 40,
    )
    assert np.array_equal(frozen_totals(before, season), frozen_totals(before, higher))
    one, other = (carry_totals(before, each)[0] for each in (season, higher))
    first = season.date == season.date[0]
    assert one[first] == pytest.approx(frozen_totals(before, season)[first])
    assert (other[~first] > one[~first]).mean() > 0.9
