"""Rules of each method, in one table: the scopes that it needs, and the limit that its calls count against."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from dejavu_server.access.caller import AccessScope

PUBLIC: Final[frozenset[AccessScope] | None] = None
"""Methods with this value need no token: load balancers and orchestrators check health without one, and these methods
reveal nothing else."""


class CallKind(enum.Enum):
    """Kind of a call, which decides the limit that it counts against."""

    CONTROL = "control"
    """Health, models, statistics, unknown methods: cheap, and needed by operators under load."""

    PREDICT = "predict"
    """Single forecasts and risk assessments."""

    BATCH = "batch"
    """Batches of forecasts."""

    RECORD = "record"
    """Reads of the record, and changes of models."""

    REPORT = "report"
    """Outcomes, leases, states of games and claims of notifications: few calls, which reads cannot crowd out."""

    STREAM = "stream"
    """Streams of forecasts and of games, which are long-lived."""

    WATCH = "watch"
    """Health watches (clients of several servers have one per connection): long-lived, almost free of cost."""

    REFLECTION = "reflection"
    """Reflection streams, of tools: few, whose answers take hundreds of KiB until they are read."""


class MethodRule(NamedTuple):
    """Rule of a method.

    Attributes:
        scopes: scopes that a token needs; PUBLIC: no token.
        kind: kind of its calls.
    """

    scopes: frozenset[AccessScope] | None
    kind: CallKind


def _rule(kind: CallKind, *scopes: AccessScope) -> MethodRule:
    return MethodRule(frozenset(scopes), kind)


_PUBLIC_CHECK: Final = MethodRule(PUBLIC, CallKind.CONTROL)
_READ: Final = _rule(CallKind.CONTROL, AccessScope.READ)
_READ_RECORD: Final = _rule(CallKind.RECORD, AccessScope.READ)
_READ_STREAM: Final = _rule(CallKind.STREAM, AccessScope.READ)
_REFLECTION: Final = _rule(CallKind.REFLECTION, AccessScope.READ)
_PREDICT: Final = _rule(CallKind.PREDICT, AccessScope.PREDICT)
_BATCH: Final = _rule(CallKind.BATCH, AccessScope.PREDICT)
_REPORT: Final = _rule(CallKind.REPORT, AccessScope.OUTCOME)
_CHANGE_MODELS: Final = _rule(CallKind.RECORD, AccessScope.MODELS)

_SERVICES: Final = {
    "grpc.health.v1.Health": {
        "Check": _PUBLIC_CHECK,
        "Watch": MethodRule(PUBLIC, CallKind.WATCH),
        "List": _PUBLIC_CHECK,
    },
    "grpc.reflection.v1.ServerReflection": {"ServerReflectionInfo": _REFLECTION},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": _REFLECTION},
    "inference.GRPCInferenceService": {
        "ServerLive": _PUBLIC_CHECK,
        "ServerReady": _PUBLIC_CHECK,
        "ModelReady": _READ,
        "ServerMetadata": _READ,
        "ModelMetadata": _READ,
        "ModelInfer": _BATCH,
    },
    "dejavu.v1.PredictionService": {  # a request that names a game also needs RECORD: see PredictionService
        "Predict": _PREDICT,
        "AssessRisk": _PREDICT,
        "PredictBatch": _BATCH,
        "PredictColumns": _BATCH,
        "StreamPredictions": _READ_STREAM,
    },
    "dejavu.v1.RecordService": {
        "GetPrediction": _READ_RECORD,
        "ListPredictions": _READ_RECORD,
        "GetScorecard": _READ_RECORD,
        "GetLeaderboard": _READ_RECORD,
        "GetCheckpoint": _READ_RECORD,
        "ReportOutcome": _REPORT,
        "WithdrawOutcome": _REPORT,
    },
    "dejavu.v1.ModelService": {
        "ListModels": _READ,
        "GetModel": _READ_RECORD,
        "CompareModels": _READ_RECORD,
        "ListModelChanges": _READ_RECORD,
        "LoadModel": _CHANGE_MODELS,
        "UnloadModel": _CHANGE_MODELS,
        "PromoteModel": _CHANGE_MODELS,
        "RollbackModel": _CHANGE_MODELS,
        "RetireModel": _CHANGE_MODELS,
    },
    "dejavu.v1.GameService": {"ListGames": _READ_RECORD, "StreamGames": _READ_STREAM},
    "dejavu.ops.v1.FeedService": {
        "PublishGames": _REPORT,  # states of games are shown as facts, as outcomes are
        "ReportFeed": _rule(CallKind.CONTROL, AccessScope.RECORD),
    },
    # The holder of the pollers' lease keeps all other pollers from forecasting and reporting for a whole evening.
    "dejavu.ops.v1.LeaseService": {"AcquireLease": _REPORT, "ReleaseLease": _REPORT, "GetLease": _READ_RECORD},
    # Claiming a notification blocks all other senders.
    "dejavu.ops.v1.NotificationService": {
        "ClaimNotification": _REPORT,
        "ConfirmNotification": _REPORT,
        "ListNotifications": _READ_RECORD,
    },
    "dejavu.ops.v1.OperationsService": {"GetServiceStats": _READ},
    "dejavu.ops.v1.CacheService": {
        "GetCacheStats": _READ,
        "ClearCache": _rule(CallKind.CONTROL, AccessScope.ADMIN),
        "WarmCache": _rule(CallKind.BATCH, AccessScope.ADMIN),
    },
}

SERVICES: Final = tuple(service for service in _SERVICES if not service.startswith("grpc."))
"""Full names of the services of a worker, without those of gRPC itself."""

POLICY: Final[Mapping[str, MethodRule]] = MappingProxyType(
    {f"/{service}/{method}": rule for service, rules in _SERVICES.items() for method, rule in rules.items()}
)
"""Rules by method path. Other methods are refused, with any token."""


_UNKNOWN: Final = _rule(CallKind.CONTROL)


def rule_of(method: str) -> MethodRule:
    """Return the rule of a method by its path; that of one that the table does not have has no scopes."""
    return POLICY.get(method, _UNKNOWN)


def kind_of(method: str) -> CallKind:
    """Return the kind of a call with a method's path."""
    return rule_of(method).kind
