"""`dejavu models`: lists, shows, compares and changes models."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Final, TypeAlias

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dejavu.v1 import model_change_pb2 as change_pb
from dejavu.v1 import model_comparison_pb2 as comparison_pb
from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.forecast_pb2 import MarginSource
from dejavu_cli.options import HORIZONS, Call, HorizonName, Replays, ScoresCall, Timeout, argument, flag, option
from dejavu_cli.output.forecast import local_time, print_json, print_rows, print_warnings, ratings_text
from dejavu_cli.output.responsive_table import Column, ResponsiveTable, figure_rows, name_value_rows, titled_table
from dejavu_cli.output.scores import between
from dejavu_client import config
from dejavu_client.client import DejavuClient
from dejavu_client.errors import NotFoundError
from dejavu_client.formatting import component_label, enum_word, horizon_label, percent, pluralize, signed
from dejavu_common.rich_console import Console, titled_panel

HELP: Final = """List a server's models, show and compare them, and change which of them answers.

Without a command, lists them, the active one first.
A model is named by its version or by an alias: champion, challenger or previous.
"""

_MOST_ANCESTORS: Final = 50


ModelName = Annotated[str, argument("MODEL", text="Version of the model, or champion, challenger or previous.")]
Reason = Annotated[
    str, option("TEXT", "--reason", text="Human-readable reason; kept in the ledger, at most 500 characters.")
]


@dataclass(frozen=True, kw_only=True)
class ChangeCall(Call):
    """Options of a change: a server waits up to a minute until all its workers have loaded a model."""

    timeout: Timeout = config.MODELS_TIMEOUT


def list_models(call: Call) -> None:
    """List the models, the active one first: those in the server's store, or, without a store, the loaded ones."""
    with call.connect() as client:
        found = client.list_models()
    call.show(pb.ListModelsResponse(models=found), print_model_list)


def show_model(call: Call, model: ModelName = "champion", lineage: Annotated[bool, flag("--lineage")] = False) -> None:
    """Show a model: its stage, abilities and metrics, and which workers have it loaded.

    Args:
        lineage: Show where it comes from, with its ancestors as far as they are known.
    """
    with call.connect() as client:
        answer = client.get_model("" if model == "champion" else model)
        ancestors = _ancestors(client, answer.model) if lineage else []
    if call.as_json:
        for each in [answer.model, *ancestors] if lineage else [answer]:
            print_json(each)
    elif lineage:
        print_lineage([answer.model, *ancestors])
    else:
        print_model_with_replicas(answer)


def _ancestors(client: DejavuClient, model: pb.Model) -> list[pb.Model]:
    """Return the models from which a model was made, newest first, as far as they are registered."""
    found: list[pb.Model] = []
    known = {model.version}
    while (parent := model.lineage.parent_version) and parent not in known and len(found) < _MOST_ANCESTORS:
        try:
            model = client.get_model(parent).model
        except NotFoundError:
            break
        found.append(model)
        known.add(parent)
    return found


def compare_models(
    call: ScoresCall,
    model: Annotated[str, argument("MODEL")] = "",
    against: Annotated[str, option("MODEL", "--against")] = "",
    horizon: Annotated[HorizonName | None, typer.Option(show_default="both")] = None,
    replays: Replays = False,
) -> None:
    """Compare a model with the champion on exactly the same games and minutes.

    Shows the e-values after each game. An e-value of 20 or more shows its
    statement; it may be checked after every game.

    Args:
        model: Version of the model, or an alias; the challenger by default.
        against: What to compare it with: a version, an alias, or "persistence"; the champion by default.
        horizon: Horizon of the forecasts.
    """
    horizons: Sequence[HorizonName] = ["half", "final"] if horizon is None else [horizon]
    with call.connect() as client:

        def compared(at: HorizonName, *, with_replays: bool) -> comparison_pb.ModelComparison:
            return client.compare_models(
                model, against, horizon=HORIZONS[at], include_replays=with_replays, timeout=call.timeout
            )

        found = {at: compared(at, with_replays=replays) for at in horizons}
        only_replays = not (replays or any(each.games for each in found.values())) and any(
            compared(at, with_replays=True).games for at in horizons
        )
    for at, comparison in found.items():
        if call.as_json:
            print_json(comparison, horizon=at)
        else:
            print_comparison(comparison, at)
    if only_replays:
        typer.echo("Only games of replays were forecast by both: see --replays.", err=True)


