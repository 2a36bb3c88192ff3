"""Converts models, changes of models and the evidence for them to messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from dejavu.v1 import model_change_pb2
from dejavu.v1 import model_service_pb2 as pb
from dejavu_models.manifest import Manifest
from dejavu_models.types import ModelInfo
from dejavu_server.api.converters.fields import message_of, timestamp
from dejavu_server.api.converters.prediction import model_message
from dejavu_server.forecasting.lifecycle.replicas import Replicas
from dejavu_store.stages import ALIASES, ModelChange, NotRegistered, Roster


def describe_loaded(info: ModelInfo, roster: Roster, today: date) -> pb.Model:
    """Convert the description of a loaded model, with its place in the roster."""
    message = model_message(info, today, active=info.version == roster.champion)
    _set_place(message, roster)
    return message


def describe_stored(manifest: Manifest | None, version: str, roster: Roster) -> pb.Model:
    """Describe, from its manifest, a model that is not loaded; ratings and capabilities are left out.

    Args:
        manifest: the manifest; None if the store lacks it.
        version: the model.
        roster: the roster.
    """
    message = pb.Model(version=version, active=version == roster.champion)
    _set_place(message, roster)
    if manifest is None:
        return message
    message.train_seasons.extend(manifest.train.seasons)
    message.calibration_seasons.extend(manifest.calibrate.seasons)
    message.train_games, message.calibration_games = manifest.train.games, manifest.calibrate.games
    message.components.extend(manifest.components)
    message.create_time.CopyFrom(timestamp(manifest.created_time))
    message.metrics.extend(message_of(pb.Metric, metric) for metric in manifest.metrics)
    message.verdict = pb.VERDICT_FIT if manifest.verdict.fit else pb.VERDICT_UNFIT
    message.verdict_reason = manifest.verdict.reason
    return message


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


def _set_place(message: pb.Model, roster: Roster) -> None:
    stage = roster.stages.get(message.version)
    if stage is not None:
        message.stage = pb.ModelStage.Value(f"MODEL_STAGE_{stage.name}")
    message.aliases.extend(_aliases(message.version, roster))


def _aliases(version: str, roster: Roster) -> list[str]:
    aliases = []
    for alias in ALIASES:
        try:
            if roster.version_of(alias) == version:
                aliases.append(alias)
        except NotRegistered:
            continue
    return aliases


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
