"""Prepared statements: what the driver returns is what SQLAlchemy returns, and so are its errors."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import ColumnElement, Select, create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import StaticPool

from dejavu_ledger.database.recording.prepared import MOST_VALUES, PreparedInsert, PreparedQuery
from dejavu_ledger.database.schema import entries, metadata


def _of_sequences(sequences: Sequence[ColumnElement[int] | int]) -> Select[tuple[int, str, bytes]]:
    return select(entries.c.sequence, entries.c.canonical, entries.c.hash).where(entries.c.sequence.in_(sequences))


def _row(sequence: int) -> dict[str, object]:
    return {"sequence": sequence, "kind": "forecast", "canonical": f"secret {sequence}", "hash": b"hash"}


def test_a_list_may_have_any_length_and_is_answered_as_by_sqlalchemy() -> None:
    query = PreparedQuery(_of_sequences)
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        metadata.create_all(connection)
        PreparedInsert(entries).execute(connection, [_row(sequence) for sequence in range(1, 2 * MOST_VALUES)])
        PreparedInsert(entries).execute(connection, [])
        for length in (1, 2, 3, 8, 9, MOST_VALUES, MOST_VALUES + 1, 2 * MOST_VALUES - 1):
            wanted = list(range(1, length + 1))
            expected = connection.execute(_of_sequences(wanted)).all()
            found = query.rows(connection, wanted)
            assert len(found) == length
            assert found == [tuple(row) for row in expected]
    engine.dispose()


def test_an_error_of_the_driver_is_one_of_sqlalchemy_without_the_values() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        metadata.create_all(connection)
        insertion = PreparedInsert(entries)
        insertion.execute(connection, [_row(1)])
        for rows in ([_row(1)], [_row(2), _row(1)]):
            with pytest.raises(IntegrityError) as failed:
                insertion.execute(connection, rows)
            assert "UNIQUE" in str(failed.value.orig)
            assert "secret" not in str(failed.value)
    engine.dispose()
