"""Messages of a fuzzing run: valid ones, valid ones with changed fields or bytes, and random bytes.

Message `number` of seed `seed` is the same in every run, except for the resume token, which depends on the ledger.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from dejavu.v1 import model_service_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1 import record_service_pb2 as record_pb
from dejavu.v1.forecast_pb2 import (
    HORIZON_FINAL,
    HORIZON_HALFTIME,
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
    """A method to call, with the types of its request and responses."""

    name: str
    path: str
    request: type[Message]
    response: type[Message]
    streams: bool


def _rpc(service: str, name: str) -> Rpc:
    method = descriptor_pool.Default().FindMethodByName(f"{service}.{name}")
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    return Rpc(name, f"/{service}/{name}", request, response, method.server_streaming)


PREDICTION, RECORD_SERVICE = "dejavu.v1.PredictionService", "dejavu.v1.RecordService"
PREDICT = _rpc(PREDICTION, "Predict")
STREAM = _rpc(PREDICTION, "StreamPredictions")
REFLECTION = _rpc(reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name, "ServerReflectionInfo")
RECORD = [_rpc(RECORD_SERVICE, each.name) for each in record_pb.DESCRIPTOR.services_by_name["RecordService"].methods]
NO_METHOD = PREDICT._replace(name="(none)", path=f"/{PREDICTION}/Foretell")
NO_SERVICE = PREDICT._replace(name="(none)", path="/dejavu.v9.Oracle/Predict")

SHARES = {
    PREDICT: 40,
    _rpc(PREDICTION, "PredictBatch"): 12,
    STREAM: 10,
    **dict.fromkeys(RECORD, 3),
    _rpc(PREDICTION, "AssessRisk"): 4,
    _rpc(model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name, "ListModels"): 4,
    **{_rpc(health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, name): 4 for name in ("Check", "Watch")},
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
    rpc, manner, change = (_drawn(rng, each) for each in (SHARES, MANNERS, _CHANGES))
    body = change(rng, valid(rng, rpc.request, token), token)
    read = rng.randrange(1, 4) if rpc is STREAM else 1  # Watch and reflection send one response
    return Case(number, rpc, body, manner, rng.uniform(0, 0.005), read, rng)


def _drawn(rng: random.Random, weights: Mapping[Any, int]) -> Any:
    [drawn] = rng.choices(list(weights), list(weights.values()))
    return drawn


def valid(rng: random.Random, kind: type[Message], token: str = "") -> Message:
    """Return a valid message of a type, with values of FIELDS; fields that are not there stay unset."""
    if kind is pb.PredictRequest:
        return _predict(rng)
    message: Any = kind()
    for field in message.DESCRIPTOR.fields:
        draw = FIELDS.get(f"{kind.DESCRIPTOR.name}.{field.name}", FIELDS.get(field.name))
        if draw is not None and (value := draw(rng)) is not None:
            if field.is_repeated:
                getattr(message, field.name).extend(value)
            else:
                setattr(message, field.name, value)
        elif field.name in ("games", "requests"):
            size = 1000 if rng.random() < 0.002 else rng.randint(1, 5)
            part = GetMessageClass(field.message_type)
            getattr(message, field.name).extend(valid(rng, part) for _ in range(size))
        elif field.name == "filter":
            message.filter.CopyFrom(valid(rng, record_pb.ScoreFilter))
        elif field.name == "resume_token" and rng.random() < 0.3:
            message.resume_token = token
    return message  # type: ignore[no-any-return]


def _one_of(*values: Any) -> Callable[[random.Random], Any]:
    return lambda rng: rng.choice(values)


def _pattern(rng: random.Random) -> list[int]:
    return list(accumulate(rng.choice([-3, -2, -2, 0, 0, 2, 2, 3]) for _ in range(rng.randint(2, MOST_SLOTS))))


def _day(rng: random.Random, *, year: int) -> str:
    """Return no day, or one of the forty years from a year on."""
    day = date(year, 1, 1) + timedelta(days=rng.randrange(14_600))
    return rng.choice(["", "", day.isoformat()])


FIELDS: dict[str, Callable[[random.Random], Any]] = {
    "game_id": _one_of(*GAMES),
    "ListPredictionsRequest.game_id": _one_of("", "", *GAMES[:1]),
    "ScoreFilter.game_id": _one_of("", "", *GAMES[:1]),
    # Only a few games: once a game has an outcome, no new forecast of it is recorded.
    "ReportOutcomeRequest.game_id": _one_of(*GAMES[:3]),
    "WithdrawOutcomeRequest.game_id": _one_of(*GAMES[:3]),
    "ReportOutcomeRequest.total_points": _one_of(None),
    "game_ids": lambda rng: rng.sample(GAMES, rng.randrange(4)),
    "pattern": _pattern,
    "total_points": _one_of(None, 150, 223, 500),
    "horizon": _one_of(HORIZON_HALFTIME, HORIZON_FINAL),
    "differential": _one_of(-7, 3, 11),
    "from_date": partial(_day, year=1990),
    "to_date": partial(_day, year=2030),
    "team": _one_of("", "", "BOS", "gs"),
    "min_confidence": _one_of(None, None, 0.5, 0.9),
    "min_minutes": _one_of(None, 1, 18),
    "max_minutes": _one_of(None, 18, MOST_SLOTS),
    "elapsed_minutes": _one_of(*[None] * 7, 1, 18),  # few minutes of a game are recorded in a run
    "page_size": _one_of(0, 1, 7, 500),
    "min_games": _one_of(0, 1, 3),
    "metric": _one_of(*record_pb.LeaderboardMetric.values()[1:]),  # without the unspecified one, which is refused
    "settled": _one_of(None, True, False),
    "include_current": _one_of(True, False),
    "include_superseded": _one_of(True, False),
    "include_replays": _one_of(True, True, False),
    "return_explanation": _one_of(True, False),
    "service": _one_of("", PREDICTION),
    "file_containing_symbol": _one_of(PREDICTION),
}
"""Name of a field, of any message or of one, → its valid values; None: unset."""


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


def _predict(rng: random.Random) -> pb.PredictRequest:
    game = rng.choice(GAMES) if rng.random() < 0.25 else ""
    horizon = rng.choice([HORIZON_HALFTIME, HORIZON_FINAL])
    pattern = _pattern(rng)[: MOST_SLOTS if horizon == HORIZON_FINAL else HALFTIME_SLOTS]
    slots, lead = len(pattern), abs(pattern[-1])
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


_FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 5e-324, 1e-320, 1e-9, 199.99, 200.0, 200.1, 1e9, 3e38, 1e308]
_FLOATS += [math.nan, math.inf, -math.inf]
_TEXTS = ["", "BOS", "LAL", " nyk\n", "Boston Celtics", "x", "x" * 32, "x" * 33, "A" * 10_000, "\0", "\n", "é"]
_TEXTS += ["😀" * 16, "\U000e0001" * 32, "٠١٢٣٤٥٦٧٨٩", "{}%s\\u0000", "012345678", "0123456789", " 123456789"]
_DEPTHS = [10, 99, 100, 101, 10_000, 50_000]
_SIZES = [100, 1000, 1000, 10_000, 10_000, 10_000, 100_000, 1_000_000, 5_000_000]
_NUMBERS = [0, 1, 2, 3, 7, 99, -1, 2**31 - 1, -(2**31)]


def _change_fields(rng: random.Random, message: Message, token: str) -> bytes:
    """Set some fields to values at or beyond their bounds."""
    for _ in range(rng.randrange(1, 4)):
        _change_a_field(rng, message, token)
    return message.SerializeToString()


def _change_a_field(rng: random.Random, message: Any, token: str) -> None:
    fields: Sequence[FieldDescriptor] = message.DESCRIPTOR.fields
    if not fields:
        return
    field = rng.choice(fields)
    values = getattr(message, field.name)
    if field.is_repeated:
        kind = rng.randrange(3)
        if kind == 0:
            del values[rng.randrange(len(values) + 1) :]
        elif kind == 1 and values and field.message_type:
            _change_a_field(rng, rng.choice(values), token)
        else:
            repeated = list(values)[:1] if field.message_type else [_value(rng, field, token)]
            values.extend(repeated * rng.choice([1, 1, 29, 30, 1000]))
    elif field.message_type:
        _change_a_field(rng, values, token)
    else:
        setattr(message, field.name, _value(rng, field, token))


def _value(rng: random.Random, field: FieldDescriptor, token: str) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return rng.choice([*_FLOATS, rng.uniform(-300, 300)])
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.randbytes(rng.randrange(20))
        case FieldDescriptor.CPPTYPE_STRING:
            at = rng.randrange(len(token) + 1)
            return rng.choice([*_TEXTS, token, token[:at] + rng.choice("Az9-_= ") + token[at:], rng.choice(GAMES)])
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return rng.choice([number for number in _NUMBERS if number >= 0])
        case _:
            return rng.choice(_NUMBERS)


def _change_bytes(rng: random.Random, message: Message, _: str) -> bytes:
    """Replace, insert, remove or repeat bytes."""
    data = message.SerializeToString()
    for _change in range(rng.randrange(1, 5)):
        start = rng.randrange(len(data) + 1)
        end = start + rng.randrange(5)
        more = rng.choice([rng.randbytes(end - start), b"", data[: rng.randrange(len(data) + 1)]])
        data = data[:start] + more + rng.choice([data[start:], data[end:], b""])
    return data


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
    return bytes([*encoded, value])
