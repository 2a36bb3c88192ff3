"""Query plans: queries of every call read only a few rows, whatever the size of the ledger."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.empty_ledger import put_empty_ledger
from tests.support.builders.issued_forecasts import GAME, current, game, issued
from tests.support.builders.model_changes import champion, shadow
from tests.support.builders.outcomes import answered, asked, outcome
from tests.support.builders.record_book import EVENING
from tests.support.harness.tokens import token_of

from dejavu_common.clock import game_day
from dejavu_ledger import Ledger
from dejavu_ledger.database import store
from dejavu_ledger.database.backend import Connection, StopSignal
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.queries import model_changes, pages, scorecards
from dejavu_ledger.queries.pages import ForecastFilter
from dejavu_ledger.queries.scorecards import KnownScores, ScoreFilter
from dejavu_ledger.records import IssuedForecast
from dejavu_models.types import Horizon

pytestmark = pytest.mark.sqlite

SCANNED = {
    "SCAN ledger",  # one row
    "SCAN snapshots",  # one row for many outcomes
    "SCAN n",  # one or two rows for each requested key
    "SCAN newest",
    "SCAN l",  # the one row of the ledger
    "SCAN page",  # of the entries of a page
    "SCAN entries",  # from the newest entry back to the first match
}


class Traced(SqliteBackend):
    """A ledger whose statements are noted, with their values in them.

    Attributes:
        statements: those that ran, oldest first.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:///{path}")
        self.path = path
        self.statements: list[str] = []

    @contextmanager
    def read(self, stop: StopSignal | None = None) -> Iterator[Connection]:
        with super().read(stop) as connection, self._traced(connection):
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as connection, self._traced(connection):
            yield connection

    @contextmanager
    def _traced(self, connection: Connection) -> Iterator[None]:
        connection.driver.set_trace_callback(self.statements.append)
        yield
        connection.driver.set_trace_callback(None)

    def plan(self, statement: str) -> list[str]:
        """Return the steps of a statement."""
        with closing(sqlite3.connect(self.path)) as database:
            return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}")]


@pytest.fixture
def traced(tmp_path: Path) -> Traced:
    put_empty_ledger(tmp_path / "ledger.db")
    return Traced(tmp_path / "ledger.db")


@pytest.fixture
async def ledger(traced: Traced) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(traced)
    traced.statements.clear()
    yield opened
    await opened.close()


async def test_every_statement_finds_its_rows_by_an_index(ledger: Ledger, traced: Traced) -> None:
    await ledger.commit([issued(game(n)) for n in range(20)])
    await ledger.commit([asked(issued(), answered(None)), issued(horizon=Horizon.FINAL)])
    await ledger.commit([asked(issued(), answered(None))])
    for differential in (3, 3, 4):
        await ledger.record_outcome(replace(outcome(differential), home_team="", away_team=""))
    await ledger.commit([issued(pattern=(9.0,))])
    [first, *_] = await ledger.read_after(0, 1)
    assert isinstance(first, IssuedForecast)
    await ledger.record_shadows([shadow(first)])
    await champion(ledger, "v1", "v2")
    await ledger.commit([replace(issued(game(30)), roster_sequence=0)])
    await ledger.read(model_changes.newest_change)
    await ledger.read(partial(model_changes.read_changes, after=3))
    await ledger.newest()
    await ledger.position()
    for games in (frozenset[str](), frozenset({game(1)})):
        await current(ledger, games, datetime.now(UTC) - timedelta(hours=12), 100)
    await ledger.resume_position(await token_of(ledger, 1))
    await ledger.read(store.identity)
    queries = {each for each in traced.statements if each.lstrip().startswith(("SELECT", "WITH", "DELETE", "UPDATE"))}
    assert len(queries) >= 12
    for query in queries:
        plan = traced.plan(query)
        scans = {step for step in plan if step.startswith("SCAN") and "json_each" not in step} - SCANNED
        assert not scans, f"{query}\n{plan}"


async def test_revisions_of_a_key_are_walked_once_though_all_are_late(ledger: Ledger, traced: Traced) -> None:
    """The write lock is held meanwhile: one walk per revision took seconds for a batch of games with a thousand."""
    began, number = datetime.now(UTC), 200
    late = began + timedelta(hours=1)
    await ledger.commit([issued(game(n), (1.0,) * 30, generated_time=began) for n in range(2)])
    await ledger.commit(
        [issued(game(n), (float(each),), generated_time=late) for n in range(2) for each in range(number)]
    )
    other = Traced(traced.path)
    opened = await Ledger.open(other)
    await opened.commit([issued(game(n), (float(number),), generated_time=late) for n in range(2)])
    await opened.close()
    steps = list[int]()
    with closing(sqlite3.connect(traced.path)) as connection:
        connection.set_progress_handler(lambda: steps.append(100), 100)
        for query in (each for each in other.statements if "canonical" in each and "SELECT" in each):
            connection.execute(query).fetchall()
    assert sum(steps) < 100 * 2 * number


TODAY = game_day(EVENING).toordinal()
CONDITIONS: dict[str, tuple[dict[str, Any], str]] = {
    "everything": ({}, "INTEGER PRIMARY KEY|ix_forecasts_game"),
    "a game": ({"game_id": GAME}, "ix_forecasts_game"),
    "days": ({"first_day": TODAY}, "ix_forecasts_day"),
    "a team": ({"team": "BOS"}, "ix_forecasts_(home|away)"),
    "a model": ({"model_version": "v1"}, "ix_forecasts_model"),
}
"""Conditions of a read, and the index that it uses."""
READS: dict[str, Callable[[Connection, dict[str, Any]], object]] = {
    "page": lambda connection, given: pages.page(connection, ForecastFilter(**given), "", 50),
    "card": lambda connection, given: scorecards.settled(connection, ScoreFilter(**given)),
    "unsettled games": lambda connection, given: KnownScores().unsettled(connection, ScoreFilter(**given), EVENING),
}


@pytest.mark.parametrize(("given", "index"), CONDITIONS.values(), ids=CONDITIONS)
@pytest.mark.parametrize("name", READS)
async def test_lists_and_cards_go_along_an_index(
    ledger: Ledger, traced: Traced, name: str, given: dict[str, Any], index: str
) -> None:
    await ledger.commit([issued(game(n)) for n in range(5)])
    traced.statements.clear()
    await ledger.read(lambda connection: READS[name](connection, given))
    reads = [each for each in traced.statements if "FROM forecasts" in each or "JOIN forecasts" in each]
    steps = [step for each in reads for step in traced.plan(each)]
    assert not any(step.startswith("SCAN f") for step in steps), steps
    if name == "page":
        assert not any("TEMP B-TREE" in step for step in steps), "it sorts nothing"
        assert any(step.startswith("SEARCH f") and re.search(index, step) for step in steps), steps
