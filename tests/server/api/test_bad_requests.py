"""Invalid requests of every method that has fields to check, with the expected error, and odd ones that are valid.

Rules that another layer keeps (prices, shares, box scores) have a row for each field here, which shows its name.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2
from tests.support.builders.calls import GAME, PATTERN, Refusal, details
from tests.support.contract import METHODS
from tests.support.harness.tensors import MODEL, Tensor, infer_request, padded, texts
from tests.support.processes.servers import running_worker

from dejavu.inference.open_inference_pb2 import InferParameter, InferTensorContents, ModelInferRequest
from dejavu.ops.v1 import cache_service_pb2, feed_service_pb2, lease_service_pb2, notification_service_pb2
from dejavu.ops.v1.notification_service_pb2 import NOTIFICATION_STATUS_FAILED, Notification
from dejavu.v1 import game_service_pb2, record_service_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, SIDE_AWAY, LastScore, Moment, Possession
from dejavu.v1.game_service_pb2 import GAME_STATUS_LIVE
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_KIND_TOTAL, Market, Odds, Staking
from dejavu.v1.record_service_pb2 import LEADERBOARD_METRIC_CRPS as CRPS
from dejavu_server.api.inference.specification import MAX_ID

SERVICE = "/dejavu.v1.PredictionService"
PREDICT, BATCH, RISK = f"{SERVICE}/Predict", f"{SERVICE}/PredictBatch", f"{SERVICE}/AssessRisk"
COLUMNS, STREAM = f"{SERVICE}/PredictColumns", f"{SERVICE}/StreamPredictions"
RECORD = "/dejavu.v1.RecordService"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
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
KIND, HALF = "MARKET_KIND_LEAD or MARKET_KIND_TOTAL", "a multiple of 0.5 within ±100"
AMERICAN = "100 to 99900, or at most −100"
SPAN = "0 to 1,000,000 seconds"
NAME = "letters, digits and . _ : / @ + -, beginning with a letter or digit"
NOW = int(time.time())


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


def _of(path: str, request: Message, cases: Mapping[str, Sequence[tuple[str, str, str, Any]]]) -> Iterator[BadRequest]:
    """Yield requests that differ from a valid one: reason → field, found, expected, and the field's value or fields."""
    for reason, rows in cases.items():
        for field, found, expected, value in rows:
            fields = value if isinstance(value, dict) else {field: value}
            sent = type(request)()
            sent.CopyFrom(request)
            for changed in fields:
                sent.ClearField(changed)
            sent.MergeFrom(type(request)(**fields))
            yield BadRequest(path, sent.SerializeToString(), reason, field, found, expected)


def _market(**fields: Any) -> Market:
    """Return a valid market, unless `fields` make it invalid."""
    usual = {"kind": MARKET_KIND_LEAD, "line": 5.5, "above": Odds(decimal=1.91), "below": Odds(american=-110)}
    return Market(**{**usual, **fields})


def _markets(**fields: Any) -> dict[str, Any]:
    return {"markets": [_market(**fields)]}


def _total(**fields: Any) -> Market:
    return _market(**{"kind": MARKET_KIND_TOTAL, "line": 221.5, **fields})


def _lineups(**fields: Any) -> dict[str, Any]:
    """Return line-ups of five players a team, unless `fields` make them wrong."""
    usual = {"home_starters": range(1, 6), "away_starters": range(11, 16)}
    return {"home_team": "BOS", "away_team": "LAL", "lineups": pb.Lineups(**{**usual, **fields})}


def _moment(**fields: Any) -> dict[str, Any]:
    return {"moment": Moment(**{"period": 2, "seconds_left": 340.0, **fields})}


def _origin(**fields: Any) -> dict[str, Any]:
    return {"pregame_margin": 3.0, **fields}


_LED: dict[str, Any] = {"pattern": [5.0]}
_TOTALS: dict[str, Any] = {**_LED, "total_points": 9}
_OLD: dict[str, Any] = {"game_id": "0022000001", "horizon": HORIZON_HALFTIME}

