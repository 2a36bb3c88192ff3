"""Converts models, changes of models, comparisons of two and the evidence for them to messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, Final

import numpy as np

from dejavu.v1 import forecast_pb2, model_change_pb2, model_comparison_pb2
from dejavu.v1 import model_service_pb2 as pb
from dejavu_feed.off_season import playing_days
from dejavu_models.comparison import Comparison, GateSettings, Judgement, ScoreComparison
from dejavu_models.manifest import Manifest
from dejavu_models.types import MarginSource, ModelInfo
from dejavu_server.api.converters.fields import message_of, timestamp
from dejavu_server.api.converters.forecast_warnings import model_warnings
from dejavu_server.forecasting.lifecycle.evidence import ModelPair
from dejavu_server.forecasting.lifecycle.replicas import Replicas
from dejavu_store.stages import ALIASES, ModelChange, NotRegistered, Roster

MAX_POINTS: Final = 500
"""Maximum number of points in the series of e-values after each game."""

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


def change_message(change: ModelChange) -> model_change_pb2.ModelChange:
    """Convert a recorded change of models."""
    return message_of(model_change_pb2.ModelChange, change)


def comparison_message(
    pair: ModelPair, comparison: Comparison | None, judgement: Judgement, settings: GateSettings
) -> model_comparison_pb2.ModelComparison:
    """Convert a comparison at one horizon, and the gate's judgement of the comparisons at all horizons.

    Args:
        pair: the models.
        comparison: the comparison; None without games.
        judgement: the judgement of the gate.
        settings: the requirements of the gate.
    """
    message = model_comparison_pb2.ModelComparison(
        model_version=pair.model_version,
        against_version=pair.against_version,
        decision=model_comparison_pb2.GateDecision.Value(f"GATE_DECISION_{judgement.decision.name}"),
        decision_reason=judgement.reason,
    )
    if comparison is not None:
        message.games, message.forecasts = comparison.games, comparison.forecasts
        message.crps.CopyFrom(_score_message(comparison.crps))
        message.brier.CopyFrom(_score_message(comparison.brier))
        message.coverage.extend(
            model_comparison_pb2.IntervalCoverage(
                alpha=each.alpha, coverage=each.coverage, bound=settings.coverage_bound(each.alpha)
            )
            for each in comparison.coverage
        )
    return message


def _score_message(score: ScoreComparison) -> model_comparison_pb2.ScoreComparison:
    games = len(score.worse)
    shown = np.unique(np.linspace(1, games, min(games, MAX_POINTS)).round().astype(np.int64))
    return message_of(
        model_comparison_pb2.ScoreComparison,
        score,
        difference=score.difference.value,
        lower=score.difference.lower,
        upper=score.difference.upper,
        path=[
            model_comparison_pb2.EValuePoint(
                games=count, not_worse_e_value=score.not_worse[count - 1], worse_e_value=score.worse[count - 1]
            )
            for count in shown.tolist()
        ],
    )
