"""Requests that a server must refuse, and what each refusal has to say: one table for all methods.

Each row is sent over a connection. Those of Predict are sent as one request of a batch too, where a request can be.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from tests.support.calls import GAME, PATTERN

from dejavu.v1 import prediction_service_pb2 as pb

PREDICT = "/dejavu.v1.PredictionService/Predict"
BATCH = "/dejavu.v1.PredictionService/PredictBatch"
STREAM = "/dejavu.v1.PredictionService/StreamPredictions"
MODELS = "/dejavu.v1.ModelService/ListModels"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNSUPPORTED = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND

SLOTS = len(PATTERN)


@dataclass(frozen=True, slots=True)
class BadRequest:
    """A row of the table.

    Attributes:
        path: the method.
        body: the request's bytes.
        field: the field that is named; empty where the whole message is no message.
        found: what the violation's description tells of the value: itself, or its size if it is long.
        expected: what it says was expected.
    """

    name: str
    path: str
    body: bytes
    code: grpc.StatusCode
    reason: str
    field: str
    found: str
    expected: str


def good(**fields: Any) -> pb.PredictRequest:
    """A request that is answered, unless fields make it a bad one."""
    return pb.PredictRequest(**{"pattern": PATTERN, **fields})


def _predict(name: str, reason: str, field: str, found: str, expected: str, **fields: Any) -> BadRequest:
    code = INVALID
    if reason.startswith("UNSUPPORTED") or reason == "ALPHA_TOO_SMALL":
        code = UNSUPPORTED
    elif reason == "UNKNOWN_MODEL_VERSION":
        code = NOT_FOUND
    return BadRequest(
        f"Predict: {name}", PREDICT, good(**fields).SerializeToString(), code, reason, field, found, expected
    )


def _lengths() -> list[BadRequest]:
    rows = [
        _predict(f"{n} slots", "INVALID_PATTERN", "pattern", f"{n} slots", "1 to 47", pattern=[0.0] * n)
        for n in (0, 48, 10_000)
    ]
    rows += [
        _predict(f"{n} slots", "UNSUPPORTED_SLOTS", "pattern", f"{n} slots", f"{SLOTS}", pattern=[1.0] * n)
        for n in (1, 17, 19, 36, 47)
    ]
    return rows


def _slot(place: int, value: float) -> Sequence[float]:
    return [*PATTERN[:place], value, *PATTERN[place + 1 :]]


def _values() -> list[BadRequest]:
    bound = "a finite number within ±200"
    cases = [
        ("NaN at the start", 0, math.nan, "nan"),
        ("NaN at the end", SLOTS - 1, math.nan, "nan"),
        ("infinity", 3, math.inf, "inf"),
        ("minus infinity", 17, -math.inf, "-inf"),
        ("just too large", 5, 200.5, "200.5"),
        ("just too small", 6, -200.5, "-200.5"),
        ("the largest float", 9, 3.4028234663852886e38, "3.4028234663852886e+38"),
        ("a billion", 2, 1e9, "1000000000.0"),
    ]
    rows = [
        _predict(f"pattern, {name}", "INVALID_PATTERN", f"pattern[{at}]", found, bound, pattern=_slot(at, value))
        for name, at, value, found in cases
    ]
    rows.append(_predict("NaN in all", "INVALID_PATTERN", "pattern[0]", "nan", bound, pattern=[math.nan] * SLOTS))
    return rows


def _alphas() -> list[BadRequest]:
    between = "a number strictly between 0 and 1"
    wrong = (0.0, -0.0, 1.0, -0.05, 1.5, 95.0, 1e308, -5e-324, math.nan, math.inf, -math.inf)
    rows = [_predict(f"alpha {a}", "INVALID_ALPHA", "alpha", f"{a}", between, alpha=a) for a in wrong]
    small = (1e-320, 5e-324, 1e-9, 0.0001)
    rows += [_predict(f"alpha {a}", "ALPHA_TOO_SMALL", "alpha", f"{a}", "at least 0.0", alpha=a) for a in small]
    return rows


def _ids() -> list[BadRequest]:
    expected = "the NBA's id, ten digits"
    cases = [
        ("nine digits", "002200001", "'002200001'"),
        ("eleven digits", "00220000011", "'00220000011'"),
        ("letters", "002200000x", "'002200000x'"),
        ("unicode digits", "٠٠٢٢٠٠٠٠٠١", "'٠٠٢٢٠٠٠٠٠١'"),
        ("full-width digits", "００２２０００００１", "'００２２０００００１'"),
        ("a space before", " " + GAME, f"' {GAME}'"),
        ("a space behind", GAME + " ", f"'{GAME} '"),
        ("a line's end behind", GAME + "\n", f"'{GAME}\\n'"),
        ("a sign", "-022000001", "'-022000001'"),
        ("a decimal point", "002200000.", "'002200000.'"),
        ("NUL", "\0" * 10, "'\\x00\\x00"),
        ("a NUL in it", "00220\x0000001", "'00220\\x0000001'"),
        ("only a space", " ", "' '"),
        ("a path", "../../etc", "'../../etc'"),
        ("a megabyte", "0" * 2**20, "1048576 characters"),
    ]
    return [
        _predict(f"game_id, {name}", "INVALID_GAME_ID", "game_id", found, expected, game_id=value)
        for name, value, found in cases
    ]


def _teams() -> list[BadRequest]:
    rows = []
    for field in ("home_team", "away_team"):
        cases = [
            ("33 characters", "x" * 33, "33 characters", "at most 32"),
            ("a megabyte", "x" * 2**20, "1048576 characters", "at most 32"),
            ("a tab", "BO\tS", "'BO\\tS'", "printable characters"),
            ("NUL", "\0", "'\\x00'", "printable characters"),
            ("a line's end", "BOS\n", "'BOS\\n'", "printable characters"),
            ("32 invisible tags", "\U000e0001" * 32, "32 characters", "printable characters"),
            ("right to left", "\u202eSOB", "'\\u202eSOB'", "printable characters"),
        ]
        rows += [
            _predict(f"{field}, {name}", "INVALID_TEAM", field, found, expected, **{field: value})
            for name, value, found, expected in cases
        ]
    return rows


def _margins() -> list[BadRequest]:
    bound = "a finite number within ±200"
    wrong = (math.nan, math.inf, -math.inf, 200.5, -1e9, 1e308)
    rows = [
        _predict(f"margin {m}", "INVALID_PREGAME_MARGIN", "pregame_margin", f"{m}", bound, pregame_margin=m)
        for m in wrong
    ]
    unknown = ((5.5, "5.5"), (0.0, "0"), (-200.0, "-200"), (5e-324, "4.94066e-324"))
    rows += [
        _predict(f"margin {m}", "UNSUPPORTED_PREGAME_MARGIN", "pregame_margin", found, "no ratings", pregame_margin=m)
        for m, found in unknown
    ]
    return rows


def _horizons_and_versions() -> list[BadRequest]:
    rows = [
        _predict(
            f"horizon {h}", "INVALID_HORIZON", "horizon", f"{h}", "a value of dejavu.v1.Horizon: 0, 1, 2", horizon=h
        )
        for h in (3, 7, -1, 2**31 - 1, -(2**31))
    ]
    rows.append(_predict("horizon FINAL", "UNSUPPORTED_HORIZON", "horizon", "final", "halftime", horizon=2))
    versions = [
        ("another", "0123456789abcdef", "'0123456789abcdef'"),
        ("a space", " ", "' '"),
        ("a path", "../default", "'../default'"),
        ("NUL", "\0", "'\\x00'"),
        ("a megabyte", "f" * 2**20, "1048576 characters"),
    ]
    rows += [
        _predict(
            f"model_version, {name}", "UNKNOWN_MODEL_VERSION", "model_version", found, "or empty", model_version=value
        )
        for name, value, found in versions
    ]
    return rows


def _no_messages() -> list[BadRequest]:
    """Bytes that are no message of the method: wire types, lengths and texts that protobuf refuses."""
    bodies = {
        "an end group without a start": b"\x0c",
        "a wire type that does not exist": b"\x0e",
        "field number 0": b"\x00\x00",
        "a field cut short": b"\x0a\x10abc",
        "a length of 2 GiB": b"\x0a\xff\xff\xff\xff\x07",
        "a number without end": b"\x28" + b"\xff" * 11,
        "packed floats cut short": b"\x12\x05" + bytes(5),
        "a double cut short": b"\x19" + bytes(4),
        "a text that is no UTF-8": b"\x0a\x0a" + b"\xff\xfe" * 5,
        "a text with a surrogate": b"\x32\x03\xed\xa0\x80",
        "groups nested 50,000 deep": b"\x93\x03" * 50_000,
        "noise": bytes(range(255, 200, -1)),
    }
    rows = [_no_message("Predict", name, PREDICT, body) for name, body in bodies.items()]
    rows += [
        _no_message("PredictBatch", "a request cut short", BATCH, b"\x0a\x7f\x00"),
        _no_message("PredictBatch", "a request in it that is no message", BATCH, b"\x0a\x01\x0c"),
        _no_message("StreamPredictions", "a game id that is no UTF-8", STREAM, b"\x0a\x02\xff\xfe"),
        _no_message("StreamPredictions", "noise", STREAM, b"\xff\xff"),
        _no_message("ListModels", "noise", MODELS, b"\xff\xff"),
        _no_message("Check", "a service that is no UTF-8", CHECK, b"\x0a\x01\xff"),
        _no_message("Watch", "noise", WATCH, b"\xff\xff"),
        _no_message("Reflection", "noise", REFLECTION, b"\xff\xff"),
    ]
    return rows


def _no_message(method: str, name: str, path: str, body: bytes) -> BadRequest:
    found = f"{len(body)} bytes"
    return BadRequest(
        f"{method}: {name}", path, body, INVALID, "INVALID_MESSAGE", "", found, "a message of this method"
    )


def _batches() -> list[BadRequest]:
    return [
        BadRequest(
            f"PredictBatch: {size} requests",
            BATCH,
            pb.PredictBatchRequest(requests=[request] * size).SerializeToString(),
            INVALID,
            "INVALID_BATCH",
            "requests",
            f"{size} requests",
            "1 to 1000",
        )
        for size, request in ((0, good()), (1001, good()), (100_000, pb.PredictRequest()))
    ]


def _streams() -> list[BadRequest]:
    ids = "the NBA's id, ten digits"
    token = "a resume_token of an earlier response"
    cases: list[tuple[str, str, str, str, str, dict[str, Any]]] = [
        ("an id that is none", "INVALID_GAME_ID", "game_ids[0]", "'nope'", ids, {"game_ids": ["nope"]}),
        ("the third id is none", "INVALID_GAME_ID", "game_ids[2]", "'1'", ids, {"game_ids": [GAME, GAME, "1"]}),
        ("an empty id", "INVALID_GAME_ID", "game_ids[0]", "''", ids, {"game_ids": [""]}),
        ("2001 ids", "INVALID_GAME_IDS", "game_ids", "2001 game ids", "at most 2000", {"game_ids": [GAME] * 2001}),
        ("300,000 ids", "INVALID_GAME_IDS", "game_ids", "300000 ", "at most 2000", {"game_ids": [GAME] * 300_000}),
        ("a token that is none", "INVALID_RESUME_TOKEN", "resume_token", "'nope'", token, {"resume_token": "nope"}),
        ("a token of unicode", "INVALID_RESUME_TOKEN", "resume_token", "'é'", token, {"resume_token": "é"}),
        ("a token of NUL", "INVALID_RESUME_TOKEN", "resume_token", "'\\x00'", token, {"resume_token": "\0"}),
        (
            "a token of no ledger",
            "INVALID_RESUME_TOKEN",
            "resume_token",
            "of another ledger",
            "this server's ledger",
            {"resume_token": "AQ" + "A" * 42},
        ),
        (
            "a token of a later form",
            "INVALID_RESUME_TOKEN",
            "resume_token",
            "form 255",
            "form 1",
            {"resume_token": "_w" + "A" * 42},
        ),
        (
            "a token of a megabyte",
            "INVALID_RESUME_TOKEN",
            "resume_token",
            "1048576 characters",
            token,
            {"resume_token": "A" * 2**20},
        ),
    ]
    return [
        BadRequest(
            f"StreamPredictions: {name}",
            STREAM,
            pb.StreamPredictionsRequest(**fields).SerializeToString(),
            INVALID,
            reason,
            field,
            found,
            expected,
        )
        for name, reason, field, found, expected, fields in cases
    ]


def _services() -> list[BadRequest]:
    cases = [("unknown", "nope", "'nope'"), ("NUL", "\0", "'\\x00'"), ("a megabyte", "x" * 2**20, "1048576 characters")]
    return [
        BadRequest(
            f"Check: a service, {name}",
            CHECK,
            health_pb2.HealthCheckRequest(service=service).SerializeToString(),
            NOT_FOUND,
            "UNKNOWN_SERVICE",
            "service",
            found,
            "dejavu.v1.PredictionService",
        )
        for name, service, found in cases
    ]


OF_PREDICT = [
    *_lengths(),
    *_values(),
    *_alphas(),
    *_ids(),
    *_teams(),
    *_margins(),
    *_horizons_and_versions(),
]
"""Those that can be one request of a batch too."""

BAD_REQUESTS = [*OF_PREDICT, *_no_messages(), *_batches(), *_streams(), *_services()]

ACCEPTED: dict[str, tuple[str, bytes]] = {
    "Predict: a field that a later release may know": (PREDICT, good().SerializeToString() + b"\x82\x7d\x03abc"),
    "Predict: a known field of another wire type": (PREDICT, good().SerializeToString() + b"\x38\x01"),
    "Predict: floats that are not packed": (PREDICT, b"".join(b"\x15" + struct.pack("<f", slot) for slot in PATTERN)),
    "Predict: a field twice, of which the last counts": (PREDICT, good().SerializeToString() + b"\x28\x07\x28\x01"),
    "Predict: subnormal values": (PREDICT, good(pattern=[1e-45] * SLOTS).SerializeToString()),
    "Predict: minus zero": (PREDICT, good(pattern=[-0.0] * SLOTS).SerializeToString()),
    "Predict: values at the bounds": (PREDICT, good(pattern=[200.0, -200.0] * 9).SerializeToString()),
    "Predict: alpha next to 1": (PREDICT, good(alpha=math.nextafter(1, 0)).SerializeToString()),
    "Predict: a team of 32 emoji": (PREDICT, good(home_team="😀" * 32).SerializeToString()),
    "PredictBatch: a batch of 1000": (BATCH, pb.PredictBatchRequest(requests=[good()] * 1000).SerializeToString()),
    "StreamPredictions: the same id 2000 times": (
        STREAM,
        pb.StreamPredictionsRequest(game_ids=[GAME] * 2000).SerializeToString(),
    ),
    "ListModels: a field that a later release may know": (MODELS, b"\x0a\x03abc"),
    "Watch: a service that the server does not have": (WATCH, b"\x0a\x04nope"),
    "Reflection: a request that asks nothing": (REFLECTION, b""),
}
"""What looks odd and is answered all the same: method and request."""