OF_PREDICT = list(_of(PREDICT, good(), {
    "INVALID_PATTERN": [
        ("pattern", "0 slots", "1 to 23 to", []),
        ("pattern", "24 slots", "1 to 23 to", [0.0] * 24),
        ("pattern", "48 slots", "1 to 47 to", {"pattern": [0.0] * 48, "horizon": HORIZON_FINAL}),
        ("pattern", "18 slots", "20, the complete minutes at that moment", _moment(seconds_left=200)),
        ("pattern[0]", "nan", BOUND, {"pattern": [math.nan, 1.0]}),
        ("pattern[1]", "-inf", BOUND, {"pattern": [1.0, -math.inf]}),
        ("pattern[1]", "200.5", BOUND, {"pattern": [1.0, 200.5]})],
    "INVALID_ALPHA": [("alpha", f"{value}", BETWEEN, value) for value in (0.0, 1.0, math.nan)],
    "ALPHA_TOO_SMALL": [("alpha", "5e-324", "at least 0.0", 5e-324)],
    "INVALID_GAME_ID": [
        ("game_id", found, ID, {"game_id": game_id, "horizon": HORIZON_HALFTIME}) for game_id, found in (
            ("00220000011", "'00220000011'"), ("002200000x", "'002200000x'"), ("٠٠٢٢٠٠٠٠٠١", "'٠٠٢٢٠٠٠٠٠١'"),
            (GAME + "\n", "\\n'"), ("0" * 2**15, "32768 characters"))],
    "INVALID_TEAM": [
        ("home_team", "'BOS\\x00'", TEAM, "BOS\0"),
        ("home_team", "32768 characters", TEAM, "x" * 2**15),
        ("away_team", "'FCB'", TEAM, "FCB"),
        ("away_team", "none", "both teams, or none", {"home_team": "BOS"}),
        ("home_team", "none", "both teams, or none", {"away_team": "BOS"}),
        ("away_team", "BKN", "another team than home_team", {"home_team": "BKN", "away_team": "BRK"})],
    "INVALID_PREGAME_MARGIN": [
        *(("pregame_margin", f"{value}", BOUND, value) for value in (math.nan, 200.5)),
        ("margin_source", "no pregame_margin", "pregame_margin beside it", 3),
        ("margin_source", "unspecified", "one of MARGIN_SOURCE_CALLER", _origin(margin_source=0)),
        ("margin_source", "7", "one of MARGIN_SOURCE_CALLER", _origin(margin_source=7)),
        ("margin_time", "no pregame_margin", "pregame_margin beside it", Timestamp(seconds=1)),
        ("margin_time", "1938-04-24", "a time from 1946-08-01 to 2046-07-31",
         _origin(margin_time=Timestamp(seconds=-(10**9)))),
        ("margin_time", f"{2**62} seconds", "a time from", _origin(margin_time=Timestamp(seconds=2**62))),
        ("margin_time", "1000000000 nano", "a time from", _origin(margin_time=Timestamp(seconds=1, nanos=10**9))),
        ("margin_time", "2045-06-01", "a time that has passed; today is",
         _origin(margin_time=Timestamp(seconds=2_379_931_200)))],
    "INVALID_PREGAME_TOTAL": [
        ("pregame_total", f"{value}", "100 to 400, the line of a market", value) for value in (99.5, 400.5, math.nan)],
    "INVALID_QUANTILE_LEVELS": [
        *(("quantile_levels[0]", f"{level}", BETWEEN, {"quantile_levels": [level]}) for level in (0.0, 1.0, math.nan)),
        ("quantile_levels", "100 levels", "at most 99", [0.5] * 100)],
    "QUANTILE_TOO_EXTREME": [
        ("quantile_levels[1]", "5e-324", "0.0005 to 0.9995", {"quantile_levels": [0.5, 5e-324]})],
    "INVALID_HORIZON": [("horizon", "3", HORIZON, 3), ("horizon", "unspecified", HORIZON, {"game_id": GAME})],
    "UNKNOWN_MODEL_VERSION": [
        ("model_version", "'../default'", "or empty", "../default"),
        ("model_version", "32768 characters", "or empty", "f" * 2**15)],
    "INVALID_GAME_DATE": [
        *(("game_date", f"'{day}'", DATE, day) for day in ("20230612", "2023-02-30", "2023-06-12T20:00")),
        ("game_date", "40960 characters", DATE, "2023-06-12" * 2**12),
        *(("game_date", day, DATES, day) for day in ("1946-07-31", "2046-08-01")),
        *(("game_date", day or "none, which means ", "a date from 2020-08-01 to 2021-10-31", {**_OLD, "game_date": day})
          for day in ("2020-07-31", "2021-11-01", ""))],
    "INVALID_TOTAL_POINTS": [
        ("total_points", "4", "5 (the lead) to 47 (after 1 minute of play)", {**_LED, "total_points": 4}),
        ("total_points", "49", "5 (the lead) to 47 (after 1 minute of play)", {**_LED, "total_points": 49}),
        ("total_points", "20", "an odd number, as the last differential, 5, is odd", {**_LED, "total_points": 20})],
    "INVALID_LAST_SCORE": [
        ("last_score.side", "0", "a value of dejavu.v1.Side: 1, 2", {"last_score": LastScore(seconds=3)}),
        ("last_score.side", "away", "a side with points",
         {**_LED, "total_points": 5, "last_score": LastScore(side=SIDE_AWAY)}),
        *(("last_score.seconds", f"{seconds}", "0 to 1080, the seconds since tip-off",
           {"last_score": LastScore(side=SIDE_AWAY, seconds=seconds)}) for seconds in (1081, -1))],
    "INVALID_LINEUPS": [
        ("lineups", "no teams", "home_team and away_team beside", {"lineups": _lineups()["lineups"]}),
        ("lineups.home_starters", "4 players", "5 different ones", _lineups(home_starters=range(1, 5))),
        ("lineups.away_starters", "4 players", "5 different ones", _lineups(away_starters=[11, 12, 13, 14, 14])),
        ("lineups.home_seen", "21 players", "at most 20", _lineups(home_seen=range(101, 122))),
        ("lineups.away_seen", "5", "a player who is not of the home team", _lineups(away_seen=[5])),
        ("lineups.away_seen", "-1 to 15", "ids from 1 to 2147483647", _lineups(away_seen=[-1])),
        *(("lineups.minute", f"{minute}", "0 to 18, the minutes of the pattern", _lineups(minute=minute))
          for minute in (19, -1))],
    "INVALID_MOMENT": [
        ("moment.period", "0", "1 to 24", _moment(period=0)),
        ("moment.free_throws", "-1", "0 to 3", _moment(free_throws=-1)),
        ("moment.free_throws", "without a side that has the ball", "possession, not", _moment(free_throws=2)),
        ("moment.seconds_left", "nan", "0 to 720 seconds", _moment(seconds_left=math.nan)),
        ("moment.differential", "201", "a whole number within ±200", _moment(differential=201))],
    "INVALID_POSSESSION": [
        ("possession.side", "0", "a value of dejavu.v1.Side: 1, 2", {"possession": Possession(shot_in_air=True)})],
    "INVALID_MARKET": [
        *(("markets[0].line", f"{line}", HALF, _markets(line=line)) for line in (5.25, 100.5, math.nan)),
        ("markets[0].above.decimal", "1000.5", "a number above 1, at most 1000", _markets(above=Odds(decimal=1000.5))),
        ("markets[0].below.decimal", "1.0", "a number above 1, at most 1000", _markets(below=Odds(decimal=1.0))),
        *(("markets[0].above.american", f"{price}", AMERICAN, _markets(above=Odds(american=price)))
          for price in (99, -99, 99_901)),
        *((f"markets[0].{side}", "no price", "one, as the other side has", _markets(**{side: Odds()}))
          for side in ("above", "below")),
        *(("markets[0].bankroll", f"{value}", "above 0", _markets(bankroll=value)) for value in (0.0, math.inf)),
        *((f"markets[0].staking.{rule}", f"{value}", "a number from 0 to 1", _markets(staking=Staking(**{rule: value})))
          for rule in Staking.DESCRIPTOR.fields_by_name for value in (-0.1, 1.1, math.nan)),
        *(("markets[0].game_staked", f"{value}", "a number from 0 to the bankroll, 1", _markets(game_staked=value))
          for value in (-0.1, 20.0, math.nan)),
        ("markets[0].traded_time", "1000000000 nano", "a time of the calendar",
         _markets(traded_time=Timestamp(seconds=1, nanos=10**9))),
        ("markets[0].evening_staked", "0.4", "a number from game_staked, 0.5, to the bankroll, 1",
         _markets(game_staked=0.5, evening_staked=0.4)),
        ("markets[0].kind", "unspecified", KIND, _markets(kind=0)),
        ("markets[0].line", "-0.5", "a multiple of 0.5 from 0 to 500", {"markets": [_total(line=-0.5)], **_TOTALS}),
        ("markets[1].kind", "a second one, LEAD", "one market of each kind", {"markets": [_market()] * 2}),
        ("markets[2].kind", "a second one, TOTAL", "one market of each",
         {"markets": [_market(), *[_total()] * 2000], **_TOTALS}),
        ("markets[1]", "no total_points", "total_points beside it", {"markets": [_market(), _total()]})],
}))  # fmt: skip


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


