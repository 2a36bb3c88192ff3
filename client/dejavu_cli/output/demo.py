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
from dejavu.v1.scorecard_pb2 import Figure, Scorecard
from dejavu_cli.output.scores import Record, between, verdict
from dejavu_client.formatting import horizon_label, pluralize, signed
from dejavu_client.transport.statistics import percentile
from dejavu_common.rich_console import Console
from dejavu_poller.summary import Summary

_PURPOSE: Final = (
    "Dejavu says during a game which past game went like it, and where it will end: a point, an interval that holds "
    "as often as it says, and who wins, in a record whose edits are detected."
)
_WHY: Final = (
    "The Brier score is the squared error of a probability: 0 is perfect, a coin flip has 0.25; the leader's is of the "
    "team ahead. Persistence repeats the current lead. Scores move nearly at random from the lead on, so it is hard to "
    "beat. What a lead alone does not give are intervals, and how likely it is to be kept."
)
_SMALL: Final = (
    "These are few games, simulated with the margins that the model expects; in brackets 95 % intervals over games. "
    "The README has the results on real seasons."
)


def print_results(
    console: Console,
    seen: str,
    summary: Summary,
    record: Record,
    latencies: Sequence[float],
    verified: Mapping[str, Any],
    *,
    page: bool,
) -> None:
    """Print the results of an evening.

    Args:
        console: where to print.
        seen: a game of the evening and the past game most like it; "" if none is known.
        summary: the poller's summary.
        record: the server's scorecards.
        latencies: seconds from the feed to the subscriber, ascending.
        verified: counts of the verified ledger: `forecasts`, `outcomes` and `checkpoint`.
        page: whether the page of the evening is shown already.
    """
    console.print(_PURPOSE, highlight=False)
    console.print()
    if seen:
        console.print(seen, highlight=False)
        console.print()
    missed = f", {pluralize(summary.missed, 'minute')} missed" if summary.missed else ""
    console.print(
        f"{pluralize(summary.games, 'game')} played, {pluralize(summary.forecasts, 'forecast')} of the half and of the "
        f"end: after every minute of play{missed}{_between_minutes(summary, record)}."
    )
    of = {horizon: card for horizon, card in record.items() if card.games}
    first = Table.grid(padding=(0, 3))
    first.add_row("", *(f"the {horizon_label(horizon)}" for horizon in of), style="dim")
    for name, cell in _ROWS:
        first.add_row(name, *map(cell, of.values()))
    console.print(first)
    if latencies:
        p50, p95 = percentile(latencies, 0.5), percentile(latencies, 0.95)
        console.print(
            f"Latency, feed to subscriber: p50 {p50:.2f} s, p95 {p95:.2f} s, with the wait for the next poll."
        )
    console.print(
        f"Record verified: {pluralize(verified['forecasts'], 'forecast')}{_not_counted(verified, record)} and "
        f"{pluralize(verified['outcomes'], 'outcome')} in one chain of hashes, up to the signed checkpoint "
        f"{verified['checkpoint']}."
    )
    console.print()
    for horizon, card in of.items():
        console.print(_error(horizon, card), highlight=False)
    for horizon, card in of.items():
        console.print(_beside_the_leader(horizon, card), highlight=False)
    console.print(_WHY)
    console.print(_SMALL, style="dim", highlight=False)
    console.print()
    console.print(_next(page=page), highlight=False)


def _next(*, page: bool) -> str:
    """Return the commands to continue with, with their folder if this shell would not find them.

    In a clone, programs are in .venv.
    """
    folder = "" if shutil.which("dejavu") else f"{os.path.relpath(Path(sys.executable).parent)}{os.sep}"
    lines = [] if page else [f"  {folder}dejavu demo --page      # such an evening in your browser"]
    return "\n".join(["Next:", *lines, f"  {folder}dejavu-server --help    # a server of your own (see README.md)"])


def _between_minutes(summary: Summary, record: Record) -> str:
    """Return how many forecasts the record has between minutes, at the end of a half and in overtime; "" if none."""
    settled = sum(each.settled for each in summary.horizons)
    count = sum(card.forecasts for card in record.values()) - settled
    return f", and {count} after plays of the last minutes" if count > 0 else ""


def _not_counted(verified: Mapping[str, Any], record: Record) -> str:
    """Return how many forecasts of the ledger the record leaves out; "" if none."""
    count = verified["forecasts"] - sum(card.forecasts for card in record.values())
    return f" ({count} late or corrected: kept, not counted)" if count > 0 else ""


def _held(card: Scorecard) -> str:
    for each in card.coverage:
        if abs(each.alpha - 0.05) < 1e-9:
            low, high = (f"{100 * end:.1f}" for end in (each.lower, each.upper))
            return f"{100 * each.coverage:.1f} % ({low} to {high})"
    return "–"


def _score(score: Figure) -> str:
    interval = between(score, 3, sign=False)
    return f"{score.value:.3f}" + (f" ({interval})" if interval else "")


_ROWS: Final[Sequence[tuple[str, Callable[[Scorecard], str]]]] = (
    ("95 % intervals that held", _held),
    ("Brier score", lambda card: _score(card.brier)),
    ("Brier score of the leader", lambda card: _score(card.leader_brier)),
)


def _error(horizon: Horizon.ValueType, card: Scorecard) -> str:
    difference = _difference(card.mae_difference, card.games, "persistence", 2)
    return (
        f"Mean absolute error of the {horizon_label(horizon)}: {card.mae.value:.2f} points, of persistence "
        f"{card.persistence_mae.value:.2f}; difference {difference}."
    )


def _beside_the_leader(horizon: Horizon.ValueType, card: Scorecard) -> str:
    difference = _difference(card.brier_difference, card.games, "the leader", 3)
    return f"Brier score of the {horizon_label(horizon)}: difference from the leader's {difference}."


def _difference(figure: Figure, games: int, rival: str, digits: int) -> str:
    interval = between(figure, digits, sign=True)
    return signed(figure.value, digits) + (f" ({interval}): {verdict(figure, games, rival)}" if interval else "")
