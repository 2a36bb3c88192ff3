"""The effect of line-ups on the expected margin: fitted on earlier games, and the same in training and serving."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.box_scores import with_box_scores
from tests.support.builders.random_walks import random_walks
from tests.support.harness.present import present

from dejavu_feed.box_score import MARKS
from dejavu_models.expectations import Expectations, RatedGame
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import RatingFilter
from dejavu_models.team_filter import RatingSettings
from dejavu_trainer.training.players import fit_players, rate_players, seen_until
from dejavu_trainer.training.ratings import carry

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
