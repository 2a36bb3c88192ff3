"""Invalid requests and the expected error of each: one table for all methods.

Tests send each row over a connection. The requests to Predict are in invalid_predictions.py.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from grpc_health.v1 import health_pb2
from tests.support.builders.calls import GAME, PATTERN
from tests.support.builders.invalid_predictions import (
    INVALID,
    NOT_FOUND,
    OF_PREDICT,
    PREDICT,
    SLOTS,
    BadRequest,
    good,
    market,
)

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.market_pb2 import Odds

BATCH = "/dejavu.v1.PredictionService/PredictBatch"
STREAM = "/dejavu.v1.PredictionService/StreamPredictions"
RISK = "/dejavu.v1.PredictionService/AssessRisk"
MODELS = "/dejavu.v1.ModelService/ListModels"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def _no_messages() -> list[BadRequest]:
    """Returns bytes that are not a message of the method: wire types, lengths and texts that protobuf rejects."""
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
        _no_message("AssessRisk", "noise", RISK, b"\xff\xff"),
        _no_message("ListModels", "noise", MODELS, b"\xff\xff"),
        _no_message("Check", "a service that is no UTF-8", CHECK, b"\x0a\x01\xff"),
        _no_message("Watch", "noise", WATCH, b"\xff\xff"),
        _no_message("Reflection", "noise", REFLECTION, b"\xff\xff"),
    ]
    many = pb.PredictBatchRequest(requests=[pb.PredictRequest()] * 100_000).SerializeToString()
    found, expected = "the 200000 bytes", "more than 4096 fields and elements"
    rows.append(
        BadRequest("PredictBatch: 100000 requests", BATCH, many, INVALID, "INVALID_MESSAGE", "", found, expected)
    )
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
        for size, request in ((0, good()), (1001, good()), (4000, pb.PredictRequest()))
    ]


def _streams() -> list[BadRequest]:
    ids = "the NBA's id, ten digits"
    token = "a resume_token of an earlier response"
    cases: list[tuple[str, str, str, str, str, dict[str, Any]]] = [
        ("an id that is none", "INVALID_GAME_ID", "game_ids[0]", "'nope'", ids, {"game_ids": ["nope"]}),
        ("the third id is none", "INVALID_GAME_ID", "game_ids[2]", "'1'", ids, {"game_ids": [GAME, GAME, "1"]}),
        ("an empty id", "INVALID_GAME_ID", "game_ids[0]", "''", ids, {"game_ids": [""]}),
        ("2001 ids", "INVALID_GAME_IDS", "game_ids", "2001 game ids", "at most 2000", {"game_ids": [GAME] * 2001}),
        ("4000 ids", "INVALID_GAME_IDS", "game_ids", "4000 ", "at most 2000", {"game_ids": [GAME] * 4000}),
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
            "a token of 60 kilobytes",
            "INVALID_RESUME_TOKEN",
            "resume_token",
            "60000 characters",
            token,
            {"resume_token": "A" * 60_000},
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


def _risks() -> list[BadRequest]:
    lengths, bound = "2 to 47", "a finite number within ±200"
    cases: list[tuple[str, str, str, str, dict[str, Any]]] = [
        ("INVALID_PATTERN", "pattern", f"{n} slots", lengths, {"pattern": [0.0] * n}) for n in (0, 1, 48, 100_000)
    ]
    cases += [
        ("INVALID_PATTERN", "pattern[1]", f"{value}", bound, {"pattern": [0.0, value]})
        for value in (math.nan, math.inf, -math.inf, 200.5)
    ]
    cases += [
        ("INVALID_TOTAL_POINTS", "total_points", f"{total}", expected, {"pattern": [0.0, -7.5], "total_points": total})
        for total, expected in (
            (0, "8 (the lead) to 500"),
            (7, "8 (the lead) to 500"),
            (501, "to 500"),
            (2**32 - 1, "to 500"),
        )
    ]
    return [
        BadRequest(
            f"AssessRisk {index}: {field} {found}",
            RISK,
            pb.AssessRiskRequest(**fields).SerializeToString(),
            INVALID,
            reason,
            field,
            found,
            expected,
        )
        for index, (reason, field, found, expected, fields) in enumerate(cases)
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


BAD_REQUESTS = [*OF_PREDICT, *_no_messages(), *_batches(), *_streams(), *_risks(), *_services()]

ACCEPTED: dict[str, tuple[str, bytes]] = {
    "Predict: a field that a later release may know": (PREDICT, good().SerializeToString() + b"\x82\x7d\x03abc"),
    "Predict: a known field of another wire type": (PREDICT, good().SerializeToString() + b"\x38\x01"),
    "Predict: floats that are not packed": (PREDICT, b"".join(b"\x15" + struct.pack("<f", slot) for slot in PATTERN)),
    "Predict: a field twice, of which the last counts": (PREDICT, good().SerializeToString() + b"\x28\x07\x28\x01"),
    "Predict: subnormal values": (PREDICT, good(pattern=[1e-45] * SLOTS).SerializeToString()),
    "Predict: minus zero": (PREDICT, good(pattern=[-0.0] * SLOTS).SerializeToString()),
    "Predict: values at the bounds": (PREDICT, good(pattern=[200.0, -200.0] * 9).SerializeToString()),
    "Predict: alpha next to 1": (PREDICT, good(alpha=math.nextafter(1, 0)).SerializeToString()),
    "Predict: one slot": (PREDICT, good(pattern=[2.0]).SerializeToString()),
    "Predict: as many slots as there may be": (PREDICT, good(pattern=[2.0] * 47, horizon=2).SerializeToString()),
    "Predict: one team alone": (PREDICT, good(home_team="BOS").SerializeToString()),
    "Predict: an alias in small letters": (PREDICT, good(home_team="brk", away_team="gs").SerializeToString()),
    "Predict: a margin of nothing": (PREDICT, good(pregame_margin=-0.0).SerializeToString()),
    "Predict: a margin at its bound": (PREDICT, good(pregame_margin=-200.0).SerializeToString()),
    "Predict: 99 quantiles, of one level": (PREDICT, good(quantile_levels=[0.5] * 99).SerializeToString()),
    "Predict: quantiles from above": (PREDICT, good(quantile_levels=[0.9, 0.5, 0.1]).SerializeToString()),
    "Predict: a market at the half": (PREDICT, good(market=market(horizon=1)).SerializeToString()),
    "Predict: a market at its bounds": (
        PREDICT,
        good(
            market=market(line=-100.0, home=Odds(decimal=1000), away=Odds(american=-(2**31)), confidence_threshold=0.0)
        ).SerializeToString(),
    ),
    "AssessRisk: two slots and no points": (RISK, pb.AssessRiskRequest(pattern=[0, 0]).SerializeToString()),
    "AssessRisk: points as many as the lead": (
        RISK,
        pb.AssessRiskRequest(pattern=[0.0, -20.0], total_points=20).SerializeToString(),
    ),
    "PredictBatch: a batch of 1000": (BATCH, pb.PredictBatchRequest(requests=[good()] * 1000).SerializeToString()),
    "StreamPredictions: the same id 2000 times": (
        STREAM,
        pb.StreamPredictionsRequest(game_ids=[GAME] * 2000).SerializeToString(),
    ),
    "ListModels: a field that a later release may know": (MODELS, b"\x0a\x03abc"),
    "Watch: a service that the server does not have": (WATCH, b"\x0a\x04nope"),
    "Reflection: a request that asks nothing": (REFLECTION, b""),
}
"""Unusual but valid requests: method and bytes."""
