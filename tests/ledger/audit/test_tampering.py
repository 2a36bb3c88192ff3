"""Tampering with a ledger's file: verification with an external checkpoint detects changes, removals and rebuilds."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.harness.laws import NIGHTLY
from tests.support.tampering.tamper_kinds import KINDS, entries, rewrite, sign_again
from tests.support.tampering.tampering import CHECKS, DERIVED, TABLES, Specimen, Tampering, full_specimen, rows

from dejavu_ledger import LedgerError, verify
from dejavu_ledger.audit.checkpoints import load_or_create
from dejavu_ledger.entries import codec
from dejavu_ledger.records import Checkpoint

Steps = tuple[str | int, ...]


def fields(entries: list[tuple[int, dict[str, Any]]], kind: str) -> dict[str, tuple[int, Steps, list[Any]]]:
    """Return each field of a kind of entry: the last entry in which it is not empty, the steps to it, and its values.

    A field is called by the names that lead to it, those of the payload by the names in it; of a list, the first item
    is taken. The last of the values is that of the entry.
    """
    found = dict[str, tuple[int, Steps, list[Any]]]()
    for sequence, entry in entries:
        for steps, value in _leaves(entry) if entry["kind"] == kind else ():
            path = ".".join(str(step) for step in steps if not isinstance(step, int)).removeprefix("payload.")
            if value not in (None, []):
                found[path] = sequence, steps, [*(found[path][2] if path in found else []), value]
    return found


def _leaves(value: Any, steps: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, (*steps, key))
    elif isinstance(value, list) and value:
        yield from _leaves(value[0], (*steps, 0))
    else:
        yield steps, value


def put(entry: dict[str, Any], steps: Steps, value: Any) -> None:
    """Put a value into an entry."""
    place: Any = entry
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = value


def possible(value: Any, others: Sequence[Any] = ()) -> list[Any]:
    """Return values of the same type in place of a value: first those that other rows have, then those near it."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value + 0.25, value - 0.25]
    if isinstance(value, bytes):
        return [
            value[:place] + bytes([value[place] ^ 1 << place % 8]) + value[place + 1 :]
            for place in (0, len(value) // 2, len(value) - 1)
        ]
    seen = [each for each in dict.fromkeys([*others, *_NAMES.get(value, ())]) if each != value]
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        seen = seen or [f"{date.fromisoformat(value) - timedelta(days=30)}"]
    return seen or [value[:-1] + ("1" if value[-1:] != "1" else "2")]


_PAIRS: Final = (
    "home away",
    "above below",
    "lead total",
    "halftime final",
    "low high",
    "later_second time",
    "feed caller",
)
_NAMES: Final = {name: pair.split() for pair in _PAIRS for name in pair.split()} | {"moderate": ["low", "high"]}
"""Name in an entry → names that may stand in its place."""


pytestmark = pytest.mark.sqlite

DOCUMENT = Path(__file__).parents[3] / "docs/record.md"

TOLERANCE = timedelta(days=1)
"""More than this module takes on a busy machine; kinds of tampering with a time are off by five days."""

CACHES = {"checkpoints", "snapshots"}
"""Tables whose removed rows are not detected (see the docstring of verification.py)."""


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    return full_specimen(tmp_path_factory.mktemp("ledger"))


def test_the_ledger_is_sound_and_has_something_in_every_table(specimen: Specimen) -> None:
    with specimen.copy() as (url, _):
        found = verify(url, specimen.kept, public_keys=[specimen.kept.public_key])
    assert (found.sequence, found.hash) == (specimen.kept.sequence, specimen.kept.hash.hex())
    assert (found.checkpoints, found.snapshots) == tuple(len(specimen.rows[each]) for each in sorted(CACHES))
    assert min(len(rows) for rows in specimen.rows.values()) > 0


@pytest.mark.parametrize("kind", [pytest.param(kind, id=f"{kind.place}: {kind.what}") for kind in KINDS])
def test_a_kind_of_tampering_is_found_by_the_check_that_the_documentation_names(
    specimen: Specimen, kind: Tampering
) -> None:
    with specimen.copy() as (url, database):
        before = list(database.iterdump())
        kind.do(database, specimen.key)
        assert list(database.iterdump()) != before
        for kept, check in ((None, kind.alone), (specimen.kept, kind.held)):
            if check is None:
                verify(url, kept, clock_tolerance=TOLERANCE)
                continue
            with pytest.raises(LedgerError, match=CHECKS[check]):
                verify(url, kept, clock_tolerance=TOLERANCE)


def test_the_documentation_counts_the_kinds_of_tampering_and_lists_those_that_are_never_found() -> None:
    listed = re.findall(r"^\| .* \| not found \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert listed == [kind.row for kind in KINDS if kind.held is None]
    explained = re.findall(r"^\| \*\*(.+?)\*\* \|", DOCUMENT.read_text(), re.MULTILINE)
    assert explained == list(CHECKS)
    of_kinds = {check for kind in KINDS for check in (kind.alone, kind.held)}
    assert of_kinds | {*COLUMNS.values(), *OTHER_COLUMNS.values()} == {*CHECKS, None}
    prose = " ".join(DOCUMENT.read_text().split())
    counted = re.search(r"(\d+) kinds of .*? (\d+) are found in the ledger alone, (\d+) with", prose)
    assert counted is not None
    alone, held = (sum(getattr(kind, found) is not None for kind in KINDS) for found in ("alone", "held"))
    assert [int(each) for each in counted.groups()] == [len(KINDS), alone, held]


def found_by(url: str, kept: Checkpoint | None = None) -> str | None:
    """Return the check that finds that a ledger was tampered with; None if none does."""
    try:
        verify(url, kept, clock_tolerance=TOLERANCE)
    except LedgerError as error:
        # An entry from which no row can be computed is named with the reason.
        return next((name for name, text in CHECKS.items() if re.search(text, str(error))), "rows")
    return None


COLUMNS = {
    "schema_version": "schema",
    "ledger": "own checkpoints",
    "entries": "chain",
    **dict.fromkeys((*DERIVED, "scores"), "rows"),
    "checkpoints": "own checkpoints",
    "snapshots": "snapshot",
}
"""Table → the check that finds an altered value of any of its columns, a row too few or a row too many, except below.
"""

OTHER_COLUMNS = {
    "ledger.id": "file",
    "ledger.epoch": "kept checkpoint",
    "entries.kind": "kind",
    "ledger.too few": "identity",
    "ledger.too many": "file",
}


def test_a_value_altered_in_any_column_and_a_row_too_few_or_too_many_in_any_table_is_found(specimen: Specimen) -> None:
    found = dict[str, str]()

    def tamper(place: str, statement: str, *values: Any) -> None:
        with specimen.copy() as (url, database):
            try:
                database.execute(statement, values)
            except sqlite3.IntegrityError:
                return  # SQLite refuses it
            if not _same(rows(database), specimen.rows):  # otherwise SQLite converted it to the old value
                check = found_by(url) or found_by(url, specimen.kept)
                assert check is not None, (place, values)
                found.setdefault(place, check)

    moved = {"sequence": 1000, "forecast_sequence": 1000, "id": 1, "revision": 10, "game_id": "1", "version": "1"}
    for table in TABLES:
        # Of each column: of the last row in which it is not empty.
        filled = {name: row for row in specimen.rows[table] for name, value in row.items() if value not in {None, b""}}
        for column in filled.keys() - {"rowid_"}:
            row, value = filled[column], filled[column][column]
            unlike = value[:-1] if isinstance(value, bytes) else str(value).encode()
            for new in (*possible(value)[: None if NIGHTLY else 1], unlike, None):
                tamper(f"{table}.{column}", f"UPDATE {table} SET {column} = ? WHERE rowid = ?", new, row["rowid_"])
        row = dict(specimen.rows[table][-1])
        del row["rowid_"]
        further = {name: value + moved[name] if name in moved else value for name, value in row.items()}
        places = ", ".join("?" * len(further))
        tamper(f"{table}.too many", f"INSERT INTO {table} VALUES ({places})", *further.values())
        if table not in CACHES:
            tamper(f"{table}.too few", f"DELETE FROM {table} WHERE rowid = (SELECT min(rowid) FROM {table})")
    assert len(found) > 100
    assert found == {name: OTHER_COLUMNS.get(name, COLUMNS[name.partition(".")[0]]) for name in found}


SIDE = "decimal_odds expected_value fair_probability implied_probability staking_probability win_probability"
SIDES = {"above": f"{SIDE} kelly_fraction stake stake_fraction", "below": SIDE}

FIELDS = {
    codec.FORECAST: {
        "hindsight": "late forecast.elapsed_minutes request.game_date request.moment.period",
        "rows": "kind sequence request.game_id",
        "choice": "forecast.model_version forecast.roster_sequence",
        "revision": "revision",
    },
    codec.OUTCOME: {
        "revision": "revision differential away_team home_team game_id horizon total_points withdrawn",
        "rows": "kind sequence players",
    },
    codec.MARKET: {
        "answer": "answer.confidence_met answer.overround answer.push_probability answer.risk_level answer.side"
        " answer.stake market.policy.confidence_threshold market.policy.kelly_fraction market.policy.model_share"
        " forecast_sequence market.above_odds market.bankroll market.below_odds "
        + " ".join(f"answer.{side}.{name}" for side, names in SIDES.items() for name in names.split()),
        "rows": "kind sequence market.kind market.line",
        "revision": "revision",
    },
    codec.SHADOW: {
        "shadow": "forecast.elapsed_minutes forecast.model_version of",
        "rows": "kind sequence",
        "revision": "revision",
    },
    codec.MODEL: {"models": "action model_version", "rows": "kind sequence", "revision": "revision"},
}
"""Kind of entry → check that finds an altered field without a kept checkpoint → the fields."""


@pytest.mark.parametrize("kind", FIELDS)
def test_a_value_altered_in_any_field_of_an_entry_is_found_even_if_all_hashes_are_signed_again(
    specimen: Specimen, kind: str
) -> None:
    """A kept checkpoint has another hash; without one, what contradicts other entries is found."""
    alone = dict[str, set[str]]()
    with specimen.copy() as (_, database):
        every = fields(entries(database), kind)
    for path, (sequence, steps, [*others, value]) in every.items():
        new = possible(value, others)[0]
        with specimen.copy() as (url, database):
            rewrite(database, sequence, partial(put, steps=steps, value=new))
            sign_again(database, load_or_create(specimen.key))
            [signed] = database.execute("SELECT hash FROM entries WHERE sequence = ?", (specimen.kept.sequence,))
            assert signed != (specimen.kept.hash,)
            if (check := found_by(url)) is not None:
                alone.setdefault(check, set()).add(path)
    assert alone == {check: set(names.split()) for check, names in FIELDS[kind].items()}


@given(data=st.data())
def test_any_bit_of_the_file_may_turn_and_no_row_is_another_unnoticed(specimen: Specimen, data: st.DataObject) -> None:
    place, bit = data.draw(st.integers(0, len(specimen.content) - 1)), data.draw(st.integers(0, 7))
    content = bytearray(specimen.content)
    content[place] ^= 1 << bit
    (specimen.folder / "turned.db").write_bytes(content)
    try:
        verify(f"sqlite:///{specimen.folder}/turned.db", specimen.kept)
    except LedgerError:
        return
    finally:
        for each in specimen.folder.glob("turned.db-*"):
            each.unlink()
    with closing(sqlite3.connect(specimen.folder / "turned.db")) as database:
        assert _same(rows(database), specimen.rows)


def _same(some: Any, others: Any) -> bool:
    return repr(some) == repr(others)  # repr distinguishes 0 from 0.0
