"""Plots of a report, each as an SVG; the same scores give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dejavu_feed.pattern import QUARTER_MINUTES, REGULATION_MINUTES
from dejavu_models.metrics import ECE_BINS, Estimate, probability_bin
from dejavu_models.types import CASES, HORIZONS, Horizon
from dejavu_trainer.evaluation.metrics import LEADS, LEVELS, QUARTERS, GroupMetrics, cases_of
from dejavu_trainer.evaluation.result import EXPECTATIONS, BacktestResult
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS, pool
from dejavu_trainer.reports.labels import NAMES
from dejavu_trainer.reports.render import Plot

if TYPE_CHECKING:  # imported late otherwise: loading it takes half a second, and not every report has plots
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = {
    "served": "#0b5fa5",
    "no_teams": "#56b4e9",
    "frozen": "#009e73",
    "linear": "#e69f00",
    "logistic": "#cc79a7",
    "persistence": "#777777",
}
"""Colour-blind safe palette of Okabe & Ito."""

STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is no formula
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.edgecolor": "#888888",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.constrained_layout.use": True,
}

PIT_BINS: Final = 20


def plots(result: BacktestResult, folds: Sequence[FoldScores]) -> Iterator[Plot]:
    """Yield all plots of a report: of the metrics, and of the scores that they are computed from."""
    pooled = pool(folds)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield Plot(
            "CRPS by minute",
            "Top: CRPS of the predictive distribution by minute of the forecast. Bottom: difference from persistence in"
            " percent, on the same games; shaded: 95 % bootstrap interval over games.",
            svg("clock", _by_horizon(partial(_over_the_clock, result), 6.4, rows=2)),
        )
        yield Plot(
            "Probability of a home lead: Brier score by minute",
            "Difference from the logistic regression in percent; below 0 is better. Shaded: 95 % bootstrap interval.",
            svg("brier", _by_horizon(partial(_brier, result), 3.4)),
        )
        yield Plot(
            "Reliability",
            f"Observed frequency by forecast probability, in {ECE_BINS} bins of equal width. The area of a dot grows"
            " with the number of forecasts in the bin. Calibrated probabilities lie on the diagonal.",
            svg("reliability", _by_horizon(partial(_reliability, pooled), 4.7)),
        )
        yield Plot(
            "Reliability by quarter of the forecast",
            "Reliability of the winner's probability, by the quarter in which the forecast was made.",
            svg("quarters", _reliability_by_quarter(pooled)),
        )
        yield Plot(
            "Coverage by minute",
            "Empirical minus nominal coverage of the intervals. Shaded: 95 % bootstrap interval over games, which does"
            " not include the sampling error of the calibration.",
            svg("coverage", _by_horizon(partial(_coverage_by_minute, result), 6.6, rows=len(LEVELS), sharey=True)),
        )
        yield Plot(
            "Coverage by lead",
            "Empirical minus nominal coverage by |lead| at the minute of the forecast, over all minutes.",
            svg("leads", _by_horizon(partial(_coverage_by_lead, result), 3.6, sharey=True)),
        )
        yield Plot(
            "Probability integral transform",
            "Histogram of the outcome's quantile in its predictive distribution. Flat: calibrated; hump: too wide;"
            " U-shape: too narrow. Outline: persistence with its own conformal calibration.",
            svg("pit", _by_horizon(partial(_pit, pooled), 3.2, sharey=True)),
        )
        yield Plot(
            "Expected margin before tip-off",
            "Error of the expected final differential, with 95 % bootstrap intervals.",
            svg("ratings", _ratings(result)),
        )
        yield Plot(
            "Fan charts",
            "Forecasts of the final differential (home − away) during four games: intervals at 50, 80 and 95 %, point"
            " forecast (dashed), lead (black) and result (dot). The games were selected by fixed rules.",
            svg("fans", _fans(pooled)),
        )


def svg(name: str, figure: Figure) -> str:
    """Return a figure as an svg element whose ids begin with a name."""
    buffer = io.StringIO()
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    element = text[text.index("<svg") :]
    # Element ids must be unique across the plots of a page.
    return element.replace('id="', f'id="{name}-').replace('"#', f'"#{name}-').replace("url(#", f"url(#{name}-")


def _errors(estimate: Estimate, factor: float = 1.0) -> list[list[float]]:
    """Return the distances of an interval's ends from its estimate, as error bars need them."""
    return [[factor * (estimate.value - estimate.lower)], [factor * (estimate.upper - estimate.value)]]


