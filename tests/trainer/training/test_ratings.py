"""Ratings of teams and players: fitted on earlier games, and the same in training and serving."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.box_scores import with_box_scores
from tests.support.builders.folds import random_walks
from tests.support.harness.present import present

from dejavu_feed.box_score import MARKS
from dejavu_feed.teams import TEAMS
from dejavu_models.components.component import ignore
from dejavu_models.forecaster.active_state import Expectations, RatedGame
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import RatingFilter, RatingSettings
from dejavu_trainer.data.games import Games
from dejavu_trainer.training.calibrate import frozen_before_each_season
from dejavu_trainer.training.ratings import (
    carry,
    fit_players,
    fit_ratings,
    margin_terms,
    margins_with_frozen_ratings,
    rate_players,
    rating_errors,
    seen_until,
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


SEASONS = range(2023, 2025)


GAMES = with_box_scores(random_walks(600, SEASONS))


def test_line_ups_before_a_game_do_not_depend_on_it_or_on_later_ones() -> None:
    changed = GAMES.box_scores.copy()
    changed[700:] = changed[:500]
    before, after = (rate_players(PlayerRatings(), each)[0] for each in (GAMES, replace(GAMES, box_scores=changed)))
    day = GAMES.date < GAMES.date[700]
    assert np.isfinite(before.usual[day]).any()
    np.testing.assert_array_equal(before.missing[day], after.missing[day])
    np.testing.assert_array_equal(before.usual[day], after.usual[day])


@pytest.mark.nightly
def test_a_server_expects_what_the_trainer_evaluates() -> None:
    """The finals of the second season are reported day by day; line-ups are asked for at every mark."""
    first = GAMES.season == SEASONS[0]
    past, new = GAMES.select(first), GAMES.select(~first)
    _, before = carry(RatingFilter.start(RatingSettings()), past)
    players = present(fit_players(*carry(RatingFilter.start(RatingSettings()), GAMES)[0]))
    of_teams, _ = carry(before, new)
    start = replace(rate_players(PlayerRatings(), past)[1], weights=players.weights)
    due = of_teams.margins[:, None] + rate_players(start, new)[0].added(players.weights, of_teams.margins)

    live = RatedSchedule(LiveRatings.start(before), players=start)
    told = 0
    for day in np.unique(new.date):
        expected = Expectations(live)
        rows = np.flatnonzero(new.date == day).tolist()
        for row in rows:
            game = RatedGame(str(new.home[row]), str(new.away[row]), day.item(), new.phase[row] != "RS")
            for mark, minute in enumerate(MARKS):
                line_ups = seen_until(new.box_scores[row], minute)
                terms = expected.margin_terms(game._replace(lineups=line_ups))
                assert terms.margin == pytest.approx(due[row, mark], abs=1e-6), (row, minute)
                told += terms.missing_players != 0
        for row in rows:
            lines = tuple(each.line for each in new.box_scores[row])
            of_game = (str(new.home[row]), str(new.away[row]), SEASONS[1], day.item(), float(new.final[row]))
            live = live.after(GameResult(*of_game, box_score=lines))
    assert told > len(new)
