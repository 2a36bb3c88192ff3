"""Scopes of each method, in one table. Other methods are refused, with any token."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from dejavu_server.access.caller import AccessScope

PUBLIC: Final[frozenset[AccessScope] | None] = None
"""Methods with this value need no token: load balancers and orchestrators check health without one, and these methods
reveal nothing else."""


def _needs(*scopes: AccessScope) -> frozenset[AccessScope]:
    return frozenset(scopes)


POLICY: Mapping[str, frozenset[AccessScope] | None] = MappingProxyType(
    {
        "/grpc.health.v1.Health/Check": PUBLIC,
        "/grpc.health.v1.Health/Watch": PUBLIC,
        "/grpc.health.v1.Health/List": PUBLIC,
        "/inference.GRPCInferenceService/ServerLive": PUBLIC,
        "/inference.GRPCInferenceService/ServerReady": PUBLIC,
        **{
            f"/inference.GRPCInferenceService/{method}": _needs(AccessScope.READ)
            for method in ("ModelReady", "ServerMetadata", "ModelMetadata")
        },
        "/inference.GRPCInferenceService/ModelInfer": _needs(AccessScope.PREDICT),
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _needs(AccessScope.READ),
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _needs(AccessScope.READ),
        # States of games are shown as facts, as outcomes are.
        "/dejavu.ops.v1.FeedService/PublishGames": _needs(AccessScope.OUTCOME),
        "/dejavu.ops.v1.FeedService/ReportFeed": _needs(AccessScope.RECORD),
        "/dejavu.v1.GameService/ListGames": _needs(AccessScope.READ),
        "/dejavu.v1.GameService/StreamGames": _needs(AccessScope.READ),
        # The holder of the pollers' lease keeps all other pollers from forecasting and reporting for a whole evening.
        "/dejavu.ops.v1.LeaseService/AcquireLease": _needs(AccessScope.OUTCOME),
        "/dejavu.ops.v1.LeaseService/GetLease": _needs(AccessScope.READ),
        "/dejavu.ops.v1.LeaseService/ReleaseLease": _needs(AccessScope.OUTCOME),
        # Whoever claims a notification keeps all others from sending it.
        "/dejavu.ops.v1.NotificationService/ClaimNotification": _needs(AccessScope.OUTCOME),
        "/dejavu.ops.v1.NotificationService/ConfirmNotification": _needs(AccessScope.OUTCOME),
        "/dejavu.ops.v1.NotificationService/ListNotifications": _needs(AccessScope.READ),
        **{
            f"/dejavu.v1.ModelService/{method}": _needs(AccessScope.READ)
            for method in ("ListModels", "GetModel", "CompareModels", "ListModelChanges")
        },
        **{
            f"/dejavu.v1.ModelService/{method}": _needs(AccessScope.MODELS)
            for method in (
                "LoadModel",
                "UnloadModel",
                "PromoteModel",
                "RollbackModel",
                "RetireModel",
            )
        },
        "/dejavu.ops.v1.OperationsService/GetServiceStats": _needs(AccessScope.READ),
        # A request that names a game also needs RECORD: see PredictionService.
        "/dejavu.v1.PredictionService/Predict": _needs(AccessScope.PREDICT),
        "/dejavu.v1.PredictionService/PredictBatch": _needs(AccessScope.PREDICT),
        "/dejavu.v1.PredictionService/PredictColumns": _needs(AccessScope.PREDICT),
        "/dejavu.v1.PredictionService/AssessRisk": _needs(AccessScope.PREDICT),
        "/dejavu.v1.PredictionService/StreamPredictions": _needs(AccessScope.READ),
        "/dejavu.ops.v1.CacheService/GetCacheStats": _needs(AccessScope.READ),
        "/dejavu.ops.v1.CacheService/ClearCache": _needs(AccessScope.ADMIN),
        "/dejavu.ops.v1.CacheService/WarmCache": _needs(AccessScope.ADMIN),
        "/dejavu.v1.RecordService/GetPrediction": _needs(AccessScope.READ),
        "/dejavu.v1.RecordService/ListPredictions": _needs(AccessScope.READ),
        "/dejavu.v1.RecordService/GetScorecard": _needs(AccessScope.READ),
        "/dejavu.v1.RecordService/GetLeaderboard": _needs(AccessScope.READ),
        "/dejavu.v1.RecordService/GetCheckpoint": _needs(AccessScope.READ),
        "/dejavu.v1.RecordService/ReportOutcome": _needs(AccessScope.OUTCOME),
        "/dejavu.v1.RecordService/WithdrawOutcome": _needs(AccessScope.OUTCOME),
    }
)
"""Scopes by method path."""