def _figure(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, list[list[Axes]]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, height))
    return figure, figure.subplots(rows, columns, squeeze=False, **options).tolist()


def _by_horizon(draw: Callable[[list[Axes], Horizon], None], height: float, rows: int = 1, **options: Any) -> Figure:
    """Return a figure with a column for each horizon, which `draw` fills."""
    figure, axes = _figure(rows, len(HORIZONS), height, **options)
    for column, horizon in zip(zip(*axes, strict=True), HORIZONS, strict=True):
        draw([*column], horizon)
    return figure


def _line(axes: Axes, groups: dict[str, Estimate], name: str, *, factor: float = 1.0, band: bool = True) -> None:
    minutes = [int(minute) for minute in groups]
    value, lower, upper = factor * np.array([*groups.values()]).reshape(-1, 3).T
    axes.plot(minutes, value, color=COLOURS[name], label=NAMES[name].replace("… ", "Served, "), linewidth=1.6)
    if band:
        axes.fill_between(minutes, lower, upper, color=COLOURS[name], alpha=0.15, linewidth=0)


def _by_minute(result: BacktestResult, horizon: Horizon) -> dict[str, GroupMetrics]:
    return result.figures[horizon.value]["minute"]


def _over_the_clock(result: BacktestResult, axes: list[Axes], horizon: Horizon) -> None:
    groups, (top, bottom) = _by_minute(result, horizon), axes
    for name in ("persistence", "no_teams", "linear", "served"):
        _line(top, {m: group.values[name]["crps"] for m, group in groups.items()}, name, band=False)
    for name in ("no_teams", "frozen", "linear", "served"):
        _differences(bottom, groups, name, "persistence", "crps")
    bottom.axhline(0, color=COLOURS["persistence"], linewidth=1)
    top.set(title=f"{horizon.value.capitalize()}: CRPS, points", ylim=(0, None))
    bottom.set(title="difference from persistence, %", xlabel="minute of the forecast")
    top.legend()
    bottom.legend()


def _differences(axis: Axes, groups: dict[str, GroupMetrics], name: str, reference: str, metric: str) -> None:
    shares = {m: group.relative[name][reference] for m, group in groups.items()}
    _line(axis, {m: group[metric] for m, group in shares.items() if metric in group}, name, factor=100)


def _brier(result: BacktestResult, axes: list[Axes], horizon: Horizon) -> None:
    [axis] = axes
    for name in ("linear", "frozen", "served"):
        _differences(axis, _by_minute(result, horizon), name, "logistic", "brier")
    axis.axhline(0, color=COLOURS["logistic"], linewidth=1)
    axis.set(title=f"{horizon.value.capitalize()}: Brier, difference from logistic, %", xlabel="minute of the forecast")
    axis.legend()


def _reliability(pooled: FoldScores, axes: list[Axes], horizon: Horizon) -> None:
    [axis] = axes
    for name in ("logistic", "served"):
        _reliability_dots(axis, pooled, HORIZONS.index(horizon), name, cases_of(horizon))
    axis.set_title(f"{horizon.value.capitalize()}: home team leads")
    axis.set(xlabel="forecast probability", ylabel="observed frequency")
    axis.legend(loc="upper left")


def _reliability_by_quarter(pooled: FoldScores) -> Figure:
    figure, axes = _figure(1, 4, 3.2, sharey=True)
    cases = range(len(CASES))[cases_of(Horizon.FINAL)]
    for number, (axis, name) in enumerate(zip(axes[0], QUARTERS, strict=True)):
        of_quarter = cases[QUARTER_MINUTES * number : QUARTER_MINUTES * (number + 1)]
        _reliability_dots(axis, pooled, 1, "served", slice(of_quarter.start, of_quarter.stop))
        axis.set_title(name.capitalize())
        axis.set(xlabel="forecast probability")
    axes[0][0].set_ylabel("observed frequency")
    return figure


