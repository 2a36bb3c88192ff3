"""Prints models: each with its capabilities and metrics, or a table of those in a model store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dejavu.v1.forecast_pb2 import MarginSource
from dejavu.v1.model_service_pb2 import (
    MODEL_STAGE_UNSPECIFIED,
    ComponentWeight,
    GetModelResponse,
    ListModelsResponse,
    Metric,
    Model,
    ModelLineage,
    ModelStage,
    Verdict,
)
from dejavu_cli.output.forecast import local_time, print_warnings, ratings_text
from dejavu_cli.output.responsive_table import Column, ResponsiveTable, name_value_rows, titled_table
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
        Console().print(ResponsiveTable(_LISTED, answer.models))


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
        created = f" · created {local_time(model.create_time)}" if model.HasField("create_time") else ""
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


def print_models(answer: ListModelsResponse) -> None:
    """Print each model's description, capabilities and metrics."""
    for model in answer.models:
        _print_model(model)


_STATED: Final = "stated by the bundle, not confirmed by this server"
"""What is said of figures that whoever made a bundle wrote into it: the record may confirm them, or may not."""


def _print_model(model: Model) -> None:
    rows = name_value_rows(no_wrap=True)
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
        rows.add_row("", Text(_STATED, style="dim"))
    if model.ratings_date:
        age = pluralize(model.ratings_age_days, "day")
        rows.add_row("team ratings", f"{ratings_text(model)} · {age} old, summers not counted")
    _add_contents(rows, model)
    name = " · ".join([model.version, *model.aliases, *(["active"] if model.active else [])])
    parts: list[Table | Text | str] = [rows]
    if model.weights:
        parts += ["", _weights(model.weights)]
    if model.metrics:
        parts += ["", Text(f"metrics {_STATED}", style="dim"), _metrics(model.metrics)]
    console = Console()
    console.print(titled_panel(Group(*parts), name))
    print_warnings(console, model.warnings)


def _add_contents(rows: Table, model: Model) -> None:
    """Add what a model is made of, and from which games, to rows of name and value."""
    rows.add_row("components", ", ".join(["linear", *(_component(name, model) for name in model.components)]))
    if model.inputs:
        rows.add_row("uses", ", ".join(model.inputs))
    rows.add_row("smallest alpha", f"{model.smallest_alpha:.2g}")
    rows.add_row("trained on", f"{model.train_games:,} games of {_seasons(model.train_seasons)}")
    rows.add_row("calibration seasons", f"{model.calibration_games:,} games of {_seasons(model.calibration_seasons)}")
    if model.past_games:
        rows.add_row("database", f"{model.past_games:,} past games")
    if model.half_width:
        rows.add_row("95 % interval", f"± {model.half_width:.1f} points at the half, level after 18 minutes")
    if model.HasField("create_time"):
        rows.add_row("created", local_time(model.create_time))


def _component(name: str, model: Model) -> str:
    """Name a component of a model, with its size if that is known."""
    match name:
        case "dejavu" if model.similar_games:
            size = f" of {model.similar_games:,} similar games"
        case "lstm" if model.network_units:
            size = f" of {pluralize(model.network_units, 'unit')}"
        case _:
            size = ""
    return component_label(name) + size


_WEIGHT_SOURCES: Final = {
    MarginSource.MARGIN_SOURCE_UNSPECIFIED: "no expected margin",
    MarginSource.MARGIN_SOURCE_RATINGS: "ratings",
    MarginSource.MARGIN_SOURCE_CALLER: "line",
}
"""Sources of the expected margin in the table of weights."""


def _weights(weights: Iterable[ComponentWeight]) -> Table:
    """Return a table of the weights of components, with their ranges over resampled games if they were learned.

    Sources of the expected margin that have the same weights share their rows.
    """
    by_source: defaultdict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for each in weights:
        bounds = f" ({100 * each.lower:.0f}–{100 * each.upper:.0f})" if each.lower < each.upper else ""
        cell = f"{horizon_label(each.horizon)}, Q{each.quarter}", component_label(each.component)
        by_source[_WEIGHT_SOURCES.get(each.margin_source, "other")][cell] = f"{100 * each.weight:.0f}{bounds}"
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for source, cells in by_source.items():
        alike[str(cells)].append(source)
    names = list(dict.fromkeys(name for cells in by_source.values() for _, name in cells))
    table = titled_table("shares of the forecast, in % (range over resampled games)", "", *names)
    for sources in alike.values():
        table.add_section()
        if len(alike) > 1:
            table.add_row(Text(", ".join(sources), style="dim"))
        cells = by_source[sources[0]]
        for row in dict.fromkeys(row for row, _ in cells):
            table.add_row(row, *(cells.get((row, name), "") for name in names))
    return table


def _metrics(metrics: Iterable[Metric]) -> Table:
    rows = name_value_rows()
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


_LISTED: Final[Sequence[Column[Model]]] = (
    Column("model", "left", 9, lambda model: model.version),
    Column("stage", "left", 9, lambda model: stage_word(model.stage), "bold"),
    Column("alias", "left", 8, lambda model: ", ".join(model.aliases)),
    Column("stated verdict", "left", 6, lambda model: enum_word(Verdict.DESCRIPTOR, model.verdict) or ""),
    Column("created", "left", 5, lambda model: local_time(model.create_time), of="create_time"),
    Column("ratings", "left", 3, lambda model: model.ratings_date),
    Column("why", "left", 2, lambda model: model.lineage.reason),
    Column("here", "left", 4, lambda model: "loaded" if model.loaded else ""),
)
