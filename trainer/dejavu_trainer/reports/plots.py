"""Plots of a report, each as an SVG; the same scores give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dejavu_feed.pattern import QUARTER_MINUTES, REGULATION_MINUTES
from dejavu_models.arrays import Floats
from dejavu_models.metrics import ECE_BINS, probability_bin
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.figures import LEVELS, MARGINS, Figures, Table
from dejavu_trainer.reports.backtest import NAMES, Plot

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


def plots(figures: Figures) -> Iterator[Plot]:
    """Yield all plots of a report; the last is the fan chart."""
    import matplotlib as mpl

    table = figures.table
    with mpl.rc_context(STYLE):
        yield Plot(
            "CRPS by minute",
            "Difference from persistence in percent, on the same games, by minute of the forecast; shaded: 95 %"
            " bootstrap interval over games.",
            svg("clock", _by_horizon(partial(_over_the_clock, figures), 3.6)),
        )
        yield Plot(
            "Reliability",
            f"Observed frequency by forecast probability, in {ECE_BINS} bins of equal width. The area of a dot grows"
            " with the number of forecasts in the bin. Calibrated probabilities lie on the diagonal.",
            svg("reliability", _by_horizon(partial(_reliability, table), 4.7)),
        )
        yield Plot(
            "Coverage by minute",
            "Empirical minus nominal coverage of the intervals. Shaded: 95 % bootstrap interval over games, which does"
            " not include the sampling error of the calibration.",
            svg("coverage", _by_horizon(partial(_coverage_by_minute, figures), 6.6, rows=len(LEVELS), sharey=True)),
        )
        yield Plot(
            "Fan chart",
            "Forecasts of the final differential (home − away) during the game with the median CRPS, an ordinary game.",
            fan_chart(table),
        )


def svg(name: str, figure: Figure) -> str:
    """Return a figure as an svg element whose ids begin with a name."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    element = text[text.index("<svg") :]
    # Element ids must be unique across the plots of a page.
    return element.replace('id="', f'id="{name}-').replace('"#', f'"#{name}-').replace("url(#", f"url(#{name}-")


def _by_horizon(draw: Callable[[list[Axes], Horizon], None], height: float, rows: int = 1, **options: Any) -> Figure:
    """Return a figure with a column for each horizon, which `draw` fills."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, height))
    axes = figure.subplots(rows, len(HORIZONS), squeeze=False, **options)
    for column, horizon in enumerate(HORIZONS):
        draw(axes[:, column].tolist(), horizon)
    return figure


def _line(
    axes: Axes, figures: Figures, target: str, excess: float, name: str, metric: str, reference: str = ""
) -> None:
    """Draw a metric in percent over the minutes of the forecast, less a constant, with its interval."""
    found = {
        int(minute): figures.get(target, name, metric, reference, kind="minute", group=minute)
        for minute in figures.groups(target, "minute")
    }
    known = {minute: each for minute, each in found.items() if each is not None}
    value, lower, upper = 100 * np.array([*known.values()]).reshape(-1, 3).T - excess
    axes.plot([*known], value, color=COLOURS[name], label=NAMES[name].replace("… ", "Served, "), linewidth=1.6)
    axes.fill_between([*known], lower, upper, color=COLOURS[name], alpha=0.15, linewidth=0)


def _over_the_clock(figures: Figures, axes: list[Axes], horizon: Horizon) -> None:
    [axis] = axes
    for name in ("no_teams", "frozen", "linear", "served"):
        _line(axis, figures, MARGINS[horizon], 0.0, name, "crps", "persistence")
    axis.axhline(0, color=COLOURS["persistence"], linewidth=1)
    axis.set(title=f"{horizon.value.capitalize()}: CRPS / persistence, %", xlabel="minute of the forecast")
    axis.legend()


def _reliability(table: Table, axes: list[Axes], horizon: Horizon) -> None:
    [axis] = axes
    happened = table.of(MARGINS[horizon], "outcome") > 0
    axis.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
    for name in ("logistic", "served"):
        probability = table.of(MARGINS[horizon], f"{name}.probability").astype(float)
        bins = probability_bin(probability)
        count = np.bincount(bins, minlength=ECE_BINS)
        filled = count > 0
        means, rates = (np.bincount(bins, each, minlength=ECE_BINS)[filled] for each in (probability, happened))
        size = 8 + 140 * count[filled] / count.max()
        dots = means / count[filled], rates / count[filled]
        axis.scatter(*dots, s=size, color=COLOURS[name], alpha=0.75, linewidth=0, label=NAMES[name], zorder=3)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="forecast probability", ylabel="observed frequency")
    axis.set_aspect("equal")
    axis.set_title(f"{horizon.value.capitalize()}: home team leads")
    axis.legend(loc="upper left")


def _coverage_by_minute(figures: Figures, axes: list[Axes], horizon: Horizon) -> None:
    for axis, level in zip(axes, LEVELS, strict=True):
        for name in ("no_teams", "served"):
            _line(axis, figures, MARGINS[horizon], level, name, f"coverage_{level}")
        axis.axhline(0, color="#444444", linewidth=0.8)
        axis.set(title=f"{horizon.value.capitalize()}: {level} % intervals", ylabel="empirical − nominal, %")
    axes[-1].set_xlabel("minute of the forecast")
    axes[0].legend(loc="lower left", ncols=2)


def ordinary_game(table: Table) -> int:
    """Return the index of the game with the median of the mean CRPS of the end; the first game wins a tie."""
    crps = table.by_minute(Horizon.FINAL, "served.crps").mean(axis=1)
    return int(np.argsort(crps, kind="stable")[(len(crps) - 1) // 2])


def fan_chart(table: Table) -> str:
    """Draw the fan chart of the ordinary game."""
    from matplotlib.figure import Figure

    figure, game = Figure(figsize=(9.6, 4.6), layout="constrained"), ordinary_game(table)
    axis = figure.subplots()

    def of_game(column: str) -> Floats:
        values: Floats = table.by_minute(Horizon.FINAL, column)[game].astype(float)
        return values

    point, final = of_game("served.point"), float(of_game("outcome")[0])
    minutes = np.arange(1, len(point) + 1)
    for shade, level in zip((0.14, 0.2, 0.3), LEVELS, strict=True):
        axis.fill_between(
            minutes,
            of_game(f"served.lower_{level}"),
            of_game(f"served.upper_{level}"),
            color=COLOURS["served"],
            alpha=shade,
            linewidth=0,
            label=f"{level} % interval of the final differential",
        )
    axis.plot(minutes, point, color=COLOURS["served"], linestyle="--", linewidth=1.2, label="forecast of the end")
    leads = [0, *of_game("lead")]
    axis.plot(np.arange(len(leads)), leads, color="black", linewidth=1.3, drawstyle="steps-post", label="differential")
    axis.plot([REGULATION_MINUTES], [final], "o", color="black", markersize=5, label="final differential")
    axis.axhline(0, color="#999999", linewidth=0.8)
    away, home, date = (table.columns[f"game.{name}"][game] for name in ("away", "home", "date"))
    name = f"{away} at {home}, {date}: {final:+.0f}"
    axis.set(title=name, xlabel="minute", ylabel="home − away", xlim=(0, REGULATION_MINUTES + 1))
    axis.set_xticks(range(0, REGULATION_MINUTES + 1, QUARTER_MINUTES))
    figure.legend(loc="outside lower center", ncols=3)
    return svg("fan", figure)
