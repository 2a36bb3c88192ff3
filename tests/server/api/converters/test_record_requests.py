"""Reading of the record service's requests; invalid fields are in the table of bad requests."""

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
SECONDS = int(NOW.timestamp())
DAY = date(2026, 1, 13).toordinal()


def report(**fields: Any) -> pb.ReportOutcomeRequest:
    return pb.ReportOutcomeRequest(**{"game_id": GAME, "horizon": HORIZON_HALFTIME, **fields})


def test_an_outcome_is_read_with_its_teams_by_their_codes_and_may_be_bare() -> None:
    seen = Timestamp(seconds=SECONDS + 60, nanos=123_456)  # a clock that is a little ahead is no future
    told = requests.outcome(
        report(horizon=HORIZON_FINAL, differential=-7, home_team="brk", away_team="BOS", observed_time=seen),
        NOW + timedelta(milliseconds=1),
    )
    assert (told.game_id, told.horizon, told.differential) == (GAME, Horizon.FINAL, -7)
    assert (told.home_team, told.away_team) == ("BKN", "BOS")
    assert told.observed_time == NOW + timedelta(seconds=60, microseconds=123)
    bare = requests.outcome(report(), NOW)
    assert (bare.horizon, bare.differential, bare.home_team, bare.away_team) == (Horizon.HALFTIME, 0, "", "")
    assert bare.observed_time == bare.recorded_time == NOW


def test_every_condition_of_a_list_and_of_a_scorecard_is_read() -> None:
    told: Any = {"from_date": "2026-01-13", "to_date": "2026-01-14", "team": "pho"}
    told |= {"model_version": "v1", "include_replays": True}
    read: Any = {"first_day": DAY, "last_day": DAY + 1, "team": "PHX"}
    read |= {"model_version": "v1", "replays": True}
    request = pb.ListPredictionsRequest(
        page_size=500,
        page_token="abc",
        horizon=HORIZON_HALFTIME,
        settled=False,
        elapsed_minutes=18,
        include_superseded=True,
        return_explanation=True,
        min_confidence=0.5,
        **told,
    )
    wanted = ForecastFilter(
        horizon=Horizon.HALFTIME, settled=False, minute=18, superseded=True, min_confidence=0.5, **read
    )
    expected = {"filter_": wanted, "token": "abc", "size": 500, "explanation": True}
    assert requests.list_query(request).keywords == expected
    both: Any = {"min_minutes": 6, "max_minutes": 6, "game_id": GAME, "min_confidence": 1.0, "min_difference": 0.05}
    both["complete_minutes"] = True
    of_card = pb.GetScorecardRequest(
        filter=pb.ScoreFilter(horizon=HORIZON_FINAL, **both, **told), limit=7, max_bets=2_000
    )
    card = ScoreFilter(horizon=Horizon.FINAL, **both, **read)
    assert requests.scorecard_query(of_card) == (card, 7, 2_000)


def test_a_leaderboard_is_of_a_hundred_games_unless_told_otherwise() -> None:
    request = pb.GetLeaderboardRequest(filter=pb.ScoreFilter(horizon=HORIZON_HALFTIME))
    for number, metric in zip(pb.LeaderboardMetric.values()[1:], LeaderboardMetric, strict=True):
        request.metric = number
        assert requests.leaderboard_query(request) == requests.LeaderboardQuery(ScoreFilter(), metric, 100, 0)


SEEN = Timestamp(seconds=int(datetime(2024, 10, 23, 2, 0, tzinfo=UTC).timestamp()))
"""On 22 October 2024 in New York; `NOW` is on 13 January 2026."""


@pytest.mark.parametrize(
    ("game_id", "seen", "reason", "found", "expected"),
    [
        ("0024500001", None, "INVALID_GAME_ID", "of the season 2045–46, observed on 2026-01-13", "25 as its"),
        ("0022400001", None, "INVALID_GAME_ID", "of the season 2024–25", "from 2024-08-01 to 2025-10-31"),
        ("0029900001", None, "INVALID_GAME_ID", "of the season 1999–00", "from 1999-08-01 to 2000-10-31"),
        ("0022500001", SEEN, "INVALID_TIME", "2024-10-22, but game 0022500001", "from 2025-08-01"),
        ("0024500001", SEEN, "INVALID_TIME", "of the season 2045–46", "23 or 24 as its digits 4 and 5"),
        *((game_id, SEEN, "", "", "") for game_id in ("0022400001", "0042300001", "9945000001")),
        *((game_id, None, "", "", "") for game_id in ("0022500001", "9900000001")),
    ],
)
def test_an_outcome_is_of_the_season_of_its_time_or_of_a_replay(
    game_id: str, seen: Timestamp | None, reason: str, found: str, expected: str
) -> None:
    asked = report(game_id=game_id, observed_time=seen)
    if not reason:
        assert requests.outcome(asked, NOW).game_id == game_id
        return
    with pytest.raises(InvalidInput) as caught:
        requests.outcome(asked, NOW)
    error = caught.value
    assert (error.field, error.reason, error.others) == ("observed_time" if seen else "game_id", reason, ())
    assert found in error.found
    assert expected in error.expected
    assert len(str(error).encode()) <= MAX_TEXT


def test_all_that_is_wrong_with_a_report_is_told_at_once() -> None:
    late = Timestamp(seconds=SECONDS * 2)
    with pytest.raises(InvalidInput) as caught:
        requests.outcome(report(game_id="x", horizon=7, differential=999, home_team="XXX", observed_time=late), NOW)
    told = [each.field for each in (caught.value, *caught.value.others)]
    assert told == ["game_id", "horizon", "differential", "home_team", "away_team", "observed_time"]
