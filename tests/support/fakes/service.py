"""A fake Dejavu server that records every call and returns scripted responses; also with access as a fixture.

```python
with FakeServer() as server:
    server.answers("Predict", Abort(grpc.StatusCode.UNAVAILABLE), PredictResponse(...))
    client = DejavuClient(server.target)
```

Without a queued answer it returns a plausible one."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from tests.support.contract import SERVICES
from tests.support.fakes.certificates import Authority

from dejavu.v1 import forecast_pb2 as forecast_pb
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_SIDE_AWAY, Market, MarketAnswer, MarketSideAnswer, Odds
from dejavu.v1.model_service_pb2 import VERDICT_FIT, HorizonSupport, Model
from dejavu.v1.record_pb2 import MARKET_RESULT_WON, Checkpoint, Outcome, RecordedPrediction, Settlement
from dejavu.v1.scorecard_pb2 import CoverageFigure, Figure, MarketRecord, Scorecard


@dataclass(frozen=True)
class Call:
    """A call as received by the server; `gone` is set once either side has ended it."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]
    time_remaining: float | None
    peer: str
    gone: threading.Event


@dataclass(frozen=True)
class Abort:
    """Answer: this status, with google.rpc details if there is a reason, a violation or a delay before a retry."""

    code: grpc.StatusCode
    message: str = "as the test wants it"
    reason: str = ""
    violations: Sequence[tuple[str, str]] = ()
    retry_after: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    trailers: tuple[tuple[str, str], ...] = ()

    def details(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return trailing metadata with the google.rpc details; empty if there are none."""
        packed = list[AnyMessage]()
        if self.reason:
            packed.append(_packed(ErrorInfo(reason=self.reason, domain="dejavu", metadata=self.metadata)))
        if self.violations:
            violations = [BadRequest.FieldViolation(field=f, description=d) for f, d in self.violations]
            packed.append(_packed(BadRequest(field_violations=violations)))
        if self.retry_after is not None:
            retry = RetryInfo()
            retry.retry_delay.FromNanoseconds(round(self.retry_after * 1e9))
            packed.append(_packed(retry))
        if not packed:
            return self.trailers
        status = Status(code=self.code.value[0], message=self.message, details=packed)
        return (*self.trailers, *rpc_status.to_status(status).trailing_metadata)


class Silence:
    """Answer: nothing, until the client leaves or the server stops."""


class Ended:
    """Last answer of a stream: ends it without an error."""


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def forecast(request: pb.PredictRequest | None = None, **fields: Any) -> forecast_pb.Forecast:
    """Return a plausible forecast for a request; `fields` replace its values."""
    request = request or pb.PredictRequest(pattern=[0.0] * 18)
    last = request.pattern[-1] if request.pattern else 0.0
    alpha = request.alpha if request.HasField("alpha") else 0.05
    values: dict[str, Any] = {
        "game_id": request.game_id,
        "home_team": request.home_team,
        "away_team": request.away_team,
        "horizon": request.horizon or forecast_pb.HORIZON_HALFTIME,
        "elapsed_minutes": len(request.pattern),
        "alpha": alpha,
        "point_forecast": last,
        "interval_lower": last - 11.5,
        "interval_upper": last + 11.5,
        "coverage_probability": 1 - alpha,
        "home_lead_probability": 0.75,
        "model_version": "fake",
        "quantiles": [
            forecast_pb.Quantile(level=level, value=last + 20 * (level - 0.5)) for level in request.quantile_levels
        ],
    }
    return forecast_pb.Forecast(**values | fields)


def event(sequence: int, *, token: str | None = None, **fields: Any) -> pb.StreamPredictionsResponse:
    """Return a stream message with a forecast; its token contains the sequence."""
    return pb.StreamPredictionsResponse(
        forecast=forecast(sequence=sequence, **fields), resume_token=f"after-{sequence}" if token is None else token
    )


def heartbeat(token: str) -> pb.StreamPredictionsResponse:
    """Return a stream message with a heartbeat."""
    return pb.StreamPredictionsResponse(heartbeat=pb.Heartbeat(), resume_token=token)


def outcome(sequence: int, **fields: Any) -> Outcome:
    """Return a plausible outcome; `fields` replace its values."""
    values: dict[str, Any] = {"game_id": "0022000001", "horizon": forecast_pb.HORIZON_HALFTIME, "differential": 7}
    return Outcome(**values | {"sequence": sequence} | fields)


def result(sequence: int, **fields: Any) -> pb.StreamPredictionsResponse:
    """Return a stream message with an outcome; its token contains the sequence."""
    return pb.StreamPredictionsResponse(outcome=outcome(sequence, **fields), resume_token=f"after-{sequence}")


class FakeServer:
    """The fake servicer and its server; a context manager that stops it.

    Attributes:
        calls: every call so far, in order of arrival.
        worker: value of the metadata `dejavu-worker`.
        workers: value of the metadata `dejavu-workers`; 0: not sent.
        credentials: TLS credentials at its next start; None for plain text.
        tokens: token → names of the methods that its owner may call; None: no token is needed.
    """

    def __init__(self, *, worker: str = "1", credentials: grpc.ServerCredentials | None = None) -> None:
        self.credentials = credentials
        self.tokens: dict[str, set[str]] | None = None
        self.calls = list[Call]()
        self.worker = worker
        self.workers = 0
        # Use blocking watches: a non-blocking one holds a lock while it sends, and the server's thread would wait for
        # that lock when another watch ends.
        self.health = health.HealthServicer(experimental_non_blocking=False)
        self.health.set("", health_pb2.HealthCheckResponse.SERVING)
        self.health.set("dejavu.v1.PredictionService", health_pb2.HealthCheckResponse.SERVING)
        self._arrivals = queue.SimpleQueue[Call]()
        self._answers = defaultdict[str, deque[Any]](deque)
        self._stopping = threading.Event()
        self._server: grpc.Server | None = None
        self.port = 0
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server; after a stop, on the same port."""
        self._stopping.clear()
        server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        for service in SERVICES:
            handler = grpc.method_handlers_generic_handler(service.full_name, self._handlers(service))
            server.add_generic_rpc_handlers((handler,))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        address = self.target
        if self.credentials is None:
            self.port = server.add_insecure_port(address)
        else:
            self.port = server.add_secure_port(address, self.credentials)
        server.start()
        self._server = server

    def stop(self) -> None:
        """Break every connection."""
        self._stopping.set()
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def answers(self, method: str, *answers: object) -> None:
        """Queue answers for the next calls of a method.

        Each is a message, an Abort, Silence, or a function of the request that returns one of these. For
        StreamPredictions each is a list of them: the script of one call.
        """
        self._answers[method].extend(answers)

    def forget(self, method: str) -> None:
        """Remove the answers queued for a method."""
        self._answers[method].clear()

    def of(self, method: str) -> list[Call]:
        """Return the calls of one method so far."""
        return [call for call in self.calls if call.method == method]

    def next_call(self, timeout: float = 10.0) -> Call:
        """Wait for the next call that this method has not returned yet."""
        return self._arrivals.get(timeout=timeout)

    def arrived(self, method: str, request: Message, context: grpc.ServicerContext) -> Any:
        """Record a call; return the answer queued for it, or None."""
        metadata = dict(context.invocation_metadata())
        gone = threading.Event()
        if not context.add_callback(gone.set):
            gone.set()
        call = Call(method, request, metadata, context.time_remaining(), context.peer(), gone)
        self.calls.append(call)
        self._arrivals.put(call)
        # Use trailing metadata like the real server: gRPC does not retry a call after initial metadata.
        context.set_trailing_metadata(self._metadata())
        if self.tokens is not None and (refusal := self._refusal(method, str(metadata.get("authorization", "")))):
            self.carry_out(refusal, request, context)
        queued = self._answers[method]
        return queued.popleft() if queued else None

    def carry_out(self, answer: object, request: Message, context: grpc.ServicerContext) -> Any:
        """Execute an answer: return the message to send, or end the call."""
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Abort):
            context.set_trailing_metadata((*self._metadata(), *answer.details()))
            context.abort(answer.code, answer.message)
        if isinstance(answer, Silence):
            gone = threading.Event()
            if context.add_callback(gone.set):
                while not (gone.wait(0.02) or self._stopping.is_set()):
                    pass
            context.abort(grpc.StatusCode.CANCELLED, "silence is over")
        return answer

    def _handlers(self, service: ServiceDescriptor) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """Return the handlers of a service's methods, without streams other than that of forecasts."""
        handlers = {}
        for method in service.methods:
            how: dict[str, Any] = {
                "request_deserializer": GetMessageClass(method.input_type).FromString,
                "response_serializer": GetMessageClass(method.output_type).SerializeToString,
            }
            if method.name == "StreamPredictions":
                handlers[method.name] = grpc.unary_stream_rpc_method_handler(self._stream, **how)
            elif not (method.client_streaming or method.server_streaming):
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(partial(self._answer, method), **how)
        return handlers

    def _answer(self, method: MethodDescriptor, request: Message, context: grpc.ServicerContext) -> Any:
        answer = self.arrived(method.name, request, context)
        if answer is None:
            fields = _PLAUSIBLE.get(method.name, lambda _: {})(request)
            return GetMessageClass(method.output_type)(**fields)
        return self.carry_out(answer, request, context)

    def _stream(self, request: Message, context: grpc.ServicerContext) -> Iterator[Any]:
        script = self.arrived("StreamPredictions", request, context)
        for answer in (heartbeat("start"), Silence()) if script is None else script:
            if isinstance(answer, Ended):
                return
            yield self.carry_out(answer, request, context)
        self.carry_out(Silence(), request, context)

    def _refusal(self, method: str, authorization: str) -> Abort | None:
        allowed = (self.tokens or {}).get(authorization.removeprefix("Bearer "))
        if allowed is None:
            return Abort(grpc.StatusCode.UNAUTHENTICATED, "no valid token", "UNAUTHENTICATED")
        if method not in allowed:
            scope = {"ReportOutcome": "outcome", "Predict": "predict"}.get(method, "read")
            message = f"the token lacks scope {scope!r}"
            return Abort(grpc.StatusCode.PERMISSION_DENIED, message, "SCOPE_MISSING", metadata={"scope": scope})
        return None

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        workers = (("dejavu-workers", str(self.workers)),) if self.workers else ()
        return (("dejavu-worker", self.worker), *workers, ("x-request-id", f"request-{len(self.calls)}"))


