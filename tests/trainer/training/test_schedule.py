"""The schedule of a table of games is that which a server has before each of them."""

from __future__ import annotations

import math

import numpy as np
from tests.support.builders.bundles import simulated_games

from dejavu_feed.teams import TEAMS
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import MAX_REST, ScheduleHistory, game_terms
from dejavu_models.team_filter import RatingSettings
from dejavu_trainer.training.ratings import margin_terms, schedule_terms


def before_all() -> RatingFilter:
    return RatingFilter.start(RatingSettings()).predict(2032, np.datetime64("2032-06-01"))


def test_a_table_has_the_terms_that_a_server_has_before_each_game() -> None:
    games = simulated_games().of_seasons([2033, 2034])
    terms, history = schedule_terms(games), ScheduleHistory()
    for game in range(len(games)):
        day, home, away = games.date[game].item(), str(games.home[game]), str(games.away[game])
        live = history.before(day, home, away)
        for side, team in enumerate((live.home, live.away)):
            for name, value in team._asdict().items():
                found = getattr(terms, name)[game, side]
                assert math.isnan(found) if value is None else found == value
        assert terms.altitude[game] == live.altitude
        history = history.after(day, home, away)


def test_the_terms_of_margins_are_those_that_a_server_has_before_each_game() -> None:
    games = simulated_games().of_seasons([2033, 2034])
    games.phase[-30:] = ["PI"] * 4 + ["PO"] * 26
    live, found = RatedSchedule(LiveRatings.start(before_all())), margin_terms(games)
    for game in range(len(games)):
        day, home, away = games.date[game].item(), str(games.home[game]), str(games.away[game])
        schedule, is_playoffs = live.schedule.before(day, home, away), game >= len(games) - 30
        assert found[game] == game_terms(schedule, home, is_playoffs=is_playoffs)
        live = live.after(GameResult(home, away, int(games.season[game]), day, 1.0, is_playoffs))
    columns = np.array(found)
    assert set(columns[:, 0]) == {1}
    assert set(columns[:, 1]) == {-1, 0, 1}
    assert columns[:, 2].min() < 0 < columns[:, 2].max()
    assert columns[:, 3].sum() == 30
    assert (columns[:, 4] == np.isin(games.home, ["DEN", "UTA"])).all()


def test_only_the_first_games_of_a_season_lack_a_rest() -> None:
    terms = schedule_terms(simulated_games().of_seasons([2034]))
    missing = np.isnan(terms.rest_days)
    assert missing.sum() == len(TEAMS)
    assert (terms.rest_days[~missing].min(), terms.rest_days[~missing].max()) == (0, MAX_REST)
    assert not np.isnan(terms.games_in_6_days).any()
    assert (terms.games_in_6_days >= terms.games_in_4_days).all()
    assert (terms.road_games[:, 0] == 0).all()
    assert (terms.road_games[:, 1] >= 1).all()
