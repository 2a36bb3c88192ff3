"""The server's scorecards of an evening, one line each, and a comparison with the poller's own metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.record_service_pb2 import Scorecard
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.formatting import horizon_label, percent, pluralize
from dejavu_client.poller.summary import HorizonSummary, Summary
from dejavu_client.requests import FINAL, HALFTIME

Record = Mapping[Horizon.ValueType, Scorecard]

_SAME: Final = 1e-6
"""Tolerance when comparing two means of the same values, which are summed in different orders."""


async def fetch_scorecards(client: AsyncDejavuClient) -> Record:
    """Fetches the scorecard of each horizon over all forecasts recorded by the server, replays included.

    Raises:
        DejavuClientError: if a call fails.
    """
    return {horizon: await client.get_scorecard(horizon=horizon, include_replays=True) for horizon in (HALFTIME, FINAL)}


def record_lines(record: Record) -> list[str]:
    """Returns a line for each horizon that has settled forecasts."""
    return [_line(horizon, card) for horizon, card in record.items() if card.games]


def disagreement(summary: Summary, record: Record) -> str:
    """Describes the first metric that differs between the poller's summary and the server's record; "" if none does.

    The record must contain only this evening.
    """
    for of in summary.horizons:
        if of.horizon not in record:
            continue
        for name, own, recorded in _figures(of, record[of.horizon]):
            if not math.isclose(own or 0.0, recorded, rel_tol=_SAME, abs_tol=_SAME):
                horizon = horizon_label(of.horizon)
                return f"for the {horizon} the server has {recorded:g} {name}, but the poller has {own or 0.0:g}"
    return ""


def _figures(of: HorizonSummary, card: Scorecard) -> Iterator[tuple[str, float | None, float]]:
    """Yields the name of each metric with the poller's and the server's value."""
    yield "games", of.settled_games, card.games
    yield "forecasts", of.settled, card.forecasts
    yield "as mean absolute error", of.error, card.mae.value
    yield "as that of persistence", of.persistence_error, card.persistence_mae.value
    yield "as Brier score", of.brier, card.brier.value


def _line(horizon: Horizon.ValueType, card: Scorecard) -> str:
    held = ", ".join(f"{percent(round(each.coverage, 3))} held at {percent(1 - each.alpha)}" for each in card.coverage)
    return (
        f"{horizon_label(horizon)}, {pluralize(card.games, 'game')}, {pluralize(card.forecasts, 'forecast')}: "
        f"MAE {card.mae.value:.2f} (persistence {card.persistence_mae.value:.2f}) · {held} · "
        f"CRPS {card.crps.value:.2f} · Brier {card.brier.value:.3f} · ECE {card.ece:.3f}"
    )


def record_entry(record: Record) -> list[dict[str, object]]:
    """Returns the scorecards as JSON objects, without their intervals."""
    return [
        {
            "horizon": Horizon.Name(horizon),
            "games": card.games,
            "forecasts": card.forecasts,
            "meanAbsoluteError": card.mae.value,
            "persistenceMeanAbsoluteError": card.persistence_mae.value,
            "coverage": {f"{1 - each.alpha:g}": each.coverage for each in card.coverage},
            "crps": card.crps.value,
            "brier": card.brier.value,
            "ece": card.ece,
        }
        for horizon, card in record.items()
        if card.games
    ]
