"""Fills the forecast columns that release 0.1.0 did not have, from the canonical forms of the entries."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from dejavu_server.ledger.errors import LedgerCorrupt

PAGE_SIZE = 2000
"""Rows per batch, which bounds memory for ledgers of any length."""

_HOUR_US = 3_600_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_TO_FILL = text(
    "SELECT f.sequence, f.game_id, f.generated_us, e.canonical FROM forecasts f JOIN entries e"
    " ON e.sequence = f.sequence WHERE f.sequence > :after AND f.day = 0 ORDER BY f.sequence LIMIT :page"
)

_FILL = text(
    "UPDATE forecasts SET day = :day, home_team = :home_team, away_team = :away_team, model_version = :model_version,"
    " minute = :minute, alpha = :alpha, confidence = :confidence, replay = :replay WHERE sequence = :sequence"
)


def backfill(connection: Connection) -> None:
    """Fills every row whose day is 0, in batches, in the connection's transaction.

    Raises:
        LedgerCorrupt: if the entry of a row cannot be parsed.
    """
    after = 0
    while rows := connection.execute(_TO_FILL, {"after": after, "page": PAGE_SIZE}).all():
        after = rows[-1].sequence
        connection.execute(_FILL, [_columns(*row) for row in rows])


def _columns(sequence: int, game_id: str, generated_us: int, canonical: str) -> dict[str, Any]:
    try:
        payload = json.loads(canonical)["payload"]
        request, forecast = payload["request"], payload["forecast"]
        home_lead = float(forecast["home_lead_probability"])
        return {
            "sequence": sequence,
            "day": _EPOCH_DAY + (generated_us - 11 * _HOUR_US) // (24 * _HOUR_US),  # see records.game_day
            "home_team": request["home_team"],
            "away_team": request["away_team"],
            "model_version": forecast["model_version"],
            "minute": forecast["elapsed_minutes"],
            "alpha": request["alpha"],
            "confidence": max(home_lead, 1.0 - home_lead),
            "replay": game_id.startswith("99"),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerCorrupt(f"the ledger is damaged: entry {sequence} cannot be read back") from error
