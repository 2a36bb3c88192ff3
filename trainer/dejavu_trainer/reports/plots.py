"""The plots of a report, each as one SVG picture; the same scores give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_models.metrics import ECE_BINS, Estimate, probability_bin
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.fold_scores import FoldScores
from dejavu_trainer.evaluation.metrics import LEADS, LEVELS, QUARTERS, GroupMetrics, cases_of, pool
from dejavu_trainer.evaluation.result import EXPECTATIONS, BacktestResult
from dejavu_trainer.reports.game_charts import GameChart, chosen_games
from dejavu_trainer.reports.tables import HORIZON_NAMES, NAMES

COLOURS: Final = {
    "ensemble": "#0b5fa5",
    "no_teams": "#56b4e9",
    "frozen": "#009e73",
    "linear": "#e69f00",
    "logistic": "#cc79a7",
    "persistence": "#777777",
}
"""Okabe & Ito's, which people tell apart however they see colours."""

LEVEL_COLOURS: Final = dict(zip(LEVELS, ("#0b5fa5", "#009e73", "#d55e00"), strict=True))

STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
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


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture.

    Attributes:
        title: of its part of the report.
        caption: how to read it.
        svg: the picture, an svg element.
    """

    title: str
    caption: str
    svg: str


def plots(result: BacktestResult, folds: Sequence[FoldScores]) -> Iterator[Plot]:
    """All plots of a report.

    Args:
        result: the figures.
        folds: what they were taken from.
    """
    pooled = pool(folds)
    with mpl.rc_context(STYLE):
        yield Plot(
            "Error over the game clock",
            "CRPS of the whole predictive distribution, after each minute. Below: in percent of persistence's, on the"
            " same games; shaded: 95 % bootstrap interval over games.",
            _svg("clock", _over_the_clock(result)),
        )
        yield Plot(
            "Who will lead: Brier score over the game clock",
            "In percent of the logistic regression's on lead and rating; below 0 is better. Shaded: 95 % interval.",
            _svg("brier", _brier(result)),
        )
        yield Plot(
            "Reliability",
            f"How often it came, by stated probability, in {ECE_BINS} bins of equal width. A dot's area tells how many"
            " forecasts are in the bin. On the diagonal, probabilities are what they say.",
            _svg("reliability", _reliability(pooled)),
        )
        yield Plot(
            "Reliability by quarter of the forecast",
            "The same for the winner, by the quarter in which the forecast was made.",
            _svg("quarters", _reliability_by_quarter(pooled)),
        )
        yield Plot(
            "Coverage by minute",
            "By how much the share of games whose outcome the interval held lies above the nominal one. Shaded: 95 %"
            " bootstrap interval over games, without the chance in the calibration.",
            _svg("coverage", _coverage_by_minute(result)),
        )
        yield Plot(
            "Coverage by lead",
            "The same by |lead| at the minute of the forecast, over all minutes.",
            _svg("leads", _coverage_by_lead(result)),
        )
        yield Plot(
            "Probability integral transform",
            "Where in its predictive distribution the outcome fell. A distribution that is true has flat bars; a hump"
            " in the middle says too wide, a bowl too narrow. Outline: persistence with its own conformal calibration.",
            _svg("pit", _pit(pooled)),
        )
        yield Plot(
            "Expected before tip-off",
            "Error of the final differential expected before the game, with 95 % bootstrap intervals.",
            _svg("ratings", _ratings(result)),
        )
        yield Plot(
            "Fan charts",
            "Forecasts of the final differential (home − away) while four games were played: intervals of 50, 80 and"
            " 95 %, the point forecast (dashed), the lead (black) and the end (dot). The games were chosen by rule.",
            _svg("fans", _fans(chosen_games(pooled))),
        )


def _svg(name: str, figure: Figure) -> str:
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    svg = text[text.index("<svg") :]
    # Several pictures on one page must not share the names of their parts.
    return svg.replace('id="', f'id="{name}-').replace('"#', f'"#{name}-').replace("url(#", f"url(#{name}-")


def _figure(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, list[list[Axes]]]:
    figure = Figure(figsize=(10.5, height))
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [list(row) for row in axes]


def _line(axes: Axes, groups: dict[str, Estimate], name: str, *, factor: float = 1.0, band: bool = True) -> None:
    minutes = [int(minute) for minute in groups]
    value, lower, upper = (
        [factor * getattr(it, part) for it in groups.values()] for part in ("value", "lower", "upper")
    )
    axes.plot(minutes, value, color=COLOURS[name], label=NAMES[name].replace("… ", "Ensemble, "), linewidth=1.6)
    if band:
        axes.fill_between(minutes, lower, upper, color=COLOURS[name], alpha=0.15, linewidth=0)


def _by_minute(result: BacktestResult, horizon: Horizon) -> dict[str, GroupMetrics]:
    return result.figures[horizon.value]["minute"]


def _over_the_clock(result: BacktestResult) -> Figure:
    figure, axes = _figure(2, 2, 6.4)
    for column, horizon in enumerate(HORIZONS):
        groups = _by_minute(result, horizon)
        above, below = axes[0][column], axes[1][column]
        for name in ("persistence", "no_teams", "linear", "ensemble"):
            _line(above, {m: it.values[name]["crps"] for m, it in groups.items()}, name, band=False)
        for name in ("no_teams", "frozen", "linear", "ensemble"):
            shares = {m: it.relative[name]["persistence"] for m, it in groups.items()}
            _line(below, {m: it["crps"] for m, it in shares.items() if "crps" in it}, name, factor=100)
        below.axhline(0, color=COLOURS["persistence"], linewidth=1)
        above.set(title=f"{HORIZON_NAMES[horizon.value]}: CRPS, points", ylim=(0, None))
        below.set(title="less persistence's, %", xlabel="minute of the forecast")
        above.legend()
        below.legend()
    return figure


def _brier(result: BacktestResult) -> Figure:
    figure, axes = _figure(1, 2, 3.4)
    for axis, horizon in zip(axes[0], HORIZONS, strict=True):
        for name in ("linear", "frozen", "ensemble"):
            shares = {m: it.relative[name]["logistic"] for m, it in _by_minute(result, horizon).items()}
            _line(axis, {m: it["brier"] for m, it in shares.items() if "brier" in it}, name, factor=100)
        axis.axhline(0, color=COLOURS["logistic"], linewidth=1)
        axis.set(title=f"{HORIZON_NAMES[horizon.value]}: Brier less logistic's, %", xlabel="minute of the forecast")
        axis.legend()
    return figure


def _reliability(pooled: FoldScores) -> Figure:
    figure, axes = _figure(1, 2, 4.7)
    for place, (axis, horizon) in enumerate(zip(axes[0], HORIZONS, strict=True)):
        for name in ("logistic", "ensemble"):
            _reliability_dots(axis, pooled, place, name, cases_of(horizon))
        axis.set_title(f"{HORIZON_NAMES[horizon.value]}: the home team leads")
        axis.set(xlabel="stated probability", ylabel="how often it came")
        axis.legend(loc="upper left")
    return figure


def _reliability_by_quarter(pooled: FoldScores) -> Figure:
    figure, axes = _figure(1, 4, 3.2, sharey=True)
    first = cases_of(Horizon.FINAL).start
    for number, (axis, name) in enumerate(zip(axes[0], QUARTERS, strict=True)):
        stages = slice(first + 12 * number, min(first + 12 * number + 12, cases_of(Horizon.FINAL).stop))
        _reliability_dots(axis, pooled, 1, "ensemble", stages)
        axis.set_title(name.capitalize())
        axis.set(xlabel="stated probability")
    axes[0][0].set_ylabel("how often it came")
    return figure


def _reliability_dots(axis: Axes, pooled: FoldScores, place: int, name: str, stages: slice) -> None:
    probability = pooled.forecasts[name].probability[:, stages].astype(float)
    happened = np.broadcast_to((pooled.outcomes[:, place] > 0)[:, None], probability.shape)
    bins = probability_bin(probability).ravel()
    count = np.bincount(bins, minlength=ECE_BINS)
    there = count > 0
    stated = np.bincount(bins, weights=probability.ravel(), minlength=ECE_BINS)[there] / count[there]
    rate = np.bincount(bins, weights=happened.ravel(), minlength=ECE_BINS)[there] / count[there]
    axis.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
    size = 8 + 140 * count[there] / count.max()
    axis.scatter(stated, rate, s=size, color=COLOURS[name], alpha=0.75, linewidth=0, label=NAMES[name], zorder=3)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set_aspect("equal")


def _coverage_by_minute(result: BacktestResult) -> Figure:
    figure, axes = _figure(len(LEVELS), 2, 6.6, sharey=True)
    for row, level in enumerate(LEVELS):
        for axis, horizon in zip(axes[row], HORIZONS, strict=True):
            groups = _by_minute(result, horizon)
            for name in ("no_teams", "ensemble"):
                metric = f"coverage_{level}"
                known = {m: it.values[name][metric] for m, it in groups.items() if metric in it.values[name]}
                _line(axis, {m: _beyond(it, level) for m, it in known.items()}, name, factor=100)
            axis.axhline(0, color="#444444", linewidth=0.8)
            axis.set_title(f"{HORIZON_NAMES[horizon.value]}: {level} % intervals")
            if row == len(LEVELS) - 1:
                axis.set_xlabel("minute of the forecast")
        axes[row][0].set_ylabel("held − nominal, %")
    axes[0][1].legend(loc="lower left", ncols=2)
    return figure


def _coverage_by_lead(result: BacktestResult) -> Figure:
    figure, axes = _figure(1, 2, 3.6, sharey=True)
    for axis, horizon in zip(axes[0], HORIZONS, strict=True):
        groups = result.figures[horizon.value]["lead"]
        for place, (level, colour) in enumerate(LEVEL_COLOURS.items()):
            for number, lead in enumerate(LEADS):
                it = groups[lead].values["ensemble"].get(f"coverage_{level}") if lead in groups else None
                if it is not None:
                    ends = [[100 * (it.value - it.lower)], [100 * (it.upper - it.value)]]
                    at = [number + 0.16 * (place - 1)], [100 * it.value - level]
                    label = f"{level} %" if number == 0 else None
                    axis.errorbar(*at, ends, fmt="o", color=colour, markersize=4.5, capsize=2.5, label=label)
        axis.axhline(0, color="#444444", linewidth=0.8)
        axis.set_xticks(range(len(LEADS)), LEADS)
        axis.set(title=f"{HORIZON_NAMES[horizon.value]}: held − nominal, %", xlabel="|lead|, points")
    axes[0][0].legend(loc="lower left", ncols=3)
    return figure


def _beyond(it: Estimate, level: int) -> Estimate:
    """How far a coverage lies above the nominal one, which is given in %."""
    return Estimate(*(each - level / 100 for each in (it.value, it.lower, it.upper)))


def _pit(pooled: FoldScores) -> Figure:
    figure, axes = _figure(1, 2, 3.2, sharey=True)
    edges = np.linspace(0, 1, PIT_BINS + 1)
    for axis, horizon in zip(axes[0], HORIZONS, strict=True):
        for name in ("ensemble", "persistence"):
            pit = pooled.forecasts[name].pit
            if pit is None:
                continue
            shares = np.histogram(pit[:, cases_of(horizon)], edges)[0] / pit[:, cases_of(horizon)].size * PIT_BINS
            if name == "ensemble":
                axis.bar(
                    edges[:-1], shares, 1 / PIT_BINS, align="edge", color=COLOURS[name], alpha=0.7, label=NAMES[name]
                )
            else:
                axis.stairs(shares, edges, color=COLOURS[name], label=NAMES[name])
        axis.axhline(1, color="#444444", linewidth=0.8)
        axis.set(title=f"{HORIZON_NAMES[horizon.value]}: density of the PIT", xlabel="PIT")
        axis.set_ylim(0, 1.35)
        axis.legend(loc="upper center", ncols=2)
    return figure


def _ratings(result: BacktestResult) -> Figure:
    figure, axes = _figure(1, 2, 2.2)
    for axis, metric in zip(axes[0], ("mae", "rmse"), strict=True):
        for number, name in enumerate(reversed(EXPECTATIONS)):
            it = result.ratings[name][metric]
            ends = [[it.value - it.lower], [it.upper - it.value]]
            axis.errorbar([it.value], [number], xerr=ends, fmt="o", color=COLOURS["ensemble"], capsize=3)
        axis.set_yticks(range(len(EXPECTATIONS)), list(reversed(EXPECTATIONS)))
        axis.set(title=f"{metric.upper()}, points", ylim=(-0.6, len(EXPECTATIONS) - 0.4))
    return figure


def _fans(games: Sequence[GameChart]) -> Figure:
    figure, axes = _figure(2, 2, 7.2)
    flat = [axis for row in axes for axis in row]
    for axis, game in zip(flat, games, strict=False):
        minutes = np.arange(1, len(game.point) + 1)
        for index, shade in enumerate((0.14, 0.2, 0.3)):
            axis.fill_between(
                minutes, game.lower[:, index], game.upper[:, index], color=COLOURS["ensemble"], alpha=shade, linewidth=0
            )
        axis.plot(minutes, game.point, color=COLOURS["ensemble"], linestyle="--", linewidth=1.2)
        axis.plot(
            np.arange(len(game.leads) + 1), [0, *game.leads], color="black", linewidth=1.3, drawstyle="steps-post"
        )
        axis.plot([48], [game.final], "o", color="black", markersize=5)
        axis.axhline(0, color="#999999", linewidth=0.8)
        axis.set(title=f"{game.rule}\n{game.name}", xlabel="minute", ylabel="home − away", xlim=(0, 49))
        axis.set_xticks([0, 12, 24, 36, 48])
    for axis in flat[len(games) :]:
        axis.set_visible(False)
    return figure
