"""Prints models: each with its capabilities and metrics, or a table of those in a model store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from itertools import groupby
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dejavu.v1.model_service_pb2 import (
    MODEL_STAGE_UNSPECIFIED,
    GetModelResponse,
    ListModelsResponse,
    Metric,
    Model,
    ModelLineage,
    ModelStage,
    Verdict,
)
from dejavu_cli.output.forecast import print_warnings, ratings_text
from dejavu_cli.output.responsive_table import ListingColumn, listing, name_value_rows
from dejavu_client.formatting import component_label, enum_word, horizon_label, pluralize
from dejavu_common.rich_console import Console, titled_panel


def stage_word(stage: ModelStage.ValueType) -> str:
    """Return a stage in words; a dash if the server has no model store."""
    return enum_word(ModelStage.DESCRIPTOR, stage) or "–"


def print_model_list(answer: ListModelsResponse) -> None:
    """Print a table of the models in a store; without a store, each loaded model as `print_models` does."""
    if all(model.stage == MODEL_STAGE_UNSPECIFIED for model in answer.models):
        print_models(answer)
    else:
        Console().print(listing(_LISTED, answer.models))


def print_model_with_replicas(answer: GetModelResponse) -> None:
    """Print a model, and which workers have it loaded."""
    _print_model(answer.model)
    console = Console()
    if not answer.replicas:
        return
    loaded = sum(replica.loaded for replica in answer.replicas)
    console.print(f"loaded by {loaded} of {pluralize(len(answer.replicas), 'worker')}", highlight=False)
    for replica in answer.replicas:
        if replica.error:
            where = f"{replica.server}, worker {replica.worker}"
            console.print(f"{where} cannot load it: {replica.error}", style="red", highlight=False)


def print_lineage(models: Sequence[Model]) -> None:
    """Print where a model comes from: first the model itself, then its ancestors as far as they are registered."""
    rows = name_value_rows()
    for model in models:
        stage = "" if model.stage == MODEL_STAGE_UNSPECIFIED else f" · {stage_word(model.stage)}"
        created = f" · created {_created(model)}" if model.HasField("create_time") else ""
        rows.add_row(Text(model.version, style="bold"), Text(f"{created}{stage}".removeprefix(" · ")))
        for name, value in _origin(model.lineage):
            rows.add_row(f"  {name}", Text(value))
    parent = models[-1].lineage.parent_version if models else ""
    if parent and parent not in {model.version for model in models}:
        rows.add_row(parent, "not registered here")
    Console().print(titled_panel(rows, "lineage"))


def _origin(lineage: ModelLineage) -> list[tuple[str, str]]:
    named = [
        ("why", lineage.reason),
        ("from", lineage.parent_version),
        ("games", lineage.data_fingerprint),
        ("code", lineage.code_version),
        ("manifest", lineage.manifest_sha256),
    ]
    return [(name, value) for name, value in named if value]


def _created(model: Model) -> str:
    return f"{model.create_time.ToDatetime(tzinfo=UTC):%Y-%m-%d %H:%M}"


def print_models(answer: ListModelsResponse) -> None:
    """Print each model's description, capabilities and metrics."""
    for model in answer.models:
        _print_model(model)


def _print_model(model: Model) -> None:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for support in model.horizons:
        slots = f"{support.min_slots}"
        if support.max_slots != support.min_slots:
            slots += f" to {support.max_slots}"
        rows.add_row("forecasts", f"the {horizon_label(support.horizon)}, from {slots} minutes")
    if model.stage != MODEL_STAGE_UNSPECIFIED:
        rows.add_row("stage", stage_word(model.stage))
        if not model.loaded:
            rows.add_row("loaded", "not by the worker that answers")
    if verdict := enum_word(Verdict.DESCRIPTOR, model.verdict):
        reason = f": {model.verdict_reason}" if model.verdict_reason else ""
        rows.add_row("verdict", Text(f"{verdict}{reason}"))
    if model.ratings_date:
        age = pluralize(model.ratings_age_days, "day")
        rows.add_row("team ratings", f"{ratings_text(model)} · {age} old, summers not counted")
    rows.add_row("components", ", ".join(["linear", *map(component_label, model.components)]))
    if model.inputs:
        rows.add_row("uses", ", ".join(model.inputs))
    rows.add_row("smallest alpha", f"{model.smallest_alpha:.2g}")
    rows.add_row("trained on", f"{model.train_games:,} games of {_seasons(model.train_seasons)}")
    rows.add_row("calibration seasons", f"{model.calibration_games:,} games of {_seasons(model.calibration_seasons)}")
    rows.add_row("database", f"{model.database_entries:,} entries")
    if model.HasField("create_time"):
        rows.add_row("created", f"{model.create_time.ToDatetime(tzinfo=UTC):%Y-%m-%d %H:%M} UTC")
    name = " · ".join([model.version, *model.aliases, *(["active"] if model.active else [])])
    parts = Group(rows, "", _metrics(model.metrics)) if model.metrics else rows
    console = Console()
    console.print(titled_panel(parts, name))
    print_warnings(console, model.warnings)


def _metrics(metrics: Iterable[Metric]) -> Table:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", overflow="fold")
    rows.add_column(no_wrap=True)
    for subject, measured in groupby(metrics, _subject):  # in a narrow terminal a whole name would be broken
        rows.add_row(subject)
        for metric in measured:
            bounds = f"  ({metric.lower:.3f} to {metric.upper:.3f})" if metric.HasField("lower") else ""
            rows.add_row(f"  {metric.name.removeprefix(f'{subject}.')}", f"{metric.value:.3f}{bounds}")
    return rows


def _subject(metric: Metric) -> str:
    """Return what a metric is of: its name without the last two parts, such as unseen.final.minute_36."""
    return metric.name.rsplit(".", 2)[0]


def _seasons(years: Sequence[int]) -> str:
    """List seasons by the year in which they end, as a range if they are consecutive."""
    if not years:
        return "no season"
    ordered = sorted(years)
    if len(ordered) > 1 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]}–{ordered[-1]}"
    return ", ".join(map(str, ordered))


_LISTED: Final[Sequence[ListingColumn[Model]]] = (
    ListingColumn("model", "left", 9, lambda model: model.version),
    ListingColumn("stage", "left", 9, lambda model: stage_word(model.stage), "bold"),
    ListingColumn("alias", "left", 8, lambda model: ", ".join(model.aliases)),
    ListingColumn("verdict", "left", 6, lambda model: enum_word(Verdict.DESCRIPTOR, model.verdict) or ""),
    ListingColumn("created", "left", 5, _created, of="create_time"),
    ListingColumn("ratings", "left", 3, lambda model: model.ratings_date),
    ListingColumn("why", "left", 2, lambda model: model.lineage.reason),
    ListingColumn("here", "left", 4, lambda model: "loaded" if model.loaded else ""),
)