def _filter(**fields: Any) -> dict[str, Any]:
    return {"filter": record_service_pb2.ScoreFilter(**{"horizon": HORIZON_HALFTIME, **fields})}


def _final(**fields: Any) -> dict[str, Any]:
    return {"horizon": HORIZON_FINAL, "differential": 1, **fields}


_HALF: dict[str, Any] = {"game_id": GAME, "horizon": HORIZON_HALFTIME}
OF_A_GAME: dict[str, Any] = {
    "INVALID_GAME_ID": [("game_id", "'12'", ID, "12")],
    "INVALID_HORIZON": [("horizon", "9", HORIZON, 9), ("horizon", "unspecified", HORIZON, 0)],
}

OF_RECORD = [
    *_of(f"{RECORD}/WithdrawOutcome", record_service_pb2.WithdrawOutcomeRequest(**_HALF), OF_A_GAME),
    *_of(f"{RECORD}/GetPrediction", record_service_pb2.GetPredictionRequest(**_HALF), {
        **OF_A_GAME,
        "INVALID_MINUTES": [("elapsed_minutes", f"{minute}", "1 to 47", minute) for minute in (0, 48)]}),
    *_of(f"{RECORD}/ReportOutcome", record_service_pb2.ReportOutcomeRequest(**_HALF), {
        **OF_A_GAME,
        "INVALID_DIFFERENTIAL": [
            ("differential", "-201", "±200", -201),
            ("differential", "0 at the end", "no game ends level", _final(differential=0))],
        "INVALID_OVERTIMES": [
            *(("overtimes", f"{number}", "0 to 20", _final(overtimes=number)) for number in (21, -1)),
            ("overtimes", "0 at the half", "none: only", 0)],
        "INVALID_TOTAL_POINTS": [
            ("total_points", "-1", "0 to 500", -1), ("total_points", "200", "odd number", _final(total_points=200))],
        "INVALID_PLAYERS": [
            ("players", "a box score at the half", "none: it is", {"differential": 1, "players": _players()}),
            *((field, found, expected, _final(players=players)) for field, found, expected, players in (
                ("players", "4 of the home team", "5 to 20", _players()[1:]),
                ("players", "a player twice", "one line a player", [*_players(), _players()[0]]),
                ("players", "0 starters of the home team", "5", _players(started=False)),
                ("players[0].seconds", "0", "1 to 10800", _players(seconds=0)),
                ("players[0].plus_minus", "151", "-150 to 150", _players(plus_minus=151)),
                ("players[0].player_id", "-1", "1 to 2147483647", _players(player_id=-1)),
                ("players", "34 of the home team", "5, five times", _players(plus_minus=30)),
                ("players", "4000 s of a player", "a fifth", _players(seconds=4000)),
                ("players", "90 players", "at most 20 of each team", _players() * 9)))],
        "INVALID_TEAM": [
            ("home_team", "'XXX'", TEAM, {"home_team": "XXX", "away_team": "BOS"}),
            ("away_team", "99 characters", TEAM, {"home_team": "BOS", "away_team": "x" * 99}),
            ("home_team", "none", "both teams, or none", {"away_team": "BOS"}),
            ("away_team", "BKN", "another team", {"home_team": "BRK", "away_team": "BKN"})],
        "INVALID_TIME": [
            ("observed_time", "+00:00", "not in the future", Timestamp(seconds=NOW + 10**5)),
            ("observed_time", "1969-12-31", "since 1970", Timestamp(seconds=-1)),
            ("observed_time", "1000000000 nano", "since 1970", Timestamp(seconds=1, nanos=10**9))]}),
    *_of(f"{RECORD}/ListPredictions", record_service_pb2.ListPredictionsRequest(), {
        "INVALID_GAME_ID": [("game_id", "'x'", ID, "x")],
        "INVALID_DATE": [
            ("from_date", "'2026-02-30'", DATE, "2026-02-30"),
            ("to_date", "60000 characters", DATE, "9" * 60_000),
            ("to_date", "'2026-01-13'", "or later", {"from_date": "2026-01-14", "to_date": "2026-01-13"})],
        "INVALID_TEAM": [("team", "'Gotham'", TEAM, "Gotham")],
        "INVALID_HORIZON": [("horizon", "3", HORIZON, 3)],
        "INVALID_CONFIDENCE": [
            ("min_confidence", f"{share}", "from 0.5 to 1", share) for share in (0.49, 1.01, math.nan)],
        "INVALID_MINUTES": [("elapsed_minutes", "48", "1 to 47", 48)]}),
    *_of(f"{RECORD}/GetScorecard", record_service_pb2.GetScorecardRequest(**_filter()), {
        "INVALID_GAME_ID": [("filter.game_id", "'x'", ID, _filter(game_id="x"))],
        "INVALID_TEAM": [("filter.team", "'Gotham'", TEAM, _filter(team="Gotham"))],
        "INVALID_CONFIDENCE": [("filter.min_confidence", "0.49", "from 0.5 to 1", _filter(min_confidence=0.49))],
        "INVALID_HORIZON": [("filter.horizon", "unspecified", HORIZON, _filter(horizon=0))],
        "INVALID_DATE": [("filter.from_date", "'x'", DATE, _filter(from_date="x"))],
        "INVALID_MINUTES": [
            ("filter.min_minutes", "0", "1 to 47", _filter(min_minutes=0)),
            ("filter.max_minutes", "99", "1 to 47", _filter(max_minutes=99)),
            ("filter.max_minutes", "8", "9, or more", _filter(min_minutes=9, max_minutes=8))],
        "INVALID_FILTER": [
            ("limit", "100001", "1 to 100000, or 0 for all", 100_001),
            ("max_bets", "2001", "0 to 2000", 2_001),
            ("filter.min_difference", "nan", "from 0 to 1", _filter(min_difference=math.nan))]}),
    *_of(f"{RECORD}/GetLeaderboard", record_service_pb2.GetLeaderboardRequest(**_filter(), metric=CRPS), {
        "INVALID_HORIZON": [("filter.horizon", "unspecified", HORIZON, _filter(horizon=0))],
        "INVALID_FILTER": [
            ("min_games", "-1", "1 or more, or 0 for 100", -1),
            ("limit", "-1", "1 to 100000, or 0 for all", -1),
            ("filter.model_version", "'v1'", "none", _filter(model_version="v1"))],
        "INVALID_METRIC": [("metric", "unspecified", "one of LEADERBOARD_METRIC_CRPS, ", 0)]}),
]  # fmt: skip


