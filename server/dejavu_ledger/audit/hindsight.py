"""Verifies the marks of hindsight of forecasts and markets, which follow from entries after their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dejavu_common.clock import from_microseconds
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_ledger.record import GameRecord

_MADE: Final = {
    "forecasts": "SELECT sequence, minute, generated_us, hindsight FROM forecasts WHERE game_id = :game_id",
    "markets": """
        SELECT markets.sequence, forecasts.minute, markets.sent_us, markets.hindsight
        FROM forecasts JOIN markets ON markets.forecast_sequence = forecasts.sequence WHERE forecasts.game_id = :game_id
    """,
}


def check(connection: Connection, games: Mapping[str, GameRecord]) -> None:
    """Check the marks of all forecasts and markets, whose other columns were compared with their entries before.

    Args:
        connection: a read connection.
        games: the states of all games after the last entry.

    Raises:
        LedgerCorrupt: at a mark that does not follow from the reports of the game; the message names its entry.
    """
    for game_id, game in games.items():
        for table, made in _MADE.items():
            for sequence, minute, made_us, mark in sql.rows(connection, made, game_id=game_id):
                time = None if made_us is None else from_microseconds(made_us)
                expected = None if time is None else game.hindsight(sequence, minute, time)
                if type(mark) is not type(expected) or mark != expected:
                    raise LedgerCorrupt(
                        f"entry {sequence}: the row in {table} does not match the entries: column hindsight differs"
                    )
