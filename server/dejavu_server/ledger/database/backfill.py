"""Gives forecasts that release 0.1.0 indexed the columns that came later, from their canonical forms."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from dejavu_server.ledger.errors import LedgerCorrupt

PAGE = 2000
"""How many rows are filled at once: what is read of them stays small, however long the ledger."""

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
    """Fills every row whose day is 0, in the connection's transaction, page by page.

    Raises:
        LedgerCorrupt: if the entry of one cannot be read.
    """
    after = 0
    while found := connection.execute(_TO_FILL, {"after": after, "page": PAGE}).all():
        after = found[-1].sequence
        connection.execute(_FILL, [_columns(*row) for row in found])


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
