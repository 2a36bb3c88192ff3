"""Compares the poller's summary of an evening with the server's scorecards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_cli.output.scores import Record
from dejavu_client.formatting import horizon_label
from dejavu_poller.summary import HorizonSummary, Summary

_SAME: Final = 1e-6
"""Tolerance when comparing two means of the same values, which are summed in different orders."""


def disagreement(summary: Summary, record: Record) -> str:
    """Describe the first metric that differs between the poller's summary and the server's record; "" if none does.

    The record must contain only this evening.
    """
    for of in summary.horizons:
        if of.horizon not in record:
            continue
        for name, own, recorded in _compared(of, record[of.horizon]):
            if not math.isclose(own or 0.0, recorded, rel_tol=_SAME, abs_tol=_SAME):
                horizon = horizon_label(of.horizon)
                return f"for the {horizon} the server has {recorded:g} {name}, but the poller has {own or 0.0:g}"
    return ""


def _compared(of: HorizonSummary, card: Scorecard) -> Iterator[tuple[str, float | None, float]]:
    """Yield the name of each metric with the poller's and the server's value."""
    yield "games", of.settled_games, card.games
    yield "forecasts", of.settled, card.forecasts
    yield "as mean absolute error", of.error, card.mae.value
    yield "as that of persistence", of.persistence_error, card.persistence_mae.value
    yield "as Brier score", of.brier, card.brier.value
