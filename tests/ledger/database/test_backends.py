"""SQLite and PostgreSQL do what the ledger needs of a database, and refuse one that is not a ledger."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.processes.postgres import database_without_ledger, shared_server

from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.record_service_pb2 import GetPredictionRequest, ListPredictionsRequest
from dejavu_ledger import InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable, verify
from dejavu_ledger.audit.checkpoints import read_head
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Backend, Connection
from dejavu_ledger.database.backends import new_backend
from dejavu_ledger.errors import ReadStopped
from dejavu_ledger.queries.predictions import UnknownGame
from dejavu_server.api.converters.record_requests import game_query, list_query


class Place(NamedTuple):
    """An empty database: its URL, and a function that runs statements on it as another program would."""

    url: str
    execute: Callable[[str], object]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":

        def execute(statements: str) -> None:
            with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
                database.executescript(statements)

        yield Place(f"sqlite:///{tmp_path}/ledger.db", execute)
    else:
        with database_without_ledger() as url:
            yield Place(url, partial(shared_server().execute, database=url.rpartition("/")[2]))


@pytest.fixture
def backend(place: Place) -> Iterator[Backend]:
    with closing(new_backend(place.url)) as opened:
        opened.open(make=True)
        yield opened


def epoch(backend: Backend) -> str:
    with backend.read() as connection:
        return store.identity(connection).epoch


def set_epoch(connection: Connection, value: str) -> None:
    sql.rows(connection, "UPDATE ledger SET epoch = :epoch", epoch=value)


def test_of_many_that_make_a_new_ledger_at_once_one_does_and_all_have_it(place: Place) -> None:
    def made(_: int) -> str:
        with closing(new_backend(place.url)) as backend:
            backend.open(make=True)
            return epoch(backend)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(made, range(4)))) == 1


def test_a_failed_block_leaves_nothing_and_harms_no_later_one(backend: Backend) -> None:
    before = epoch(backend)

    def fail(statement: str) -> None:
        with backend.write() as connection:
            set_epoch(connection, "0" * 16)
            sql.rows(connection, statement)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail("SELECT 1")
    with pytest.raises(LedgerSchemaError) as failed:
        fail("SELECT secret FROM nowhere")
    assert "secret" not in str(failed.value)
    backend.probe()
    assert epoch(backend) == before


def test_a_reader_cannot_write(backend: Backend) -> None:
    with pytest.raises(LedgerUnavailable, match="read-only"), backend.read() as connection:
        set_epoch(connection, "f" * 16)


def test_a_snapshot_is_one_state_and_other_statements_see_the_newest(backend: Backend) -> None:
    with backend.read() as connection:
        with sql.snapshot(connection):
            before = store.identity(connection)
            with backend.write() as other:
                set_epoch(other, "f" * 16)
            assert store.identity(connection) == before
        assert store.identity(connection).epoch == "f" * 16


def test_a_stopped_read_ends_and_harms_no_later_one(backend: Backend) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(ReadStopped), backend.read(stop) as connection, sql.snapshot(connection):
        sql.rows(connection, endless)
    with pytest.raises(ReadStopped), backend.read(stop):
        raise AssertionError("it starts nothing")
    with backend.read(threading.Event()) as connection:
        assert store.head(connection).sequence == 0


_BOTH = {
    "CREATE TABLE notes (text TEXT)": "there is a table notes, which is not part of the schema",
    "DROP TABLE checkpoints": "checkpoints is missing; expected CREATE TABLE checkpoints",
    "ALTER TABLE entries ADD COLUMN note TEXT": "entries has",
    "ALTER TABLE forecasts DROP COLUMN scored_values": "forecasts has",
    "DROP INDEX ix_forecasts_day": "ix_forecasts_day is missing; expected CREATE INDEX ix_forecasts_day ON forecasts",
    "CREATE UNIQUE INDEX once ON forecasts (game_id, minute)": "there is a.*index once",
    "DROP INDEX ix_forecasts_day; CREATE INDEX ix_forecasts_day ON forecasts (day)": "where CREATE INDEX ix_forecasts_",
    "UPDATE schema_version SET version = '99'": "schema '99'; this release knows '1' alone",
    "DROP TABLE schema_version": "not a ledger: it contains other tables",
}
_ANEW = """
    ALTER TABLE markets RENAME TO old; DROP TABLE old; CREATE TABLE markets (
      sequence INTEGER NOT NULL, forecast_sequence INTEGER NOT NULL, on_total BOOLEAN NOT NULL, PRIMARY KEY (sequence)
    )
