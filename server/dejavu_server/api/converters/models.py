"""Converts models, changes of models and the evidence for them to messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, Final

from dejavu.v1 import forecast_pb2, model_change_pb2
from dejavu.v1 import model_service_pb2 as pb
from dejavu_feed.off_season import playing_days
from dejavu_models.manifest import Manifest
from dejavu_models.types import MarginSource, ModelInfo
from dejavu_server.api.converters.fields import message_of, timestamp
from dejavu_server.api.converters.forecast_warnings import model_warnings
from dejavu_server.forecasting.lifecycle.replicas import Replicas
from dejavu_store.stages import ALIASES, ModelChange, NotRegistered, Roster

_WEIGHT_SOURCES: Final = {
    MarginSource.UNKNOWN: forecast_pb2.MARGIN_SOURCE_UNSPECIFIED,
    MarginSource.KNOWN: forecast_pb2.MARGIN_SOURCE_RATINGS,
    MarginSource.LINE: forecast_pb2.MARGIN_SOURCE_CALLER,
}
"""Sources of the expected margin in the weights of components."""


def describe_loaded(info: ModelInfo, roster: Roster, today: date) -> pb.Model:
    """Convert the description of a loaded model, with the age of its ratings today, and its place in the roster."""
    return message_of(
        pb.Model,
        info,
        **_place(info.version, roster),
        create_time=info.created_time,
        ratings_age_days=playing_days(info.ratings_date, today),
        warnings=model_warnings(info, today),
        verdict=_verdict(info.approved),
        loaded=True,
        lineage=None,
        weights=[
            message_of(pb.ComponentWeight, each, margin_source=_WEIGHT_SOURCES[each.margin_source])
            for each in info.weights
        ],
    )


def describe_stored(manifest: Manifest | None, version: str, roster: Roster) -> pb.Model:
    """Describe, from its manifest, a model that is not loaded; ratings and capabilities are left out.

    Args:
        manifest: the manifest; None if the store lacks it.
        version: the model.
        roster: the roster.
    """
    place = _place(version, roster)
    if manifest is None:
        return pb.Model(version=version, **place)
    return pb.Model(
        version=version,
        **place,
        train_seasons=manifest.train.seasons,
        calibration_seasons=manifest.calibrate.seasons,
        train_games=manifest.train.games,
        calibration_games=manifest.calibrate.games,
        components=manifest.components,
        create_time=timestamp(manifest.created_time),
        metrics=[message_of(pb.Metric, metric) for metric in manifest.metrics],
        verdict=_verdict(manifest.verdict.fit),
        verdict_reason=manifest.verdict.reason,
    )


def shorten(message: pb.Model) -> None:
    """Leave out what can be long: registered models are never removed, and a list of all of them must stay readable."""
    for name in ("metrics", "verdict_reason", "lineage"):
        message.ClearField(name)


def set_lineage(message: pb.Model, manifest: Manifest, manifest_sha256: str) -> None:
    """Set the lineage of a model."""
    message.lineage.data_fingerprint = manifest.data_fingerprint
    message.lineage.manifest_sha256 = manifest_sha256
    for name in ("parent_version", "reason", "code_version"):
        setattr(message.lineage, name, getattr(manifest, name, None) or "")


def _verdict(fit: bool) -> pb.Verdict.ValueType:
    return pb.VERDICT_FIT if fit else pb.VERDICT_UNFIT


def _place(version: str, roster: Roster) -> dict[str, Any]:
    """Return the fields of the place of a model in a roster; only whether it is active if the roster has no stages."""
    place: dict[str, Any] = {"active": version == roster.champion, "stage": None, "aliases": ()}
    if version in roster.stages:
        place["stage"] = pb.ModelStage.Value(f"MODEL_STAGE_{roster.stages[version].name}")
        place["aliases"] = [alias for alias in ALIASES if _has_alias(version, alias, roster)]
    return place


def _has_alias(version: str, alias: str, roster: Roster) -> bool:
    try:
        return roster.version_of(alias) == version
    except NotRegistered:
        return False


def replica_messages(version: str, workers: Iterable[Replicas]) -> list[pb.ModelReplica]:
    """Return the state of a model in each worker: whether it is loaded, or why it failed to load."""
    return [
        message_of(
            pb.ModelReplica,
            each,
            loaded=version in each.loaded,
            error=each.failed[version].error if version in each.failed else "",
        )
        for each in workers
    ]


def change_message(change: ModelChange | None) -> model_change_pb2.ModelChange | None:
    """Convert a recorded change of models; None if there is none."""
    return None if change is None else message_of(model_change_pb2.ModelChange, change)
