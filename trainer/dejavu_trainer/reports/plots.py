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
from dejavu_trainer.evaluation.figures import Figures
from dejavu_trainer.evaluation.table import LEVELS, MARGINS, Table
from dejavu_trainer.reports.backtest import NAMES
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


def plots(figures: Figures) -> Iterator[Plot]:
    """Yield all plots of a report."""
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
            "Probability integral transform",
            "Histogram of the outcome's quantile in its predictive distribution. Flat: calibrated; hump: too wide;"
            " U-shape: too narrow. Outline: persistence with its own conformal calibration.",
            svg("pit", _by_horizon(partial(_pit, table), 3.2, sharey=True)),
        )
        yield Plot(
            "Fan charts",
            "Forecasts of the final differential (home − away) during four games: intervals at 50, 80 and 95 %, point"
            " forecast (dashed), lead (black) and result (dot). The games were selected by fixed rules.",
            svg("fans", _fans(table)),
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


def _pit(table: Table, axes: list[Axes], horizon: Horizon) -> None:
    [axis], edges = axes, np.linspace(0, 1, PIT_BINS + 1)
    for name in ("served", "persistence"):
        pit = table.of(MARGINS[horizon], f"{name}.pit")
        shares = np.histogram(pit, edges)[0] / pit.size * PIT_BINS
        filled = name == "served"
        opacity = 0.7 if filled else 1.0
        axis.stairs(shares, edges, fill=filled, alpha=opacity, color=COLOURS[name], label=NAMES[name])
    axis.axhline(1, color="#444444", linewidth=0.8)
    axis.set(title=f"{horizon.value.capitalize()}: density of the PIT", xlabel="PIT", ylim=(0, 1.35))
    axis.legend(loc="upper center", ncols=2)


def chosen_games(table: Table) -> dict[str, int]:
    """Select four test games by fixed rules: largest comeback, closest, most one-sided, and median CRPS.

    They have the largest lead that was lost, the smallest and the largest mean |lead| over all minutes, and the median
    of the mean CRPS; the first game wins a tie.

    Returns:
        The index of each game, by the name of its rule.
    """
    leads, final = (table.by_minute(Horizon.FINAL, name).astype(float) for name in ("lead", "outcome"))
    behind = (-leads * np.sign(final)).max(axis=1)
    crps = table.by_minute(Horizon.FINAL, "served.crps").mean(axis=1)
    mean_lead = np.abs(leads).mean(axis=1)
    return {
        "Largest comeback": int(behind.argmax()),
        "Closest game": int(mean_lead.argmin()),
        "Most one-sided game": int(mean_lead.argmax()),
        "Median CRPS": int(np.argsort(crps, kind="stable")[(len(crps) - 1) // 2]),
    }


def fan_chart(table: Table) -> str:
    """Draw the fan chart of the game with the median CRPS, an ordinary game, as a separate SVG file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        _fan(figure.subplots(), table, *[*chosen_games(table).items()][-1])
        figure.legend(loc="outside lower center", frameon=False, ncols=3)
        return svg("fan", figure)


def _fans(table: Table) -> Figure:
    figure, axes = _figure(2, 2, 7.2)
    for axis, (rule, game) in zip([*axes[0], *axes[1]], chosen_games(table).items(), strict=True):
        _fan(axis, table, rule, game)
    return figure


def _fan(axis: Axes, table: Table, rule: str, game: int) -> None:
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
    axis.set(title=f"{rule}\n{name}", xlabel="minute", ylabel="home − away", xlim=(0, REGULATION_MINUTES + 1))
    axis.set_xticks(range(0, REGULATION_MINUTES + 1, QUARTER_MINUTES))
