"""nba_api against a fake statistics service: requests, and what a status says; other faults: test_live_feed.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from tests.support.fakes.stats_service import StatsStandIn, log_payload, plays_payload, season_of_games, status

from dejavu_feed.errors import FeedUnavailable
from dejavu_feed.nba.stats_service import NbaStats

GAMES = season_of_games(2)
GAME = GAMES[0]


@pytest.fixture
def service() -> Iterator[StatsStandIn]:
    with StatsStandIn(list(GAMES)) as service:
        yield service


@pytest.fixture
def stats(service: StatsStandIn) -> Iterator[NbaStats]:
    with closing(NbaStats(service.url, timeout=0.3, limit=0.5)) as stats:
        yield stats


def test_it_asks_for_a_list_and_for_plays(stats: NbaStats) -> None:
    listed = log_payload([game for game in GAMES if game.type == "PO"], "2024-25", "Playoffs")
    assert stats.game_log("2024-25", "Playoffs") == listed
    assert stats.plays(GAME.game_id) == plays_payload(GAME)


@pytest.mark.parametrize(
    ("code", "passing"), [(403, True), (408, True), (429, True), (500, True), (503, True), (400, False), (404, False)]
)
def test_a_status_says_whether_to_ask_again(
    service: StatsStandIn, stats: NbaStats, code: int, *, passing: bool
) -> None:
    service.faults[GAME.game_id] = [status(code)]
    with pytest.raises(FeedUnavailable, match=f"status {code}") as found:
        stats.plays(GAME.game_id)
    assert found.value.transient is passing
    assert stats.plays(GAME.game_id) == plays_payload(GAME)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7.0, 7.0),
        ("in an hour", 3000.0, 3600.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0, 0.0),
        *((other, None, None) for other in ("", "soon", "-3", "1e3")),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_anything_else_none(
    service: StatsStandIn, stats: NbaStats, header: str, least: float | None, most: float | None
) -> None:
    if header == "in an hour":
        header = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    service.faults[GAME.game_id] = [status(429, Retry_After=header)]
    with pytest.raises(FeedUnavailable) as found:
        stats.plays(GAME.game_id)
    after = found.value.retry_after
    assert after is None if least is None or most is None else after is not None and least <= after <= most


def test_without_an_address_it_asks_whom_nba_api_does(service: StatsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from nba_api.stats.library.http import NBAStatsHTTP

    assert NBAStatsHTTP.base_url == "https://stats.nba.com/stats/{endpoint}"
    monkeypatch.setattr(NBAStatsHTTP, "base_url", service.url + "/stats/{endpoint}")
    with closing(NbaStats()) as stats:
        assert stats.plays(GAME.game_id) == plays_payload(GAME)