def list_changes(
    call: Call, model: Annotated[str, argument("MODEL")] = "", limit: Annotated[int, option("N", min=1, max=500)] = 50
) -> None:
    """Show the changes of models in the ledger, newest first: what, when, by whom, why and on what evidence.

    Args:
        model: Only changes of this model: its version, or an alias.
        limit: How many changes to show.
    """
    with call.connect() as client:
        answer = client.list_model_changes(model_version=model, page_size=limit)
    call.show(answer, lambda found: print_rows(_HISTORY, found.changes, "No changes of models."))


_Changed: TypeAlias = (
    pb.LoadModelResponse
    | pb.UnloadModelResponse
    | pb.PromoteModelResponse
    | pb.RollbackModelResponse
    | pb.RetireModelResponse
)


def _change(call: Call, change: Callable[[DejavuClient], _Changed]) -> None:
    with call.connect() as client:
        call.show(change(client), _print_change)


def load(call: ChangeCall, model: ModelName, reason: Reason = "") -> None:
    """Stage a model: every worker loads it and makes shadow forecasts with it.

    Its bundle must be in the server's model store (`dejavu-trainer publish`).
    A new model is verified, and registered. Changes nothing if a worker
    cannot load it.
    """
    _change(call, lambda client: client.load_model(model, reason=reason, timeout=call.timeout))


def unload(call: ChangeCall, model: ModelName, reason: Reason = "") -> None:
    """Unstage a model: all workers unload it."""
    _change(call, lambda client: client.unload_model(model, reason=reason, timeout=call.timeout))


def promote(
    call: ChangeCall, model: ModelName, force: Annotated[bool, flag("--force")] = False, reason: Reason = ""
) -> None:
    """Make a staged model the champion on all workers, at one position of the ledger.

    Refused without evidence that it is not worse than the champion: see `dejavu models compare`.

    Args:
        force: Promote it without evidence that it is not worse; recorded as such.
    """
    _change(call, lambda client: client.promote_model(model, reason=reason, force=force, timeout=call.timeout))


def rollback(
    call: ChangeCall, from_version: Annotated[str, option("VERSION", "--from")] = "", reason: Reason = ""
) -> None:
    """Make the previous model the champion again, and retire the one that replaced it.

    Args:
        from_version: Roll back only if this is the champion, so that repeating it is safe.
    """
    _change(call, lambda client: client.rollback_model(from_version=from_version, reason=reason, timeout=call.timeout))


def retire(call: ChangeCall, model: ModelName, reason: Reason = "") -> None:
    """Retire a model that answers no requests."""
    _change(call, lambda client: client.retire_model(model, reason=reason, timeout=call.timeout))


models: Final[dict[str, Callable[..., None]]] = {
    "list": list_models,
    "show": show_model,
    "load": load,
    "unload": unload,
    "promote": promote,
    "rollback": rollback,
    "retire": retire,
    "compare": compare_models,
    "history": list_changes,
}
"""The commands; the first is the default."""


def _print_change(answer: _Changed) -> None:
    change, text = answer.change, "no change: already in this state"
    if answer.HasField("change"):
        instead = f", instead of {change.from_version}" if change.from_version else ""
        text = f"{_done(change)} {change.model_version}{instead} (sequence {change.sequence:,})"
    Console().print(text, highlight=False)


_DONE: Final = {
    change_pb.MODEL_ACTION_REGISTER: "registered",
    change_pb.MODEL_ACTION_LOAD: "staged",
    change_pb.MODEL_ACTION_UNLOAD: "unloaded",
    change_pb.MODEL_ACTION_PROMOTE: "promoted",
    change_pb.MODEL_ACTION_ROLLBACK: "rolled back to",
    change_pb.MODEL_ACTION_RETIRE: "retired",
}


