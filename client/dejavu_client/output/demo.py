"""Prints the results of the demo: the purpose of forecasts, then their error with that of persistence."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_client.formatting import horizon_label, pluralize, signed
from dejavu_client.output.scores import Record, between, verdict
from dejavu_client.poller.summary import HorizonSummary, Summary
from dejavu_client.transport.statistics import percentile
from dejavu_common.rich_console import Console

_PURPOSE: Final = (
    "Dejavu says during a game where it will end: a point, an interval that holds as often as it says, and who wins, "
    "in a record whose edits are detected."
)
_WHY: Final = (
    "Persistence repeats the current lead. Scores move nearly at random from the lead on, so it is hard to beat. What "
    "a lead alone does not give are intervals, and how likely it is to be kept."
)
_SMALL: Final = (
    "These are few games, simulated with the margins that the model expects; in brackets 95 % intervals over games. "
    "The README has the results on real seasons."
)


def print_results(
    console: Console, summary: Summary, record: Record, latencies: Sequence[float], verified: Mapping[str, Any]
) -> None:
    """Print the results of an evening.

    Args:
        console: where to print.
        summary: the poller's summary; it has the Brier score of the leader.
        record: the server's scorecards.
        latencies: seconds from the feed to the subscriber, ascending.
        verified: counts of the verified ledger: `forecasts`, `outcomes` and `checkpoint`.
    """
    console.print(_PURPOSE, highlight=False)
    console.print()
    missed = f", {pluralize(summary.missed, 'minute')} missed" if summary.missed else ""
    console.print(
        f"{pluralize(summary.games, 'game')} played, {pluralize(summary.forecasts, 'forecast')} of the half and of the "
        f"end: after every minute of play from the sixth on{missed}."
    )
    of = {each.horizon: each for each in summary.horizons if each.horizon in record and record[each.horizon].games}
    first = Table.grid(padding=(0, 3))
    first.add_row("", *(f"the {horizon_label(horizon)}" for horizon in of), style="dim")
    for name, cell in _ROWS:
        first.add_row(name, *(cell(record[horizon], own) for horizon, own in of.items()))
    console.print(first)
    if latencies:
        p50, p95 = percentile(latencies, 0.5), percentile(latencies, 0.95)
        console.print(
            f"Latency, feed to subscriber: p50 {p50:.2f} s, p95 {p95:.2f} s, with the wait for the next poll."
        )
    console.print(
        f"Record verified: {pluralize(verified['forecasts'], 'forecast')} and "
        f"{pluralize(verified['outcomes'], 'outcome')} in one chain of hashes, up to the signed checkpoint "
        f"{verified['checkpoint']}."
    )
    console.print()
    for horizon in of:
        console.print(_error(horizon, record[horizon]), highlight=False)
    for horizon, own in of.items():
        if own.leader_brier is not None:
            console.print(_beside_the_leader(horizon, record[horizon], own.leader_brier), highlight=False)
    console.print(_WHY)
    console.print(_SMALL, style="dim", highlight=False)
    console.print()
    console.print(_next(), highlight=False)


def _next() -> str:
    """Return the commands to continue with, with their folder if this shell would not find them.

    In a clone, programs are in .venv.
    """
    folder = "" if shutil.which("dejavu") else f"{os.path.relpath(Path(sys.executable).parent)}{os.sep}"
    page, server = f"{folder}dejavu demo --page", f"{folder}dejavu-server --help"
    width = max(len(page), len(server))
    return (
        "Next:\n"
        f"  {page:{width}}    # such an evening in your browser\n"
        f"  {server:{width}}    # a server of your own (see README.md)"
    )


def _held(card: Scorecard, _: HorizonSummary) -> str:
    for each in card.coverage:
        if abs(each.alpha - 0.05) < 1e-9:
            low, high = (f"{100 * end:.1f}" for end in (each.lower, each.upper))
            return f"{100 * each.coverage:.1f} % ({low} to {high})"
    return "–"


def _brier(card: Scorecard, _: HorizonSummary) -> str:
    interval = between(card.brier, 3, sign=False)
    return f"{card.brier.value:.3f}" + (f" ({interval})" if interval else "")


def _leader_brier(_: Scorecard, of: HorizonSummary) -> str:
    return "–" if of.leader_brier is None else f"{of.leader_brier:.3f}"


_ROWS: Final[Sequence[tuple[str, Callable[[Scorecard, HorizonSummary], str]]]] = (
    ("95 % intervals that held", _held),
    ("Brier score", _brier),
    ("Brier score of the leader", _leader_brier),
)


def _error(horizon: Horizon.ValueType, card: Scorecard) -> str:
    interval = between(card.mae_difference, 2, sign=True)
    return (
        f"Mean absolute error of the {horizon_label(horizon)}: {card.mae.value:.2f} points, of persistence "
        f"{card.persistence_mae.value:.2f}; difference {signed(card.mae_difference.value, 2)}"
        + (f" ({interval}): {verdict(card.mae_difference, card.games)}" if interval else "")
        + "."
    )


def _beside_the_leader(horizon: Horizon.ValueType, card: Scorecard, leader: float) -> str:
    """Compare the Brier score with that of the leader; the scorecard has no interval of the difference."""
    text = (
        f"Brier score of the {horizon_label(horizon)}: difference from the leader's "
        f"{signed(card.brier.value - leader, 3)}"
    )
    if not (card.brier.HasField("lower") and card.brier.HasField("upper")):
        return f"{text}."
    if card.brier.lower <= leader <= card.brier.upper:
        return f"{text}; the leader's lies in the interval above, which does not tell them apart."
    return f"{text}; the leader's lies {'above' if leader > card.brier.upper else 'below'} the interval above."
