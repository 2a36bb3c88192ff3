"""Changes of models in the ledger: one order for all, nothing twice, nothing impossible, and who made them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import issued, recorded
from tests.support.builders.model_changes import NOW, champion, change, change_models
from tests.support.harness.documents import blocks
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import put_empty_ledger

from dejavu_ledger import Ledger, verify
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sqlite.backend import SqliteBackend
from dejavu_ledger.entries.model_changes import parse_change
from dejavu_ledger.errors import ModelsChanged
from dejavu_ledger.queries import model_changes
from dejavu_ledger.records import IssuedForecast
from dejavu_models.errors import DejavuError
from dejavu_models.results import Failed
from dejavu_server.admission.callers import CallerLimits, Callers
from dejavu_server.admission.refusals import CallerLimit
from dejavu_store.stages import (
    ModelAction,
    ModelChange,
    ModelEvidence,
    ModelInUse,
    ModelStage,
    Roster,
    WrongStage,
)


async def test_the_roster_is_what_the_changes_make_of_it_for_whoever_reads_them(ledger: Ledger, url: str) -> None:
    made = await champion(ledger, "v1", "v2")
    assert (made.champion, made.challengers, made.sequence) == ("v1", ("v2",), 4)
    other = await Ledger.open(url)
    assert await other.read(model_changes.KnownRoster().read) == made
    assert await other.read(model_changes.newest_change) == 4
    await other.close()
    assert verify(url).model_changes == 4


async def test_a_change_says_who_made_it_when_and_from_what_to_what(ledger: Ledger, url: str) -> None:
    await champion(ledger, "v1", "v2")
    evidence = ModelEvidence(
        "v1",
        games=140,
        crps_e_value=21.5,
        brier_e_value=33.0,
        crps_difference=-0.11,
        brier_difference=-0.002,
        coverage=0.94,
        crps_divergence=0.01,
        brier_divergence=0.0004,
    )
    fields = {"by": "token:ops", "reason": "better", "evidence": evidence, "from_version": "not looked at"}
    roster, recorded_ = await change_models(ledger, ModelAction.PROMOTE, "v2", **fields)
    assert recorded_ is not None
    assert (recorded_.from_version, recorded_.changed_by, recorded_.sequence) == ("v1", "token:ops", 5)
    assert (roster.champion, roster.previous) == ("v2", "v1")
    assert (await ledger.read(model_changes.read_changes))[-1] == recorded_
    assert (await ledger.read(partial(model_changes.read_changes, after=4))) == [recorded_]


async def test_what_changes_nothing_is_not_recorded(ledger: Ledger, url: str) -> None:
    before = await champion(ledger, "v1")
    for action in (ModelAction.REGISTER, ModelAction.LOAD, ModelAction.PROMOTE):
        assert await change_models(ledger, action, "v1") == (before, None)
    assert await ledger.head() == before.sequence


async def test_what_is_not_possible_is_refused_and_leaves_nothing_behind(ledger: Ledger, url: str) -> None:
    await champion(ledger, "v1")
    with pytest.raises(ModelInUse):
        await change_models(ledger, ModelAction.RETIRE, "v1")

    def refuse(_: Connection, __: Roster) -> ModelChange:
        raise WrongStage("the gate says no")

    with pytest.raises(WrongStage, match="the gate says no"):
        await ledger.change_models(refuse)
    assert await ledger.head() == 2


async def test_all_that_a_change_has_is_read_back(ledger: Ledger, url: str) -> None:
    await champion(ledger, "v1", "v2", "v3")
    roster, _ = await change_models(ledger, ModelAction.PROMOTE, "v2", forced=True, reason="tried")
    [change] = (await ledger.read(model_changes.read_changes))[-1:]
    assert (change.forced, change.reason, change.model_version) == (True, "tried", "v2")
    assert roster.stages == {"v1": ModelStage.STAGED, "v2": ModelStage.SERVING, "v3": ModelStage.STAGED}
    verify(url)


async def test_a_caller_changes_models_so_often_in_a_day_and_no_more(ledger: Ledger, url: str) -> None:
    """Each change is an entry for ever, and calls that record forecasts wait for its transaction."""
    before = await champion(ledger, "v1", "v2")
    callers = Callers(CallerLimits(model_changes=2))

    async def make(caller: str, action: ModelAction, version: str = "v2") -> None:
        with callers.counted(caller, "ipv4:203.0.113.7:4000", stream=False):
            await change_models(ledger, action, version)

    for action in (ModelAction.UNLOAD, ModelAction.UNLOAD, ModelAction.LOAD):  # what changes nothing does not count
        await make("token:ops", action)
    with pytest.raises(ModelInUse):
        await make("token:other", ModelAction.RETIRE, "v1")
    with pytest.raises(CallerLimit, match="2 changes of models a day"):
        await make("token:ops", ModelAction.UNLOAD)
    for action in (ModelAction.UNLOAD, ModelAction.LOAD):
        await make("token:other", action)
    assert await ledger.head() == before.sequence + 4


async def test_the_program_of_the_runbook_rolls_back_without_a_server(ledger: Ledger, url: str) -> None:
    await champion(ledger, "v1", "v2")
    await change_models(ledger, ModelAction.PROMOTE, "v2")
    [program] = blocks("docs/runbook.md", "python")
    text = program.text.replace("sqlite:////var/lib/dejavu/ledger.sqlite3", url)
    assert text != program.text
    await asyncio.to_thread(subprocess.run, (sys.executable, "-W", "error", "-c", text), check=True)
    roster = await ledger.read(model_changes.KnownRoster().read)
    assert (roster.champion, roster.previous) == ("v1", "")


async def test_the_newest_changes_are_read_page_by_page(ledger: Ledger, url: str) -> None:
    await champion(ledger, "v1", "v2")
    await change_models(ledger, ModelAction.PROMOTE, "v2")
    first = await ledger.read(partial(model_changes.newest_changes, limit=2))
    rest = await ledger.read(partial(model_changes.newest_changes, limit=9, before=first[-1].sequence))
    assert [each.sequence for each in (*first, *rest)] == [5, 4, 3, 2, 1]
    of_first = await ledger.read(partial(model_changes.newest_changes, limit=9, model_version="v1"))
    assert [each.sequence for each in of_first] == [5, 2, 1]


async def test_a_forecast_is_recorded_only_while_the_roster_stands_that_chose_its_model(
    ledger: Ledger, url: str
) -> None:
    roster = await champion(ledger, "v1", "v2")
    chosen = replace(issued(), roster_sequence=roster.sequence)
    [first] = await recorded(ledger, chosen)
    await change_models(ledger, ModelAction.PROMOTE, "v2")
    late = replace(issued(pattern=(0.0, 1.0, 2.0, 3.0)), roster_sequence=roster.sequence)
    by_name = issued(pattern=(0.0, 1.0))
    stored, refused, named = await ledger.commit([chosen, late, by_name])
    assert isinstance(stored, IssuedForecast)
    assert stored.sequence == first.sequence, "what is stored is returned as before"
    assert isinstance(refused, Failed)
    assert isinstance(refused.error, ModelsChanged)
    assert refused.error.sequence == first.sequence + 1
    assert isinstance(named, IssuedForecast), "of a model that was named, and of no other, it does not matter"
    [again] = await recorded(ledger, replace(late, roster_sequence=refused.error.sequence))
    assert again.sequence == named.sequence + 1


def test_what_is_no_change_is_not_read() -> None:
    text = '{"kind":"model","payload":{"action":"load","changed_us":1,"model_version":2},"revision":0,"sequence":1}'
    with pytest.raises(ValueError, match="expected a text"):
        parse_change(text)


VERSIONS = ("a", "b", "c", "d", "e", "f")


@st.composite
def changes(draw: st.DrawFn) -> ModelChange:
    return change(
        draw(st.sampled_from(ModelAction)),
        draw(st.sampled_from(VERSIONS)),
        reason=draw(st.sampled_from(["", "tried"])),
    )


@settings(max_examples=examples(15))
@given(asked=st.lists(changes(), max_size=40))
def test_what_is_recorded_is_what_the_roster_allows_and_every_reader_has_the_same(asked: list[ModelChange]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        put_empty_ledger(path)
        backend = SqliteBackend(f"sqlite:///{path}")
        backend.open(make=False)
        expected, known = Roster(), model_changes.KnownRoster()
        recorded = 0
        for each in [change(ModelAction.REGISTER, version) for version in VERSIONS] + asked:
            with suppress(DejavuError), backend.write() as connection:
                before = expected
                expected, added = model_changes.append_change(connection, known.read(connection), each, NOW)
                recorded += added is not None
                assert (added is None) == before.changes_nothing(each)
        with backend.read() as connection:
            assert model_changes.KnownRoster().read(connection) == known.read(connection) == expected
            assert model_changes.newest_change(connection) == expected.sequence == recorded
        backend.close()
        assert verify(f"sqlite:///{path}").model_changes == recorded
