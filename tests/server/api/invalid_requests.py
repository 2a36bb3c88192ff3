"""Invalid requests of all methods but RecordService's, with the expected error of each, and odd ones that are valid."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2
from tests.support.builders.calls import GAME, PATTERN

from dejavu.ops.v1.feed_service_pb2 import ReportFeedRequest
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import (
    HORIZON_HALFTIME,
    HORIZON_UNSPECIFIED,
    MARGIN_SOURCE_FEED,
    MARGIN_SOURCE_RATINGS,
    MARGIN_SOURCE_UNSPECIFIED,
    SIDE_AWAY,
    LastScore,
    Moment,
    Possession,
)
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_KIND_TOTAL, Market, Odds

PREDICT = "/dejavu.v1.PredictionService/Predict"
BATCH = "/dejavu.v1.PredictionService/PredictBatch"
STREAM = "/dejavu.v1.PredictionService/StreamPredictions"
RISK = "/dejavu.v1.PredictionService/AssessRisk"
MODELS = "/dejavu.v1.ModelService/ListModels"
FEED = "/dejavu.ops.v1.FeedService/ReportFeed"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNSUPPORTED = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND

BETWEEN, BOUND = "a number strictly between 0 and 1", "a finite number within ±200"
ID, TEAM, HORIZON = "the NBA's id, ten digits", "an NBA code such as BOS", "HORIZON_HALFTIME or HORIZON_FINAL"
PAST_GAME, PAST_SEASON = "0022000001", "a date from 2020-08-01 to 2021-10-31"
DATE, DATES = "a date as YYYY-MM-DD", "a date from 1946-08-01 to 2046-07-31"
PRICE, AMERICAN = "a number above 1, at most 1000", "100 to 99900, or at most −100"
KIND = "MARKET_KIND_LEAD or MARKET_KIND_TOTAL"


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
    code: grpc.StatusCode
    reason: str
    field: str
    found: str
    expected: str

    @property
    def name(self) -> str:
        return f"{self.path.rpartition('/')[2]} {self.field or self.body[:8]!r} {self.found[:30]!r}"


def _lineups(**fields: Any) -> pb.Lineups:
    """Return line-ups of five players a team, unless `fields` make them wrong."""
    return pb.Lineups(**{"home_starters": range(1, 6), "away_starters": range(11, 16), **fields})


def good(**fields: Any) -> pb.PredictRequest:
    """Return a valid request, unless `fields` make it invalid."""
    return pb.PredictRequest(**{"pattern": PATTERN, **fields})


def market(**fields: Any) -> Market:
    """Return a valid market, unless `fields` make it invalid."""
    usual = {"kind": MARKET_KIND_LEAD, "line": 5.5, "above": Odds(decimal=1.91), "below": Odds(american=-110)}
    return Market(**{**usual, **fields})


def _predict(
    reason: str, field: str, found: str, expected: str, code: grpc.StatusCode = INVALID, **fields: Any
) -> BadRequest:
    return BadRequest(PREDICT, good(**fields).SerializeToString(), code, reason, field, found, expected)


def _slot(at: int, value: float) -> list[float]:
    return [*PATTERN[:at], value, *PATTERN[at + 1 :]]


def _team(field: str, value: str, found: str = "") -> BadRequest:
    team: Any = {field: value}
    return _predict("INVALID_TEAM", field, found or repr(value), TEAM, **team)


def _market(field: str, found: str, expected: str, **fields: Any) -> BadRequest:
    return _markets(f"markets[0].{field}", found, expected, market(**fields))


def _markets(field: str, found: str, expected: str, *markets: Market, **fields: Any) -> BadRequest:
    return _predict("INVALID_MARKET", field, found, expected, markets=markets, **fields)


def _moment(field: str, found: str, expected: str, **fields: Any) -> BadRequest:
    moment = Moment(**{"period": 4, "seconds_left": 30.0, **fields})
    return _predict("INVALID_MOMENT", f"moment.{field}", found, expected, moment=moment)


OF_PREDICT = [
    *(_predict("INVALID_PATTERN", "pattern", f"{n} slots", f"1 to {most} to", pattern=[0.0] * n, horizon=horizon)
      for horizon, most, n in ((0, 23, 0), (0, 23, 24), (1, 23, 48), (2, 47, 0), (2, 47, 48), (2, 47, 8_000))),
    *(_predict("INVALID_PATTERN", f"pattern[{at}]", f"{value}", BOUND, pattern=_slot(at, value))
      for at, value in ((0, math.nan), (17, math.nan), (3, math.inf), (17, -math.inf), (5, 200.5), (6, -200.5))),
    *(_predict("INVALID_ALPHA", "alpha", f"{alpha}", BETWEEN, alpha=alpha)
      for alpha in (0.0, 1.0, -0.05, 95.0, math.nan, math.inf)),
    *(_predict("ALPHA_TOO_SMALL", "alpha", f"{alpha}", "at least 0.0", UNSUPPORTED, alpha=alpha)
      for alpha in (5e-324, 0.0001)),
    *(_predict("INVALID_GAME_ID", "game_id", found or repr(value), ID, game_id=value,
               horizon=HORIZON_HALFTIME)
      for value, found in (
          ("002200001", ""), ("00220000011", ""), ("002200000x", ""), ("٠٠٢٢٠٠٠٠٠١", ""), (GAME + "\n", ""),
          ("-022000001", ""), ("00220\x0000001", ""), ("../../etc", ""), ("0" * 2**15, "32768 characters"))),
    *(_team("home_team", value) for value in ("Gotham Knights", "BO", "BO\tS", " ", "BOS\0", "\u202eSOB")),
    _team("home_team", "x" * 2**15, "32768 characters"),
    _team("home_team", "\U000e0001" * 32, "32 characters"),
    _team("away_team", "FCB"),
    _predict("INVALID_TEAM", "away_team", "none", "both teams, or none", home_team="BOS"),
    _predict("INVALID_TEAM", "home_team", "none", "both teams, or none", away_team="BOS"),
    *(_predict("INVALID_TEAM", "away_team", away, "another team than home_team", home_team=home, away_team=told)
      for home, told, away in (("BOS", "BOS", "BOS"), ("BKN", "BRK", "BKN"), ("GSW", " gs ", "GSW"))),
    *(_predict("INVALID_PREGAME_MARGIN", "pregame_margin", f"{margin}", BOUND, pregame_margin=margin)
      for margin in (math.nan, -math.inf, 200.5, -1e9)),
    *(_predict("INVALID_PREGAME_TOTAL", "pregame_total", found, "100 to 400, the line of a market", pregame_total=total)
      for total, found in ((99.5, "99.5"), (400.5, "400.5"), (-221.0, "-221"), (math.nan, "nan"), (math.inf, "inf"))),
    _predict("INVALID_PREGAME_MARGIN", "margin_source", "no pregame_margin", "pregame_margin beside it",
             margin_source=MARGIN_SOURCE_FEED),
    _predict("INVALID_PREGAME_MARGIN", "margin_time", "no pregame_margin", "pregame_margin beside it",
             margin_time=Timestamp(seconds=1_700_000_000)),
    *(_predict("INVALID_PREGAME_MARGIN", "margin_source", f"{source}", "one of MARGIN_SOURCE_CALLER",
               pregame_margin=3.0, margin_source=source)
      for source in (MARGIN_SOURCE_RATINGS, 7, -1)),
    _predict("INVALID_PREGAME_MARGIN", "margin_source", "unspecified", "one of MARGIN_SOURCE_CALLER",
             pregame_margin=3.0, margin_source=MARGIN_SOURCE_UNSPECIFIED),
    *(_predict("INVALID_PREGAME_MARGIN", "margin_time", "another time", "a time from 1946-08-01 to 2046-07-31",
               pregame_margin=3.0, margin_time=Timestamp(seconds=seconds, nanos=nanos))
      for seconds, nanos in ((-10**9, 0), (10**10, 0), (2**62, 0), (1_700_000_000, 2 * 10**9))),
    _predict("INVALID_PREGAME_MARGIN", "margin_time", "2045-06-01", "a time that has passed; today is",
             pregame_margin=3.0, margin_time=Timestamp(seconds=2_379_931_200)),
    *(_predict("INVALID_QUANTILE_LEVELS", f"quantile_levels[{at}]", f"{level}", BETWEEN,
               quantile_levels=[*[0.5] * at, level])
      for at, level in enumerate((0.0, 1.0, -0.5, 50.0, math.nan, -math.inf))),
    *(_predict("INVALID_QUANTILE_LEVELS", "quantile_levels", f"{n} levels", "at most 99", quantile_levels=[0.5] * n)
      for n in (100, 8_000)),
    *(_predict("QUANTILE_TOO_EXTREME", "quantile_levels[1]", f"{level}", "0.0005 to 0.9995", UNSUPPORTED,
               quantile_levels=[0.5, level])
      for level in (5e-324, 1 - 1e-9)),
    *(_predict("INVALID_HORIZON", "horizon", f"{h}", HORIZON, horizon=h) for h in (3, -1, 2**31 - 1)),
    _predict("INVALID_HORIZON", "horizon", "unspecified", HORIZON, game_id=GAME, horizon=HORIZON_UNSPECIFIED),
    *(_predict("UNKNOWN_MODEL_VERSION", "model_version", found or repr(version), "or empty", NOT_FOUND,
               model_version=version)
      for version, found in (("0123456789abcdef", ""), ("../default", ""), ("f" * 2**15, "32768 characters"))),
    *(_predict("INVALID_GAME_DATE", "game_date", repr(text), DATE, game_date=text)
      for text in ("2023-6-12", "20230612", "2023-02-30", "2023-W24-1", "2023-06-12T20:00", "\0")),
    _predict("INVALID_GAME_DATE", "game_date", "40960 characters", DATE, game_date="2023-06-12" * 2**12),
    *(_predict("INVALID_GAME_DATE", "game_date", day, DATES, game_date=day)
      for day in ("0001-01-01", "1946-07-31", "2046-08-01", "9999-12-31")),
    *(_predict("INVALID_GAME_DATE", "game_date", day or "none, which means ", PAST_SEASON, game_id=PAST_GAME,
               horizon=HORIZON_HALFTIME, game_date=day)
      for day in ("2020-07-31", "2021-11-01", "0001-01-01", "9999-12-31", "")),
    *(_predict("INVALID_TOTAL_POINTS", "total_points", f"{total}", expected, pattern=[5.0], total_points=total)
      for total, expected in (
          (4, "5 (the lead) to 47 (after 1 minute of play)"),
          (-1, "5 (the lead) to 47"),
          (20, "an odd number, as the last differential, 5, is odd"),
          (49, "to 47"), (501, "to 47"))),
    *(_predict("INVALID_TOTAL_POINTS", "total_points", f"{total}", f"0 to {most} (after {minutes} minutes of play)",
               pattern=[0.0] * minutes, total_points=total)
      for minutes, total, most in ((6, 500, 82), (12, 126, 124), (23, 202, 201))),
    _predict("INVALID_TOTAL_POINTS", "total_points", "5", "even number", pattern=[-2.0], total_points=5),
    *(_predict("INVALID_LAST_SCORE", f"last_score.{part}", found, expected, pattern=[5.0], **fields)
      for part, found, expected, fields in (
          ("side", "0", "a value of dejavu.v1.Side: 1, 2", {"last_score": LastScore(seconds=3)}),
          ("side", "away", "a side with points", {"total_points": 5, "last_score": LastScore(side=SIDE_AWAY)}),
          ("seconds", "61", "0 to 60", {"last_score": LastScore(side=SIDE_AWAY, seconds=61)}),
          ("seconds", "-1", "0 to 60", {"last_score": LastScore(side=SIDE_AWAY, seconds=-1)}),
          ("seconds", "2147483647", "0 to 60", {"last_score": LastScore(side=SIDE_AWAY, seconds=2**31 - 1)}))),
    _predict("INVALID_LINEUPS", "lineups", "no teams", "home_team and away_team beside them", lineups=_lineups()),
    *(_predict("INVALID_LINEUPS", f"lineups.{part}", found, expected,
               home_team="BOS", away_team="LAL", lineups=_lineups(**fields))
      for part, found, expected, fields in (
        ("home_starters", "4 players", "5 different ones", {"home_starters": [1, 2, 3, 4]}),
        ("away_starters", "4 players", "5 different ones", {"away_starters": [11, 12, 13, 14, 14]}),
        ("home_seen", "21 players", "at most 20", {"home_seen": range(101, 122)}),
        ("away_seen", "1000 players", "at most 20", {"away_seen": range(1, 1001)}),
        ("home_seen", "0 to 5", "ids from 1 to 2147483647", {"home_seen": [0]}),
        ("away_seen", "5", "a player who is not of the home team", {"away_seen": [5]}),
        ("minute", "19", "0 to 18, the minutes of the pattern", {"minute": 19}),
        ("minute", "-1", "0 to 18, the minutes of the pattern", {"minute": -1}),
        ("home_seen", "-1 to 5", "ids from 1 to 2147483647", {"home_starters": [-1, 2, 3, 4, 5]}),
        ("away_seen", "-1 to 15", "ids from 1 to 2147483647", {"away_starters": [-1, 12, 13, 14, 15]}),
        ("home_seen", "-1 to 5", "ids from 1 to 2147483647", {"home_seen": [-1]}),
        ("away_seen", "-1 to 15", "ids from 1 to 2147483647", {"away_seen": [-1]}),
    )),
    _moment("period", "0", "1 to 24", period=0),
    _moment("period", "-1", "1 to 24", period=-1),
    _moment("free_throws", "-1", "0 to 3", free_throws=-1),
    _moment("seconds_left", "nan", "0 to 720 seconds", seconds_left=math.nan),
    _moment("seconds_left", "-inf", "0 to 720 seconds", seconds_left=-math.inf),
    _moment("differential", "201", "a whole number within ±200", differential=201),
    _predict("INVALID_PATTERN", "pattern", "18 slots", "20, the complete minutes at that moment",
             moment=Moment(period=2, seconds_left=200.0)),
    _predict("INVALID_MOMENT", "moment.free_throws", "without a side that has the ball", "possession, not shot_in_air",
             moment=Moment(period=2, seconds_left=340.0, free_throws=2)),
    _predict("INVALID_POSSESSION", "possession.side", "0", "a value of dejavu.v1.Side: 1, 2",
             possession=Possession(shot_in_air=True)),
    *(_market("line", f"{value}", "a multiple of 0.5 within ±100", line=value)
      for value in (5.25, 100.5, math.nan, 5e-324)),
    *(_market("above.decimal", f"{value}", PRICE, above=Odds(decimal=value))
      for value in (1.0, -1.91, 1000.5, math.nan, math.inf)),
    *(_market("above.american", f"{v}", AMERICAN, above=Odds(american=v)) for v in (0, 99, -99, 99_901, 2**31 - 1)),
    *(_market("above", "no price", "decimal or american odds", above=odds) for odds in (None, Odds())),
    _market("below.decimal", "1.0", PRICE, below=Odds(decimal=1.0)),
    *(_market("bankroll", f"{v}", "above 0", bankroll=v) for v in (0.0, -1.0, math.nan, math.inf)),
    *(_market("confidence_threshold", f"{v}", "a number from 0 on, below 1", confidence_threshold=v)
      for v in (1.0, -0.1, math.nan)),
    *(_market("game_staked", f"{v}", "a number from 0 to the bankroll, 1", game_staked=v)
      for v in (-0.1, 20.0, math.nan)),
    *(_market("evening_staked", f"{v}", "a number from game_staked, 0.5, to the bankroll, 1",
              game_staked=0.5, evening_staked=v)
      for v in (0.4, 20.0, math.inf)),
    *(_markets("markets[0].line", f"{v}", "a multiple of 0.5 from 0 to 500", market(kind=MARKET_KIND_TOTAL, line=v),
               pattern=[5.0], total_points=9)
      for v in (-0.5, 9.7, 501.0, math.nan)),
    _market("kind", "unspecified", KIND, kind=0),
    _market("kind", "7", KIND, kind=7),
    _markets("markets[1].kind", "a second one, LEAD", "one market of each kind", market(), market(line=6.5)),
    _markets("markets[2].kind", "a second one, TOTAL", "one market of each kind",
             market(), *[market(kind=MARKET_KIND_TOTAL, line=221.5)] * 2000, pattern=[5.0], total_points=9),
    _markets("markets[1].below.american", "50", AMERICAN, market(),
             market(kind=MARKET_KIND_TOTAL, line=221.5, below=Odds(american=50)), pattern=[5.0], total_points=9),
    _markets("markets[1]", "no total_points", "total_points beside it",
             market(), market(kind=MARKET_KIND_TOTAL, line=221.5)),
]  # fmt: skip


def _no_message(path: str, body: bytes) -> BadRequest:
    """Return bytes that are not a message of the method."""
    return BadRequest(path, body, INVALID, "INVALID_MESSAGE", "", f"{len(body)} bytes", "a message of this method")


def _other(path: str, request: Any, reason: str, field: str, found: str, expected: str) -> BadRequest:
    code = NOT_FOUND if reason == "UNKNOWN_SERVICE" else INVALID
    return BadRequest(path, request.SerializeToString(), code, reason, field, found, expected)


TOKEN = "a resume_token of an earlier response"

BAD_REQUESTS = [
    *OF_PREDICT,
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
            b"\x19" + bytes(4),  # a double cut short
            b"\x0a\x0a" + b"\xff\xfe" * 5,  # a text that is no UTF-8
            b"\x32\x03\xed\xa0\x80",  # a text with a surrogate
            b"\x93\x03" * 30_000,  # groups nested 30,000 deep
            bytes(range(255, 200, -1)),
        )
    ),
    _no_message(BATCH, b"\x0a\x7f\x00"),  # a request cut short
    _no_message(BATCH, b"\x0a\x01\x0c"),  # a request in it that is no message
    _no_message(CHECK, b"\x0a\x01\xff"),  # a text that is no UTF-8
    *(_no_message(path, b"\xff\xff") for path in (STREAM, RISK, MODELS, WATCH, REFLECTION)),
    *(BadRequest(path, b"\x82\x7d\xd0\x86\x03" + bytes(50_000), INVALID, "INVALID_MESSAGE", "", "50005 bytes", "most")
      for path in (CHECK, WATCH, REFLECTION)),  # a field that no release knows: it would be kept, and read by nobody
    BadRequest(PREDICT, b"\x82\x7d\xf0\xa2\x04" + bytes(70_000), INVALID, "INVALID_MESSAGE", "", "70005 bytes",
               "at most 65536"),
    BadRequest(BATCH, b"\x0a\x00" * 100_000, INVALID, "INVALID_BATCH", "requests", "100000 requests", "1 to 1000"),
    *(_other(BATCH, pb.PredictBatchRequest(requests=[request] * size), "INVALID_BATCH", "requests",
             f"{size} requests", "1 to 1000")
      for size, request in ((0, good()), (1001, good()), (4000, pb.PredictRequest()))),
    *(_other(STREAM, pb.StreamPredictionsRequest(game_ids=ids), reason, field, found, expected)
      for ids, reason, field, found, expected in (
          (["nope"], "INVALID_GAME_ID", "game_ids[0]", "'nope'", ID),
          ([GAME, GAME, "1"], "INVALID_GAME_ID", "game_ids[2]", "'1'", ID),
          ([""], "INVALID_GAME_ID", "game_ids[0]", "''", ID),
          ([GAME] * 201, "INVALID_GAME_IDS", "game_ids", "201 game ids", "at most 200"))),
    *(_other(STREAM, pb.StreamPredictionsRequest(resume_token=token), "INVALID_RESUME_TOKEN", "resume_token",
             found, expected)
      for token, found, expected in (
          ("nope", "'nope'", TOKEN), ("é", "'é'", TOKEN), ("\0", "'\\x00'", TOKEN),
          ("AQ" + "A" * 54, "of another ledger", "this server's ledger"), ("_w" + "A" * 54, "form 255", "form 1"),
          ("A" * 60_000, "60000 characters", TOKEN))),
    *(_other(RISK, pb.AssessRiskRequest(games=[pb.RiskGame(pattern=[0, 1])] * size), "INVALID_BATCH", "games",
             f"{size} games", "1 to 100")
      for size in (0, 101)),
    _other(FEED, ReportFeedRequest(feed="nba", live_games=-1), "INVALID_FEED_REPORT", "live_games", "-1", "0 games"),
    *(_other(CHECK, health_pb2.HealthCheckRequest(service=service), "UNKNOWN_SERVICE", "service", found,
             "dejavu.ledger, the full name of a service (reflection lists them), or empty for the whole server")
      for service, found in (("nope", "'nope'"), ("\0", "'\\x00'"), ("x" * 1000, "1000 characters"))),
]  # fmt: skip

ACCEPTED: dict[str, tuple[str, bytes]] = {
    "a field that a later release may know": (PREDICT, good().SerializeToString() + b"\x82\x7d\x03abc"),
    "a known field of another wire type": (PREDICT, good().SerializeToString() + b"\x38\x01"),
    "floats that are not packed": (PREDICT, b"".join(b"\x11" + struct.pack("<d", slot) for slot in PATTERN)),
    "a field twice, of which the last counts": (PREDICT, good().SerializeToString() + b"\x28\x07\x28\x01"),
    "subnormal values": (PREDICT, good(pattern=[5e-324] * len(PATTERN)).SerializeToString()),
    "minus zero": (PREDICT, good(pattern=[-0.0] * len(PATTERN)).SerializeToString()),
    "values at the bounds": (PREDICT, good(pattern=[200.0, -200.0] * 9, pregame_margin=-200.0).SerializeToString()),
    "alpha next to 1": (PREDICT, good(alpha=math.nextafter(1, 0)).SerializeToString()),
    "one slot": (PREDICT, good(pattern=[2.0]).SerializeToString()),
    "as many slots as there may be": (PREDICT, good(pattern=[2.0] * 47, horizon=2).SerializeToString()),
    "99 quantiles, of one level": (PREDICT, good(quantile_levels=[0.5] * 99).SerializeToString()),
    "a market at the half": (PREDICT, good(markets=[market()]).SerializeToString()),
    "a market at its bounds": (
        PREDICT,
        good(
            markets=[
                market(line=-100.0, above=Odds(decimal=1000), below=Odds(american=-(2**31)), confidence_threshold=0.0)
            ]
        ).SerializeToString(),
    ),
    "risks of 100 games": (RISK, pb.AssessRiskRequest(games=[pb.RiskGame(pattern=[0] * 47)] * 100).SerializeToString()),
    "a batch of 1000": (BATCH, pb.PredictBatchRequest(requests=[good()] * 1000).SerializeToString()),
    "the same id 200 times": (STREAM, pb.StreamPredictionsRequest(game_ids=[GAME] * 200).SerializeToString()),
    "a service that the server does not have": (WATCH, b"\x0a\x04nope"),
    "a request that asks nothing": (REFLECTION, b""),
}
"""Unusual but valid requests: method and bytes."""
