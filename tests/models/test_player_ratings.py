"""Ratings of players from box scores, and the effect of a missing player."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dejavu_feed.box_score import Lineups, PlayerLine, lineups
from dejavu_models.forecaster.active_state import Expectations, RatedGame
from dejavu_models.live_ratings import RatedSchedule
from dejavu_models.player_ratings import (
    KNOWN_AFTER,
    MAX_RATED,
    LineupDifferences,
    LineupWeights,
    PlayerRating,
    PlayerRatings,
)
from dejavu_models.ratings import RatingFilter

SEASON = 2034


BOS, LAL = list(range(1, 11)), list(range(101, 111))


STAR = BOS[0]
"""BOS win by 6 points with him, all in his minutes, and lose by 8 without him."""


def box_score(*, star: bool = True) -> tuple[PlayerLine, ...]:
    """Starters play 30 minutes, the others 18; without the star, the sixth man starts."""
    lines = []
    for home, players in ((True, BOS), (False, LAL)):
        playing = players if star or not home else players[1:]
        for place, player in enumerate(playing):
            seconds, sign = 1800 if place < 5 else 1080, 1 if home else -1
            plus_minus = (6 if player == STAR else 3 if star else -4) * sign
            lines.append(PlayerLine(player, home, seconds, plus_minus, place < 5))
    return tuple(lines)


def season(games: int, *, season: int = SEASON, start: PlayerRatings | None = None) -> PlayerRatings:
    """Ratings after some games; in every eighth the star is missing."""
    state = start or PlayerRatings(weights=LineupWeights(1.0, 0.3, -0.2))
    for game in range(games):
        there = game % 8 != 3
        state = state.after("BOS", "LAL", season, 6.0 if there else -8.0, box_score(star=there))
    return state


def seen(home: Sequence[int], away: Sequence[int] = LAL, minute: int = 0) -> Lineups:
    return lineups(home[:5], away[:5], home, away, minute)


def test_who_plays_counts_once_both_teams_have_some_games_of_the_season() -> None:
    before, after = season(KNOWN_AFTER - 1), season(KNOWN_AFTER)
    assert not before.knows("BOS", "LAL", SEASON)
    assert after.knows("BOS", "LAL", SEASON)
    assert not after.knows("BOS", "NYK", SEASON)
    assert not after.knows("BOS", "LAL", SEASON + 1)


def test_the_full_usual_line_up_has_no_effect_at_all() -> None:
    """Its value by minutes and by usual shares differs by a rounding error, which once counted as missing players."""
    teams = RatingFilter.start().predict(SEASON, date(2033, 11, 1)).update("BOS", "LAL", 5)
    state = season(40)
    as_usual = {number: known._replace(usual=0.7 * known.minutes) for number, known in state.players.items()}
    expected = Expectations(RatedSchedule.start(teams, players=replace(state, players=as_usual)))
    full, without = (
        expected.margin_terms(RatedGame("BOS", "LAL", None, lineups=lineups(home[:5], LAL[:5], home, LAL, 0)))
        for home in (BOS, BOS[1:])
    )
    assert full.missing_players == 0
    assert without.missing_players < -0.5
    assert (full.home_missing, without.home_missing, full.usual_players) == (0, 1, without.usual_players)


def test_a_game_that_goes_as_expected_changes_no_rating() -> None:
    """Ten players a team play 24 minutes each; those of BOS are 2 points a player better, and at home 2.5 in all."""
    known = {player: PlayerRating("BOS", 2.0, 6.0, 0.5, 0.5, 0.5, SEASON) for player in BOS}
    known |= {player: PlayerRating("LAL", 0.0, 6.0, 0.5, 0.5, 0.5, SEASON) for player in LAL}
    lines = [PlayerLine(player, player in BOS, 1440, 6.25 if player in BOS else -6.25, False) for player in known]  # type: ignore[arg-type]
    after = PlayerRatings(known, season=SEASON).after("BOS", "LAL", SEASON, 5 * 2.0 + 2.5, lines)
    assert {player: each.rating for player, each in after.players.items()} == pytest.approx(
        {player: each.rating for player, each in known.items()}
    )


def test_a_usual_player_not_seen_yet_counts_less_the_later_it_is() -> None:
    early, late = np.full((2, 7, 2, 4), 0.9), np.full((2, 7, 2, 4), 0.1)
    state = replace(season(40), plays=np.concatenate([early, late]))
    at_tip_off, at_half_time = (state.differences("BOS", "LAL", seen(BOS[1:6], minute=minute)) for minute in (0, 24))
    assert at_half_time.missing < at_tip_off.missing


def test_players_who_change_teams_leave_the_usual_line_up_of_the_old_one() -> None:
    state = season(20)
    moved = tuple(line._replace(player=STAR) if line.player == LAL[0] else line for line in box_score(star=False))
    after = state.after("BOS", "LAL", SEASON, -5.0, moved)
    assert STAR in dict(state.usual("BOS"))
    assert STAR not in dict(after.usual("BOS"))
    assert STAR in dict(after.usual("LAL"))


def test_games_without_a_box_score_and_of_earlier_seasons_change_nothing() -> None:
    state = season(5)
    assert state.after("BOS", "LAL", SEASON, 6.0, ()) is state
    assert state.after("BOS", "LAL", SEASON - 1, 6.0, box_score()) is state


def test_a_new_season_regresses_players_and_counts_games_anew() -> None:
    state = season(40)
    later = state.before(SEASON + 1)
    assert later.games == {}
    assert 0 < abs(later.players[STAR].rating) < abs(state.players[STAR].rating)
    assert later.players[STAR].usual < state.players[STAR].usual
    assert later.before(SEASON + 3).players == {}, "nobody is remembered who missed two seasons"
    assert state.before(SEASON + 3).players == {}, "nor in one step"
    assert replace(state, season=1).after("BOS", "LAL", SEASON, 6.0, box_score()).season == SEASON


def test_a_new_player_takes_the_place_of_the_least_usual_but_of_nobody_on_court() -> None:
    state = season(3)
    last = state.players[LAL[-1]]
    crowd = {10_000 + number: last for number in range(MAX_RATED - len(state.players) - 1)}
    known = {LAL[-1]: last._replace(usual=0.0, rating=50.0), 9_999: last._replace(usual=0.01)}
    full = replace(state, players={**state.players, **crowd, **known})
    new = tuple(line._replace(player=0) if line.player == BOS[-1] else line for line in box_score())
    after = full.after("BOS", "LAL", SEASON, 6.0, new).players
    assert full.players.keys() - after.keys() == {9_999}
    assert after[LAL[-1]].rating > 40


@given(st.lists(st.sampled_from(BOS), min_size=5, unique=True), st.lists(st.sampled_from(LAL), min_size=5, unique=True))
@settings(deadline=None, max_examples=50)
def test_line_ups_seen_from_the_other_side_are_worth_the_opposite(home: list[int], away: list[int]) -> None:
    state = season(12)
    one = state.differences("BOS", "LAL", lineups(home[:5], away[:5], home, away, 12))
    other = state.differences("LAL", "BOS", lineups(away[:5], home[:5], away, home, 12))
    assert one == pytest.approx([-each for each in other])


@pytest.mark.parametrize(
    ("missing", "usual", "due"),
    [(-2.0, 3.0, (-1.6, 0.5)), (-40.0, 3.0, (-12.0, 0.5)), (40.0, 90.0, (12.0, 8.0)), (0.0, -90.0, (0.0, -8.0))],
)
def test_what_line_ups_add_is_limited(missing: float, usual: float, due: tuple[float, float]) -> None:
    weights = LineupWeights(missing=0.8, usual=0.3, margin=-0.2)
    assert weights.points(LineupDifferences(missing, usual), 2.0) == pytest.approx(due)
