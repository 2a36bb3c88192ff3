"""Reports of comparisons of two walk-forwards, of studies of recipes and of adaptive intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dejavu_models.types import HORIZONS
from dejavu_trainer.evaluation.adaptive_study import ARMS, MIN_MONTH_GAMES, RATINGS, STATIC, ReplayedFold
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS
from dejavu_trainer.evaluation.study import BASE, StudyPart, StudyResult, Trial, TrialScore, told
from dejavu_trainer.evaluation.walk_comparison import ALL, PairedMetric
from dejavu_trainer.reports.labels import METRIC_NAMES
from dejavu_trainer.reports.plots import STYLE, errors_of, svg
from dejavu_trainer.reports.render import EvaluationReport, Plot, Table, TableColumn, tabulate


def comparison_report(title: str, paired: Sequence[PairedMetric]) -> EvaluationReport:
    """Return the report of a comparison: for each horizon, metrics by season, beside persistence."""
    note = "Means over games and minutes; mean difference of games, with its 95 % interval. Lower scores are better."
    return EvaluationReport(
        title,
        "",
        tuple(
            tabulate(
                f"Forecasts of the {horizon.value}",
                _COMPARISON,
                [each for each in paired if each.horizon is horizon],
                note,
            )
            for horizon in HORIZONS
        ),
    )


def _mean(each: PairedMetric, value: float) -> str:
    return f"{100 * value:.1f}" if each.metric.startswith("coverage") else f"{value:.4f}"


def _difference(each: PairedMetric) -> str:
    if each.metric.startswith("coverage"):
        return f"{each.difference.scaled(100):+.2f}"
    return f"{each.difference:+.4f}"


_COMPARISON = (
    TableColumn[PairedMetric]("", lambda each: "all seasons" if each.season == ALL else each.season),
    TableColumn[PairedMetric]("games", lambda each: f"{each.games:,}"),
    TableColumn[PairedMetric]("metric", lambda each: METRIC_NAMES[each.metric]),
    TableColumn[PairedMetric]("first", lambda each: _mean(each, each.value)),
    TableColumn[PairedMetric]("second", lambda each: _mean(each, each.against)),
    TableColumn[PairedMetric]("persistence", lambda each: _mean(each, each.persistence)),
    TableColumn[PairedMetric]("first − second", _difference),
)


def comparison_document(paired: Sequence[PairedMetric]) -> dict[str, Any]:
    """Return the comparison as JSON."""
    rows = [asdict(each) | {"horizon": each.horizon.value, "difference": each.difference._asdict()} for each in paired]
    return {"metrics": rows}


def study_report(title: str, result: StudyResult) -> EvaluationReport:
    """Return the report of a study: the seasons that choose and those that judge."""
    method = f"Recipes walked forward with seeds {_listed(result.plan.seeds)}."
    parts = (("choose", result.choice), ("judge", result.verdict))
    return EvaluationReport(title, method, tuple(_part_table(result, *part) for part in parts), tuple(told(result)))


def _part_table(result: StudyResult, verb: str, part: StudyPart) -> Table:
    rows = (*map(_row, part.scores), ("persistence", "", f"{part.persistence:.4f}", ""))
    note = (
        f"Seasons {_listed(part.seasons)}: {part.games:,} games. Mean CRPS of {result.plan.forecaster} over both"
        f" horizons and all minutes, in points. All intervals hold together with 95 %, for"
        f" {part.looks} recipe{'s' * (part.looks != 1)} looked at on these seasons beside the base."
    )
    return Table(f"Seasons that {verb}", ("recipe", "digest", "CRPS", "minus the base"), rows, note)


def _row(score: TrialScore) -> tuple[str, ...]:
    difference = "" if score.difference is None else f"{score.difference:+.4f}"
    return score.trial.name, score.trial.recipe.digest, f"{score.crps:.4f}", difference


def study_document(result: StudyResult) -> dict[str, Any]:
    """Return a study as JSON."""
    return {
        "plan": result.plan.model_dump(mode="json"),
        "chosen": result.chosen.name,
        "recipe": asdict(result.chosen.recipe),
        "choice": _part_document(result.choice),
        "verdict": _part_document(result.verdict),
        "told": list(told(result)),
    }


def _part_document(part: StudyPart) -> dict[str, Any]:
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


def study_plot(result: StudyResult) -> Plot:
    """Draw the differences of the recipes from the base, on the seasons that choose and on those that judge."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        judged = {score.trial.name: score.difference for score in result.verdict.scores}
        trials = [score for score in result.choice.scores if score.trial.name != BASE]
        count = max(len(trials), 1)
        figure = Figure(figsize=(10.5, 1.2 + 0.3 * count))
        axes = figure.subplots()
        for row, score in enumerate(trials):
            for each, offset, color, label in (
                (score.difference, -0.12, "#0b5fa5", "choose"),
                (judged.get(score.trial.name), 0.12, "#e69f00", "judge"),
            ):
                if each is not None:
                    shown = f"seasons that {label}" if row == 0 or label == "judge" else None
                    axes.errorbar(
                        each.value, row + offset, xerr=errors_of(each), fmt="o", color=color, capsize=3, label=shown
                    )
        axes.axvline(0, color="#888888", linewidth=1)
        axes.set_yticks(range(len(trials)), [score.trial.name for score in trials])
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_xlabel("CRPS minus that of the base, in points (left: better)")
        if trials:
            axes.legend(loc="upper left", bbox_to_anchor=(0, 1.0 + 0.5 / count), ncols=2)
        caption = "Mean difference of games, with intervals that hold together with 95 %."
        return Plot("Recipes", caption, svg("recipes", figure))


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


