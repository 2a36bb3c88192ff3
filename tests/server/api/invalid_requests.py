"""Invalid requests of every method that has fields to check, with the expected error, and odd ones that are valid."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2
from tests.support.builders.calls import GAME, PATTERN

from dejavu.ops.v1 import feed_service_pb2, lease_service_pb2, notification_service_pb2
from dejavu.ops.v1.notification_service_pb2 import NOTIFICATION_STATUS_FAILED
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1 import record_service_pb2
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, SIDE_AWAY, LastScore, Moment, Possession
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_KIND_TOTAL, Market, Odds, Staking

PREDICT = "/dejavu.v1.PredictionService/Predict"
BATCH = "/dejavu.v1.PredictionService/PredictBatch"
COLUMNS = "/dejavu.v1.PredictionService/PredictColumns"
STREAM = "/dejavu.v1.PredictionService/StreamPredictions"
RISK = "/dejavu.v1.PredictionService/AssessRisk"
RECORD = "/dejavu.v1.RecordService"
MODELS = "/dejavu.v1.ModelService/ListModels"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

CODES = {
    "ALPHA_TOO_SMALL": grpc.StatusCode.FAILED_PRECONDITION,
    "QUANTILE_TOO_EXTREME": grpc.StatusCode.FAILED_PRECONDITION,
    "UNKNOWN_MODEL_VERSION": grpc.StatusCode.NOT_FOUND,
    "UNKNOWN_SERVICE": grpc.StatusCode.NOT_FOUND,
}
"""Codes by reason; those of other reasons are INVALID_ARGUMENT."""

BETWEEN, BOUND = "a number strictly between 0 and 1", "a finite number within ±200"
ID, TEAM, HORIZON = "the NBA's id, ten digits", "an NBA code such as BOS", "HORIZON_HALFTIME or HORIZON_FINAL"
DATE, DATES = "a date as YYYY-MM-DD", "a date from 1946-08-01 to 2046-07-31"
PRICE, AMERICAN = "a number above 1, at most 1000", "100 to 99900, or at most −100"
KIND, HALF = "MARKET_KIND_LEAD or MARKET_KIND_TOTAL", "a multiple of 0.5 within ±100"
TOKEN, NOW = "a resume_token of an earlier response", int(time.time())
NAME = "letters, digits and . _ : / @ + -, beginning with a letter or digit"


@dataclass(frozen=True, slots=True)
class BadRequest:
    """A row of the table.

    Attributes:
        path: path of the method.
        body: bytes of the request.
        field: the reported field; empty if the bytes are not a message.
        found: the value in the violation's description, or its size if it is long.
        expected: the expectation in the description.
    """

    path: str
    body: bytes
    reason: str
    field: str
    found: str
    expected: str

    @property
    def code(self) -> grpc.StatusCode:
        return CODES.get(self.reason, grpc.StatusCode.INVALID_ARGUMENT)

    @property
    def name(self) -> str:
        return f"{self.path.rpartition('/')[2]} {self.field or self.body[:8]!r} {self.found[:30]!r}"


def good(**fields: Any) -> pb.PredictRequest:
    """Return a valid request, unless `fields` make it invalid."""
    return pb.PredictRequest(**{"pattern": PATTERN, **fields})


def market(**fields: Any) -> Market:
    """Return a valid market, unless `fields` make it invalid."""
    usual = {"kind": MARKET_KIND_LEAD, "line": 5.5, "above": Odds(decimal=1.91), "below": Odds(american=-110)}
    return Market(**{**usual, **fields})


def _total(**fields: Any) -> Market:
    return market(**{"kind": MARKET_KIND_TOTAL, "line": 221.5, **fields})


def _lineups(**fields: Any) -> pb.Lineups:
    """Return line-ups of five players a team, unless `fields` make them wrong."""
    return pb.Lineups(**{"home_starters": range(1, 6), "away_starters": range(11, 16), **fields})


def _moment(**fields: Any) -> Moment:
    return Moment(**{"period": 2, "seconds_left": 340.0, **fields})


def _slot(at: int, value: float) -> list[float]:
    return [*PATTERN[:at], value, *PATTERN[at + 1 :]]


def _predict(reason: str, field: str, *cases: tuple[str, str, dict[str, Any]]) -> Iterator[BadRequest]:
    """Yield requests with an invalid field, each from what is found, what was expected, and the fields that say so."""
    for found, expected, fields in cases:
        yield BadRequest(PREDICT, good(**fields).SerializeToString(), reason, field, found, expected)


def _each(reason: str, field: str, expected: str, *values: Any, **others: Any) -> Iterator[BadRequest]:
    """Yield requests with invalid values of a field."""
    for value in values:
        found = repr(value) if isinstance(value, str) else f"{value}"
        found = found if len(found) < 40 else f"{len(value)} characters"
        yield from _predict(reason, field, (found, expected, {field: value, **others}))


def _market(field: str, *cases: tuple[Any, ...]) -> Iterator[BadRequest]:
    """Yield requests with an invalid field of a market."""
    for found, expected, fields in cases:
        sent = {"markets": [market(**fields)]}
        yield from _predict("INVALID_MARKET", f"markets[0].{field}", (found, expected, sent))


_LED: dict[str, Any] = {"pattern": [5.0]}
_TOTALS: dict[str, Any] = {"pattern": [5.0], "total_points": 9}
_OLD: dict[str, Any] = {"game_id": "0022000001", "horizon": HORIZON_HALFTIME}
_TEAMS: dict[str, Any] = {"home_team": "BOS", "away_team": "LAL"}

OF_PREDICT = [
    *_predict("INVALID_PATTERN", "pattern",
              *((f"{n} slots", f"1 to {most} to", {"pattern": [0.0] * n, "horizon": horizon})
                for horizon, most, n in ((0, 23, 0), (0, 23, 24), (1, 23, 48), (2, 47, 0), (2, 47, 8_000))),
              ("18 slots", "20, the complete minutes at that moment", {"moment": Moment(period=2, seconds_left=200)})),
    *(row for at, value in ((0, math.nan), (3, math.inf), (17, -math.inf), (5, 200.5), (6, -200.5))
      for row in _predict("INVALID_PATTERN", f"pattern[{at}]", (f"{value}", BOUND, {"pattern": _slot(at, value)}))),
    *_each("INVALID_ALPHA", "alpha", BETWEEN, 0.0, 1.0, -0.05, 95.0, math.nan),
    *_predict("ALPHA_TOO_SMALL", "alpha", ("5e-324", "at least 0.0", {"alpha": 5e-324})),
    *_each("INVALID_GAME_ID", "game_id", ID, "002200001", "00220000011", "002200000x", "٠٠٢٢٠٠٠٠٠١", GAME + "\n",
           "-022000001", "00220\x0000001", "0" * 2**15, horizon=HORIZON_HALFTIME),
    *_each("INVALID_TEAM", "home_team", TEAM, "Gotham Knights", "BO", " ", "BOS\0", "x" * 2**15),
    *_each("INVALID_TEAM", "away_team", TEAM, "FCB"),
    *_predict("INVALID_TEAM", "away_team", ("none", "both teams, or none", {"home_team": "BOS"}),
              ("BKN", "another team than home_team", {"home_team": "BKN", "away_team": "BRK"})),
    *_predict("INVALID_TEAM", "home_team", ("none", "both teams, or none", {"away_team": "BOS"})),
    *_each("INVALID_PREGAME_MARGIN", "pregame_margin", BOUND, math.nan, -math.inf, 200.5),
    *_each("INVALID_PREGAME_TOTAL", "pregame_total", "100 to 400, the line of a market", 99.5, 400.5, math.nan),
    *_predict("INVALID_PREGAME_MARGIN", "margin_source",
              ("no pregame_margin", "pregame_margin beside it", {"margin_source": 3}),
              *((found, "one of MARGIN_SOURCE_CALLER", {"pregame_margin": 3.0, "margin_source": source})
                for source, found in ((0, "unspecified"), (1, "1"), (7, "7"), (-1, "-1")))),
    *_predict("INVALID_PREGAME_MARGIN", "margin_time",
              ("no pregame_margin", "pregame_margin beside it", {"margin_time": Timestamp(seconds=1)}),
              *((found, expected, {"pregame_margin": 3.0, "margin_time": Timestamp(seconds=seconds, nanos=nanos)})
                for seconds, nanos, found, expected in (
                    (-10**9, 0, "1938-04-24", "a time from 1946-08-01 to 2046-07-31"),
                    (2**62, 0, f"{2**62} seconds", "a time from"), (1, 2 * 10**9, "1 seconds and 2", "a time from"),
                    (2_379_931_200, 0, "2045-06-01", "a time that has passed; today is")))),
    *(row for at, level in enumerate((0.0, 1.0, -0.5, 50.0, math.nan))
      for row in _predict("INVALID_QUANTILE_LEVELS", f"quantile_levels[{at}]",
                          (f"{level}", BETWEEN, {"quantile_levels": [*[0.5] * at, level]}))),
    *_predict("INVALID_QUANTILE_LEVELS", "quantile_levels",
              *((f"{n} levels", "at most 99", {"quantile_levels": [0.5] * n}) for n in (100, 8_000))),
    *_predict("QUANTILE_TOO_EXTREME", "quantile_levels[1]",
              *((f"{level}", "0.0005 to 0.9995", {"quantile_levels": [0.5, level]})
                for level in (5e-324, 1 - 1e-9))),
    *_each("INVALID_HORIZON", "horizon", HORIZON, 3, -1, 2**31 - 1),
    *_predict("INVALID_HORIZON", "horizon", ("unspecified", HORIZON, {"game_id": GAME})),
    *_predict("UNKNOWN_MODEL_VERSION", "model_version",
              ("'../default'", "or empty", {"model_version": "../default"}),
              ("32768 characters", "or empty", {"model_version": "f" * 2**15})),
    *_each("INVALID_GAME_DATE", "game_date", DATE, "2023-6-12", "20230612", "2023-02-30", "2023-W24-1",
           "2023-06-12T20:00", "\0", "2023-06-12" * 2**12),
    *_predict("INVALID_GAME_DATE", "game_date",
              *((day, DATES, {"game_date": day}) for day in ("0001-01-01", "1946-07-31", "2046-08-01")),
              *((day or "none, which means ", "a date from 2020-08-01 to 2021-10-31", {**_OLD, "game_date": day})
                for day in ("2020-07-31", "2021-11-01", "9999-12-31", ""))),
    *_each("INVALID_TOTAL_POINTS", "total_points", "5 (the lead) to 47 (after 1 minute of play)", 4, -1, 49, **_LED),
    *_each("INVALID_TOTAL_POINTS", "total_points", "an odd number, as the last differential, 5, is odd", 20, **_LED),
    *_each("INVALID_TOTAL_POINTS", "total_points", "0 to 124 (after 12 minutes of play)", 126, pattern=[0.0] * 12),
    *_predict("INVALID_LAST_SCORE", "last_score.side",
              ("0", "a value of dejavu.v1.Side: 1, 2", {"last_score": LastScore(seconds=3)}),
              ("away", "a side with points", {**_LED, "total_points": 5, "last_score": LastScore(side=SIDE_AWAY)})),
    *_predict("INVALID_LAST_SCORE", "last_score.seconds",
              *((f"{seconds}", "0 to 60", {**_LED, "last_score": LastScore(side=SIDE_AWAY, seconds=seconds)})
                for seconds in (61, -1))),
    *_predict("INVALID_LINEUPS", "lineups", ("no teams", "home_team and away_team beside", {"lineups": _lineups()})),
    *(row for part, found, expected, fields in (
          ("home_starters", "4 players", "5 different ones", {"home_starters": [1, 2, 3, 4]}),
          ("away_starters", "4 players", "5 different ones", {"away_starters": [11, 12, 13, 14, 14]}),
          ("home_seen", "21 players", "at most 20", {"home_seen": range(101, 122)}),
          ("away_seen", "1000 players", "at most 20", {"away_seen": range(1, 1001)}),
          ("away_seen", "5", "a player who is not of the home team", {"away_seen": [5]}),
          ("minute", "19", "0 to 18, the minutes of the pattern", {"minute": 19}),
          ("minute", "-1", "0 to 18, the minutes of the pattern", {"minute": -1}),
          ("home_seen", "-1 to 5", "ids from 1 to 2147483647", {"home_starters": [-1, 2, 3, 4, 5]}),
          ("away_seen", "-1 to 15", "ids from 1 to 2147483647", {"away_seen": [-1]}))
      for row in _predict("INVALID_LINEUPS", f"lineups.{part}",
                          (found, expected, {**_TEAMS, "lineups": _lineups(**fields)}))),
    *(row for part, found, expected, fields in (
          ("period", "0", "1 to 24", {"period": 0}),
          ("free_throws", "-1", "0 to 3", {"free_throws": -1}),
          ("free_throws", "without a side that has the ball", "possession, not shot_in_air", {"free_throws": 2}),
          ("seconds_left", "nan", "0 to 720 seconds", {"seconds_left": math.nan}),
          ("differential", "201", "a whole number within ±200", {"differential": 201}))
      for row in _predict("INVALID_MOMENT", f"moment.{part}",
                          (found, expected, {"moment": _moment(**fields)}))),
    *_predict("INVALID_POSSESSION", "possession.side",
              ("0", "a value of dejavu.v1.Side: 1, 2", {"possession": Possession(shot_in_air=True)})),
    *_market("line", *((f"{line}", HALF, {"line": line}) for line in (5.25, 100.5, math.nan))),
    *_market("above.decimal", *((f"{v}", PRICE, {"above": Odds(decimal=v)}) for v in (1.0, 1000.5, math.nan))),
    *_market("above.american", *((f"{v}", AMERICAN, {"above": Odds(american=v)}) for v in (0, 99, -99, 99_901))),
    *_market("above", *(("no price", "one, as the other side has", {"above": odds}) for odds in (None, Odds()))),
    *_market("below.decimal", ("1.0", PRICE, {"below": Odds(decimal=1.0)})),
    *_market("bankroll", *((f"{v}", "above 0", {"bankroll": v}) for v in (0.0, math.nan, math.inf))),
    *(row for rule in Staking.DESCRIPTOR.fields_by_name for row in _market(
        f"staking.{rule}", *((f"{v}", "a number from 0 to 1", {"staking": Staking(**{rule: v})})
                             for v in (1.1, -0.1, math.nan)))),
    *_market("game_staked", *((f"{v}", "a number from 0 to the bankroll, 1", {"game_staked": v})
                              for v in (-0.1, 20.0, math.nan))),
    *_market("evening_staked", *((f"{v}", "a number from game_staked, 0.5, to the bankroll, 1",
                                  {"game_staked": 0.5, "evening_staked": v}) for v in (0.4, 20.0))),
    *_market("kind", ("unspecified", KIND, {"kind": 0}), ("7", KIND, {"kind": 7})),
    *_predict("INVALID_MARKET", "markets[0].line",
              *((f"{line}", "a multiple of 0.5 from 0 to 500", {"markets": [_total(line=line)], **_TOTALS})
                for line in (-0.5, 9.7, math.nan))),
    *_predict("INVALID_MARKET", "markets[1].kind",
              ("a second one, LEAD", "one market of each kind", {"markets": [market(), market(line=6.5)]})),
    *_predict("INVALID_MARKET", "markets[2].kind",
              ("a second one, TOTAL", "one market of each", {"markets": [market(), *[_total()] * 2000], **_TOTALS})),
    *_predict("INVALID_MARKET", "markets[1].below.american",
              ("50", AMERICAN, {"markets": [market(), _total(below=Odds(american=50))], **_TOTALS})),
    *_predict("INVALID_MARKET", "markets[1]",
              ("no total_points", "total_points beside it", {"markets": [market(), _total()]})),
]  # fmt: skip


def _no_message(path: str, body: bytes) -> BadRequest:
    """Return bytes that are not a message of the method."""
    return BadRequest(path, body, "INVALID_MESSAGE", "", f"{len(body)} bytes", "a message of this method")


def _unknown(path: str, size: int, most: int) -> BadRequest:
    """Return a field that no release knows: it would be kept, and read by nobody."""
    body = b"\x82\x7d" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + bytes(size)
    return BadRequest(path, body, "INVALID_MESSAGE", "", f"{len(body)} bytes", f"at most {most}")


def _of(call: tuple[str, Message], reason: str, *cases: tuple[str, str, str, dict[str, Any]]) -> Iterator[BadRequest]:
    """Yield requests of a method that differ in some fields from a valid one, each with field, found and expected."""
    path, request = call
    for field, found, expected, fields in cases:
        sent = type(request)()
        sent.CopyFrom(request)
        for changed in fields:
            sent.ClearField(changed)
        sent.MergeFrom(type(request)(**fields))
        yield BadRequest(path, sent.SerializeToString(), reason, field, found, expected)


def _players(**first: Any) -> list[record_service_pb2.PlayerLine]:
    """Return a box score of five players a team, with fields of the first; "started" is of all."""
    lines: list[dict[str, Any]] = [
        {"player_id": player, "home": player < 10, "seconds": 2880, "plus_minus": 1 if player < 10 else -1}
        for player in (*range(1, 6), *range(11, 16))
    ]
    changed = [
        {**line, "started": True, **(first if not at or "started" in first else {})} for at, line in enumerate(lines)
    ]
    return [record_service_pb2.PlayerLine(**each) for each in changed]


def _score_filter(**fields: Any) -> dict[str, Any]:
    return {"filter": record_service_pb2.ScoreFilter(**{"horizon": HORIZON_HALFTIME, **fields})}


_HALF: dict[str, Any] = {"game_id": GAME, "horizon": HORIZON_HALFTIME}
_FINAL: dict[str, Any] = {"horizon": HORIZON_FINAL, "differential": 1}
REPORT = f"{RECORD}/ReportOutcome", record_service_pb2.ReportOutcomeRequest(**_HALF)
WITHDRAW = f"{RECORD}/WithdrawOutcome", record_service_pb2.WithdrawOutcomeRequest(**_HALF)
GET = f"{RECORD}/GetPrediction", record_service_pb2.GetPredictionRequest(**_HALF)
LIST = f"{RECORD}/ListPredictions", record_service_pb2.ListPredictionsRequest()
SCORECARD = f"{RECORD}/GetScorecard", record_service_pb2.GetScorecardRequest(**_score_filter())
BOARD = (
    f"{RECORD}/GetLeaderboard",
    record_service_pb2.GetLeaderboardRequest(**_score_filter(), metric=record_service_pb2.LEADERBOARD_METRIC_CRPS),
)
FEED = "/dejavu.ops.v1.FeedService/ReportFeed", feed_service_pb2.ReportFeedRequest(feed="nba")
LEASE = (
    "/dejavu.ops.v1.LeaseService/AcquireLease",
    lease_service_pb2.AcquireLeaseRequest(name="x", holder="a", ttl_seconds=10.0),
)
NOTE = notification_service_pb2.Notification(id="evening/1", target="phone", rule="close", game_id=GAME, text="BOS 101")
CLAIM = (
    "/dejavu.ops.v1.NotificationService/ClaimNotification",
    notification_service_pb2.ClaimNotificationRequest(notification=NOTE, sender="a", ttl_seconds=10.0),
)
CONFIRM = (
    "/dejavu.ops.v1.NotificationService/ConfirmNotification",
    notification_service_pb2.ConfirmNotificationRequest(
        id="evening/1", target="phone", sender="a", status=NOTIFICATION_STATUS_FAILED
    ),
)


def _note(field: str, value: Any, found: str, expected: str) -> tuple[str, str, str, dict[str, Any]]:
    note = notification_service_pb2.Notification()
    note.CopyFrom(NOTE)
    setattr(note, field, value)
    return f"notification.{field}", found, expected, {"notification": note}


OF_RECORD = [
    *(row for call in (REPORT, WITHDRAW, GET) for row in _of(call, "INVALID_GAME_ID",
                                                             ("game_id", "'12'", ID, {"game_id": "12"}))),
    *(row for call in (REPORT, WITHDRAW, GET) for row in _of(call, "INVALID_HORIZON",
                                                             ("horizon", "9", HORIZON, {"horizon": 9}),
                                                             ("horizon", "unspecified", HORIZON, {"horizon": 0}))),
    *_of(REPORT, "INVALID_DIFFERENTIAL",
         ("differential", "201", "±200", {"differential": 201}),
         ("differential", "-201", "±200", {"differential": -201}),
         ("differential", "0 at the end", "no game ends level", {"horizon": HORIZON_FINAL})),
    *_of(REPORT, "INVALID_OVERTIMES",
         ("overtimes", "21", "0 to 20", {**_FINAL, "overtimes": 21}),
         ("overtimes", "-1", "0 to 20", {**_FINAL, "overtimes": -1}),
         ("overtimes", "0 at the half", "none: only", {"overtimes": 0})),
    *_of(REPORT, "INVALID_TOTAL_POINTS",
         ("total_points", "-1", "0 to 500", {"total_points": -1}),
         ("total_points", "200", "odd number", {**_FINAL, "total_points": 200})),
    *_of(REPORT, "INVALID_PLAYERS",
         ("players", "a box score at the half", "none: it is", {"differential": 1, "players": _players()}),
         *((field, found, expected, {**_FINAL, "players": players}) for field, found, expected, players in (
             ("players", "4 of the home team", "5 to 20", _players()[1:]),
             ("players", "a player twice", "one line a player", [*_players(), _players()[0]]),
             ("players", "0 starters of the home team", "5", _players(started=False)),
             ("players[0].seconds", "0", "1 to 10800", _players(seconds=0)),
             ("players[0].plus_minus", "151", "-150 to 150", _players(plus_minus=151)),
             ("players[0].player_id", "-1", "1 to 2147483647", _players(player_id=-1)),
             ("players", "34 of the home team", "5, five times", _players(plus_minus=30)),
             ("players", "4000 s of a player", "a fifth", _players(seconds=4000)),
             ("players", "90 players", "at most 20 of each team", _players() * 9)))),
    *_of(REPORT, "INVALID_TEAM",
         ("home_team", "'XXX'", TEAM, {"home_team": "XXX", "away_team": "BOS"}),
         ("away_team", "99 characters", TEAM, {"home_team": "BOS", "away_team": "x" * 99}),
         ("away_team", "none", "both teams, or none", {"home_team": "BOS"}),
         ("home_team", "none", "both teams, or none", {"away_team": "BOS"}),
         ("away_team", "BKN", "another team", {"home_team": "BRK", "away_team": "BKN"})),
    *_of(REPORT, "INVALID_TIME",
         *(("observed_time", found, expected, {"observed_time": Timestamp(seconds=seconds, nanos=nanos)})
           for seconds, nanos, found, expected in (
               (NOW + 10**5, 0, "+00:00", "not in the future"), (-1, 0, "1969-12-31", "since 1970"),
               (2**62, 0, f"{2**62}", "not in the future"), (1, -5, "-5 nanoseconds", "since 1970"),
               (1, 10**9, "1000000000 nano", "since 1970")))),
    *_of(GET, "INVALID_MINUTES",
         *(("elapsed_minutes", f"{minute}", "1 to 47", {"elapsed_minutes": minute}) for minute in (0, -1, 48))),
    *_of(LIST, "INVALID_PAGE_SIZE", ("page_size", "-1", "1 to 500", {"page_size": -1})),
    *_of(LIST, "INVALID_GAME_ID", ("game_id", "'x'", ID, {"game_id": "x"})),
    *_of(LIST, "INVALID_DATE",
         ("from_date", "'2026-02-30'", DATE, {"from_date": "2026-02-30"}),
         ("to_date", "'2026-W03-2'", DATE, {"to_date": "2026-W03-2"}),
         ("to_date", "60000 characters", DATE, {"to_date": "9" * 60_000}),
         ("to_date", "'2026-01-13'", "or later", {"from_date": "2026-01-14", "to_date": "2026-01-13"})),
    *_of(LIST, "INVALID_TEAM", ("team", "'Gotham'", TEAM, {"team": "Gotham"})),
    *_of(LIST, "INVALID_HORIZON", ("horizon", "3", HORIZON, {"horizon": 3})),
    *_of(LIST, "INVALID_CONFIDENCE", *(("min_confidence", f"{share}", "from 0.5 to 1", {"min_confidence": share})
                                        for share in (0.49, 1.01, math.nan))),
    *_of(LIST, "INVALID_MINUTES", ("elapsed_minutes", "48", "1 to 47", {"elapsed_minutes": 48})),
    *_of(SCORECARD, "INVALID_GAME_ID", ("filter.game_id", "'x'", ID, _score_filter(game_id="x"))),
    *_of(SCORECARD, "INVALID_TEAM", ("filter.team", "'Gotham'", TEAM, _score_filter(team="Gotham"))),
    *_of(SCORECARD, "INVALID_CONFIDENCE",
         ("filter.min_confidence", "0.49", "from 0.5 to 1", _score_filter(min_confidence=0.49))),
    *(row for call in (SCORECARD, BOARD) for row in _of(
        call, "INVALID_HORIZON", ("filter.horizon", "unspecified", HORIZON, _score_filter(horizon=0)))),
    *_of(SCORECARD, "INVALID_DATE", ("filter.from_date", "'x'", DATE, _score_filter(from_date="x"))),
    *_of(SCORECARD, "INVALID_MINUTES",
         ("filter.min_minutes", "0", "1 to 47", _score_filter(min_minutes=0)),
         ("filter.max_minutes", "99", "1 to 47", _score_filter(max_minutes=99)),
         ("filter.max_minutes", "8", "9, or more", _score_filter(min_minutes=9, max_minutes=8))),
    *_of(SCORECARD, "INVALID_FILTER", ("limit", "100001", "1 to 100000, or 0 for all", {"limit": 100_001})),
    *_of(BOARD, "INVALID_FILTER",
         ("min_games", "-1", "1 or more, or 0 for 100", {"min_games": -1}),
         ("limit", "-1", "1 to 100000, or 0 for all", {"limit": -1}),
         ("filter.model_version", "'v1'", "none", _score_filter(model_version="v1"))),
    *_of(BOARD, "INVALID_METRIC", *(("metric", found, "one of LEADERBOARD_METRIC_CRPS, ", {"metric": metric})
                                     for metric, found in ((9, "9"), (0, "unspecified")))),
]  # fmt: skip

_COLUMN: dict[str, Any] = {"minutes": [1], "patterns": [0.0]}
_MARGIN = "INVALID_PREGAME_MARGIN"

OF_OTHERS = [
    *(row for reason, field, found, fields in (
          ("INVALID_BATCH", "minutes", "0 games", {}),
          ("INVALID_BATCH", "minutes", "5001 games", {"minutes": [1] * 5001, "patterns": [0.0] * 5001}),
          ("INVALID_PATTERN", "patterns", "2 slots", {"minutes": [2, 1], "patterns": [0.0] * 2}),
          ("INVALID_PATTERN", "patterns", "24 slots", {"minutes": [2], "patterns": [0.0] * 24}),
          ("INVALID_PATTERN", "minutes[1]", "24", {"minutes": [1, 24], "patterns": [0.0] * 25}),
          ("INVALID_PATTERN", "minutes[1]", "-1", {"minutes": [1, -1], "patterns": [0.0] * 2}),
          ("INVALID_PATTERN", "patterns[2]", "nan", {"minutes": [1, 2], "patterns": [0.0, 1.0, math.nan]}),
          (_MARGIN, "pregame_margins[0]", "1e+09", {**_COLUMN, "pregame_margins": [1e9]}),
          (_MARGIN, "pregame_margins", "2 margins", {**_COLUMN, "pregame_margins": [1, 2]}),
          ("INVALID_ALPHA", "alpha", "1.0", {**_COLUMN, "alpha": 1.0}),
          ("ALPHA_TOO_SMALL", "alpha", "0.0001", {**_COLUMN, "alpha": 0.0001}),
          ("UNKNOWN_MODEL_VERSION", "model_version", "'dejavu-0'", {**_COLUMN, "model_version": "dejavu-0"}),
          ("INVALID_HORIZON", "horizon", "7", {**_COLUMN, "horizon": 7}),
          ("INVALID_QUANTILE_LEVELS", "quantile_levels[0]", "2.0", {**_COLUMN, "quantile_levels": [2.0]}),
          ("INVALID_QUANTILE_LEVELS", "quantile_levels", "21 levels",
           {"minutes": [1] * 5000, "patterns": [0.0] * 5000, "quantile_levels": [0.5] * 21}))
      for row in _of((COLUMNS, pb.PredictColumnsRequest()), reason, (field, found, "", fields))),
    *_of((BATCH, pb.PredictBatchRequest()), "INVALID_BATCH",
         *(("requests", f"{size} requests", "1 to 1000", {"requests": [request] * size})
           for size, request in ((0, good()), (1001, good()), (4000, pb.PredictRequest())))),
    *_of((STREAM, pb.StreamPredictionsRequest()), "INVALID_GAME_ID",
         ("game_ids[2]", "'1'", ID, {"game_ids": [GAME, GAME, "1"]}), ("game_ids[0]", "''", ID, {"game_ids": [""]})),
    *_of((STREAM, pb.StreamPredictionsRequest()), "INVALID_GAME_IDS",
         ("game_ids", "201 game ids", "at most 200", {"game_ids": [GAME] * 201})),
    *_of((STREAM, pb.StreamPredictionsRequest()), "INVALID_RESUME_TOKEN",
         *(("resume_token", found, expected, {"resume_token": token}) for token, found, expected in (
             ("nope", "'nope'", TOKEN), ("é", "'é'", TOKEN), ("\0", "'\\x00'", TOKEN),
             ("AQ" + "A" * 54, "of another ledger", "this server's ledger"), ("_w" + "A" * 54, "form 255", "form 1"),
             ("A" * 60_000, "60000 characters", TOKEN)))),
    *_of((RISK, pb.AssessRiskRequest()), "INVALID_BATCH",
         *(("games", f"{size} games", "1 to 100", {"games": [pb.RiskGame(pattern=[0, 1])] * size})
           for size in (0, 101))),
    *_of(FEED, "INVALID_FEED_REPORT",
         ("live_games", "-1", "0 games", {"live_games": -1}),
         *(("feed", found, "1 to 32 of a to z", {"feed": feed})
           for feed, found in (("", "''"), ("NBA", "'NBA'"), ("a" * 33, "'aaa"), ("nba\n", "'nba\\n'"))),
         ("read_age_seconds", "-1", "0 to 1,000,000 seconds", {"read_age_seconds": -1.0}),
         ("data_age_seconds", "nan", "0 to 1,000,000 seconds", {"data_age_seconds": math.nan}),
         ("data_age_seconds", "inf", "0 to 1,000,000 seconds", {"data_age_seconds": math.inf})),
    *_of(LEASE, "INVALID_LEASE_NAME",
         *(("name", found, "", {"name": name}) for name, found in (
             ("", "''"), ("-x", "'-x'"), ("x" * 65, "65 characters"), ("x\n", "'x\\n'"), ("model-gate", "model-gate"))),
         ("holder", "''", "", {"holder": ""}), ("holder", "'Zürich'", "", {"holder": "Zürich"})),
    *_of(LEASE, "INVALID_LEASE_TTL", *(("ttl_seconds", "", "", {"ttl_seconds": span})
                                        for span in (0.999, -1e9, 300.001, math.nan, math.inf))),
    *_of(CLAIM, "INVALID_NOTIFICATION",
         _note("id", "", "''", NAME), _note("id", "a b", "'a b'", NAME), _note("id", "x" * 129, "129 char", "1 to 128"),
         _note("target", "Zürich", "'Zürich'", NAME), _note("rule", "x" * 65, "x", "1 to 64 letters"),
         _note("text", "", "an empty text", "a text"), _note("text", "x" * 501, "501 characters", "at most 500"),
         _note("text", "BOS\x1b[2J", "\\x1b", "printable characters"), ("sender", "''", NAME, {"sender": ""}),
         *(("ttl_seconds", "", "", {"ttl_seconds": span}) for span in (0.5, 301.0, -1.0, math.nan, math.inf))),
    *_of(CLAIM, "INVALID_GAME_ID", _note("game_id", "1", "'1'", ID)),
    *_of(CONFIRM, "INVALID_NOTIFICATION",
         ("status", "1", "SENT, FAILED or WAITING", {"status": 1}), ("status", "99", "SENT, FAILED", {"status": 99}),
         ("failure", "201 characters", "at most 200", {"failure": "x" * 201}),
         ("failure", "'two\\nlines'", "printable", {"failure": "two\nlines"}),
         *(("retry_delay_seconds", "", "", {"retry_delay_seconds": span}) for span in (301.0, -1.0, math.nan))),
    *_of((CHECK, health_pb2.HealthCheckRequest()), "UNKNOWN_SERVICE",
         *(("service", found, "dejavu.ledger, the full name of a service (reflection lists them), or empty for",
            {"service": service}) for service, found in (("nope", "'nope'"), ("x" * 1000, "1000 characters")))),
]  # fmt: skip

BAD_REQUESTS = [
    *OF_PREDICT,
    *OF_RECORD,
    *OF_OTHERS,
    *(
        _no_message(PREDICT, body)
        for body in (
            b"\x0c",  # an end of a group without its start
            b"\x0e",  # a wire type that does not exist
            b"\x00\x00",  # field number 0
            b"\x0a\x10abc",  # a field cut short
            b"\x0a\xff\xff\xff\xff\x07",  # a length of 2 GiB
            b"\x28" + b"\xff" * 11,  # a number without end
            b"\x12\x05" + bytes(5),  # packed floats cut short
            b"\x32\x03\xed\xa0\x80",  # a text with a surrogate
            b"\x93\x03" * 30_000,  # groups nested 30,000 deep
            bytes(range(255, 200, -1)),
        )
    ),
    _no_message(BATCH, b"\x0a\x01\x0c"),  # a request in it that is no message
    _no_message(CHECK, b"\x0a\x01\xff"),  # a text that is no UTF-8
    *(_no_message(path, b"\xff\xff") for path in (STREAM, RISK, MODELS, WATCH, REFLECTION)),
    *(_unknown(path, 50_000, most) for path, most in ((CHECK, 1024), (WATCH, 1024), (REFLECTION, 4096))),
    *(_unknown(path, 70_000, 65536) for path in (PREDICT, STREAM)),
]

_ODD: dict[str, dict[str, Any]] = {
    "subnormal values": {"pattern": [5e-324] * len(PATTERN)},
    "minus zero": {"pattern": [-0.0] * len(PATTERN)},
    "values at the bounds": {"pattern": [200.0, -200.0] * 9, "pregame_margin": -200.0},
    "alpha next to 1": {"alpha": math.nextafter(1, 0)},
    "as many slots as there may be": {"pattern": [2.0] * 47, "horizon": 2},
    "points of either parity with a lead of half points": {"pattern": [2.5], "total_points": 8},
    "99 quantiles, of one level": {"quantile_levels": [0.5] * 99},
    "a market at its bounds": {
        "markets": [market(line=-100.0, above=Odds(decimal=1000), below=Odds(american=-(2**31)))]
    },
}

ACCEPTED: dict[str, tuple[str, bytes]] = {
    "a field that a later release may know": (PREDICT, good().SerializeToString() + b"\x82\x7d\x03abc"),
    "a known field of another wire type": (PREDICT, good().SerializeToString() + b"\x38\x01"),
    "floats that are not packed": (PREDICT, b"".join(b"\x11" + struct.pack("<d", slot) for slot in PATTERN)),
    "a field twice, of which the last counts": (PREDICT, good().SerializeToString() + b"\x28\x07\x28\x01"),
    "risks of 100 games": (RISK, pb.AssessRiskRequest(games=[pb.RiskGame(pattern=[0] * 47)] * 100).SerializeToString()),
    "a batch of 1000": (BATCH, pb.PredictBatchRequest(requests=[good()] * 1000).SerializeToString()),
    "the same id 200 times": (STREAM, pb.StreamPredictionsRequest(game_ids=[GAME] * 200).SerializeToString()),
    "a service that the server does not have": (WATCH, b"\x0a\x04nope"),
    "a request that asks nothing": (REFLECTION, b""),
    **{name: (PREDICT, good(**fields).SerializeToString()) for name, fields in _ODD.items()},
}
"""Unusual but valid requests: method and bytes."""
