"""Query plans: queries of every call read only a few rows, whatever the size of the ledger."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from tests.support.builders.issued_forecasts import GAME, current, game, issued
from tests.support.builders.model_changes import champion, shadow
from tests.support.builders.outcomes import answered, asked, outcome

from dejavu_models.types import Horizon
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.recording import prepared
from dejavu_server.ledger.queries import model_changes, scorecards
from dejavu_server.ledger.queries.scorecards import ScoreFilter
from dejavu_server.records import IssuedForecast

pytestmark = pytest.mark.sqlite

SCANNED = {
    "SCAN ledger",  # one row
    "SCAN snapshots",  # one row for many outcomes
    "SCAN model_changes",  # all of them, which are few, for the roster
    "SCAN entries",  # from the newest entry back to the first match
}


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Statements that the test executed, with their parameters."""
    found: dict[str, Any] = {}

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        found[statement] = parameters[0] if many else parameters

    run = prepared.run_on_driver

    def note_prepared(connection: Any, sql: str, parameters: Any = (), *, many: bool = False) -> Any:
        found[sql] = parameters[0] if many else parameters
        return run(connection, sql, parameters, many=many)

    event.listen(Engine, "before_cursor_execute", note)
    monkeypatch.setattr(prepared, "run_on_driver", note_prepared)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


async def test_every_statement_finds_its_rows_by_an_index(
    ledger: Ledger, tmp_path: Path, statements: dict[str, Any]
) -> None:
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
    await ledger.head()
    for games in (frozenset[str](), frozenset({game(1)})):
        await current(ledger, games, datetime.now(UTC) - timedelta(hours=12), 100)
    await ledger.resume_position(ledger.token(1))
    await ledger.read(store.identity)
    queries = [text for text in statements if text.startswith(("SELECT", "WITH", "DELETE", "UPDATE"))]
    assert len(queries) >= 12
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        for query in queries:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", statements[query])]
            scans = {step for step in plan if step.startswith("SCAN")} - SCANNED
            assert not scans, f"{query}\n{plan}"


async def test_the_newest_forecasts_of_the_last_hours_are_read_in_order_from_the_first_of_them(
    ledger: Ledger, tmp_path: Path, statements: dict[str, Any]
) -> None:
    await ledger.commit([issued(game(n)) for n in range(20)])
    statements.clear()
    await current(ledger, frozenset(), datetime.now(UTC) - timedelta(hours=12), 100)
    first, page = [text for text in statements if "generated_us" in text]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        plans = [
            [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", statements[query])]
            for query in (first, page)
        ]
    assert plans[0] == ["SEARCH forecasts USING COVERING INDEX ix_forecasts_current (generated_us>?)"]
    assert plans[1][0] == "SEARCH forecasts USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
    [newer] = [step for step in plans[1] if "newer" in step]
    assert newer.endswith("USING INDEX ix_forecasts_game (game_id=? AND horizon=? AND sequence>? AND sequence<?)")
    assert not [step for step in plans[1] if "TEMP B-TREE" in step]


async def test_the_size_and_the_position_of_a_scorecard_are_read_from_indexes_alone(
    ledger: Ledger, tmp_path: Path, statements: dict[str, Any]
) -> None:
    await ledger.read(scorecards.position)
    for given in ({"game_id": GAME}, {"first_day": 1}, {"team": "BOS"}, {"model_version": "v1"}):
        await ledger.read(partial(scorecards.is_small, filter_=ScoreFilter(**given)))
    queries = [text for text in statements if text.startswith("SELECT") and "ledger" not in text]
    assert len(queries) == 5
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        for query in queries:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", statements[query])]
            steps = [step for step in plan if "forecasts" in step or "outcomes" in step]
            assert steps
            assert all(step.startswith("SEARCH") for step in steps), plan
            assert all("COVERING INDEX" in step or step == "SEARCH outcomes" for step in steps) or "team" in query