def _note(**fields: Any) -> dict[str, Any]:
    usual = {"id": "evening/1", "target": "phone", "rule": "close", "game_id": GAME, "text": "BOS 101"}
    return {"notification": Notification(**{**usual, **fields})}


def _game(field: str, found: str, expected: str, value: Any) -> tuple[str, str, str, dict[str, Any]]:
    """Return a row of a published game with an invalid field, the second of its request."""
    usual: dict[str, Any] = {"home_team": "BOS", "away_team": "NYK", "status": GAME_STATUS_LIVE}
    usual["observed_time"] = Timestamp(seconds=NOW)
    games = [{"game_id": GAME, **usual}, {"game_id": "0022600002", **usual, field: value}]
    return f"games[1].{field}", found, expected, {"games": [game_service_pb2.Game(**each) for each in games]}


_COLUMN: dict[str, Any] = {"minutes": [1], "patterns": [0.0]}

OF_OTHERS = [
    *_of(COLUMNS, pb.PredictColumnsRequest(**_COLUMN), {
        "INVALID_BATCH": [("minutes", "0 games", "1 to 5000", []), ("minutes", "5001 games", "1 to 5000", [1] * 5001)],
        "INVALID_PATTERN": [
            ("patterns", "2 slots", "3", {"minutes": [2, 1], "patterns": [0.0] * 2}),
            ("patterns", "24 slots", "at most 23", [0.0] * 24),
            *(("minutes[1]", f"{minute}", "1 to 23", {"minutes": [1, minute], "patterns": [0.0] * (1 + minute)})
              for minute in (24, 0)),
            ("patterns[2]", "nan", BOUND, {"minutes": [1, 2], "patterns": [0.0, 1.0, math.nan]})],
        "INVALID_PREGAME_MARGIN": [
            ("pregame_margins[0]", "1e+09", "a number within ±200, or NaN", {"pregame_margins": [1e9]}),
            ("pregame_margins", "2 margins", "none, or one for each", [1, 2])],
        "INVALID_ALPHA": [("alpha", "1.0", BETWEEN, 1.0)],
        "ALPHA_TOO_SMALL": [("alpha", "0.0001", "at least", 0.0001)],
        "UNKNOWN_MODEL_VERSION": [("model_version", "'dejavu-0'", "or empty", "dejavu-0")],
        "INVALID_HORIZON": [("horizon", "7", HORIZON, 7)],
        "INVALID_QUANTILE_LEVELS": [
            ("quantile_levels[0]", "2.0", BETWEEN, {"quantile_levels": [2.0]}),
            ("quantile_levels", "21 levels", "at most 20",
             {"minutes": [1] * 5000, "patterns": [0.0] * 5000, "quantile_levels": [0.5] * 21})]}),
    *_of(BATCH, pb.PredictBatchRequest(), {"INVALID_BATCH": [
        ("requests", f"{size} requests", "1 to 1000", [good()] * size) for size in (0, 1001)]}),
    *_of("/dejavu.ops.v1.CacheService/WarmCache", cache_service_pb2.WarmCacheRequest(), {
        "INVALID_BATCH": [("requests", f"{size} requests", "1 to 1000", [good()] * size) for size in (0, 1001)],
        "INVALID_WHAT_IF": [("requests[1].game_id", "a game", "", {"requests": [good(), good(**_HALF)]})]}),
    *_of(STREAM, pb.StreamPredictionsRequest(), {
        "INVALID_GAME_ID": [("game_ids[2]", "'1'", ID, {"game_ids": [GAME, GAME, "1"]})],
        "INVALID_GAME_IDS": [("game_ids", "201 game ids", "at most 200", [GAME] * 201)],
        "INVALID_RESUME_TOKEN": [("resume_token", found, expected, token) for token, found, expected in (
            ("nope", "'nope'", "a resume_token of an earlier response"),
            ("AQ" + "A" * 54, "of another ledger", "this server's ledger"), ("_w" + "A" * 54, "form 255", "form 1"),
            ("A" * 60_000, "60000 characters", "a resume_token of an earlier response"))]}),
    *_of(RISK, pb.AssessRiskRequest(), {"INVALID_BATCH": [
        ("games", f"{size} games", "1 to 100", [pb.RiskGame(pattern=[0, 1])] * size) for size in (0, 101)]}),
    *_of("/dejavu.ops.v1.FeedService/PublishGames", feed_service_pb2.PublishGamesRequest(), {
        "INVALID_GAME_ID": [_game("game_id", "'1'", ID, "1")],
        "INVALID_TEAM": [
            _game("home_team", "none", TEAM, ""), _game("away_team", "'Real Madrid'", TEAM, "Real Madrid"),
            _game("away_team", "'Boston Celtics'", "another team than the home team", "Boston Celtics")],
        "INVALID_GAME": [
            ("games", "0 games", "1 to 100", {}),
            ("games", "101 games", "1 to 100", [game_service_pb2.Game()] * 101),
            _game("game_id", f"{GAME} again", "games with different ids", GAME),
            *(_game("status", f"{status}", "a status of dejavu.v1.GameStatus", status) for status in (0, 99)),
            _game("status_text", "65 characters", "at most 64 printable characters", "x" * 65),
            _game("status_text", "'Final\\u202e'", "printable", "Final\u202e"),
            *(_game("home_score", f"{points}", "0 to 300", points) for points in (301, -1)),
            _game("away_score", "-1", "0 to 300", -1),
            _game("period", "21", "0 to 20", 21),
            *(_game("seconds_left", f"{seconds}", "0 to 720", seconds) for seconds in (-0.1, math.nan)),
            _game("pregame_margin", "35.5", "-35 to 35", 35.5),
            _game("pregame_total", "inf", "100 to 400", math.inf),
            *(_game("observed_time", "an older or later time", "a time of the last day", time) for time in (
                None, Timestamp(seconds=NOW + 400), Timestamp(seconds=NOW - 2 * 86_400))),
            _game("observed_time", f"{2**62} seconds", "a time of the calendar", Timestamp(seconds=2**62)),
            _game("tip_off_time", "a time far away", "within 7 days", Timestamp(seconds=NOW + 8 * 86_400)),
            _game("tip_off_time", "-1 nanoseconds", "a time of the calendar", Timestamp(seconds=NOW, nanos=-1))],
        "INVALID_PREGAME_MARGIN": [_game("margin_source", "no pregame_margin", "pregame_margin beside it", 3)]}),
    *_of("/dejavu.ops.v1.FeedService/ReportFeed", feed_service_pb2.ReportFeedRequest(feed="nba"), {
        "INVALID_FEED_REPORT": [
            ("live_games", "-1", "0 games", -1),
            *(("feed", found, "1 to 32 of a to z", feed)
              for feed, found in (("", "''"), ("NBA", "'NBA'"), ("a" * 33, "'aaa"), ("nba\n", "'nba\\n'"))),
            ("read_age_seconds", "-1", SPAN, -1.0),
            *(("data_age_seconds", f"{seconds}", SPAN, seconds) for seconds in (math.nan, math.inf))]}),
    *_of(
        "/dejavu.ops.v1.LeaseService/AcquireLease",
        lease_service_pb2.AcquireLeaseRequest(name="x", holder="a", ttl_seconds=10.0), {
            "INVALID_LEASE_NAME": [
                *(("name", found, "", name) for name, found in (
                    ("-x", "'-x'"), ("x" * 65, "65 characters"), ("x\n", "'x\\n'"), ("model-gate", "model-gate"))),
                ("holder", "''", "", ""), ("holder", "'Zürich'", "", "Zürich")],
            "INVALID_LEASE_TTL": [("ttl_seconds", "", "", span) for span in (0.999, 300.001, math.nan)]}),
    *_of(
        "/dejavu.ops.v1.NotificationService/ClaimNotification",
        notification_service_pb2.ClaimNotificationRequest(**_note(), sender="a", ttl_seconds=10.0), {
            "INVALID_NOTIFICATION": [
                ("notification.id", "'a b'", NAME, _note(id="a b")),
                ("notification.id", "129 char", "1 to 128", _note(id="x" * 129)),
                ("notification.target", "''", NAME, _note(target="")),
                ("notification.rule", "x", "1 to 64 letters", _note(rule="x" * 65)),
                ("notification.text", "an empty text", "a text", _note(text="")),
                ("notification.text", "501 characters", "at most 500", _note(text="x" * 501)),
                ("notification.text", "\\x1b", "printable characters", _note(text="BOS\x1b[2J")),
                ("sender", "''", NAME, ""),
                *(("ttl_seconds", "", "", span) for span in (0.5, 301.0, math.nan))],
            "INVALID_GAME_ID": [("notification.game_id", "'1'", ID, _note(game_id="1"))]}),
    *_of(
        "/dejavu.ops.v1.NotificationService/ConfirmNotification",
        notification_service_pb2.ConfirmNotificationRequest(
            id="evening/1", target="phone", sender="a", status=NOTIFICATION_STATUS_FAILED), {
            "INVALID_NOTIFICATION": [
                ("status", "1", "SENT, FAILED or WAITING", 1),
                ("failure", "201 characters", "at most 200", "x" * 201),
                ("failure", "'two\\nlines'", "printable", "two\nlines"),
                *(("retry_delay_seconds", "", "", span) for span in (301.0, -1.0, math.nan))]}),
    *_of(CHECK, health_pb2.HealthCheckRequest(), {"UNKNOWN_SERVICE": [
        ("service", found, "dejavu.ledger, the full name of a service (reflection lists them), or empty for", service)
        for service, found in (("nope", "'nope'"), ("x" * 1000, "1000 characters"))]}),
]  # fmt: skip