def _reliability_dots(axis: Axes, pooled: FoldScores, horizon_index: int, name: str, cases: slice) -> None:
    probability = pooled.forecasts[name].probability[:, cases].astype(float)
    happened = np.broadcast_to((pooled.outcomes[:, horizon_index] > 0)[:, None], probability.shape)
    bins = probability_bin(probability).ravel()
    count = np.bincount(bins, minlength=ECE_BINS)
    filled = count > 0
    mean_probability = np.bincount(bins, weights=probability.ravel(), minlength=ECE_BINS)[filled] / count[filled]
    rate = np.bincount(bins, weights=happened.ravel(), minlength=ECE_BINS)[filled] / count[filled]
    axis.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
    size = 8 + 140 * count[filled] / count.max()
    axis.scatter(
        mean_probability, rate, s=size, color=COLOURS[name], alpha=0.75, linewidth=0, label=NAMES[name], zorder=3
    )
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set_aspect("equal")


def _coverage_by_minute(result: BacktestResult, axes: list[Axes], horizon: Horizon) -> None:
    groups = _by_minute(result, horizon)
    for axis, level in zip(axes, LEVELS, strict=True):
        for name in ("no_teams", "served"):
            metric = f"coverage_{level}"
            coverage = {m: it.values[name][metric] for m, it in groups.items() if metric in it.values[name]}
            excess = {m: Estimate(*(each - level / 100 for each in it)) for m, it in coverage.items()}
            _line(axis, excess, name, factor=100)
        axis.axhline(0, color="#444444", linewidth=0.8)
        axis.set_title(f"{horizon.value.capitalize()}: {level} % intervals")
        if horizon is HORIZONS[0]:
            axis.set_ylabel("empirical − nominal, %")
    axes[-1].set_xlabel("minute of the forecast")
    if horizon is HORIZONS[-1]:
        axes[0].legend(loc="lower left", ncols=2)


def _coverage_by_lead(result: BacktestResult, axes: list[Axes], horizon: Horizon) -> None:
    [axis], groups = axes, result.figures[horizon.value]["lead"]
    for level_index, (level, colour) in enumerate(zip(LEVELS, ("#0b5fa5", "#009e73", "#d55e00"), strict=True)):
        for number, lead in enumerate(LEADS):
            estimate = groups[lead].values["served"].get(f"coverage_{level}") if lead in groups else None
            if estimate is not None:
                ends = _errors(estimate, 100)
                position = [number + 0.16 * (level_index - 1)], [100 * estimate.value - level]
                label = f"{level} %" if number == 0 else None
                axis.errorbar(*position, ends, fmt="o", color=colour, markersize=4.5, capsize=2.5, label=label)
    axis.axhline(0, color="#444444", linewidth=0.8)
    axis.set_xticks(range(len(LEADS)), LEADS)
    axis.set(title=f"{horizon.value.capitalize()}: empirical − nominal coverage, %", xlabel="|lead|, points")
    if horizon is HORIZONS[0]:
        axis.legend(loc="lower left", ncols=3)


def _pit(pooled: FoldScores, axes: list[Axes], horizon: Horizon) -> None:
    [axis], edges = axes, np.linspace(0, 1, PIT_BINS + 1)
    for name in ("served", "persistence"):
        pit = pooled.forecasts[name].pit
        if pit is None:
            continue
        shares = np.histogram(pit[:, cases_of(horizon)], edges)[0] / pit[:, cases_of(horizon)].size * PIT_BINS
        if name == "served":
            axis.bar(edges[:-1], shares, 1 / PIT_BINS, align="edge", color=COLOURS[name], alpha=0.7, label=NAMES[name])
        else:
            axis.stairs(shares, edges, color=COLOURS[name], label=NAMES[name])
    axis.axhline(1, color="#444444", linewidth=0.8)
    axis.set(title=f"{horizon.value.capitalize()}: density of the PIT", xlabel="PIT")
    axis.set_ylim(0, 1.35)
    axis.legend(loc="upper center", ncols=2)