_Part = tuple[ReplayedFold, NDArray[np.bool_]]


def adaptive_report(title: str, method: str, replayed: Sequence[ReplayedFold]) -> EvaluationReport:
    """Return the report of static and adaptive intervals: by season and ratings, monthly deviation, and by month.

    Args:
        title: heading.
        method: line that describes the tested configuration; see `method_line`.
        replayed: the replayed folds.
    """
    coverage_header = tuple(f"{100 * (1 - alpha):.0f} % coverage" for alpha in ALPHAS)
    header = ("", "intervals", "games", *coverage_header, f"{coverage_header[0][:4]} width", "Winkler 95 %")
    tables = []
    for ratings in RATINGS:
        of_ratings = [each for each in replayed if each.ratings == ratings]
        groups = [(f"{each.season}", [(each, np.ones(len(each.month), dtype=np.bool_))]) for each in of_ratings]
        groups.append(("all", [group for _, (group,) in groups]))
        tables.append(Table(f"By season, ratings {ratings}", header, tuple(_replayed_rows(groups))))
    carried = [each for each in replayed if each.ratings == "carried"]
    months = [(str(month), [(each, each.month == month)]) for each in carried for month in np.unique(each.month)]
    note = "A month of 200 games determines a coverage of 95 % to about ± 2 %: forecasts of a game are not independent."
    if large := [part for _, (part,) in months if part[1].sum() >= MIN_MONTH_GAMES]:
        tables.append(_deviation_table(coverage_header, large))
    else:
        note += (
            " No table of the deviation of monthly coverage from nominal: no month has at least"
            f" {MIN_MONTH_GAMES} games, and with fewer it is chance."
        )
    tables.append(Table("By month, ratings carried", header, tuple(_replayed_rows(months)), note))
    return EvaluationReport(title, method, tuple(tables))


def _deviation_table(coverage_header: tuple[str, ...], months: Sequence[_Part]) -> Table:
    """Build the table of the deviation of monthly coverage from nominal: root mean square over months, at least one.

    The last row is the deviation expected from sampling error alone: the standard error of a month's coverage over its
    games, if coverage is nominal on average. A smaller deviation comes from feedback, not from better forecasts.
    """
    nominal = 1 - np.array(ALPHAS)
    rows = []
    for arm in ARMS:
        coverage = np.array([fold.covered[arm][which].mean(axis=(0, 1)) for fold, which in months])
        deviation = np.sqrt(np.square(coverage - nominal).mean(axis=0))
        rows.append((arm, *(f"{100 * each:.1f} %" for each in deviation)))
    by_game = [fold.covered[STATIC][which].mean(axis=1) for fold, which in months]
    variances = [covered.var(axis=0, ddof=1) / len(covered) for covered in by_game]
    rows.append(("sampling error alone", *(f"{100 * each:.1f} %" for each in np.sqrt(np.mean(variances, axis=0)))))
    return Table(
        "Deviation of monthly coverage from nominal, ratings carried",
        ("intervals", *coverage_header),
        tuple(rows),
        f"Root mean square over the {len(months)} months with at least {MIN_MONTH_GAMES} games.",
    )


def _replayed_rows(groups: Sequence[tuple[str, Sequence[_Part]]]) -> Iterator[tuple[str, ...]]:
    for (name, parts), arm in itertools.product(groups, ARMS):
        covered = np.concatenate([fold.covered[arm][which] for fold, which in parts])
        width = np.concatenate([fold.width[arm][which] for fold, which in parts])
        winkler = np.concatenate([fold.winkler[arm][which] for fold, which in parts])
        first = arm == STATIC
        yield (
            name if first else "",
            arm,
            f"{len(covered):,}" if first else "",
            *(f"{100 * share:.1f} %" for share in covered.mean(axis=(0, 1))),
            f"{width[..., 0].mean():.1f}",
            f"{winkler.mean():.1f}",
        )
