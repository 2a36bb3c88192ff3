"""Fetches from a fake NBA statistics service: files, exclusions, retries, spacing and resuming; finals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fakes.stats_service import (
    ATTEMPTS,
    Fault,
    Killed,
    KilledAfter,
    Notes,
    PlayedOnce,
    StatsStandIn,
    cut_off,
    fetch_from,
    files_of,
    html,
    log_payload,
    plays_payload,
    rows_of,
    season_of_games,
    stall,
    status,
    text,
    truncated,
    truth,
)

from dejavu_feed.errors import DataError, FeedError, FeedUnavailable, MalformedFeed
from dejavu_feed.nba.stats_service import NbaStats
from dejavu_models.live_ratings import GameResult
from dejavu_trainer.data.fetch import FetchStopped, RetriesExhausted, RetryingClient, exclusive_lock, fetch_finals
from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import simulate_season

GAMES = season_of_games()


SECOND = GAMES[1].game_id


FILE = "plays_2025.parquet"


Spoil = Callable[[bytes], bytes]


@pytest.fixture
def service() -> Iterator[StatsStandIn]:
    with StatsStandIn(list(GAMES)) as service:
        yield service


def test_a_season_is_every_game_by_date_with_the_ids_of_the_nba(service: StatsStandIn, tmp_path: Path) -> None:
    (fetched,) = fetch_from(service, tmp_path)
    assert rows_of(tmp_path / FILE) == truth(GAMES)
    neutral = load_games(tmp_path, [2025]).neutral
    assert neutral == [game.neutral or None for game in sorted(GAMES, key=lambda game: (game.day, game.game_id))]
    assert (fetched.not_over, fetched.missing, fetched.stopped) == (0, (), "")


def test_seasons_have_the_parts_of_their_time_and_the_final_of_the_cup_is_of_the_regular_season(tmp_path: Path) -> None:
    earlier = [game for game in season_of_games(2, season=2019) if game.type != "PI"]
    final = replace(GAMES[0], game_id="0062400001", type="CUP", day=date(2024, 12, 17))
    with StatsStandIn([*GAMES, final, *earlier]) as service:
        fetch_from(service, tmp_path, seasons=[2019, 2025])
    of_cup = truth([replace(final, type="RS")])
    assert rows_of(tmp_path / "plays_2019.parquet") == truth(earlier)
    assert rows_of(tmp_path / FILE) == [*truth(GAMES), *of_cup]
    lists = [asked.what for asked in service.asked if not asked.what[0].isdigit()]
    assert lists == ["Regular Season", "Playoffs", "Regular Season", "IST", "PlayIn", "Playoffs"]


def test_killed_after_any_request_it_goes_on_to_the_same_files_and_asks_for_no_game_twice(
    service: StatsStandIn, tmp_path: Path
) -> None:
    fetch_from(service, tmp_path / "whole")
    service.asked.clear()
    out = tmp_path / "killed"
    for _ in GAMES[1:]:
        with pytest.raises(Killed):
            fetch_from(service, out, stats=KilledAfter(service, 4 + 1))  # four lists and one game
    for _ in range(2):
        fetch_from(service, out)
    assert sorted(service.plays_asked()) == sorted(game.game_id for game in GAMES)
    assert files_of(out) == files_of(tmp_path / "whole")


def test_a_later_fetch_asks_for_what_is_new_or_corrected(service: StatsStandIn, tmp_path: Path) -> None:
    corrected = replace(GAMES[0], scores=GAMES[0].scores[:-1])
    service.games = [corrected, replace(GAMES[1], over=False), *GAMES[2:-1]]
    (fetched,) = fetch_from(service, tmp_path)
    assert (fetched.not_over, fetched.missing) == (1, ())
    assert rows_of(tmp_path / FILE) == truth([corrected, *GAMES[2:-1]])
    service.games = list(GAMES)
    service.asked.clear()
    fetch_from(service, tmp_path)
    assert sorted(service.plays_asked()) == sorted(game.game_id for game in (GAMES[0], GAMES[1], GAMES[-1]))
    assert rows_of(tmp_path / FILE) == truth(GAMES)


HALF = text(json.dumps(plays_payload(replace(GAMES[1], scores=GAMES[1].scores[: len(GAMES[1].scores) // 2]))))


@pytest.mark.parametrize(
    ("faults", "asked", "reason"),
    [([status(500)] * ATTEMPTS, ATTEMPTS, "status 500, after 3 attempts"), ([HALF], 1, "its plays end with")],
)
def test_games_that_could_not_be_had_are_told_and_tried_again(
    service: StatsStandIn, tmp_path: Path, faults: list[Fault], asked: int, reason: str
) -> None:
    service.faults[SECOND] = faults
    (fetched,) = fetch_from(service, tmp_path)
    assert service.plays_asked().count(SECOND) == asked
    assert rows_of(tmp_path / FILE) == truth([game for game in GAMES if game.game_id != SECOND])
    ((game, why),) = fetched.missing
    assert (game.game_id, game.date) == (SECOND, GAMES[1].day)
    assert why.startswith(reason)
    service.asked.clear()
    (fetched,) = fetch_from(service, tmp_path)
    assert (service.plays_asked(), fetched.missing) == ([SECOND], ())
    assert rows_of(tmp_path / FILE) == truth(GAMES)


def test_faults_that_pass_leave_no_trace(service: StatsStandIn, tmp_path: Path) -> None:
    fetch_from(service, tmp_path / "without")
    service.asked.clear()
    faults = [status(403), status(429, Retry_After="0"), html(), text("{}"), truncated(), cut_off(), stall()]
    service.faults = {game.game_id: [fault] for game, fault in zip(GAMES, faults, strict=False)}
    service.faults["Regular Season"] = [text('{"resultSets": []}'), html()]
    fetch_from(service, tmp_path / "with", timeout=0.4)
    assert len(service.asked) == 4 + len(GAMES) + len(faults) + 2
    assert files_of(tmp_path / "with") == files_of(tmp_path / "without")


@pytest.mark.parametrize(
    ("games", "what"),
    [
        (season_of_games(2, season=2024)[:2], "0022300001 of another season"),
        ([game for game in GAMES if game.type == "PO"], f"{GAMES[-1].game_id} of another part of the season"),
    ],
)
def test_a_list_of_another_season_is_not_believed(
    service: StatsStandIn, tmp_path: Path, games: list[PlayedOnce], what: str
) -> None:
    service.faults["Regular Season"] = [text(json.dumps(log_payload(games, "2024-25", "Regular Season")))]
    notes = Notes()
    fetch_from(service, tmp_path, notes=notes)
    assert notes.waits == [(0.0, f"holds game {what}")]
    assert rows_of(tmp_path / FILE) == truth(GAMES)


def test_a_service_that_answers_no_more_is_left_alone(tmp_path: Path) -> None:
    games = season_of_games(20)
    with StatsStandIn(list(games)) as service:
        service.faults |= {game.game_id: [status(403)] * 99 for game in games[3:]}
        with pytest.raises(FetchStopped, match="2024-25: no valid response for 10 games in a row; try again later"):
            fetch_from(service, tmp_path)
        assert rows_of(tmp_path / FILE) == truth(games[:3])
        assert len(service.plays_asked()) == 3 + 10 * ATTEMPTS
        service.faults.clear()
        service.asked.clear()
        fetch_from(service, tmp_path)
        assert not {game.game_id for game in games[:3]} & set(service.plays_asked())
    assert rows_of(tmp_path / FILE) == truth(games)


def test_a_list_that_could_not_be_had_ends_it_and_changes_nothing(service: StatsStandIn, tmp_path: Path) -> None:
    fetch_from(service, tmp_path)
    before = files_of(tmp_path)
    service.faults["Playoffs"] = [status(403)] * ATTEMPTS
    message = "2024-25: the list of games, Playoffs, could not be fetched: status 403, after 3"
    with pytest.raises(FetchStopped, match=message):
        fetch_from(service, tmp_path)
    assert files_of(tmp_path) == before


def test_a_season_from_elsewhere_is_not_replaced_unasked(service: StatsStandIn, tmp_path: Path) -> None:
    path = write_plays(tmp_path, 2025, simulate_season(2025, games=3))
    before = path.read_bytes()
    with pytest.raises(DataError, match=f"{FILE}: already exists and was not written by fetch; use --overwrite"):
        fetch_from(service, tmp_path)
    assert (path.read_bytes(), service.asked) == (before, [])
    fetch_from(service, tmp_path, overwrite=True)
    assert rows_of(path) == truth(GAMES)


def test_two_fetches_into_one_folder_do_not_mix(service: StatsStandIn, tmp_path: Path) -> None:
    with exclusive_lock(tmp_path), pytest.raises(DataError, match="another fetch is running there"):
        fetch_from(service, tmp_path)
    assert service.asked == []


@pytest.mark.parametrize("spoil", [lambda kept: kept[:-9], lambda kept: b"{}", lambda kept: b""])
def test_a_spoilt_kept_game_is_asked_for_again(service: StatsStandIn, tmp_path: Path, spoil: Spoil) -> None:
    fetch_from(service, tmp_path)
    before = files_of(tmp_path)
    path = tmp_path / "fetched" / "2024-25" / f"{SECOND}.json.gz"
    path.write_bytes(spoil(path.read_bytes()))
    service.asked.clear()
    fetch_from(service, tmp_path)
    assert service.plays_asked() == [SECOND]
    assert files_of(tmp_path) == before


NEUTRAL = GAMES[1]


NEXT = season_of_games(4, season=2026, seed=2)


SUMMER = date(2026, 7, 1)


@pytest.fixture
def two_seasons(service: StatsStandIn) -> StatsStandIn:
    service.games += NEXT
    return service


def results(games: Sequence[PlayedOnce]) -> list[GameResult]:
    return [game.result for game in sorted(games, key=lambda game: (game.day, game.game_id))]


def finals_from(
    service: StatsStandIn,
    folder: Path,
    *,
    today: date = SUMMER,
    seasons: Sequence[int] = (2025, 2026),
    notes: Notes | None = None,
) -> tuple[list[GameResult], list[str]]:
    notes = notes or Notes()
    with closing(NbaStats(service.url, timeout=5.0)) as stats:
        return fetch_finals(stats, seasons, today, folder, notes.client(), notes.said.append)


def test_finals_without_a_result_or_a_host_are_left_out_and_count_later(service: StatsStandIn, tmp_path: Path) -> None:
    service.games[0] = replace(GAMES[0], over=False)
    service.faults[NEUTRAL.game_id] = [status(404)]
    found, left_out = finals_from(service, tmp_path)
    assert found == results(GAMES[2:])
    assert [each[:10] for each in left_out] == [GAMES[0].game_id, NEUTRAL.game_id]
    service.games[0] = GAMES[0]
    assert finals_from(service, tmp_path) == (results(GAMES), [])
    service.asked.clear()
    finals_from(service, tmp_path)
    assert service.plays_asked() == [], "the plays are kept"


def test_a_season_that_has_not_begun_has_none_and_games_of_today_count_tomorrow(
    two_seasons: StatsStandIn, tmp_path: Path
) -> None:
    last = max(game.day for game in NEXT)
    for today in (last, last + timedelta(days=1)):
        finals = finals_from(two_seasons, tmp_path, today=today, seasons=[2026, 2027])
        assert finals == (results([game for game in NEXT if game.day < today]), [])


class Time:
    """Fake clock that advances during sleeps and requests."""

    def __init__(self, chance: float = 1.0) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.notes = Notes()
        self.chance = chance

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def asker(self, **options: Any) -> RetryingClient:
        clock: dict[str, Any] = {"clock": lambda: self.now, "sleep": self.sleep, "chance": lambda: self.chance}
        return RetryingClient(self.notes.waiting, **clock, **options)


def failing(*errors: FeedError) -> Callable[[], str]:
    """Return a request that raises these errors, one per call, and then succeeds."""
    left = list(errors)

    def question() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return question


OUTCOMES = (None, MalformedFeed("garbage"), FeedUnavailable("403"), FeedUnavailable("429", retry_after=1.0))


@given(
    requests=st.lists(st.tuples(st.floats(0, 40), st.sampled_from(OUTCOMES)), max_size=30),
    chance=st.floats(0, 1),
    first_wait=st.floats(0, 3),
)
def test_between_any_two_requests_there_is_the_spacing(
    requests: list[tuple[float, FeedError | None]], chance: float, first_wait: float
) -> None:
    """Holds for any durations and failures, and before the first request, since a fetch may just have been killed."""
    time = Time(chance)
    asker = time.asker(spacing=0.6, max_attempts=3, first_wait=first_wait)
    asked = [(time.now, time.now)]

    def question() -> None:
        took, error = requests.pop(0) if requests else (0.0, None)
        time.now += took
        asked.append((time.now - took, time.now))
        if error is not None:
            raise error

    while requests:
        try:
            asker.call(question)
        except RetriesExhausted:
            time.now += 0.1
    assert all(then - ended >= 0.6 - 1e-9 for (_, ended), (then, _) in pairwise(asked))


def test_a_wait_of_an_hour_that_the_service_asks_for_ends_the_fetch() -> None:
    with pytest.raises(FetchStopped, match="asks to retry in 60 min"):
        Time().asker().call(Mock(side_effect=FeedUnavailable("status 429", retry_after=3600.0)))


@given(chance=st.floats(0, 1))
def test_another_try_waits_twice_as_long_up_to_a_minute_and_chance_takes_at_most_half(chance: float) -> None:
    time = Time(chance)
    errors = [FeedUnavailable(f"status {code}") for code in (403, 429, 500, 503, 403, 500, 500)]
    assert time.asker(spacing=0.0, max_attempts=8).call(failing(*errors)) == "answer"
    longest = [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert all(most / 2 <= slept <= most for slept, most in zip(time.slept, longest, strict=True))
    assert time.notes.waits[0] == (time.slept[0], "status 403")


def test_what_the_service_says_is_waited_for() -> None:
    time = Time()
    told = [FeedUnavailable("status 429", retry_after=45.0), FeedUnavailable("status 429", retry_after=0.0)]
    time.asker(spacing=0.0).call(failing(*told))
    assert time.slept == [45.0, 4.0]
