"""Marks forecasts and markets that were made with hindsight: after the outcome of their game was observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dejavu_ledger.database import sql
from dejavu_ledger.database.sql import Connection
from dejavu_models.types import Horizon

_VOID_BEFORE: Final = """
    SELECT void FROM outcomes WHERE game_id = :game_id AND horizon = :horizon AND revision = :revision - 1"""

_MARK_FORECASTS: Final = """
    UPDATE forecasts SET hindsight = :sequence
    WHERE game_id = :game_id AND minute <= :last AND sequence < :sequence AND generated_us > :observed_us
        AND hindsight IS NULL"""

_MARK_MARKETS: Final = """
    UPDATE markets SET hindsight = :sequence
    WHERE forecast_sequence IN (SELECT sequence FROM forecasts WHERE game_id = :game_id AND minute <= :last)
        AND sequence < :sequence AND sent_us > :observed_us AND hindsight IS NULL"""


def mark(connection: Connection, outcome: Mapping[str, Any]) -> None:
    """Mark what an outcome, if it is a first report, shows to have been made with hindsight (`GameRecord.hindsight`).

    These are the forecasts of its game, and the markets sent after them, that are recorded before the report and were
    made after its observed time; with an outcome of the half, only those from before the half.

    Args:
        connection: a connection in a transaction that holds the write lock.
        outcome: the row of `outcomes`.
    """
    values = {name: outcome[name] for name in ("sequence", "game_id", "horizon", "revision", "observed_us")}
    is_first = outcome["revision"] == 0 or sql.value(connection, _VOID_BEFORE, **values)
    if outcome["withdrawn"] or outcome["replay"] or not is_first:
        return
    values["last"] = Horizon(outcome["horizon"]).last_slot
    for statement in (_MARK_FORECASTS, _MARK_MARKETS):
        sql.run_each(connection, statement, [values])