INFER = "/inference.GRPCInferenceService/ModelInfer"

_TWO = padded([PATTERN, PATTERN])
_ROW = bytes(8 * len(PATTERN))
_BOS = texts("BOS")
_VALUES = InferTensorContents(fp64_contents=PATTERN)


def _input(**changes: Any) -> ModelInferRequest.InferInputTensor:
    usual = {"name": "pattern", "datatype": "FP64", "shape": [1, len(PATTERN)], "contents": _VALUES}
    return ModelInferRequest.InferInputTensor(**{**usual, **changes})


def _inputs(*inputs: ModelInferRequest.InferInputTensor, **fields: Any) -> ModelInferRequest:
    return ModelInferRequest(model_name=MODEL, inputs=inputs, **fields)


def _raw(*contents: bytes, **inputs: Tensor) -> ModelInferRequest:
    """Return a request with other raw contents."""
    request = infer_request(inputs, raw=True)
    request.raw_input_contents[:] = contents
    return request


def _alpha(value: object) -> ModelInferRequest:
    return infer_request(parameters={"alpha": value})


INVALID_INFERENCES = {
    "INVALID_TENSOR": [
        ("inputs", "no 'pattern'", "[rows, minutes]", _inputs()),
        ("inputs[1].name", "'odds'", "one of pattern", infer_request({"odds": Tensor([1.0])})),
        ("inputs[1].name", "again", "once", _inputs(_input(), _input())),
        ("pattern.shape", "[1001, 18]", "1 to 1000 rows", _inputs(_input(shape=[1001, 18]))),
        ("pattern.shape", "5000 dimensions", "minutes]", _inputs(_input(shape=[1] * 5000))),
        ("pattern.shape", "[1, 48]", "1 to 47 minutes", _inputs(_input(shape=[1, 48]))),
        ("pattern.shape", str(2**62), "1 to 47 minutes", _inputs(_input(shape=[1, 2**62]))),
        ("pattern", "18 values", "36", _inputs(_input(shape=[2, 18]))),
        ("pattern", "0 values in contents.fp64_contents", "18",
         _inputs(_input(contents=InferTensorContents(fp32_contents=PATTERN)))),
        ("pattern.contents", "1 values in contents.int_contents", "contents.fp64_contents only",
         _inputs(_input(contents=InferTensorContents(fp64_contents=PATTERN, int_contents=[1])))),
        ("pattern.datatype", "'BYTES'", "FP64", _inputs(_input(datatype="BYTES"))),
        ("pattern.datatype", "FP16", "raw_input_contents", _inputs(_input(datatype="FP16"))),
        ("pattern", "143 bytes", "144", _raw(_ROW[:-1])),
        ("pattern.contents", "contents beside raw_input_contents", "one of them",
         _inputs(_input(), raw_input_contents=[_ROW])),
        ("raw_input_contents", "1 contents", "2", _raw(_ROW, alpha=Tensor([0.1]))),
        ("alpha.shape", "[2]", "[1]", infer_request({"alpha": Tensor([0.1, 0.2])})),
        ("home_team.datatype", "'FP64'", "BYTES", infer_request({"home_team": Tensor([1.0])})),
        ("home_team.contents", "1 values in contents.fp64_contents", "contents.bytes_contents only",
         _inputs(_input(), _input(name="home_team", datatype="BYTES", shape=[1],
                                  contents=InferTensorContents(bytes_contents=[b"BOS"], fp64_contents=[1.0])))),
        ("home_team[0]", "7 bytes", "length", _raw(_ROW, b"\x09\0\0\0BOS", home_team=_BOS)),
        ("home_team", "8 bytes", "7", _raw(_ROW, b"\x03\0\0\0BOSx", home_team=_BOS)),
        ("home_team[0]", "1 bytes", "UTF-8", _raw(_ROW, b"\x01\0\0\0\xff", home_team=_BOS)),
        ("inputs", "last_score_seconds", "all, or none", infer_request({"last_score_side": texts("home")})),
        ("outputs[0].name", "'label'", "one of point", infer_request(outputs=["label"])),
        ("outputs[1].name", "again", "once", infer_request(outputs=["point", "point"])),
        ("outputs[0].name", "'quantiles'", "quantile_levels", infer_request(outputs=["quantiles"])),
        ("quantile_levels.shape", "[100]", "1 to 99 levels", infer_request({"quantile_levels": Tensor([0.5] * 100)}))],
    "INVALID_PARAMETER": [
        ("pattern.parameters", "'shared_memory_region'", "content_type",
         _inputs(_input(parameters={"shared_memory_region": InferParameter(string_param="region")}))),
        ("point.parameters", "'classification'", "no parameters", _inputs(_input(), outputs=[
            ModelInferRequest.InferRequestedOutputTensor(
                name="point", parameters={"classification": InferParameter(int64_param=3)})])),
        ("parameters", "'alph'", "alpha or horizon", infer_request(parameters={"alph": 0.1})),
        ("parameters.alpha", "no number", "a number", _alpha(value=True)),
        # Texts that are no plain number, most of which Python's float takes.
        *(("parameters.alpha", repr(text), "a number", _alpha(text)) for text in (
            "low", "0.1_0", "0.1\n", "nan", "\uff10.\uff11", "0.1" + "0" * 40 + "x")),
        ("parameters.alpha", "beside the input", "one of them",
         infer_request({"alpha": Tensor([0.1])}, parameters={"alpha": 0.1}))],
    "INVALID_ALPHA": [
        ("parameters.alpha", "1.0", "between 0 and 1", _alpha(1)),
        ("alpha[1]", "1.5", "between 0 and 1", infer_request({"pattern": _TWO, "alpha": Tensor([0.1, 1.5])}))],
    "INVALID_HORIZON": [
        ("parameters.horizon", "'end'", "halftime or final", infer_request(parameters={"horizon": "end"}))],
    "INVALID_REQUEST_ID": [("id", "1025 characters", "at most 1024", infer_request(id="x" * (MAX_ID + 1)))],
    "INVALID_PATTERN": [
        ("pattern[1][1]", "nan", "finite", infer_request({"pattern": padded([[1, 2, 3], [1, math.nan, 3]])})),
        ("pattern[1]", "0 slots", "1 to 23", infer_request({"pattern": padded([PATTERN, []])}))],
    "INVALID_TEAM": [
        ("away_team[1]", "'XYZ'", "BOS", infer_request({"pattern": _TWO, "away_team": texts("", "XYZ")})),
        ("away_team[1]", "none", "both teams", infer_request({"pattern": _TWO, "home_team": texts("", "BOS")}))],
    "INVALID_TOTAL_POINTS": [
        ("total_points[1]", "40.5", "whole", infer_request({"pattern": _TWO, "total_points": Tensor([-1, 40.5])}))],
    "INVALID_LAST_SCORE": [
        ("last_score_side[0]", "'left'", "home or away",
         infer_request({"last_score_side": texts("left"), "last_score_seconds": Tensor([1], "INT8")})),
        ("last_score_seconds[0]", "none", "seconds",
         infer_request({"last_score_side": texts("home"), "last_score_seconds": Tensor([-1], "INT8")}))],
    "INVALID_NEUTRAL_SITE": [
        ("neutral_site[0]", "2", "0 or 1", infer_request({"neutral_site": Tensor([2], "INT32")}))],
    "INVALID_QUANTILE_LEVELS": [
        ("quantile_levels[1]", "1.0", "between 0 and 1", infer_request({"quantile_levels": Tensor([0.1, 1.0])}))],
}  # fmt: skip


