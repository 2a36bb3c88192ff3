"""Reports of a study: terminal, Markdown, HTML and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.text import Text

from dejavu_common.rich_console import Console
from dejavu_models.metrics import Estimate
from dejavu_trainer.evaluation.study import BASE, StudyPart, StudyResult, Trial, TrialScore, told
from dejavu_trainer.reports import html
from dejavu_trainer.reports.cells import Table
from dejavu_trainer.reports.plots import STYLE, Plot, svg
from dejavu_trainer.reports.text import markdown_table, print_tables


def tables(result: StudyResult) -> Iterator[Table]:
    """Yield the tables of the seasons that choose and of those that judge."""
    for verb, part in (("choose", result.choice), ("judge", result.verdict)):
        rows = [_row(score) for score in part.scores]
        rows.append(("persistence", "", f"{part.persistence:.4f}", ""))
        note = (
            f"Seasons {_listed(part.seasons)}: {part.games:,} games. Mean CRPS of {result.plan.forecaster} over both"
            f" horizons and all minutes, in points. All intervals hold together with 95 %, for"
            f" {part.looks} recipe{'s' * (part.looks != 1)} looked at on these seasons beside the base."
        )
        yield Table(f"Seasons that {verb}", ("recipe", "digest", "CRPS", "minus the base"), tuple(rows), note)


def markdown(title: str, result: StudyResult) -> str:
    """Format a study as a Markdown document."""
    lines = [f"# {title}", "", *told(result), ""]
    lines += [line for table in tables(result) for line in markdown_table(table)]
    return "\n".join(lines).rstrip() + "\n"


def page(title: str, result: StudyResult) -> str:
    """Render a study as an HTML page that needs no network."""
    return html.render(
        "study.html.j2",
        title=title,
        method=f"Recipes walked forward with seeds {_listed(result.plan.seeds)}.",
        sentences=list(told(result)),
        plot=_plot(result),
        tables=list(tables(result)),
    )


def print_study(console: Console, title: str, result: StudyResult) -> None:
    """Print a study; widens the console to the width of the tables."""
    print_tables(console, title, tables(result))
    for sentence in told(result):
        console.print(Text(sentence), soft_wrap=True)


def document(result: StudyResult) -> dict[str, Any]:
    """Return a study as JSON."""
    parts = {"choice": result.choice, "verdict": result.verdict}
    return {
        "plan": result.plan.model_dump(mode="json"),
        "chosen": result.chosen.name,
        "recipe": asdict(result.chosen.recipe),
        **{name: _part(part) for name, part in parts.items()},
        "told": list(told(result)),
    }


def metrics_of(result: StudyResult, trial: Trial) -> dict[str, float]:
    """Return the metrics of a recipe for MLflow, by name."""
    values = dict[str, float]()
    for name, part in (("choose", result.choice), ("judge", result.verdict)):
        for score in part.scores:
            if score.trial == trial:
                values[f"{name}.crps"] = score.crps
                if score.difference is not None:
                    of_difference = score.difference._asdict().items()
                    values |= {f"{name}.crps_minus_base.{end}": value for end, value in of_difference}
        values[f"{name}.persistence.crps"] = part.persistence
    return values


def _part(part: StudyPart) -> dict[str, Any]:
    scores = [
        {
            "recipe": score.trial.name,
            "digest": score.trial.recipe.digest,
            "crps": score.crps,
            "difference": None if score.difference is None else score.difference._asdict(),
        }
        for score in part.scores
    ]
    return asdict(part) | {"scores": scores}


def _row(score: TrialScore) -> tuple[str, ...]:
    difference = "" if score.difference is None else f"{score.difference:+.4f}"
    return score.trial.name, score.trial.recipe.digest, f"{score.crps:.4f}", difference


def _plot(result: StudyResult) -> Plot:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        count = max(len(result.choice.scores) - 1, 1)
        figure = Figure(figsize=(10.5, 1.2 + 0.3 * count))
        axes = figure.subplots()
        names = []
        for row, (name, chosen, judged) in enumerate(_differences(result)):
            names.append(name)
            for each, offset, color, label in (
                (chosen, -0.12, "#0b5fa5", "choose"),
                (judged, 0.12, "#e69f00", "judge"),
            ):
                if each is not None:
                    error = [[each.value - each.lower], [each.upper - each.value]]
                    shown = f"seasons that {label}" if row == 0 or label == "judge" else None
                    axes.errorbar(each.value, row + offset, xerr=error, fmt="o", color=color, capsize=3, label=shown)
        axes.axvline(0, color="#888888", linewidth=1)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_xlabel("CRPS minus that of the base, in points (left: better)")
        if names:
            axes.legend(loc="upper left", bbox_to_anchor=(0, 1.0 + 0.5 / count), ncols=2)
        caption = "Mean difference of games, with intervals that hold together with 95 %."
        return Plot("Recipes", caption, svg("recipes", figure))


def _differences(result: StudyResult) -> Iterator[tuple[str, Estimate | None, Estimate | None]]:
    judged = {score.trial.name: score.difference for score in result.verdict.scores}
    for score in result.choice.scores:
        if score.trial.name != BASE:
            yield score.trial.name, score.difference, judged.get(score.trial.name)


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
