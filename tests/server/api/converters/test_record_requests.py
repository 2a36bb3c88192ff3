"""Reading of the record service's requests, and the errors of invalid ones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu_ledger.queries.pages import ForecastFilter
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_models.errors import InvalidInput
from dejavu_models.scorecard.cards import LeaderboardMetric
from dejavu_models.types import Horizon
from dejavu_server.api.converters import record_requests as requests
from dejavu_server.api.errors import MAX_TEXT

GAME = "0022500001"
NOW = datetime(2026, 1, 14, 3, 0, tzinfo=UTC)
HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
DAY = date(2026, 1, 13).toordinal()


def time(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=seconds, nanos=nanos)


SECONDS = int(NOW.timestamp())


def test_an_outcome_is_read_with_its_teams_by_their_codes() -> None:
    seen = time(SECONDS - 60, 123_456_789)
    request = pb.ReportOutcomeRequest(
        game_id=GAME, horizon=HORIZON_FINAL, differential=-7, home_team="brk", away_team="BOS", observed_time=seen
    )
    told = requests.outcome(request, NOW)
    assert (told.game_id, told.horizon, told.differential) == (GAME, FINAL, -7)
    assert (told.home_team, told.away_team) == ("BKN", "BOS")
    assert told.observed_time == NOW - timedelta(seconds=60) + timedelta(microseconds=123_456)
    assert (told.sequence, told.revision) == (0, 0)


def test_an_outcome_may_be_bare_and_is_then_observed_now() -> None:
    told = requests.outcome(report(), NOW)
    assert (told.horizon, told.differential, told.home_team, told.away_team) == (HALF, 0, "", "")
    assert told.observed_time == told.recorded_time == NOW


def test_a_clock_that_is_a_little_ahead_is_no_future() -> None:
    told = requests.outcome(report(observed_time=time(SECONDS + 60)), NOW)
    assert told.observed_time == NOW + timedelta(minutes=1)


def test_every_condition_of_a_list_is_read() -> None:
    request = pb.ListPredictionsRequest(
        page_size=500,
        page_token="abc",
        from_date="2026-01-13",
        to_date="2026-01-14",
        team="pho",
        horizon=HORIZON_HALFTIME,
        min_confidence=0.75,
        settled=False,
        model_version="v1",
        elapsed_minutes=18,
        include_superseded=True,
        include_replays=True,
        return_explanation=True,
    )
    wanted = ForecastFilter(
        horizon=HALF,
        first_day=DAY,
        last_day=DAY + 1,
        team="PHX",
        min_confidence=0.75,
        settled=False,
        model_version="v1",
        minute=18,
        superseded=True,
        replays=True,
    )
    expected = {"filter_": wanted, "token": "abc", "size": 500, "explanation": True}
    assert requests.list_query(request).keywords == expected


def test_every_condition_of_a_scorecard_is_read() -> None:
    told = pb.ScoreFilter(
        model_version="v1",
        horizon=HORIZON_FINAL,
        from_date="2026-01-13",
        to_date="2026-01-13",
        min_minutes=6,
        max_minutes=6,
        include_replays=True,
        team="pho",
        game_id=GAME,
        min_confidence=0.75,
    )
    expected = ScoreFilter(
        horizon=FINAL,
        model_version="v1",
        first_day=DAY,
        last_day=DAY,
        min_minutes=6,
        max_minutes=6,
        replays=True,
        team="PHX",
        game_id=GAME,
        min_confidence=0.75,
    )
    assert requests.scorecard_query(pb.GetScorecardRequest(filter=told, limit=7)) == (expected, 7)


def test_a_leaderboard_is_of_a_hundred_games_unless_told_otherwise() -> None:
    request = pb.GetLeaderboardRequest(filter=pb.ScoreFilter(horizon=HORIZON_HALFTIME))
    for number, metric in zip(pb.LeaderboardMetric.values()[1:], LeaderboardMetric, strict=True):
        request.metric = number
        assert requests.leaderboard_query(request) == requests.LeaderboardQuery(ScoreFilter(), metric, 100, 0)


def report(**fields: Any) -> pb.ReportOutcomeRequest:
    return pb.ReportOutcomeRequest(**{"game_id": GAME, "horizon": HORIZON_HALFTIME, **fields})


SEEN = time(int(datetime(2024, 10, 23, 2, 0, tzinfo=UTC).timestamp()))
"""On 22 October 2024 in New York; `NOW` is on 13 January 2026."""

OF_OTHER_SEASONS = [
    ("0024500001", None, "game_id", "INVALID_GAME_ID", "of the season 2045–46, observed on 2026-01-13", "25 as its"),
    ("0022400001", None, "game_id", "INVALID_GAME_ID", "of the season 2024–25", "from 2024-08-01 to 2025-10-31"),
    ("0029900001", None, "game_id", "INVALID_GAME_ID", "of the season 1999–00", "from 1999-08-01 to 2000-10-31"),
    ("0012600001", None, "game_id", "INVALID_GAME_ID", "of the season 2026–27", "from 2026-08-01 to 2027-10-31"),
    ("0022500001", SEEN, "observed_time", "INVALID_TIME", "2024-10-22, but game 0022500001", "from 2025-08-01"),
    ("0024500001", SEEN, "observed_time", "INVALID_TIME", "of the season 2045–46", "23 or 24 as its digits 4 and 5"),
]


@pytest.mark.parametrize(("game_id", "seen", "field", "reason", "found", "expected"), OF_OTHER_SEASONS)
def test_an_outcome_under_an_id_of_another_season_than_its_time_is_refused(
    game_id: str, seen: Timestamp | None, field: str, reason: str, found: str, expected: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        requests.outcome(report(game_id=game_id, observed_time=seen), NOW)
    error = caught.value
    assert (error.field, error.reason, error.others) == (field, reason, ())
    assert found in error.found
    assert expected in error.expected
    assert len(str(error).encode()) <= MAX_TEXT


@pytest.mark.parametrize(
    ("game_id", "seen"),
    [("0022400001", SEEN), ("0042300001", SEEN), ("0022500001", None), ("9900000001", None), ("9945000001", SEEN)],
)
def test_an_outcome_of_the_season_of_its_time_or_of_a_replay_is_read(game_id: str, seen: Timestamp | None) -> None:
    told = requests.outcome(report(game_id=game_id, observed_time=seen), NOW)
    assert told.game_id == game_id


def test_all_that_is_wrong_with_a_report_is_told_at_once() -> None:
    wrong = report(game_id="x", horizon=7, differential=999, home_team="XXX", observed_time=time(SECONDS * 2))
    with pytest.raises(InvalidInput) as caught:
        requests.outcome(wrong, NOW)
    told = [each.field for each in (caught.value, *caught.value.others)]
    assert told == ["game_id", "horizon", "differential", "home_team", "away_team", "observed_time"]