def _evidence_text(evidence: change_pb.ModelEvidence) -> str:
    """Describe the evidence of a change."""
    return (
        f"{pluralize(evidence.games, 'game')} against {evidence.against_version}: "
        f"CRPS {signed(evidence.crps_difference, 3)} (E {evidence.crps_e_value:.3g}), "
        f"Brier {signed(evidence.brier_difference, 4)} (E {evidence.brier_e_value:.3g}), "
        f"{percent(evidence.coverage)} held"
    )


def _done(change: change_pb.ModelChange) -> str:
    return f"{_DONE.get(change.action, 'changed')}{' by force' if change.forced else ''}"


_HISTORY: Final[Sequence[Column[change_pb.ModelChange]]] = (
    Column("sequence", "right", 6, lambda change: f"{change.sequence:,}"),
    Column("when", "left", 9, lambda change: local_time(change.changed_time), of="changed_time"),
    Column("change", "left", 9, _done, "bold"),
    Column("model", "left", 9, lambda change: change.model_version),
    Column("instead of", "left", 5, lambda change: change.from_version),
    Column("by", "left", 4, lambda change: change.changed_by),
    Column("why", "left", 8, lambda change: change.reason),
    Column("evidence", "left", 3, lambda change: _evidence_text(change.evidence), of="evidence"),
)


def stage_word(stage: pb.ModelStage.ValueType) -> str:
    """Return a stage in words; a dash if the server has no model store."""
    return enum_word(pb.ModelStage.DESCRIPTOR, stage) or "–"


def print_model_list(answer: pb.ListModelsResponse) -> None:
    """Print a table of the models in a store; without a store, each loaded model in full."""
    if any(model.stage != pb.MODEL_STAGE_UNSPECIFIED for model in answer.models):
        Console().print(ResponsiveTable(_LISTED, answer.models))
        return
    for model in answer.models:
        _print_model(model)


def print_model_with_replicas(answer: pb.GetModelResponse) -> None:
    """Print a model, and which workers have it loaded."""
    _print_model(answer.model)
    console = Console()
    if answer.replicas:
        loaded = sum(replica.loaded for replica in answer.replicas)
        console.print(f"loaded by {loaded} of {pluralize(len(answer.replicas), 'worker')}", highlight=False)
    for replica in answer.replicas:
        if replica.error:
            where = f"{replica.server}, worker {replica.worker}"
            console.print(f"{where} cannot load it: {replica.error}", style="red", highlight=False)


def print_lineage(models: Sequence[pb.Model]) -> None:
    """Print where a model comes from: first the model itself, then its ancestors as far as they are registered."""
    rows = name_value_rows()
    for model in models:
        stage = "" if model.stage == pb.MODEL_STAGE_UNSPECIFIED else f" · {stage_word(model.stage)}"
        created = f" · created {local_time(model.create_time)}" if model.HasField("create_time") else ""
        rows.add_row(Text(model.version, style="bold"), Text(f"{created}{stage}".removeprefix(" · ")))
        lineage = model.lineage
        for name, value in (
            ("why", lineage.reason),
            ("from", lineage.parent_version),
            ("games", lineage.data_fingerprint),
            ("code", lineage.code_version),
            ("manifest", lineage.manifest_sha256),
        ):
            if value:
                rows.add_row(f"  {name}", Text(value))
    parent = models[-1].lineage.parent_version
    if parent and parent not in {model.version for model in models}:
        rows.add_row(parent, "not registered here")
    Console().print(titled_panel(rows, "lineage"))


_STATED: Final = "stated by the bundle, not confirmed by this server"
"""What is said of figures that whoever made a bundle wrote into it: the record may confirm them, or may not."""


def _print_model(model: pb.Model) -> None:
    rows = name_value_rows(no_wrap=True)
    for support in model.horizons:
        slots = f"{support.min_slots}"
        if support.max_slots != support.min_slots:
            slots += f" to {support.max_slots}"
        rows.add_row("forecasts", f"the {horizon_label(support.horizon)}, from {slots} minutes")
    if model.stage != pb.MODEL_STAGE_UNSPECIFIED:
        rows.add_row("stage", stage_word(model.stage))
        if not model.loaded:
            rows.add_row("loaded", "not by the worker that answers")
    if verdict := enum_word(pb.Verdict.DESCRIPTOR, model.verdict):
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