EVERY_METHOD = (*(f"/{each.containing_service.full_name}/{each.name}" for each in METHODS), CHECK, WATCH, REFLECTION)


def _no_message(path: str, body: bytes) -> BadRequest:
    """Return bytes that are not a message of the method."""
    return BadRequest(path, body, "INVALID_MESSAGE", "", f"{len(body)} bytes", "a message of this method")


def _unknown(path: str, size: int, most: int) -> BadRequest:
    """Return a field that no release knows: it would be kept, and read by nobody."""
    body = b"\x82\x7d" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + bytes(size)
    return BadRequest(path, body, "INVALID_MESSAGE", "", f"{len(body)} bytes", f"at most {most}")


BAD_REQUESTS = [
    *OF_PREDICT,
    *OF_RECORD,
    *OF_OTHERS,
    *(
        BadRequest(INFER, request.SerializeToString(), reason, field, found, expected)
        for reason, rows in INVALID_INFERENCES.items()
        for field, found, expected, request in rows
    ),
    _no_message(PREDICT, b"\x0c"),  # an end of a group without its start
    _no_message(PREDICT, b"\x0a\xff\xff\xff\xff\x07"),  # a length of 2 GiB
    _no_message(PREDICT, b"\x32\x03\xed\xa0\x80"),  # a text with a surrogate
    _no_message(PREDICT, b"\x93\x03" * 30_000),  # groups nested 30,000 deep
    _no_message(BATCH, b"\x0a\x01\x0c"),  # a request in it that is no message
    *(_no_message(path, b"\xff\xff") for path in EVERY_METHOD),
    *(_unknown(path, 50_000, most) for path, most in ((CHECK, 1024), (WATCH, 1024), (REFLECTION, 4096))),
    *(_unknown(path, 70_000, 65536) for path in (PREDICT, STREAM)),
]

