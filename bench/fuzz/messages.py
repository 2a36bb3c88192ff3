"""Messages of a fuzzing run: valid ones, valid ones with changed fields or bytes, and random bytes.

Message `number` of seed `seed` is the same in every run, except for the resume token, which depends on the ledger.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from bench.fuzz import record
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from dejavu.v1 import model_service_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import (
    HORIZON_FINAL,
    HORIZON_HALFTIME,
    HORIZON_UNSPECIFIED,
    MARGIN_SOURCE_FEED,
    MARGIN_SOURCE_FILE,
    SIDE_AWAY,
    SIDE_HOME,
    LastScore,
)
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, Market, Odds, Staking
from dejavu_feed.live_inputs import most_total_points

MOST_SLOTS, HALFTIME_SLOTS = 47, 23
GAMES = [f"99000{number:05d}" for number in range(12)]
"""Only a few games, so that requests often repeat a recorded forecast; the ids start with 99, like those of replays."""


class Rpc(NamedTuple):
    """A method to call, with the type of its request."""

    name: str
    path: str
    request: type[Message]
    streams: bool = False


PREDICT = Rpc("Predict", "/dejavu.v1.PredictionService/Predict", pb.PredictRequest)
BATCH = Rpc("PredictBatch", "/dejavu.v1.PredictionService/PredictBatch", pb.PredictBatchRequest)
STREAM = Rpc("Stream", "/dejavu.v1.PredictionService/StreamPredictions", pb.StreamPredictionsRequest, streams=True)
RISK = Rpc("AssessRisk", "/dejavu.v1.PredictionService/AssessRisk", pb.AssessRiskRequest)
MODELS = Rpc("ListModels", "/dejavu.v1.ModelService/ListModels", model_service_pb2.ListModelsRequest)
CHECK = Rpc("Check", "/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest)
WATCH = Rpc("Watch", "/grpc.health.v1.Health/Watch", health_pb2.HealthCheckRequest, streams=True)
REFLECTION = Rpc(
    "Reflection",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    reflection_pb2.ServerReflectionRequest,
    streams=True,
)
RECORD = {
    Rpc(name, f"/dejavu.v1.RecordService/{method.path}", method.request): method
    for name, method in record.METHODS.items()
}
NO_METHOD = Rpc("(none)", "/dejavu.v1.PredictionService/Foretell", pb.PredictRequest)
NO_SERVICE = Rpc("(none)", "/dejavu.v9.Oracle/Predict", pb.PredictRequest)

SHARES = {
    PREDICT: 40,
    BATCH: 12,
    STREAM: 10,
    **dict.fromkeys(RECORD, 3),
    RISK: 4,
    MODELS: 4,
    CHECK: 4,
    WATCH: 4,
    REFLECTION: 5,
    NO_METHOD: 2,
    NO_SERVICE: 1,
}


class Manner(enum.Enum):
    """How a message is sent to the server."""

    PATIENT = "wait for the answer"
    HURRIED = "with a tiny deadline"
    FICKLE = "cancelled in flight"
    MUTE = "the client half-closes without a message"
    HANG_UP = "the connection is closed in flight"
    BROKEN = "over its own broken connection"


MANNERS = {
    Manner.PATIENT: 84,
    Manner.HURRIED: 5,
    Manner.FICKLE: 5,
    Manner.MUTE: 1,
    Manner.HANG_UP: 1,
    Manner.BROKEN: 4,
}


@dataclass(frozen=True, slots=True)
class Case:
    """A message and how to send it.

    Attributes:
        number: number of the message in the run.
        rpc: the method to call.
        body: the message, or the bytes in its place.
        manner: how to send it.
        moment: seconds until a hurried call's deadline, or until a fickle call is cancelled.
        read: responses of a stream to read before it is cancelled.
        rng: source of all other random choices.
    """

    number: int
    rpc: Rpc
    body: bytes
    manner: Manner
    moment: float
    read: int
    rng: random.Random


def case(seed: int, number: int, token: str = "") -> Case:
    """Return a message of a run.

    Args:
        seed: seed of the run.
        number: number of the message.
        token: a resume token of the server, sent both intact and changed.
    """
    rng = random.Random(f"{seed}/{number}")
    [rpc] = rng.choices(list(SHARES), list(SHARES.values()))
    [manner] = rng.choices(list(MANNERS), list(MANNERS.values()))
    message = valid(rng, rpc, token)
    [change] = rng.choices(list(_CHANGES), list(_CHANGES.values()))
    read = rng.randrange(1, 4) if rpc is STREAM else 1  # Watch and reflection send one response
    return Case(number, rpc, change(rng, message, token), manner, rng.uniform(0, 0.005), read, rng)


def valid(rng: random.Random, rpc: Rpc, token: str) -> Message:
    """Return a valid request."""
    if rpc in RECORD:
        return RECORD[rpc].valid(rng, GAMES)
    return _VALID.get(rpc, _predict)(rng, token)


def _subscription(rng: random.Random, token: str) -> Message:
    return pb.StreamPredictionsRequest(
        game_ids=rng.sample(GAMES, rng.randrange(4)),
        resume_token=token if rng.random() < 0.3 else "",
        include_current=rng.random() < 0.3,
    )


def _batch(rng: random.Random, _: str) -> Message:
    size = 1000 if rng.random() < 0.002 else rng.randrange(1, 6)
    return pb.PredictBatchRequest(requests=[_predict(rng, "") for _request in range(size)])


def _check(rng: random.Random, _: str) -> Message:
    return health_pb2.HealthCheckRequest(service=rng.choice(["", "dejavu.v1.PredictionService"]))


def _reflection(_: random.Random, __: str) -> Message:
    return reflection_pb2.ServerReflectionRequest(file_containing_symbol="dejavu.v1.PredictionService")


def _models(_: random.Random, __: str) -> Message:
    return model_service_pb2.ListModelsRequest()


def _risk(rng: random.Random, _: str) -> Message:
    points = [rng.choice([None, rng.randint(150, 500)]) for _ in range(rng.randint(1, 3))]
    games = [pb.RiskGame(pattern=_pattern(rng, rng.randint(2, MOST_SLOTS)), total_points=total) for total in points]
    return pb.AssessRiskRequest(games=games)


def _pattern(rng: random.Random, slots: int) -> list[int]:
    return list(accumulate(rng.choice([-3, -2, -2, 0, 0, 2, 2, 3]) for _slot in range(slots)))


def _odds(rng: random.Random) -> Odds:
    if rng.random() < 0.5:
        return Odds(decimal=rng.uniform(1.01, 10))
    return Odds(american=rng.choice([-1, 1]) * rng.randint(100, 900))


def _market(rng: random.Random) -> Market:
    above, below = (_odds(rng), _odds(rng)) if rng.random() < 0.9 else (None, None)
    return Market(
        kind=MARKET_KIND_LEAD,
        line=rng.randint(-60, 60) / 2,
        above=above,
        below=below,
        bankroll=rng.choice([None, 1000.0]),
        game_staked=rng.choice([None, 0.0, 0.01]),
        evening_staked=rng.choice([None, 0.01, 1.0]),
        staking=Staking(kelly_fraction=rng.choice([None, 0.0, 1.0]), game_cap=rng.choice([None, 0.0, 1.0])),
    )


def _predict(rng: random.Random, _: str) -> pb.PredictRequest:
    game = rng.choice(GAMES) if rng.random() < 0.25 else ""
    horizon = rng.choice([HORIZON_HALFTIME if game else HORIZON_UNSPECIFIED, HORIZON_HALFTIME, *[HORIZON_FINAL] * 2])
    slots = rng.randint(1, MOST_SLOTS if horizon == HORIZON_FINAL else HALFTIME_SLOTS)
    pattern = _pattern(rng, slots)
    lead = abs(pattern[-1])
    both = lead + 2 * rng.randint(0, (most_total_points(slots, lead) - lead) // 2)
    home, away = rng.choice([("", ""), ("BOS", "LAL"), ("brk", "gs")])
    margin = rng.choice([None, None, None, 0.0, rng.uniform(-20, 20)])
    source = rng.choice([None, MARGIN_SOURCE_FEED, MARGIN_SOURCE_FILE]) if margin is not None else None
    scored = [side for side, sign in ((SIDE_HOME, 1), (SIDE_AWAY, -1)) if both + sign * pattern[-1] > 0]
    last = LastScore(side=rng.choice(scored or [SIDE_HOME]), seconds=rng.randint(0, 60 * slots))
    return pb.PredictRequest(
        game_id=game,
        pattern=pattern,
        markets=[_market(rng)] if rng.random() < 0.25 else [],
        alpha=rng.choice([None, None, 0.5, 0.2, 0.01]),
        return_explanation=rng.random() < 0.5,
        horizon=horizon,
        home_team=home,
        away_team=away,
        pregame_margin=margin,
        margin_source=source,
        margin_time=Timestamp(seconds=1_700_000_000) if source else None,
        pregame_total=rng.choice([None, None, 221.5]),
        neutral_site=rng.choice([None, None, True, False]),
        total_points=rng.choice([None, both]),
        last_score=rng.choice([None, last]) if scored else None,
        quantile_levels=[rng.uniform(0.01, 0.99) for _level in range(rng.choice([0, 0, 1, 9, 99]))],
    )


_VALID: dict[Rpc, Callable[[random.Random, str], Message]] = {
    BATCH: _batch,
    STREAM: _subscription,
    RISK: _risk,
    MODELS: _models,
    CHECK: _check,
    WATCH: _check,
    REFLECTION: _reflection,
}
"""Functions that build valid requests, except for Predict."""

_FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 5e-324, 1e-320, 1e-9, 199.99, 200.0, 200.1, 1e9, 3e38, 1e308]
_FLOATS += [math.nan, math.inf, -math.inf]
_TEXTS = [
    "",
    "BOS",
    "LAL",
    " nyk\n",
    "Boston Celtics",
    "x",
    "x" * 32,
    "x" * 33,
    "\0",
    "\n",
    "é",
    "😀" * 16,
    "\U000e0001" * 32,
    "٠١٢٣٤٥٦٧٨٩",
    "{}%s\\u0000",
]
_TEXTS += ["012345678", "0123456789", "01234567890", " 123456789", "A" * 44, "A" * 10_000, "dejavu.v1.Forecast"]
_DEPTHS = [10, 99, 100, 101, 10_000, 50_000]
_SIZES = [100, 1000, 1000, 10_000, 10_000, 10_000, 100_000, 1_000_000, 5_000_000]
_NUMBERS = [0, 1, 2, 3, 7, 99, -1, 2**31 - 1, -(2**31)]


def _change_fields(rng: random.Random, message: Message, token: str) -> bytes:
    """Set some fields to values at or beyond their bounds."""
    for _ in range(rng.randrange(1, 4)):
        _change_a_field(rng, message, token)
    return message.SerializeToString()


def _change_a_field(rng: random.Random, message: Any, token: str) -> None:
    fields = message.DESCRIPTOR.fields
    if not fields:
        return
    field = rng.choice(fields)
    if field.is_repeated:
        values = getattr(message, field.name)
        match rng.randrange(4):
            case 0:
                del values[:]
            case 1 if values:
                del values[rng.randrange(len(values)) :]
            case 2 if values and field.message_type:
                _change_a_field(rng, rng.choice(values), token)
            case 3 if values and not field.message_type:
                values[rng.randrange(len(values))] = _value(rng, field, token)
            case _:
                times = rng.choice([1, 1, 29, 30, 1000])
                values.extend(list(values)[:1] * times if field.message_type else [_value(rng, field, token)] * times)
    elif field.message_type:
        _change_a_field(rng, getattr(message, field.name), token)
    else:
        setattr(message, field.name, _value(rng, field, token))


def _value(rng: random.Random, field: FieldDescriptor, token: str) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return rng.choice([*_FLOATS, rng.uniform(-300, 300)])
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.randbytes(rng.randrange(20))
        case FieldDescriptor.CPPTYPE_STRING:
            garbled = (
                token[: rng.randrange(len(token) + 1)] + rng.choice("Az9-_= ") + token[rng.randrange(len(token) + 1) :]
            )
            return rng.choice([*_TEXTS, token, garbled, rng.choice(GAMES)])
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return rng.choice([number for number in _NUMBERS if number >= 0])
        case _:
            return rng.choice(_NUMBERS)


def _change_bytes(rng: random.Random, message: Message, __: str) -> bytes:
    """Flip, insert, remove or repeat bytes."""
    data = bytearray(message.SerializeToString())
    for _ in range(rng.randrange(1, 5)):
        offset = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0 if offset < len(data):
                data[offset] ^= 1 << rng.randrange(8)
            case 1:
                data[offset:offset] = rng.randbytes(rng.randrange(1, 5))
            case 2:
                del data[offset : offset + rng.randrange(1, 5)]
            case 3:
                del data[offset:]
            case _:
                data[offset:offset] = data[: rng.randrange(len(data) + 1)]
    return bytes(data)


def _make_wire_oddities(rng: random.Random, message: Message, _: str) -> bytes:
    """Put wire-format oddities before, after or in place of a message."""
    oddity, data = rng.choice(_ODDITIES)(rng), message.SerializeToString()
    return rng.choice([oddity, data + oddity, oddity + data])


def _tag(rng: random.Random) -> bytes:
    """Return a field tag with a random wire type, possibly wrong or undefined."""
    return bytes([rng.randrange(1, 16) << 3 | rng.randrange(8)])


_ODDITIES: tuple[Callable[[random.Random], bytes], ...] = (
    lambda rng: b"\x93\x03" * rng.choice(_DEPTHS),  # nested groups
    lambda rng: _nested(rng.choice(_DEPTHS)),
    lambda rng: b"\x0a\x00" * rng.choice(_DEPTHS),  # empty messages or strings
    lambda rng: _tag(rng) + _varint(rng.choice([2**31 - 1, 2**31, 2**32, 2**63])),  # an impossible length
    lambda rng: _tag(rng) + b"\xff" * rng.randrange(1, 20),  # an endless varint
    lambda rng: _tag(rng) + rng.randbytes(rng.randrange(20)),
    lambda _: b"\x00",
    lambda rng: b"\x12\x05" + rng.randbytes(5),  # truncated packed numbers
    lambda rng: (b"\x11" + rng.randbytes(8)) * rng.randint(1, MOST_SLOTS),  # unpacked numbers
    lambda _: b"\x0a\x08\xc3\x28\xff\xfe\xed\xa0\x80\x00",  # invalid UTF-8
    lambda rng: b"\x82\x7d" + _varint(8) + rng.randbytes(8),  # a field of a later release
    lambda rng: b"\x3a" + _varint(size := rng.choice(_SIZES)) + b"x" * size,
    lambda rng: bytes(rng.choice(_SIZES)),
)


def _make_noise(rng: random.Random, _: Message, __: str) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 2, 3, 8, 20, 100, 1000]))


def _keep(_: random.Random, message: Message, __: str) -> bytes:
    return message.SerializeToString()


_CHANGES: dict[Callable[[random.Random, Message, str], bytes], int] = {
    _keep: 30,
    _change_fields: 38,
    _change_bytes: 18,
    _make_wire_oddities: 10,
    _make_noise: 4,
}


def _nested(depth: int) -> bytes:
    """Return `depth` nested messages, all in field 1."""
    parts: list[bytes] = []
    length = 0
    for _ in range(depth):
        head = b"\x0a" + _varint(length)
        parts.append(head)
        length += len(head)
    return b"".join(reversed(parts))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 128:
        encoded.append(value % 128 + 128)
        value //= 128
    encoded.append(value)
    return bytes(encoded)
