"""The schedule before a game: compared with a plain count over all games, and with a history that is too short."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dejavu_feed.off_season import season_on
from dejavu_feed.sites import HOME_CITIES, utc_offset
from dejavu_models.schedule import MAX_BREAK, MAX_REST, GameSchedule, ScheduleHistory, TeamSchedule
from dejavu_models.team_filter import CODES

Played = tuple[date, str, str]
UNKNOWN = TeamSchedule()


def seasons(seed: int, teams: int, days: int) -> list[Played]:
    """Draw the games of two seasons: up to two an evening, without a break of more than MAX_BREAK days."""
    rng, games = random.Random(seed), list[Played]()
    for opening in (date(2030, 10, 22), date(2031, 10, 24)):
        day = opening
        for _ in range(days):
            playing = rng.sample(CODES[:teams], 2 * rng.randint(1, 2))
            games += [(day, home, away) for home, away in zip(playing[::2], playing[1::2], strict=True)]
            day += timedelta(rng.choice((1, 1, 1, 1, 2, 2, 3, 7, MAX_BREAK)))
    return sorted(games)


def folded(games: list[Played]) -> ScheduleHistory:
    history = ScheduleHistory()
    for game in games:
        history = history.after(*game)
    return history


def counted(games: list[Played], code: str, game: Played) -> TeamSchedule:
    """Compute the schedule of a team by counts over all games, one field at a time."""
    day, home, _ = game
    earlier = sorted(
        each for each in games if code in each[1:] and each[0] < day and season_on(each[0]) == season_on(day)
    )
    last = earlier[-1] if earlier else None
    trip = 0
    for each in reversed([*earlier, game]):
        if each[1] == code:
            break
        trip += 1
    return TeamSchedule(
        rest_days=None if last is None else min(MAX_REST, (day - last[0]).days - 1),
        is_back_to_back=None if last is None else last[0] == day - timedelta(1),
        games_in_4_days=1 + sum((day - each[0]).days < 4 for each in earlier),
        games_in_6_days=1 + sum((day - each[0]).days < 6 for each in earlier),
        road_games=trip,
        time_zones=None if last is None else utc_offset(home, day) - utc_offset(last[1], day),
    )


@given(seed=st.integers(0, 10**6), teams=st.integers(4, 30), days=st.integers(1, 40), late=st.randoms())
@example(seed=0, teams=4, days=40, late=random.Random(1))
def test_it_is_what_a_count_over_all_games_says_in_whatever_order_a_day_is_reported(
    seed: int, teams: int, days: int, late: random.Random
) -> None:
    games = seasons(seed, teams, days)
    reported = sorted(games, key=lambda each: (each[0], late.random()))
    history = ScheduleHistory()
    for game in reported:
        _, home, away = game
        due = GameSchedule(counted(games, home, game), counted(games, away, game), HOME_CITIES[home].altitude)
        assert history.before(*game) == due
        history = history.after(*game)
        assert history.before(*game) == due, "a game does not count for its own day"
    assert history == folded(games)


def test_a_final_that_is_reported_late_counts_as_if_it_had_been_in_time() -> None:
    games = seasons(3, 8, 20)[:20]
    assert folded([*games[:4], *games[5:], games[4]]) == folded(games)


@pytest.mark.parametrize(
    "history", [ScheduleHistory(), folded([(date(2030, 11, 1), "BOS", "LAL")])], ids=["none", "old"]
)
def test_a_history_that_ends_too_long_before_a_game_says_nothing_of_its_teams(history: ScheduleHistory) -> None:
    """In so many days there were other games, which the history does not know."""
    assert history.before(date(2031, 1, 20), "DEN", "BOS") == GameSchedule(UNKNOWN, UNKNOWN, altitude=1609)


def test_a_server_that_starts_in_january_knows_what_lies_after_its_first_final() -> None:
    start = date(2031, 1, 10)
    history = folded(
        [(start, "BOS", "LAL"), (start + timedelta(1), "NYK", "LAL"), (start + timedelta(3), "MIA", "LAL")]
    )
    fourth = history.before(start + timedelta(4), "LAL", "BOS")
    assert fourth.home == TeamSchedule(0, True, 3, None, 0, -3)
    assert fourth.away == TeamSchedule(3, False, 1, None, 1, -3)
    later = history.before(start + timedelta(5), "DEN", "LAL")
    assert later.away == TeamSchedule(1, False, 2, 4, None, -2)
    after = history.after(start + timedelta(6), "LAL", "BOS").before(start + timedelta(8), "SAC", "LAL")
    assert after.away.road_games == 1


def test_a_break_of_the_season_is_no_hole_and_a_longer_one_is() -> None:
    games = [(date(2031, 1, 1), "BOS", "LAL"), (date(2031, 1, 3), "BOS", "NYK")]
    for days, rest in ((MAX_BREAK, MAX_REST), (MAX_BREAK + 1, None)):
        resumed = date(2031, 1, 3) + timedelta(days)
        history = folded([(date(2030, 10, 22), "MIA", "ORL"), *games, (resumed, "MIA", "ORL")])
        assert folded(games).before(resumed, "BOS", "LAL").home.rest_days == rest
        assert history.before(resumed + timedelta(1), "BOS", "LAL").home.rest_days == rest


def test_games_of_an_earlier_season_or_from_before_a_hole_change_nothing() -> None:
    history = folded([(date(2031, 1, 10), "BOS", "LAL")])
    assert history.after(date(2030, 4, 1), "BOS", "NYK") == history
    assert history.after(date(2031, 1, 9), "BOS", "NYK") == history


def test_no_number_of_reports_fills_the_memory() -> None:
    history = folded([(date(2031, 1, 10) + timedelta(day // 30), "BOS", "LAL") for day in range(1000)])
    assert {len(games) for games in history.games.values()} == {128}


def test_teams_that_are_none_are_refused() -> None:
    with pytest.raises(KeyError):
        ScheduleHistory().before(date(2030, 10, 22), "XXX", "BOS")
