"""Plots of a run, as small SVGs; the same samples give the same bytes."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.performance.measuring import DEJAVU, ECHO, MLSERVER
from bench.performance.samples import Run
from bench.performance.sections.calls import BATCHES, EXPLAINED, NAMED, SINGLE, WHAT_IF
from bench.performance.sections.start import MEMORY
from bench.performance.sections.streams import STREAMS

if TYPE_CHECKING:  # imported late otherwise: loading it takes half a second
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PREFIX = "performance-"

COLOURS: Final = {
    ECHO: "#777777",
    DEJAVU: "#0b5fa5",
    WHAT_IF: "#0b5fa5",
    EXPLAINED: "#56b4e9",
    NAMED: "#009e73",
    MLSERVER: "#e69f00",
}
"""Colours of contenders, from a palette for colour-blind readers (Okabe & Ito)."""

STYLE: Final[dict[str, object]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "performance",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def write_plots(run: Run, folder: Path) -> dict[str, Path]:
    """Write the plots of the sections that were measured; return name → file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    files = {}
    for name, (sections, draw) in PLOTS.items():
        if not sections & {*run.sections}:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(STYLE):  # type: ignore[arg-type]
            figure = Figure(figsize=(7.5, 2.8))
            draw(run, figure)
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        files[name] = folder / f"{PREFIX}{name}.svg"
        lines = (line.rstrip() for line in buffer.getvalue().splitlines())
        files[name].write_text("\n".join(lines) + "\n")
    return files


def _medians(run: Run, section: str, contender: str, figure: str) -> list[tuple[str, float]]:
    """Return the median of a figure over rounds, for each case of a contender."""
    pairs = []
    for case, each in run.rows(section):
        values = list(run.values(section, case, contender, figure).values())
        if each == contender and values:
            pairs.append((case, statistics.median(values)))
    return pairs


def _contenders(run: Run, section: str) -> list[str]:
    return list(dict.fromkeys(contender for _, contender in run.rows(section)))


def _first_number(text: str) -> float:
    """Return the number in the name of a case, for example of "1,000 subscribers"."""
    return next(float(word) for each in text.split() if (word := each.replace(",", "")).isdigit())


def _bars(axes: Axes, run: Run, section: str, figure: str, title: str) -> None:
    contenders = _contenders(run, section)
    width = 0.8 / len(contenders)
    labels: list[str] = []
    for index, contender in enumerate(contenders):
        pairs = _medians(run, section, contender, figure)
        labels = [case for case, _ in pairs]
        places = [place + (index - (len(contenders) - 1) / 2) * width for place in range(len(pairs))]
        heights = [value for _, value in pairs]
        axes.bar(places, heights, width, label=contender, color=COLOURS.get(contender, "#0b5fa5"))
    axes.set_xticks(range(len(labels)), labels)
    axes.set_title(title)


def _lines(
    axes: Axes, run: Run, section: str, figure: str, title: str, *, contenders: Iterable[str] | None = None
) -> None:
    places: list[float] = []
    for contender in contenders or _contenders(run, section):
        pairs = _medians(run, section, contender, figure)
        places = [_first_number(case) for case, _ in pairs]
        colour = COLOURS.get(contender, "#0b5fa5")
        axes.plot(places, [value for _, value in pairs], marker="o", markersize=3, label=contender, color=colour)
    _sizes(axes, places)
    axes.set_title(title)


def _sizes(axes: Axes, places: Sequence[float]) -> None:
    """Show the sizes that were measured on a logarithmic axis."""
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(places, [f"{place:,.0f}" for place in places])


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.minorticks_off()


def _calls(run: Run, figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    _bars(left, run, SINGLE.name, "p50_ms", "p50, ms")
    _logarithmic(left)
    _bars(right, run, SINGLE.name, "cpu_us", "server CPU, µs a call")
    right.legend(fontsize=7)


def _batches(run: Run, figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    _lines(left, run, BATCHES.name, "p50_ms", "p50 of a batch, ms, by size")
    _logarithmic(left)
    contenders = [each for each in _contenders(run, BATCHES.name) if each != ECHO]
    _lines(right, run, BATCHES.name, "forecasts_a_core_second", "forecasts a second of a core", contenders=contenders)
    right.set_ylim(bottom=0)
    left.legend(fontsize=7)


def _streams(run: Run, figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    _lines(left, run, STREAMS.name, "last_ms", "until the last subscriber has an event, ms")
    _logarithmic(left)
    _lines(right, run, STREAMS.name, "cpu_us", "server CPU, µs a delivery")
    _logarithmic(right)
    left.legend(fontsize=7)


def _memory(run: Run, figure: Figure) -> None:
    axes = figure.subplots()
    contenders = _contenders(run, MEMORY.name)
    for name, colour in (("all_mb", "#c8d8e6"), ("workers_mb", "#0b5fa5")):
        heights = [_medians(run, MEMORY.name, each, name)[0][1] for each in contenders]
        axes.barh(contenders, heights, 0.6, color=colour, label=name.removesuffix("_mb"))
    axes.invert_yaxis()
    axes.set_title("memory (PSS) of workers and of all processes, MB")
    axes.legend(fontsize=7)


PLOTS: dict[str, tuple[set[str], Callable[[Run, Figure], None]]] = {
    "calls": ({SINGLE.name}, _calls),
    "batches": ({BATCHES.name}, _batches),
    "streams": ({STREAMS.name}, _streams),
    "memory": ({MEMORY.name}, _memory),
}
"""Name → the sections that it shows, of which one is enough, and the function that draws it."""