def _add_contents(rows: Table, model: pb.Model) -> None:
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


def _component(name: str, model: pb.Model) -> str:
    """Name a component of a model, with its size if that is known."""
    size = ""
    if name == "dejavu" and model.similar_games:
        size = f" of {model.similar_games:,} similar games"
    if name == "lstm" and model.network_units:
        size = f" of {pluralize(model.network_units, 'unit')}"
    return component_label(name) + size


_WEIGHT_SOURCES: Final = {
    MarginSource.MARGIN_SOURCE_UNSPECIFIED: "no expected margin",
    MarginSource.MARGIN_SOURCE_RATINGS: "ratings",
    MarginSource.MARGIN_SOURCE_CALLER: "line",
}
"""Sources of the expected margin in the table of weights."""


def _weights(weights: Iterable[pb.ComponentWeight]) -> Table:
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


def _metrics(metrics: Iterable[pb.Metric]) -> Table:
    rows = name_value_rows()
    # A subject is a name without the last two parts; in a narrow terminal a whole name would be broken.
    for subject, measured in groupby(metrics, lambda metric: metric.name.rsplit(".", 2)[0]):
        rows.add_row(subject)
        for metric in measured:
            bounds = f"  ({metric.lower:.3f} to {metric.upper:.3f})" if metric.HasField("lower") else ""
            rows.add_row(f"  {metric.name.removeprefix(f'{subject}.')}", f"{metric.value:.3f}{bounds}")
    return rows


def _seasons(years: Sequence[int]) -> str:
    """List seasons by the year in which they end, as a range if they are consecutive."""
    if not years:
        return "no season"
    ordered = sorted(years)
    if len(ordered) > 1 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]}–{ordered[-1]}"
    return ", ".join(map(str, ordered))


_LISTED: Final[Sequence[Column[pb.Model]]] = (
    Column("model", "left", 9, lambda model: model.version),
    Column("stage", "left", 9, lambda model: stage_word(model.stage), "bold"),
    Column("alias", "left", 8, lambda model: ", ".join(model.aliases)),
    Column("stated verdict", "left", 6, lambda model: enum_word(pb.Verdict.DESCRIPTOR, model.verdict) or ""),
    Column("created", "left", 5, lambda model: local_time(model.create_time), of="create_time"),
    Column("ratings", "left", 3, lambda model: model.ratings_date),
    Column("why", "left", 2, lambda model: model.lineage.reason),
    Column("here", "left", 4, lambda model: "loaded" if model.loaded else ""),
)


THRESHOLD: Final = 20.0
"""E-value from which a statement counts as shown, with an error rate of at most 1 in 20 over all looks."""

_NOT_WORSE, _WORSE, _BOTH = "●", "○", "◉"
_CHART_ROWS: Final = 11
_MOST_COLUMNS: Final = 64
_LEAST, _MOST = -3.0, 6.0
"""Bounds of the chart, as powers of 10."""

_DECISIONS: Final = {
    comparison_pb.GATE_DECISION_PROMOTE: ("promote: it is not worse, and its intervals hold", "green"),
    comparison_pb.GATE_DECISION_RETIRE: ("retire: it is worse", "red"),
    comparison_pb.GATE_DECISION_CONTINUE: ("go on: there is not enough evidence yet", "yellow"),
}


def print_comparison(comparison: comparison_pb.ModelComparison, horizon: str = "") -> None:
    """Print a comparison, with the name of its horizon."""
    title = f"{comparison.model_version} against {comparison.against_version}" + (f", {horizon}" if horizon else "")
    parts: list[RenderableType] = [_scores(comparison)]
    for name, score in (("CRPS", comparison.crps), ("Brier score", comparison.brier)):
        if len(score.path) > 1:
            parts += ["", Text(f"e-values by the {name}, after each game", style="dim")]
            parts += map(Text, chart_lines(score.path))
    if any(len(score.path) > 1 for score in (comparison.crps, comparison.brier)):
        parts.append(Text(f"{_NOT_WORSE} it is not worse by the margin   {_WORSE} it is worse", style="dim"))
    parts += ["", _decision(comparison)]
    Console().print(titled_panel(Group(*parts), title))