OUTDATED = forecast_pb.ReliabilityWarning(
    reason=forecast_pb.WARNING_REASON_RATINGS_OUTDATED, text="the ratings are of a fake"
)
MODEL = Model(
    version="fake",
    active=True,
    horizons=[
        HorizonSupport(horizon=forecast_pb.HORIZON_HALFTIME, min_slots=1, max_slots=23),
        HorizonSupport(horizon=forecast_pb.HORIZON_FINAL, min_slots=1, max_slots=47),
    ],
    smallest_alpha=0.001,
    train_seasons=[2020, 2021],
    calibration_seasons=[2022],
    train_games=2000,
    calibration_games=1000,
    past_games=3000,
    ratings_date="2023-06-12",
    finals_since=3,
    ratings_age_days=8,
    warnings=[OUTDATED],
    verdict=VERDICT_FIT,
    verdict_reason="better than persistence in every season tested",
)
CHECKPOINT = Checkpoint(ledger_id="ab" * 16, epoch="cd" * 8, sequence=3, hash=b"h" * 32)


def _reported(asked: Any) -> dict[str, Any]:
    horizon = asked.horizon or forecast_pb.HORIZON_HALFTIME
    return {"outcome": outcome(1, game_id=asked.game_id, horizon=horizon, differential=asked.differential)}


