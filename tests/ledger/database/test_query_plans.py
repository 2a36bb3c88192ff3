"""Query plans: queries of every call read only a few rows, whatever the size of the ledger."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from tests.support.builders.issued_forecasts import GAME, current, game, issued
from tests.support.builders.model_changes import champion, change_models, shadow
from tests.support.builders.outcomes import answered, asked, outcome
from tests.support.builders.record_book import EVENING, RecordBook, forecast, new_book

from dejavu_common.clock import game_day
from dejavu_ledger import Ledger
from dejavu_ledger.database import store
from dejavu_ledger.database.recording import prepared
from dejavu_ledger.queries import model_changes, pages, scorecards
from dejavu_ledger.queries.pages import ForecastFilter
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.queries.unsettled import unsettled_games
from dejavu_ledger.records import IssuedForecast
from dejavu_models.types import Horizon
from dejavu_store.stages import ModelAction

pytestmark = pytest.mark.sqlite

SCANNED = {
    "SCAN ledger",  # one row
    "SCAN snapshots",  # one row for many outcomes
    "SCAN newest",  # one or two rows for each requested key
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


async def test_revisions_of_a_key_are_walked_once_though_all_are_late(
    ledger: Ledger, url: str, tmp_path: Path, statements: dict[str, Any]
) -> None:
    """The write lock is held meanwhile: one walk per revision took seconds for a batch of games with a thousand."""
    began, number = datetime.now(UTC), 200
    late = began + timedelta(hours=1)
    await ledger.commit([issued(game(n), (1.0,) * 30, generated_time=began) for n in range(2)])
    await ledger.commit(
        [issued(game(n), (float(each),), generated_time=late) for n in range(2) for each in range(number)]
    )
    other = await Ledger.open(url)
    statements.clear()
    await other.commit([issued(game(n), (float(number),), generated_time=late) for n in range(2)])
    await other.close()
    [(query, given)] = [
        (text, given) for text, given in statements.items() if "forecasts.pattern, entries.canonical" in text
    ]
    steps = list[int]()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.set_progress_handler(lambda: steps.append(100), 100)
        assert len(connection.execute(query, given).fetchall()) == 2
    assert sum(steps) < 100 * 2 * number


async def test_changes_of_models_are_read_once_and_without_the_entries_between_them(
    ledger: Ledger, tmp_path: Path, statements: dict[str, Any]
) -> None:
    known = model_changes.KnownRoster()
    await champion(ledger, "v1", "v2", "v3")
    plans = []
    for read in (known.read, known.read, partial(model_changes.newest_changes, limit=2)):
        statements.clear()
        await ledger.read(read)
        [plan] = [(text, given) for text, given in statements.items() if "JOIN model_changes" in text]
        plans.append(plan)
    statements.clear()
    await change_models(ledger, ModelAction.PROMOTE, "v2")
    [plan] = [(text, given) for text, given in statements.items() if "JOIN model_changes" in text]
    # The ledger knows the roster that its last change, the sixth, rested on.
    assert [given for _, given in [*plans, plan]] == [(0,), (6,), (7, 2, 0), (5,)]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        for text, given in plans:
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", given)]
            assert [step.split(" USING")[0] for step in steps] == ["SEARCH model_changes", "SEARCH entries"]


async def test_of_many_games_only_the_entries_of_a_page_are_read(
    ledger: Ledger, tmp_path: Path, statements: dict[str, Any]
) -> None:
    await ledger.commit([issued(game(n)) for n in range(20)])
    games = [game(n) for n in range(3, 18)]
    statements.clear()
    page = await ledger.read(partial(store.read_after, sequence=5, limit=4, game_ids=games))
    assert [each.sequence for each in page] == [6, 7, 8, 9]
    [(text, given)] = [(text, given) for text, given in statements.items() if "UNION ALL" in text]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", given)]
    texts_read = next(index for index, step in enumerate(steps) if step.startswith("SEARCH entries"))
    assert "USE TEMP B-TREE FOR ORDER BY" in steps[:texts_read], f"they are sorted before their texts are read: {steps}"


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
    "size of a card": lambda connection, given: scorecards.is_small(connection, ScoreFilter(**given)),
    "unsettled games": lambda connection, given: unsettled_games(connection, ScoreFilter(**given), EVENING),
}


@pytest.fixture(scope="module")
def book() -> Iterator[RecordBook]:
    with new_book() as made:
        made.predict(*(forecast(game(number)) for number in range(5)))
        yield made


@pytest.mark.parametrize(("given", "index"), CONDITIONS.values(), ids=CONDITIONS)
@pytest.mark.parametrize("name", READS)
def test_lists_and_cards_go_along_an_index(
    book: RecordBook, statements: dict[str, Any], name: str, given: dict[str, Any], index: str
) -> None:
    def plan(connection: Connection) -> list[str]:
        READS[name](connection, given)
        run = {text: values for text, values in statements.items() if "FROM forecasts" in text}
        found = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values) for text, values in run.items()]
        return [row.detail for rows in found for row in rows]

    steps = book.read(plan)
    assert "SCAN forecasts" not in steps
    if name == "page":
        assert not any("TEMP B-TREE" in step for step in steps), "it sorts nothing"
    if name in {"page", "card"}:
        assert any(step.startswith("SEARCH forecasts") and re.search(index, step) for step in steps), steps