def _ratings(result: BacktestResult) -> Figure:
    figure, axes = _figure(1, 2, 2.2)
    for axis, metric in zip(axes[0], ("mae", "rmse"), strict=True):
        for number, name in enumerate(reversed(EXPECTATIONS)):
            estimate = result.ratings[name][metric]
            axis.errorbar(
                [estimate.value], [number], xerr=_errors(estimate), fmt="o", color=COLOURS["served"], capsize=3
            )
        axis.set_yticks(range(len(EXPECTATIONS)), list(reversed(EXPECTATIONS)))
        axis.set(title=f"{metric.upper()}, points", ylim=(-0.6, len(EXPECTATIONS) - 0.4))
    return figure


def chosen_games(fold: FoldScores) -> dict[str, int]:
    """Select four test games by fixed rules: largest comeback, closest, most one-sided, and median CRPS.

    They have the largest lead that was lost, the smallest and the largest mean |lead| over all minutes, and the median
    of the mean CRPS; the first game wins a tie.

    Returns:
        The index of each game, by the name of its rule.
    """
    leads, final = fold.leads.astype(float), fold.outcomes[:, 1].astype(float)
    winner = np.sign(final)
    behind = (-leads * winner[:, None]).max(axis=1)
    forecasts = fold.forecasts["served"]
    assert forecasts.crps is not None  # noqa: S101 - for the type checker
    crps = forecasts.crps[:, cases_of(Horizon.FINAL)].mean(axis=1)
    mean_lead = np.abs(leads).mean(axis=1)
    return {
        "Largest comeback": int(behind.argmax()),
        "Closest game": int(mean_lead.argmin()),
        "Most one-sided game": int(mean_lead.argmax()),
        "Median CRPS": int(np.argsort(crps, kind="stable")[(len(crps) - 1) // 2]),
    }


def fan_chart(folds: Sequence[FoldScores]) -> str:
    """Draw the fan chart of the game with the median CRPS, an ordinary game, as a separate SVG file."""
    pooled = pool(folds)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        _fan(figure.subplots(), pooled, *[*chosen_games(pooled).items()][-1])
        figure.legend(loc="outside lower center", frameon=False, ncols=3)
        return svg("fan", figure)


def _fans(pooled: FoldScores) -> Figure:
    figure, axes = _figure(2, 2, 7.2)
    for axis, (rule, game) in zip([*axes[0], *axes[1]], chosen_games(pooled).items(), strict=True):
        _fan(axis, pooled, rule, game)
    return figure


def _fan(axis: Axes, pooled: FoldScores, rule: str, game: int) -> None:
    forecasts, cases = pooled.forecasts["served"], cases_of(Horizon.FINAL)
    assert forecasts.point is not None  # noqa: S101 - for the type checker
    assert forecasts.lower is not None  # noqa: S101
    assert forecasts.upper is not None  # noqa: S101
    point, final = forecasts.point[game, cases].astype(float), float(pooled.outcomes[game, 1])
    minutes = np.arange(1, len(point) + 1)
    for index, (shade, alpha) in enumerate(zip((0.14, 0.2, 0.3), ALPHAS, strict=True)):
        axis.fill_between(
            minutes,
            forecasts.lower[game, cases, index].astype(float),
            forecasts.upper[game, cases, index].astype(float),
            color=COLOURS["served"],
            alpha=shade,
            linewidth=0,
            label=f"{100 * (1 - alpha):.0f} % interval of the final differential",
        )
    axis.plot(minutes, point, color=COLOURS["served"], linestyle="--", linewidth=1.2, label="forecast of the end")
    leads = [0, *pooled.leads[game].astype(float)]
    axis.plot(np.arange(len(leads)), leads, color="black", linewidth=1.3, drawstyle="steps-post", label="differential")
    axis.plot([REGULATION_MINUTES], [final], "o", color="black", markersize=5, label="final differential")
    axis.axhline(0, color="#999999", linewidth=0.8)
    name = f"{pooled.away[game]} at {pooled.home[game]}, {pooled.date[game]}: {final:+.0f}"
    axis.set(title=f"{rule}\n{name}", xlabel="minute", ylabel="home − away", xlim=(0, REGULATION_MINUTES + 1))
    axis.set_xticks(range(0, REGULATION_MINUTES + 1, QUARTER_MINUTES))