def _withdrawn(asked: Any) -> dict[str, Any]:
    gone = {"horizon": asked.horizon, "differential": 0, "revision": 1, "withdrawn": True}
    return {"outcome": outcome(2, game_id=asked.game_id, **gone)}


_PLAUSIBLE: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "Predict": lambda asked: {"forecast": forecast(asked)},
    "PredictBatch": lambda asked: {"results": [{"forecast": forecast(each)} for each in asked.requests]},
    "ReportOutcome": _reported,
    "WithdrawOutcome": _withdrawn,
    "GetPrediction": lambda asked: {
        "prediction": {"forecast": forecast(game_id=asked.game_id, sequence=1), "pattern": [0.0] * 18}
    },
    "GetCheckpoint": lambda _: {"checkpoint": CHECKPOINT},
    "ListModels": lambda _: {"models": [MODEL]},
    "AcquireLease": lambda asked: {"acquired": True, "lease": {"name": asked.name, "holder": asked.holder}},
    "ReleaseLease": lambda _: {"released": True},
}
"""RPC → fields of the answer to a request if none is queued; those of other RPCs are empty."""


GAME = "0022500123"
MADE = datetime(2026, 1, 15, 2, 31, 0, 250, tzinfo=UTC)


def timestamp(moment: datetime = MADE) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def recorded(
    sequence: int,
    *,
    settled: bool = True,
    quoted: bool = False,
    superseded: bool = False,
    pattern: Sequence[float] = (0, 1, 5),
    **fields: Any,
) -> RecordedPrediction:
    """Return a recorded forecast: +6.3 for BOS against LAL, −4.2 to 17.9; the outcome, if it is settled, is −7."""
    teams = {"home_team": "BOS", "away_team": "LAL"}
    points = {"point_forecast": 6.3, "interval_lower": -4.2, "interval_upper": 17.9}
    values: dict[str, Any] = {"game_id": GAME, "generated_time": timestamp(), "model_version": "24a8ff7834922bc8"}
    values |= teams | points
    made = RecordedPrediction(
        forecast=forecast(**values | fields | {"sequence": sequence}), pattern=pattern, superseded=superseded
    )
    if settled:
        reported_outcome = outcome(9, game_id=GAME, differential=-7, recorded_time=timestamp(), **teams)
        made.outcome.CopyFrom(reported_outcome)
        settlement = Settlement(outcome_sequence=9, error=13.25, absolute_error=13.25, persistence_absolute_error=12.0)
        settlement.MergeFrom(Settlement(covered=False, brier=0.5625, crps=7.5))
        if quoted:
            settlement.market_result, settlement.market_profit = MARKET_RESULT_WON, 0.019
        made.settlement.CopyFrom(settlement)
    if quoted:
        market = Market(kind=MARKET_KIND_LEAD, line=5.5, above=Odds(american=-110), below=Odds(decimal=1.95))
        above = MarketSideAnswer(decimal_odds=1.909, win_probability=0.47, expected_value=-0.1)
        below = MarketSideAnswer(decimal_odds=1.95, win_probability=0.53, expected_value=0.03)
        answer = MarketAnswer(kind=MARKET_KIND_LEAD, above=above, below=below, side=MARKET_SIDE_AWAY, stake=0.02)
        made.markets.add(market=market, answer=answer, sequence=8)
    return made


