"""Invalid requests of every method that has fields to check, with the expected error, and odd ones that are valid.

Rules that another layer keeps (prices, shares, box scores) have a row for each field here, which shows its name.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2
from tests.support.builders.calls import GAME, PATTERN, Refusal, details
from tests.support.contract import METHODS
from tests.support.harness.tensors import Tensor, infer_request, padded, texts
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

PREDICTIONS, RECORD, OPS = "/dejavu.v1.PredictionService", "/dejavu.v1.RecordService", "/dejavu.ops.v1"
PREDICT, BATCH, STREAM = f"{PREDICTIONS}/Predict", f"{PREDICTIONS}/PredictBatch", f"{PREDICTIONS}/StreamPredictions"
RISK, INFER = f"{PREDICTIONS}/AssessRisk", "/inference.GRPCInferenceService/ModelInfer"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
EVERY_METHOD = (*(f"/{each.containing_service.full_name}/{each.name}" for each in METHODS), CHECK, WATCH, REFLECTION)

CODES = {
    **dict.fromkeys(("ALPHA_TOO_SMALL", "QUANTILE_TOO_EXTREME"), grpc.StatusCode.FAILED_PRECONDITION),
    **dict.fromkeys(("UNKNOWN_MODEL_VERSION", "UNKNOWN_SERVICE"), grpc.StatusCode.NOT_FOUND),
}
"""Codes by reason; those of other reasons are INVALID_ARGUMENT."""

NOW = int(time.time())
NO_INSTANT = Timestamp(seconds=1, nanos=10**9)


class BadRequest(NamedTuple):
    """A row of the table.

    Attributes:
        path: path of the method.
        body: bytes of the request.
        field: the reported field; empty if the bytes are not a message.
        shown: the value, or its size if it is long, of a text or a float; otherwise empty.
    """

    path: str
    body: bytes
    reason: str
    field: str
    shown: str


Cases = dict[str, dict[str, list[Any]]]
"""Reason → field → values of the field, or the fields of a request."""


def _of(path: str, kind: Any, usual: dict[str, Any], cases: Cases) -> Iterator[BadRequest]:
    """Yield requests that differ from a valid one."""
    for reason, fields in cases.items():
        for field, values in fields.items():
            for value in values:
                changed = value if isinstance(value, dict) else {field: value}
                shown = f"{value:.3g}" if isinstance(value, float) else ""
                if isinstance(value, str):
                    shown = repr(value)[:20] if len(value) < 70 else f"{len(value)} characters"
                yield BadRequest(path, kind(**{**usual, **changed}).SerializeToString(), reason, field, shown)


def good(**fields: Any) -> pb.PredictRequest:
    """Return a valid request, unless `fields` make it invalid."""
    return pb.PredictRequest(**{"pattern": PATTERN, **fields})


def _market(**fields: Any) -> Market:
    """Return a valid market, unless `fields` make it invalid."""
    usual = {"kind": MARKET_KIND_LEAD, "line": 5.5, "above": Odds(decimal=1.91), "below": Odds(american=-110)}
    return Market(**{**usual, **fields})


def _markets(**fields: Any) -> dict[str, Any]:
    return {"markets": [_market(**fields)]}


def _lineups(**fields: Any) -> dict[str, Any]:
    """Return line-ups of five players a team, unless `fields` make them wrong."""
    usual = {"home_starters": range(1, 6), "away_starters": range(11, 16)}
    return {"home_team": "BOS", "away_team": "LAL", "lineups": pb.Lineups(**{**usual, **fields})}


def _moment(**fields: Any) -> dict[str, Any]:
    return {"moment": Moment(**{"period": 2, "seconds_left": 340.0, **fields})}


def _ahead(**fields: Any) -> dict[str, Any]:
    """Return a lead of five points after a minute."""
    return {"pattern": [5.0], **fields}


def _since(seconds: int) -> dict[str, Any]:
    """Return a margin with its time."""
    return {"pregame_margin": 3.0, "margin_time": Timestamp(seconds=seconds)}


_HALF: dict[str, Any] = {"game_id": GAME, "horizon": HORIZON_HALFTIME}
_OLD: dict[str, Any] = {"game_id": "0022000001", "horizon": HORIZON_HALFTIME}

OF_PREDICT = list(_of(PREDICT, pb.PredictRequest, {"pattern": PATTERN, "horizon": HORIZON_HALFTIME}, {
    "INVALID_PATTERN": {
        "pattern": [[], [0.0] * 24, {"pattern": [0.0] * 48, "horizon": HORIZON_FINAL}, _moment(seconds_left=200)],
        "pattern[1]": [{"pattern": [1.0, slot]} for slot in (math.nan, -math.inf, 200.5)]},
    "INVALID_ALPHA": {"alpha": [0.0, 1.0, math.nan]},
    "ALPHA_TOO_SMALL": {"alpha": [1e-320]},
    "INVALID_GAME_ID": {"game_id": ["00220000011", "002200000x", "٠٠٢٢٠٠٠٠٠١", GAME + "\n", "0" * 2**15]},
    "INVALID_TEAM": {
        "home_team": ["BOS\0", "x" * 2**15, {"away_team": "BOS"}],
        "away_team": ["FCB", {"home_team": "BOS"}, {"home_team": "BKN", "away_team": "BRK"}]},
    "INVALID_PREGAME_MARGIN": {
        "pregame_margin": [math.nan, 200.5],
        "margin_source": [3, {"pregame_margin": 3.0, "margin_source": 0}, {"pregame_margin": 3.0, "margin_source": 7}],
        "margin_time": [
            Timestamp(seconds=1), _since(2**62), _since(-(10**9)), _since(2_379_931_200),
            {"pregame_margin": 3.0, "margin_time": NO_INSTANT}]},
    "INVALID_PREGAME_TOTAL": {"pregame_total": [99.5, 400.5, math.nan]},
    "INVALID_QUANTILE_LEVELS": {
        "quantile_levels": [[0.5] * 100],
        "quantile_levels[0]": [{"quantile_levels": [level]} for level in (0.0, 1.0, math.nan)]},
    "QUANTILE_TOO_EXTREME": {"quantile_levels[1]": [{"quantile_levels": [0.5, 5e-324]}]},
    "INVALID_HORIZON": {"horizon": [3, {"game_id": GAME, "horizon": 0}]},
    "UNKNOWN_MODEL_VERSION": {"model_version": ["../default", "f" * 2**15]},
    "INVALID_GAME_DATE": {"game_date": [
        "20230612", "2023-02-30", "2023-06-12" * 2**12, {"game_date": "1946-07-31"}, {"game_date": "2046-08-01"},
        *({**_OLD, "game_date": day} for day in ("2020-07-31", "2021-11-01", ""))]},
    "INVALID_TOTAL_POINTS": {"total_points": [_ahead(total_points=points) for points in (4, 49, 20)]},
    "INVALID_LAST_SCORE": {
        "last_score.side": [
            {"last_score": LastScore(seconds=3)}, _ahead(total_points=5, last_score=LastScore(side=SIDE_AWAY))],
        "last_score.seconds": [{"last_score": LastScore(side=SIDE_AWAY, seconds=each)} for each in (1081, -1)]},
    "INVALID_LINEUPS": {
        "lineups": [{"lineups": _lineups()["lineups"]}],
        "lineups.home_starters": [_lineups(home_starters=range(1, 5))],
        "lineups.home_seen": [_lineups(home_seen=range(101, 122))],
        "lineups.away_starters": [_lineups(away_starters=range(11, 15)), _lineups(away_starters=[11, 12, 13, 14, 14])],
        "lineups.away_seen": [_lineups(away_seen=[5]), _lineups(away_seen=[-1]), _lineups(away_seen=range(101, 122))],
        "lineups.minute": [_lineups(minute=19), _lineups(minute=-1)]},
    "INVALID_MOMENT": {
        "moment.free_throws": [_moment(free_throws=-1), _moment(free_throws=2)],  # nobody has the ball
        "moment.period": [_moment(period=0)],
        "moment.differential": [_moment(differential=201)],
        "moment.seconds_left": [_moment(seconds_left=math.nan)]},
    "INVALID_POSSESSION": {"possession.side": [{"possession": Possession(shot_in_air=True)}]},
    "INVALID_MARKET": {
        "markets[0].line": [
            *(_markets(line=line) for line in (5.25, 100.5, math.nan)),
            _ahead(total_points=9, **_markets(kind=MARKET_KIND_TOTAL, line=-0.5))],
        "markets[0].above.decimal": [_markets(above=Odds(decimal=1000.5))],
        "markets[0].below.decimal": [_markets(below=Odds(decimal=price)) for price in (1.0, math.nan)],
        "markets[0].below.american": [_markets(below=Odds(american=price)) for price in (99, -99, 99_901)],
        "markets[0].above": [_markets(above=Odds())],
        "markets[0].below": [_markets(below=Odds())],
        "markets[0].bankroll": [_markets(bankroll=0.0), _markets(bankroll=math.inf)],
        **{f"markets[0].staking.{rule}": [_markets(staking=Staking(**{rule: share})) for share in (-0.1, 1.1, math.nan)]
           for rule in Staking.DESCRIPTOR.fields_by_name},
        "markets[0].game_staked": [_markets(game_staked=staked) for staked in (-0.1, 20.0, math.nan)],
        "markets[0].evening_staked": [_markets(game_staked=0.5, evening_staked=0.4)],
        "markets[0].traded_time": [_markets(traded_time=NO_INSTANT)],
        "markets[0].kind": [_markets(kind=0)],
        "markets[1].kind": [{"markets": [_market()] * 2}],
        "markets[2].kind": [  # one fault is told, not 1,999
            _ahead(total_points=9, markets=[_market(), *[_market(kind=MARKET_KIND_TOTAL, line=221.5)] * 2000])],
        "markets[1]": [{"markets": [_market(), _market(kind=MARKET_KIND_TOTAL)]}]},  # without the points of both teams
}))  # fmt: skip


def _players(**first: Any) -> list[record_service_pb2.PlayerLine]:
    """Return a box score of five players a team, with fields of the first."""
    lines: list[dict[str, Any]] = [
        {"player_id": player, "home": player < 10, "seconds": 2880, "plus_minus": 1 if player < 10 else -1}
        for player in (*range(1, 6), *range(11, 16))
    ]
    lines[0] |= first
    return [record_service_pb2.PlayerLine(**{"started": True, **line}) for line in lines]


def _final(**fields: Any) -> dict[str, Any]:
    return {"horizon": HORIZON_FINAL, "differential": 1, **fields}


def _filter(**fields: Any) -> dict[str, Any]:
    return {"filter": record_service_pb2.ScoreFilter(**{"horizon": HORIZON_HALFTIME, **fields})}


OF_A_GAME: Cases = {"INVALID_GAME_ID": {"game_id": ["12"]}, "INVALID_HORIZON": {"horizon": [9, 0]}}

OF_RECORD = [
    *_of(f"{RECORD}/WithdrawOutcome", record_service_pb2.WithdrawOutcomeRequest, _HALF, OF_A_GAME),
    *_of(f"{RECORD}/GetPrediction", record_service_pb2.GetPredictionRequest, _HALF, {
        **OF_A_GAME, "INVALID_MINUTES": {"elapsed_minutes": [0, 48]}}),
    *_of(f"{RECORD}/ReportOutcome", record_service_pb2.ReportOutcomeRequest, _HALF, {
        **OF_A_GAME,
        "INVALID_DIFFERENTIAL": {"differential": [-201, _final(differential=0)]},
        "INVALID_OVERTIMES": {"overtimes": [0, _final(overtimes=21), _final(overtimes=-1)]},
        "INVALID_TOTAL_POINTS": {"total_points": [-1, _final(total_points=200)]},
        "INVALID_PLAYERS": {
            "players": [
                {"differential": 1, "players": _players()},  # at the half
                *(_final(players=players) for players in (
                    _players()[1:], _players(plus_minus=30), _players() * 9, [*_players(), _players()[0]],
                    _players(started=False), _players(seconds=4000)))],
            "players[0].seconds": [_final(players=_players(seconds=0))],
            "players[0].plus_minus": [_final(players=_players(plus_minus=151))],
            "players[0].player_id": [_final(players=_players(player_id=-1))]},
        "INVALID_TEAM": {
            "home_team": [{"away_team": "BOS"}, {"home_team": "XXX", "away_team": "BOS"}],
            "away_team": [{"home_team": "BOS", "away_team": "x" * 99}, {"home_team": "BRK", "away_team": "BKN"}]},
        "INVALID_TIME": {"observed_time": [Timestamp(seconds=NOW + 10**5), Timestamp(seconds=-1), NO_INSTANT]}}),
    *_of(f"{RECORD}/ListPredictions", record_service_pb2.ListPredictionsRequest, {}, {
        "INVALID_GAME_ID": {"game_id": ["x"]},
        "INVALID_HORIZON": {"horizon": [3]},
        "INVALID_MINUTES": {"elapsed_minutes": [48]},
        "INVALID_DATE": {
            "from_date": ["2026-02-30"],
            "to_date": ["9" * 60_000, {"from_date": "2026-01-14", "to_date": "2026-01-13"}]},
        "INVALID_TEAM": {"team": ["Gotham"]},
        "INVALID_CONFIDENCE": {"min_confidence": [0.49, 1.01, math.nan]}}),
    *_of(f"{RECORD}/GetScorecard", record_service_pb2.GetScorecardRequest, _filter(), {
        "INVALID_GAME_ID": {"filter.game_id": [_filter(game_id="x")]},
        "INVALID_TEAM": {"filter.team": [_filter(team="Gotham")]},
        "INVALID_CONFIDENCE": {"filter.min_confidence": [_filter(min_confidence=0.49)]},
        "INVALID_DATE": {"filter.from_date": [_filter(from_date="x")]},
        "INVALID_HORIZON": {"filter.horizon": [_filter(horizon=0)]},
        "INVALID_MINUTES": {
            "filter.min_minutes": [_filter(min_minutes=0)],
            "filter.max_minutes": [_filter(max_minutes=99), _filter(min_minutes=9, max_minutes=8)]},
        "INVALID_FILTER": {
            "limit": [100_001], "max_bets": [2_001], "filter.min_difference": [_filter(min_difference=math.nan)]}}),
    *_of(f"{RECORD}/GetLeaderboard", record_service_pb2.GetLeaderboardRequest, {**_filter(), "metric": CRPS}, {
        "INVALID_HORIZON": {"filter.horizon": [_filter(horizon=0)]},
        "INVALID_FILTER": {"min_games": [-1], "limit": [-1], "filter.model_version": [_filter(model_version="v1")]},
        "INVALID_METRIC": {"metric": [0]}}),
]  # fmt: skip


def _note(**fields: Any) -> dict[str, Any]:
    usual = {"id": "evening/1", "target": "phone", "rule": "close", "game_id": GAME, "text": "BOS 101"}
    return {"notification": Notification(**{**usual, **fields})}


def _games(**fields: Any) -> dict[str, Any]:
    """Return two published games, the second one with other fields."""
    usual: dict[str, Any] = {"home_team": "BOS", "away_team": "NYK", "status": GAME_STATUS_LIVE}
    usual["observed_time"] = Timestamp(seconds=NOW)
    games = [{"game_id": GAME, **usual}, {"game_id": "0022600002", **usual, **fields}]
    return {"games": [game_service_pb2.Game(**each) for each in games]}


def _seconds(*later: int) -> list[Timestamp]:
    """Return times, by seconds from now."""
    return [Timestamp(seconds=NOW + each) for each in later]


WRONG_IN_A_GAME: dict[str, list[Any]] = {
    "game_id": [GAME],  # again
    "status": [0, 99],
    "status_text": ["x" * 65, "Final\u202e"],
    "home_score": [301, -1],
    "away_score": [-1],
    "period": [21],
    "seconds_left": [-0.1, math.nan],
    "pregame_margin": [35.5],
    "pregame_total": [math.inf],
    "observed_time": [None, *_seconds(86_400, -2 * 86_400), NO_INSTANT],
    "tip_off_time": [*_seconds(8 * 86_400), NO_INSTANT],
}
_LEASE: dict[str, Any] = {"name": "x", "holder": "a", "ttl_seconds": 10.0}
_CLAIM: dict[str, Any] = {**_note(), "sender": "a", "ttl_seconds": 10.0}
_FAILED: dict[str, Any] = {"id": "evening/1", "target": "phone", "sender": "a", "status": NOTIFICATION_STATUS_FAILED}

OF_OTHERS = [
    *_of(f"{PREDICTIONS}/PredictColumns", pb.PredictColumnsRequest, {"minutes": [1], "patterns": [0.0]}, {
        "INVALID_BATCH": {"minutes": [[], [1] * 5001]},
        "INVALID_PATTERN": {
            "patterns": [{"minutes": [2, 1], "patterns": [0.0] * 2}, [0.0] * 24],
            "minutes[1]": [{"minutes": [1, minute], "patterns": [0.0] * (1 + minute)} for minute in (24, 0)],
            "patterns[2]": [{"minutes": [1, 2], "patterns": [0.0, 1.0, math.nan]}]},
        "INVALID_PREGAME_MARGIN": {"pregame_margins": [[1, 2]], "pregame_margins[0]": [{"pregame_margins": [1e9]}]},
        "INVALID_ALPHA": {"alpha": [1.0]},
        "ALPHA_TOO_SMALL": {"alpha": [0.0001]},
        "INVALID_HORIZON": {"horizon": [7]},
        "UNKNOWN_MODEL_VERSION": {"model_version": ["dejavu-0"]},
        "INVALID_QUANTILE_LEVELS": {
            "quantile_levels": [{"minutes": [1] * 5000, "patterns": [0.0] * 5000, "quantile_levels": [0.5] * 21}],
            "quantile_levels[0]": [{"quantile_levels": [2.0]}]}}),
    *_of(BATCH, pb.PredictBatchRequest, {}, {"INVALID_BATCH": {"requests": [[], [good()] * 1001]}}),
    *_of(f"{OPS}.CacheService/WarmCache", cache_service_pb2.WarmCacheRequest, {}, {
        "INVALID_BATCH": {"requests": [[], [good()] * 1001]},
        "INVALID_WHAT_IF": {"requests[1].game_id": [{"requests": [good(), good(**_HALF)]}]}}),
    *_of(STREAM, pb.StreamPredictionsRequest, {}, {
        "INVALID_GAME_ID": {"game_ids[2]": [{"game_ids": [GAME, GAME, "1"]}]},
        "INVALID_GAME_IDS": {"game_ids": [[GAME] * 201]},
        "INVALID_RESUME_TOKEN": {"resume_token": [  # of another ledger, of another form
            "nope", {"resume_token": "AQ" + "A" * 54}, {"resume_token": "_w" + "A" * 54}, "A" * 60_000]}}),
    *_of(RISK, pb.AssessRiskRequest, {}, {"INVALID_BATCH": {"games": [[], [pb.RiskGame(pattern=[0, 1])] * 101]}}),
    *_of(f"{OPS}.FeedService/PublishGames", feed_service_pb2.PublishGamesRequest, {}, {
        "INVALID_GAME_ID": {"games[1].game_id": [_games(game_id="1")]},
        "INVALID_TEAM": {
            "games[1].home_team": [_games(home_team="")], "games[1].away_team": [_games(away_team="Boston Celtics")]},
        "INVALID_GAME": {
            "games": [{}, [game_service_pb2.Game()] * 101],
            **{f"games[1].{field}": [_games(**{field: each}) for each in values]
               for field, values in WRONG_IN_A_GAME.items()}},
        "INVALID_PREGAME_MARGIN": {"games[1].margin_source": [_games(margin_source=3)]}}),
    *_of(f"{OPS}.FeedService/ReportFeed", feed_service_pb2.ReportFeedRequest, {"feed": "nba"}, {
        "INVALID_FEED_REPORT": {
            "live_games": [-1], "feed": ["", "NBA", "a" * 33, "nba\n"],
            "read_age_seconds": [-1.0], "data_age_seconds": [math.nan, math.inf]}}),
    *_of(f"{OPS}.LeaseService/AcquireLease", lease_service_pb2.AcquireLeaseRequest, _LEASE, {
        "INVALID_LEASE_NAME": {
            "name": ["-x", {"name": "x" * 65}, "x\n", "model-gate"], "holder": ["", "Zürich"]},
        "INVALID_LEASE_TTL": {"ttl_seconds": [{"ttl_seconds": each} for each in (0.999, 300.001, math.nan)]}}),
    *_of(f"{OPS}.NotificationService/ClaimNotification", notification_service_pb2.ClaimNotificationRequest, _CLAIM, {
        "INVALID_NOTIFICATION": {
            "notification.id": [_note(id="a b"), _note(id="x" * 129)],
            "notification.target": [_note(target="")],
            "notification.rule": [_note(rule="x" * 65)],
            "notification.text": [_note(text=""), _note(text="x" * 501), _note(text="BOS\x1b[2J")],
            "sender": [""],
            "ttl_seconds": [{"ttl_seconds": each} for each in (0.5, 301.0, math.nan)]},
        "INVALID_GAME_ID": {"notification.game_id": [_note(game_id="1")]}}),
    *_of(f"{OPS}.NotificationService/ConfirmNotification",
         notification_service_pb2.ConfirmNotificationRequest, _FAILED, {
        "INVALID_NOTIFICATION": {
            "status": [1], "failure": ["x" * 201, "two\nlines"],
            "retry_delay_seconds": [{"retry_delay_seconds": each} for each in (301.0, -1.0, math.nan)]}}),
    *_of(CHECK, health_pb2.HealthCheckRequest, {}, {"UNKNOWN_SERVICE": {"service": ["nope", "x" * 1000]}}),
]  # fmt: skip


_TWO = padded([PATTERN, PATTERN])
_ROW = bytes(8 * len(PATTERN))
_BOS = texts("BOS")


def _changed(**fields: Any) -> ModelInferRequest:
    """Return a request whose only input has other fields."""
    request = infer_request()
    usual = {"name": "pattern", "datatype": "FP64", "shape": [1, len(PATTERN)], "contents": request.inputs[0].contents}
    request.inputs[0].CopyFrom(ModelInferRequest.InferInputTensor(**{**usual, **fields}))
    return request


def _raw(*contents: bytes, **inputs: Tensor) -> ModelInferRequest:
    """Return a request with other raw contents."""
    request = infer_request(inputs, raw=True)
    request.raw_input_contents[:] = contents
    return request


_TWICE, _MIXED = infer_request(), infer_request()
_TWICE.inputs.append(_TWICE.inputs[0])
_MIXED.raw_input_contents.append(_ROW)
_CLASSES = infer_request(outputs=["point"])
_CLASSES.outputs[0].parameters["classification"].int64_param = 3


INVALID_INFERENCES = {
    "INVALID_TENSOR": {
        "inputs": [ModelInferRequest(model_name="dejavu"), infer_request({"last_score_side": texts("home")})],
        "inputs[1].name": [_TWICE, infer_request({"odds": Tensor([1.0])})],
        "pattern.shape": [_changed(shape=shape) for shape in ([1001, 18], [1] * 5000, [1, 48], [1, 2**62])],
        "pattern": [
            _changed(shape=[2, 18]), _raw(_ROW[:-1]), _changed(contents=InferTensorContents(fp32_contents=PATTERN))],
        "pattern.contents": [
            _MIXED, _changed(contents=InferTensorContents(fp64_contents=PATTERN, int_contents=[1]))],
        "pattern.datatype": [_changed(datatype="BYTES"), _changed(datatype="FP16")],
        "raw_input_contents": [_raw(_ROW, alpha=Tensor([0.1]))],
        "alpha.shape": [infer_request({"alpha": Tensor([0.1, 0.2])})],
        "home_team[0]": [_raw(_ROW, text, home_team=_BOS) for text in (b"\x09\0\0\0BOS", b"\x01\0\0\0\xff")],
        "home_team": [_raw(_ROW, b"\x03\0\0\0BOSx", home_team=_BOS)],
        "home_team.datatype": [infer_request({"home_team": Tensor([1.0])})],
        "outputs[1].name": [infer_request(outputs=["point", "point"])],
        "outputs[0].name": [infer_request(outputs=["label"]), infer_request(outputs=["quantiles"])],
        "quantile_levels.shape": [infer_request({"quantile_levels": Tensor([0.5] * 100)})]},
    "INVALID_PARAMETER": {
        "point.parameters": [_CLASSES],
        "pattern.parameters": [_changed(parameters={"shared_memory_region": InferParameter(string_param="region")})],
        "parameters": [infer_request(parameters={"alph": 0.1})],
        "parameters.alpha": [
            # Texts that are no plain number, most of which Python's float takes.
            *(infer_request(parameters={"alpha": told})
              for told in ("low", "0.1_0", "0.1\n", "nan", "\uff10.\uff11", True)),
            infer_request({"alpha": Tensor([0.1])}, parameters={"alpha": 0.1})]},
    "INVALID_ALPHA": {
        "parameters.alpha": [infer_request(parameters={"alpha": 1})],
        "alpha[1]": [infer_request({"pattern": _TWO, "alpha": Tensor([0.1, 1.5])})]},
    "INVALID_HORIZON": {"parameters.horizon": [infer_request(parameters={"horizon": "end"})]},
    "INVALID_REQUEST_ID": {"id": [infer_request(id="x" * (MAX_ID + 1))]},
    "INVALID_PATTERN": {
        "pattern[1]": [infer_request({"pattern": padded([PATTERN, []])})],
        "pattern[1][1]": [infer_request({"pattern": padded([[1, 2, 3], [1, math.nan, 3]])})]},
    "INVALID_TEAM": {"away_team[1]": [
        infer_request({"pattern": _TWO, "home_team": texts("", "BOS")}),
        infer_request({"pattern": _TWO, "away_team": texts("", "XYZ")})]},
    "INVALID_TOTAL_POINTS": {
        "total_points[1]": [infer_request({"pattern": _TWO, "total_points": Tensor([-1, 40.5])})]},
    "INVALID_LAST_SCORE": {
        "last_score_side[0]": [
            infer_request({"last_score_side": texts("left"), "last_score_seconds": Tensor([1], "INT8")})],
        "last_score_seconds[0]": [
            infer_request({"last_score_side": texts("home"), "last_score_seconds": Tensor([-1], "INT8")})]},
    "INVALID_NEUTRAL_SITE": {"neutral_site[0]": [infer_request({"neutral_site": Tensor([2], "INT32")})]},
    "INVALID_QUANTILE_LEVELS": {"quantile_levels[1]": [infer_request({"quantile_levels": Tensor([0.1, 1.0])})]},
}  # fmt: skip


def _no_message(path: str, body: bytes) -> BadRequest:
    """Return bytes that are not a message of the method."""
    return BadRequest(path, body, "INVALID_MESSAGE", "", f"{len(body)} bytes")


def _unknown(path: str, size: int) -> BadRequest:
    """Return a field that no release knows: it would be kept, and read by nobody."""
    return _no_message(
        path, b"\x82\x7d" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14, *bytes(size)])
    )


BAD_REQUESTS = [
    *OF_PREDICT,
    *OF_RECORD,
    *OF_OTHERS,
    *(
        BadRequest(INFER, request.SerializeToString(), reason, field, "")
        for reason, fields in INVALID_INFERENCES.items()
        for field, requests in fields.items()
        for request in requests
    ),
    _no_message(PREDICT, b"\x0c"),  # an end of a group without its start
    _no_message(PREDICT, b"\x0a\xff\xff\xff\xff\x07"),  # a length of 2 GiB
    _no_message(PREDICT, b"\x32\x03\xed\xa0\x80"),  # a text with a surrogate
    _no_message(PREDICT, b"\x93\x03" * 30_000),  # groups nested 30,000 deep
    _no_message(BATCH, b"\x0a\x01\x0c"),  # a request in it that is no message
    *(_no_message(path, b"\xff\xff") for path in EVERY_METHOD),
    *(_unknown(path, 50_000) for path in (CHECK, WATCH, REFLECTION)),
    *(_unknown(path, 70_000) for path in (PREDICT, STREAM)),
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
    of_risk = {row.field.partition("[")[0] for row in BAD_REQUESTS if row.path == RISK} - {""}
    assert of_risk == set(pb.AssessRiskRequest.DESCRIPTOR.fields_by_name)
    of_market = {row.field.split(".")[1] for row in OF_PREDICT if row.field.startswith("markets[0].")}
    assert of_market == set(Market.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize(
    "row", BAD_REQUESTS, ids=lambda row: f"{row.path.rpartition('/')[2]} {row.field} {row.shown:.30}"
)
def test_a_bad_request_is_refused_with_the_field_its_value_and_what_was_expected(
    channel: grpc.Channel, row: BadRequest
) -> None:
    refused = refusal(channel, row.path, row.body)
    code = CODES.get(row.reason, grpc.StatusCode.INVALID_ARGUMENT)
    assert (refused.code, refused.reason, refused.domain) == (code, row.reason, "dejavu")
    if not row.field:  # undecodable bytes, so no field: check the message
        assert (refused.violations, row.shown in refused.message) == ({}, True)
        return
    [(field, description)] = refused.violations.items()
    assert field == refused.metadata["field"] == row.field
    found, _, expected = description.partition("; expected ")
    assert found
    assert row.shown in found
    assert expected
    assert refused.message.startswith(f"{field}: ")


def test_in_a_batch_each_bad_request_fails_as_it_would_by_itself(channel: grpc.Channel) -> None:
    rows = [row for row in OF_PREDICT if len(row.body) < 1000]
    for row, result in zip(rows, batch_of(channel, [row.body for row in rows]), strict=True):
        alone, error = refusal(channel, row.path, row.body), result.error
        assert (error.code, error.reason) == (code_pb2.Code.Value(alone.code.name), alone.reason)
        assert error.message == alone.message
        assert {each.field: each.description for each in error.field_violations} == alone.violations


def test_all_fields_that_are_wrong_are_named_at_once_alone_and_in_a_batch(channel: grpc.Channel) -> None:
    wrong: dict[str, Any] = {"game_id": "nope", "alpha": 2.0, "home_team": "x" * 33, "away_team": "FCB", "horizon": 7}
    wrong |= {"pattern": [math.inf], "pregame_margin": math.inf, "quantile_levels": [1.0]}
    wrong |= {"total_points": 501, "last_score": LastScore(seconds=5000)}  # neither is compared with the pattern
    wrong["markets"] = [_market(line=math.nan, bankroll=-1.0), Market(line=math.nan, above=Odds(decimal=2.0))]
    body = pb.PredictRequest(**wrong, model_version="nope").SerializeToString()  # checked once all others are valid
    alone = refusal(channel, PREDICT, body)
    assert (alone.reason, alone.metadata["field"]) == ("INVALID_GAME_ID", "game_id")
    fields = {"game_id", "alpha", "home_team", "away_team", "horizon", "pregame_margin", "total_points"}
    fields |= {"pattern[0]", "quantile_levels[0]", "last_score.side"}
    fields |= {"markets[0].line", "markets[0].bankroll", "markets[1].kind", "markets[1].below"}
    assert set(alone.violations) == fields
    [result] = batch_of(channel, [body])
    assert {each.field: each.description for each in result.error.field_violations} == alone.violations


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_looks_odd_and_breaks_no_rule_is_answered(channel: grpc.Channel, name: str) -> None:
    path, body = ACCEPTED[name]
    assert answer(channel, path, body)


def test_a_message_of_more_than_four_mebibytes_or_metadata_without_measure_is_not_taken(channel: grpc.Channel) -> None:
    long: Any = {"metadata": [("x-request-id", "x" * 100_000)]}
    for error in (refused(channel, PREDICT, bytes(4 * 2**20 + 1)), refused(channel, PREDICT, b"", **long)):
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_nothing_that_was_refused_is_recorded(channel: grpc.Channel) -> None:
    for row in OF_PREDICT:
        if not (named := pb.PredictRequest.FromString(row.body)).game_id:
            named.game_id = GAME
            refused(channel, PREDICT, named.SerializeToString())
    response = answer(channel, PREDICT, good(**_HALF).SerializeToString())
    assert pb.PredictResponse.FromString(response).forecast.sequence == 1