def _scores(comparison: comparison_pb.ModelComparison) -> Table:
    rows = figure_rows()
    rows.add_row("games", f"{comparison.games:,}", pluralize(comparison.forecasts, "forecast"))
    if not comparison.games:  # without games, zeros would look like equal scores
        return rows
    for name, score, digits in (("CRPS", comparison.crps, 3), ("Brier score", comparison.brier, 4)):
        ends = between(score, digits, sign=True)
        rows.add_row(name, f"{score.score:.{digits}f}", f"of the other {score.against_score:.{digits}f}")
        margin = f"{score.margin:.{digits + 1}f}"
        rows.add_row("  difference", signed(score.difference, digits), f"{ends and f'{ends}, '}may be {margin} worse")
        enough = ": enough" if score.divergence <= score.margin else ""
        rows.add_row("  divergence", f"{score.divergence:.{digits + 1}f}", f"not worse up to {margin}{enough}")
        for statement, e_value in (("not worse", score.not_worse_e_value), ("worse", score.worse_e_value)):
            shown = f"e-value; shown from {THRESHOLD:g} on{': it is' if e_value >= THRESHOLD else ''}"
            rows.add_row(f"  {statement}", e_value_text(e_value), shown)
    for each in comparison.coverage:
        rows.add_row(
            f"{percent(1 - each.alpha)} intervals", percent(each.coverage), f"held; {percent(each.bound)} needed"
        )
    return rows


def _decision(comparison: comparison_pb.ModelComparison) -> Text:
    words, style = _DECISIONS.get(comparison.decision, ("the server did not say what to do", "dim"))
    reason = f" ({comparison.decision_reason})" if comparison.decision_reason else ""
    return Text(f"The gate says {words}{reason}.", style=style)


def e_value_text(value: float) -> str:
    """Return an e-value in a few characters."""
    return f"{value:.2f}" if 0.01 <= value < 1000 else f"{value:.1e}"


def chart_lines(path: Sequence[comparison_pb.EValuePoint], columns: int = _MOST_COLUMNS) -> list[str]:
    """Draw e-values over games, on a logarithmic scale from 1/1,000 to 1,000,000 at most, with the threshold.

    Args:
        path: the e-values, at least two.
        columns: maximum number of columns of points.
    """
    columns = min(columns, len(path))
    points = [path[round(index * (len(path) - 1) / (columns - 1))] for index in range(columns)]
    series = [[_power(each.not_worse_e_value) for each in points], [_power(each.worse_e_value) for each in points]]
    threshold = math.log10(THRESHOLD)
    low, high = min(-1.0, *series[0], *series[1]), max(threshold + 0.5, *series[0], *series[1])

    def row_of(power: float) -> int:
        return round((high - power) / (high - low) * (_CHART_ROWS - 1))

    grid = [[" "] * columns for _ in range(_CHART_ROWS)]
    labels = [""] * _CHART_ROWS
    for power, label in ((0.0, "1"), (threshold, f"{THRESHOLD:g}")):
        grid[row_of(power)] = ["·" if label == "1" else "─"] * columns
        labels[row_of(power)] = label
    for column, (not_worse, worse) in enumerate(zip(*series, strict=True)):
        rows = row_of(not_worse), row_of(worse)
        grid[rows[1]][column] = _WORSE
        grid[rows[0]][column] = _BOTH if rows[0] == rows[1] else _NOT_WORSE
    lines = [f"{label:>4} ┤{''.join(row)}" for label, row in zip(labels, grid, strict=True)]
    last = pluralize(path[-1].games, "game")
    return [*lines, f"     └{'─' * columns}", f"      {path[0].games:<{max(1, columns - len(last))}}{last}"]


def _power(value: float) -> float:
    return min(_MOST, max(_LEAST, math.log10(value))) if value > 0 else _LEAST