def figure(value: float, lower: float, upper: float) -> Figure:
    return Figure(value=value, lower=lower, upper=upper)


def held(alpha: float, games: int, forecasts: int, coverage: Figure, width: float) -> CoverageFigure:
    ends = {"coverage": coverage.value, "lower": coverage.lower, "upper": coverage.upper}
    return CoverageFigure(alpha=alpha, games=games, forecasts=forecasts, mean_width=width, **ends)


MARKET = MarketRecord(bets=31, markets=40, won=16, lost=14, pushed=1, games=12, capped=3, staked=1.25, profit=0.031)
MARKET.MergeFrom(MarketRecord(roi=0.025, roi_lower=-0.1, roi_upper=0.15, expected_profit=0.0875))
MARKET.MergeFrom(MarketRecord(total_return=-0.03, max_drawdown=0.12, notice="not shown to be better than the market"))
MARKET.MergeFrom(MarketRecord(scored_markets=40, scored_games=14, rms_difference=Figure(value=0.031)))
MARKET.MergeFrom(MarketRecord(model_brier=Figure(value=0.2), market_brier=Figure(value=0.19)))
MARKET.brier_difference.CopyFrom(figure(0.01, -0.01, 0.03))


def card(**fields: Any) -> Scorecard:
    """Return a scorecard of 312 games; `fields` override."""
    values: dict[str, Any] = {
        "games": 312,
        "forecasts": 14890,
        "mae": figure(5.25, 4.5, 6.0),
        "persistence_mae": figure(6.06, 5.7, 6.34),
        "mae_difference": figure(-0.81, -1.0, -0.62),
        "crps": figure(3.8, 3.6, 4.1),
        "brier": figure(0.152, 0.14, 0.164),
        "leader_brier": figure(0.171, 0.16, 0.182),
        "brier_difference": figure(-0.019, -0.025, -0.013),
        "ece": 0.031,
        "coverage": [
            held(0.05, 312, 14000, figure(0.946, 0.929, 0.96), 23.1),
            held(0.2, 12, 890, figure(0.79, 0.7, 0.86), 13.1),
        ],
        "market": MARKET,
    }
    return Scorecard(**values | fields)


SECRET = "djv_s3cr3t-of-the-test"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with SECRET."""
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    return file


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def mutual(authority: Authority) -> Iterator[FakeServer]:
    """A server that requires client certificates of the authority."""
    pair = authority.issue("server").contents()
    with FakeServer(credentials=grpc.ssl_server_credentials([pair], authority.certificate.read_bytes(), True)) as fake:
        yield fake
