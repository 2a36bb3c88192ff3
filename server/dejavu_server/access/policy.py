"""Which scopes each method needs: one table. A method that is not in it is refused, whatever the token."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from dejavu_server.access.caller import Scope

PUBLIC: Final[frozenset[Scope] | None] = None
"""Needs no token: load balancers and orchestrators check health without one, and it tells nothing else."""


def _needs(*scopes: Scope) -> frozenset[Scope]:
    return frozenset(scopes)


POLICY: Mapping[str, frozenset[Scope] | None] = MappingProxyType(
    {
        "/grpc.health.v1.Health/Check": PUBLIC,
        "/grpc.health.v1.Health/Watch": PUBLIC,
        "/grpc.health.v1.Health/List": PUBLIC,
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _needs(Scope.READ),
        "/dejavu.v1.ModelService/ListModels": _needs(Scope.READ),
        # A request that names a game also needs RECORD: see PredictionService.
        "/dejavu.v1.PredictionService/Predict": _needs(Scope.PREDICT),
        "/dejavu.v1.PredictionService/PredictBatch": _needs(Scope.PREDICT),
        "/dejavu.v1.PredictionService/AssessRisk": _needs(Scope.PREDICT),
        "/dejavu.v1.PredictionService/StreamPredictions": _needs(Scope.READ),
        "/dejavu.v1.RecordService/GetPrediction": _needs(Scope.READ),
        "/dejavu.v1.RecordService/ListPredictions": _needs(Scope.READ),
        "/dejavu.v1.RecordService/GetScorecard": _needs(Scope.READ),
        "/dejavu.v1.RecordService/GetLeaderboard": _needs(Scope.READ),
        "/dejavu.v1.RecordService/GetCheckpoint": _needs(Scope.READ),
        "/dejavu.v1.RecordService/ReportOutcome": _needs(Scope.OUTCOME),
        "/dejavu.v1.RecordService/WithdrawOutcome": _needs(Scope.OUTCOME),
    }
)
"""Scopes by method path."""
