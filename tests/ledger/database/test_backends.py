"""All backends, SQLite, PostgreSQL and the one in memory, do what the ledger needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.database.conformance import BackendConformance
from tests.support.fakes.memory_backend import MemoryBackend
from tests.support.processes.postgres import database_without_ledger, postgres_ledger

from dejavu_ledger.database.backend import Backend
from dejavu_ledger.database.postgres.backend import PostgresBackend
from dejavu_ledger.database.sqlite.backend import SqliteBackend


class TestSqlite(BackendConformance):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        opened = SqliteBackend(f"sqlite:///{tmp_path}/ledger.db")
        yield opened
        opened.close()


class TestMemory(BackendConformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        opened = MemoryBackend()
        yield opened
        opened.close()


class TestPostgres(BackendConformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        with postgres_ledger() as url:
            opened = PostgresBackend(url)
            yield opened
            opened.close()

    @pytest.fixture
    def absent(self) -> Iterator[Backend]:
        with database_without_ledger() as url:
            opened = PostgresBackend(url)
            yield opened
            opened.close()
