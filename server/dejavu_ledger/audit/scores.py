"""Verifies the scores of settled games: computes them again from the rows that were compared with the entries."""

from __future__ import annotations

from dejavu_ledger.audit.chain import equals_stored
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_ledger.scores import settling


def check_scores(connection: Connection) -> None:
    """Check that `scores` has the rows that follow from the other tables.

    Args:
        connection: a read connection.

    Raises:
        LedgerCorrupt: at the first row that is missing, altered, or of nothing reported; the message names it.
    """
    places = set(sql.rows(connection, "SELECT game_id, horizon FROM scores"))
    for (game_id,) in sql.rows(connection, "SELECT DISTINCT game_id FROM outcomes"):
        for expected in settling.settled_rows(connection, game_id):
            place = game_id, expected["horizon"]
            if place not in places:
                raise LedgerCorrupt(f"{_named(*place)} is missing")
            places.remove(place)
            columns = ", ".join(expected)
            of_place = f"SELECT {columns} FROM scores WHERE game_id = :game_id AND horizon = :horizon"  # noqa: S608
            [stored] = sql.rows(connection, of_place, game_id=game_id, horizon=place[1])
            for (column, value), found in zip(expected.items(), stored, strict=True):
                if not equals_stored(found, value):
                    raise LedgerCorrupt(f"{_named(*place)} does not match the entries: column {column} differs")
    for place in sorted(places, key=str):
        raise LedgerCorrupt(f"{_named(*place)} should not exist")


def _named(game_id: object, horizon: object) -> str:
    return f"the row in scores of game {game_id} at the {horizon}"