_ODD: dict[str, dict[str, Any]] = {
    "values next to zero": {"pattern": [5e-324, -0.0] * 9},
    "values at the bounds": {"pattern": [200.0, -200.0] * 9, "pregame_margin": -200.0},
    "shares at the bounds": {"alpha": math.nextafter(1, 0), "quantile_levels": [0.0005] * 99},
    "as many slots as there may be": {"pattern": [2.0] * 47, "horizon": HORIZON_FINAL},
    "points of either parity with a lead of half points": {"pattern": [2.5], "total_points": 8},
    "a market at its bounds": _markets(line=-100.0, above=Odds(decimal=1000), below=Odds(american=-(2**31))),
}

ACCEPTED: dict[str, tuple[str, bytes]] = {
    "a field that a later release may know": (PREDICT, good().SerializeToString() + b"\x82\x7d\x03abc"),
    "a known field of another wire type": (PREDICT, good().SerializeToString() + b"\x38\x01"),
    "floats that are not packed": (PREDICT, b"".join(b"\x11" + struct.pack("<d", slot) for slot in PATTERN)),
    "risks of 100 games": (RISK, pb.AssessRiskRequest(games=[pb.RiskGame(pattern=[0] * 47)] * 100).SerializeToString()),
    "the same id 200 times": (STREAM, pb.StreamPredictionsRequest(game_ids=[GAME] * 200).SerializeToString()),
    **{name: (PREDICT, good(**fields).SerializeToString()) for name, fields in _ODD.items()},
}
"""Unusual but valid requests: method and bytes."""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """A connection to a worker with the shipped bundle."""
    with (
        running_worker(tmp_path_factory.mktemp("server"), shipped=True) as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield channel


def answer(channel: grpc.Channel, path: str, body: bytes, **options: Any) -> bytes:
    """Return the first response of a method, unary or streaming: on the wire, both send one request."""
    opened: Any = channel.unary_stream(path)
    call = opened(body, **{"timeout": 60, **options})
    try:
        return cast("bytes", next(call))
    finally:
        call.cancel()


def refused(channel: grpc.Channel, path: str, body: bytes, **options: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        answer(channel, path, body, **options)
    return caught.value


def refusal(channel: grpc.Channel, path: str, body: bytes) -> Refusal:
    return details(cast("grpc.aio.AioRpcError", refused(channel, path, body)))


def batch_of(channel: grpc.Channel, bodies: list[bytes]) -> list[pb.PredictBatchResult]:
    requests = [pb.PredictRequest.FromString(body) for body in bodies]
    body = pb.PredictBatchRequest(requests=requests).SerializeToString()
    return list(pb.PredictBatchResponse.FromString(answer(channel, BATCH, body)).results)


def test_the_table_covers_every_field_of_a_request() -> None:
    named = {row.field.partition("[")[0].partition(".")[0] for row in OF_PREDICT}
    assert named == set(pb.PredictRequest.DESCRIPTOR.fields_by_name) - {"return_explanation", "neutral_site"}
    of_market = {row.field.split(".")[1] for row in OF_PREDICT if row.field.startswith("markets[0].")}
    assert of_market == set(Market.DESCRIPTOR.fields_by_name)
    of_risk = {row.field.partition("[")[0] for row in BAD_REQUESTS if row.path == RISK} - {""}
    assert of_risk == set(pb.AssessRiskRequest.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("row", BAD_REQUESTS, ids=lambda row: row.name)
def test_a_bad_request_is_refused_with_the_field_its_value_and_what_was_expected(
    channel: grpc.Channel, row: BadRequest
) -> None:
    refused = refusal(channel, row.path, row.body)
    assert (refused.code, refused.reason, refused.domain) == (row.code, row.reason, "dejavu")
    if not row.field:  # undecodable bytes, so no field: check the message
        assert refused.violations == {}
        assert row.found in refused.message
        assert row.expected in refused.message
        return
    [(field, description)] = refused.violations.items()
    assert field == refused.metadata["field"] == row.field
    found, _, expected = description.partition("; expected ")
    assert row.found in found
    assert row.expected in expected
    assert refused.message.startswith(f"{field}: ")


def test_in_a_batch_each_bad_request_fails_as_it_would_by_itself(channel: grpc.Channel) -> None:
    rows = [row for row in OF_PREDICT if len(row.body) < 1000]
    for row, result in zip(rows, batch_of(channel, [row.body for row in rows]), strict=True):
        alone = refusal(channel, row.path, row.body)
        error = result.error
        assert (error.code, error.reason) == (code_pb2.Code.Value(alone.code.name), alone.reason)
        assert error.message == alone.message
        assert {each.field: each.description for each in error.field_violations} == alone.violations


def test_all_fields_that_are_wrong_are_named_at_once_alone_and_in_a_batch(channel: grpc.Channel) -> None:
    prices = {"above": Odds(decimal=1.0), "below": Odds(american=50)}
    one_sided = Market(line=math.nan, above=Odds(decimal=2.0))
    wrong = pb.PredictRequest(
        game_id="nope",
        pattern=[*PATTERN[:-2], math.nan, math.inf],
        alpha=2.0,
        total_points=501,  # which is not compared with a pattern that is refused
        last_score=LastScore(seconds=5000),
        horizon=cast("Any", 7),
        home_team="x" * 33,
        away_team="\U000e0001" * 6,
        pregame_margin=math.inf,
        quantile_levels=[0.5, 1.0],
        model_version="nope",  # checked only if all other fields are valid
        markets=[_market(**prices, line=math.nan, bankroll=-1.0, staking=Staking(game_cap=2.0)), one_sided],
    )
    alone = refusal(channel, PREDICT, wrong.SerializeToString())
    assert (alone.reason, alone.metadata["field"]) == ("INVALID_GAME_ID", "game_id")
    assert alone.violations["total_points"] == "501; expected 0 to 500"
    fields = ["game_id", "pattern[16]", "horizon", "home_team", "away_team", "last_score.side", "total_points"]
    of_market = ("below.american", "staking.game_cap", "line", "above.decimal", "bankroll")
    fields += (f"markets[0].{field}" for field in of_market)
    fields += ["markets[1].kind", "markets[1].below", "alpha", "pregame_margin", "quantile_levels[1]"]
    assert list(alone.violations) == fields
    assert all("; expected " in description for description in alone.violations.values())
    [result] = batch_of(channel, [wrong.SerializeToString()])
    assert {each.field: each.description for each in result.error.field_violations} == alone.violations


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_looks_odd_and_breaks_no_rule_is_answered(channel: grpc.Channel, name: str) -> None:
    path, body = ACCEPTED[name]
    assert answer(channel, path, body)


def test_a_message_of_more_than_four_mebibytes_or_metadata_without_measure_is_not_taken(channel: grpc.Channel) -> None:
    for path in (PREDICT, STREAM):
        large = refused(channel, path, bytes(4 * 2**20 + 1))
        long = refused(channel, path, b"", metadata=[("x-request-id", "x" * 100_000)])
        assert {large.code(), long.code()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_nothing_that_was_refused_is_recorded(channel: grpc.Channel) -> None:
    for row in OF_PREDICT:
        named = pb.PredictRequest.FromString(row.body)
        if not named.game_id:
            named.game_id = GAME
            refused(channel, PREDICT, named.SerializeToString())
    response = answer(channel, PREDICT, good(game_id=GAME, horizon=HORIZON_HALFTIME).SerializeToString())
    assert pb.PredictResponse.FromString(response).forecast.sequence == 1
