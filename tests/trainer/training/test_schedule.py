"""The schedule of a table of games is that which a server has before each of them."""

from __future__ import annotations

import math

import numpy as np
from tests.support.builders.bundles import simulated_games

from dejavu_feed.teams import TEAMS
from dejavu_models.schedule import MAX_REST, ScheduleHistory
from dejavu_trainer.training.schedule import schedule_terms


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


def test_only_the_first_games_of_a_season_lack_a_rest() -> None:
    terms = schedule_terms(simulated_games().of_seasons([2034]))
    missing = np.isnan(terms.rest_days)
    assert missing.sum() == len(TEAMS)
    assert (terms.rest_days[~missing].min(), terms.rest_days[~missing].max()) == (0, MAX_REST)
    assert not np.isnan(terms.games_in_6_days).any()
    assert (terms.games_in_6_days >= terms.games_in_4_days).all()
    assert (terms.road_games[:, 0] == 0).all()
    assert (terms.road_games[:, 1] >= 1).all()
