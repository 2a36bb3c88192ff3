"""Laws: whatever changes are asked for, all readers have the same roster, and the ledger is valid."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.model_changes import NOW, change
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import put_empty_ledger

from dejavu_models.errors import DejavuError
from dejavu_models.registry.stages import ModelAction, ModelChange, Roster
from dejavu_server.ledger import verify
from dejavu_server.ledger.database.sqlite.backend import SqliteBackend
from dejavu_server.ledger.queries import model_changes

pytestmark = pytest.mark.sqlite

VERSIONS = ("a", "b", "c", "d", "e", "f")


@st.composite
def changes(draw: st.DrawFn) -> ModelChange:
    action = draw(st.sampled_from(ModelAction))
    if action is ModelAction.ROUTE:
        share = st.tuples(st.sampled_from(VERSIONS), st.sampled_from([0.1, 0.5, 1.0]))
        return change(action, shares=tuple(draw(st.lists(share, max_size=2))))
    return change(action, draw(st.sampled_from(VERSIONS)), reason=draw(st.sampled_from(["", "tried"])))


@settings(max_examples=examples(15))
@given(asked=st.lists(changes(), max_size=40))
def test_what_is_recorded_is_what_the_roster_allows_and_every_reader_has_the_same(asked: list[ModelChange]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        put_empty_ledger(path)
        backend = SqliteBackend(f"sqlite:///{path}")
        backend.open(make=False)
        expected = Roster()
        recorded = 0
        for each in [change(ModelAction.REGISTER, version) for version in VERSIONS] + asked:
            with suppress(DejavuError), backend.write() as connection:
                before = expected
                expected, added = model_changes.append_change(
                    connection, model_changes.read_roster(connection), each, NOW
                )
                recorded += added is not None
                assert (added is None) == before.changes_nothing(each)
        with backend.read() as connection:
            assert model_changes.read_roster(connection) == expected
            assert model_changes.newest_change(connection) == expected.sequence == recorded
        backend.close()
        assert verify(f"sqlite:///{path}").model_changes == recorded