"""
_ON_SQLITE = {
    "CREATE TRIGGER t BEFORE INSERT ON markets BEGIN SELECT RAISE(IGNORE); END": "a trigger t on markets; expected no",
    _ANEW: r"markets has .* where .*UNIQUE \(forecast_sequence, on_total\)",
}
_ON_POSTGRESQL = {
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
    " CREATE TRIGGER t BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION f()": "entries has the trigger t where",
    "CREATE RULE quiet AS ON INSERT TO entries DO INSTEAD NOTHING": "entries has the rule quiet where nothing",
    "ALTER TABLE entries ENABLE ROW LEVEL SECURITY": "entries has a row security policy",
    "CREATE TABLE more () INHERITS (markets)": "child table|table more",
    "ALTER TABLE snapshots SET UNLOGGED": "snapshots has no write-ahead log",
    "ALTER TABLE forecasts DROP CONSTRAINT forecasts_key_revision_key": r"where UNIQUE \(key, revision\) is expected",
    "ALTER TABLE entries ALTER kind DROP NOT NULL": 'where kind TEXT COLLATE "C" NOT NULL is expected',
    'ALTER TABLE entries ALTER kind TYPE text COLLATE "default"': "kind TEXT NOT NULL where",
    "ALTER TABLE forecasts ALTER alpha TYPE real": "alpha REAL",
    "ALTER TABLE markets ADD CHECK (sequence > 5)": r"CHECK \(\(sequence > 5\)\) where nothing",
}
ALTERED = [
    *(("sqlite", *each) for each in (_BOTH | _ON_SQLITE).items()),
    *(("postgresql", *each) for each in (_BOTH | _ON_POSTGRESQL).items()),
]


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_statistics_that_sqlite_keeps_are_no_part_of_the_schema(place: Place, backend: Backend) -> None:
    with backend.write() as connection:
        sql.rows(connection, "INSERT INTO leases VALUES ('a', 'b', '', 1, 2)")
    place.execute("ANALYZE")
    backend.open(make=False)


@pytest.mark.parametrize(("place", "statement", "told"), ALTERED, indirect=["place"])
def test_other_objects_than_those_of_the_release_are_refused_by_name(place: Place, statement: str, told: str) -> None:
    with closing(new_backend(place.url)) as made:
        made.open(make=True)
    place.execute(statement)
    with closing(new_backend(place.url)) as altered:
        for opens in (lambda: altered.open(make=True), lambda: verify(place.url), lambda: read_head(place.url)):
            with pytest.raises(LedgerSchemaError, match=told):
                opens()


REFUSED_URLS = {
    "": "can name no ledger",
    "postgresql://h/x?nonsense=1": "",
    "mysql://dejavu:secret@host/record": "'mysql://dejavu:…@host/record' can name no ledger",
    "mysql://dejavu:se://cret@host/record": "'mysql://dejavu:…@host/record' can name no ledger",
    "dejavu:secret@host/record": "'dejavu:…@host/record' can name no ledger",
    "record.db": "for this file: sqlite:///record.db",
    "sqlite:///record.db?mode=ro": "PATH without '?'",
    "sqlite:///:memory:": "can name no ledger",
    "postgresql://dejavu:secret@host/record": "expected it in PGPASSWORD",
    "postgresql://dejavu@host/record?password=secret": "expected it in PGPASSWORD",
}
"""URL → what the refusal says."""


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_url_that_names_no_ledger_is_refused_with_what_is_expected_and_no_password(url: str) -> None:
    with pytest.raises(InvalidLedgerUrl) as raised:
        new_backend(url)
    assert REFUSED_URLS[url] in str(raised.value)
    assert "cret" not in str(raised.value)


def test_a_text_that_postgresql_cannot_store_is_found_nowhere_and_no_failure_of_the_ledger(backend: Backend) -> None:
    version = "e16662fab926e701\0"
    asked = ListPredictionsRequest(model_version=version, include_replays=True)
    unknown = GetPredictionRequest(game_id="0022300001", model_version=version, horizon=HORIZON_HALFTIME)
    with backend.read() as connection:
        assert list_query(asked)(connection).forecasts == []
        with pytest.raises(UnknownGame):
            game_query(unknown)(connection)
