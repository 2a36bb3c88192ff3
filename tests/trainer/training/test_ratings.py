from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from tests.support.builders.bundles import simulated_games
from tests.support.builders.random_walks import random_walks

from dejavu_feed.teams import TEAMS
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import game_terms
from dejavu_models.team_filter import RatingSettings
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import ignore
from dejavu_trainer.training.calibrate import frozen_before_each_season
from dejavu_trainer.training.ratings import (
    carry,
    fit_ratings,
    margin_terms,
    margins_with_frozen_ratings,
    rating_errors,
)


def with_strengths(count: int, seasons: range, spread: float, noise: float, seed: int = 0) -> tuple[Games, np.ndarray]:
    """Return games between teams of constant strength, and expected margins with 3 points of home advantage."""
    games = random_walks(count, seasons, seed)
    rng = np.random.default_rng(seed + 1)
    strength = dict(zip(sorted(TEAMS), rng.normal(0, spread, len(TEAMS)), strict=True))
    expected = np.array(
        [3 + strength[home] - strength[away] for home, away in zip(games.home, games.away, strict=True)]
    )
    final = np.rint(expected + rng.normal(0, noise, len(games))).astype(np.int16)
    final[final == 0] = 1
    return replace(games, final=final), expected


def test_strengths_that_made_games_are_found() -> None:
    games, expected = with_strengths(500, range(2020, 2022), spread=8, noise=6)
    rated, _ = carry(RatingFilter.start(fit_ratings(games, 20, ignore)), games)
    later = slice(700, None)
    assert np.corrcoef(rated.margins[later], expected[later])[0, 1] > 0.95
    assert np.abs(rated.margins[later] - expected[later]).mean() < 3


def test_what_is_expected_of_a_game_does_not_depend_on_it_or_on_later_ones() -> None:
    games, _ = with_strengths(200, range(2020, 2021), spread=5, noise=8)
    changed = replace(games, final=games.final.copy())
    day = games.date[120]
    changed.final[games.date >= day] += 40
    start = RatingFilter.start(RatingSettings())
    upto = games.date <= day
    margins, other_margins = (carry(start, each)[0].margins for each in (games, changed))
    assert np.array_equal(margins[upto], other_margins[upto])
    assert not np.array_equal(margins, other_margins)


def test_a_single_season_keeps_what_only_several_can_tell() -> None:
    games, _ = with_strengths(120, range(2020, 2021), spread=5, noise=8)
    found = fit_ratings(games, 15, ignore)
    assert (found.carry, found.seasonal) == (RatingSettings().carry, RatingSettings().seasonal)
    assert found.noise != RatingSettings().noise


@pytest.mark.nightly
def test_errors_stand_beside_those_of_the_home_advantage_alone() -> None:
    games, _ = with_strengths(500, range(2020, 2023), spread=8, noise=5)
    start = RatingFilter.start(fit_ratings(games.of_seasons([2020]), 20, ignore))
    past, before = carry(start, games.of_seasons([2020, 2021]))
    new, _ = carry(before, games.of_seasons([2022]))
    errors = rating_errors(past.games, before, new)
    assert errors["carried"] == pytest.approx(
        (np.abs(new.games.final - new.margins).mean(), np.sqrt(np.square(new.games.final - new.margins).mean()))
    )
    assert errors["carried"][0] < errors["frozen"][0] < errors["constant"][0]
    assert errors["constant"][0] == pytest.approx(np.abs(new.games.final - past.games.final.mean()).mean())
    assert "line" not in errors
    line = (new.games.final + 3).astype(np.float32)
    line[::2] = np.nan
    lined = new._replace(games=replace(new.games, line=line))
    assert rating_errors(past.games, before, lined)["line"] == pytest.approx((3.0, 3.0))


def test_ratings_that_stand_still_know_a_season_only_up_to_its_start() -> None:
    games, _ = with_strengths(200, range(2020, 2023), spread=8, noise=6)
    start = RatingFilter.start(fit_ratings(games, 5, ignore))
    _, before = carry(start, games.of_seasons([2020]))
    later = games.of_seasons([2021, 2022])
    standing = margins_with_frozen_ratings(before, later)
    first = later.season == 2021
    one = before.predict(2021)
    other = carry(before, later.select(first))[1].predict(2022)
    for state, which in ((one, first), (other, ~first)):
        season = later.select(which)
        games_of = zip(season.home.tolist(), season.away.tolist(), margin_terms(season), strict=True)
        assert standing[which] == pytest.approx([state.expected(*game)[0] for game in games_of])
    rated, _ = carry(start, games)
    first_carried = np.concatenate([rated.margins[games.season == 2020], standing])
    assert np.array_equal(frozen_before_each_season(start, rated), first_carried)


def test_the_terms_of_margins_are_those_that_a_server_has_before_each_game() -> None:
    games = simulated_games().of_seasons([2033, 2034])
    games.phase[-30:] = ["PI"] * 4 + ["PO"] * 26
    before = RatingFilter.start(RatingSettings()).predict(2032, date(2032, 6, 1))
    live, found = RatedSchedule(LiveRatings.start(before)), margin_terms(games)
    for game in range(len(games)):
        day, home, away = games.date[game].item(), str(games.home[game]), str(games.away[game])
        schedule, is_playoffs = live.schedule.before(day, home, away), game >= len(games) - 30
        assert found[game] == game_terms(schedule, home, is_playoffs=is_playoffs)
        live = live.after(GameResult(home, away, int(games.season[game]), day, 1.0, is_playoffs))
    assert all(len(set(values)) > 1 for values in np.array(found).T[1:])
