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
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import issued, recorded
from tests.support.builders.model_changes import champion, change, change_models
from tests.support.harness.documents import blocks
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import put_empty_ledger

from dejavu_ledger import Ledger, verify
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.errors import ModelsChanged
from dejavu_ledger.ledger import MODEL_CHANGE
from dejavu_ledger.queries import model_changes
from dejavu_ledger.records import IssuedForecast
from dejavu_models.errors import DejavuError
from dejavu_models.results import Failed
from dejavu_server.access.caller import Principal
from dejavu_server.access.policy import CallKind
from dejavu_server.limits import MODEL_CHANGES, Caller, CallerLimit, Limits
from dejavu_server.settings import Settings
from dejavu_store.stages import (
    ModelAction,
    ModelChange,
    ModelEvidence,
    ModelInUse,
    ModelStage,
    Roster,
)

EVIDENCE = ModelEvidence(
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


async def test_a_change_says_who_made_it_from_what_to_what(ledger: Ledger) -> None:
    await champion(ledger, "v1", "v2")
    given: dict[str, Any] = {"by": "token:ops", "reason": "better", "evidence": EVIDENCE, "forced": True}
    given["from_version"] = "not looked at"
    roster, made = await change_models(ledger, ModelAction.PROMOTE, "v2", **given)
    assert made is not None
    expected = change(ModelAction.PROMOTE, "v2", **given | {"from_version": "v1"})
    assert made == replace(expected, sequence=5, changed_time=made.changed_time)
    assert (roster.champion, roster.previous, roster.sequence) == ("v2", "v1", 5)
    assert roster.stages == {"v1": ModelStage.STAGED, "v2": ModelStage.SERVING}
    newest = [await ledger.read(partial(model_changes.newest_changes, limit=2, before=each)) for each in (None, 4)]
    assert [each.sequence for page in newest for each in page] == [5, 4, 3, 2]
    of_first = await ledger.read(partial(model_changes.newest_changes, limit=9, model_version="v1"))
    assert [each.sequence for each in of_first] == [5, 2, 1]
    assert (await ledger.read(model_changes.read_changes))[-1] == made
    assert await ledger.read(partial(model_changes.read_changes, after=4)) == [made]


async def test_a_caller_changes_models_so_often_in_a_day_and_no_more(ledger: Ledger) -> None:
    """Each change is an entry for ever, and calls that record forecasts wait for its transaction."""
    before = await champion(ledger, "v1", "v2")
    limits = Limits(Settings())

    async def make(identity: str, action: ModelAction, version: str = "v2") -> None:
        caller = known(identity)
        with limits.take(CallKind.RECORD, caller):
            await change_models(ledger, action, version, caller=caller)

    def known(identity: str) -> Caller:
        return Caller(Principal(identity, frozenset()), "203.0.113.7")

    earlier = known("token:ops")
    with limits.take(CallKind.RECORD, earlier), earlier.reserved([MODEL_CHANGE] * (MODEL_CHANGES - 2)):
        pass
    for action in (ModelAction.UNLOAD, ModelAction.UNLOAD, ModelAction.LOAD):  # what changes nothing does not count
        await make("token:ops", action)
    with pytest.raises(ModelInUse):
        await make("token:other", ModelAction.RETIRE, "v1")
    with pytest.raises(CallerLimit, match="100 changes of models a day"):
        await make("token:ops", ModelAction.UNLOAD)
    for action in (ModelAction.UNLOAD, ModelAction.LOAD):
        await make("token:other", action)
    assert (await ledger.position()).sequence == before.sequence + 4


async def test_the_program_of_the_runbook_rolls_back_without_a_server(ledger: Ledger, url: str) -> None:
    await champion(ledger, "v1", "v2")
    await change_models(ledger, ModelAction.PROMOTE, "v2")
    [program] = blocks("docs/runbook.md", "python")
    text = program.text.replace("sqlite:////var/lib/dejavu/ledger.sqlite3", url)
    assert text != program.text
    await asyncio.to_thread(subprocess.run, (sys.executable, "-W", "error", "-c", text), check=True)
    roster = await ledger.read(model_changes.KnownRoster().read)
    assert (roster.champion, roster.previous) == ("v1", "")


async def test_a_forecast_is_recorded_only_while_the_roster_stands_that_chose_its_model(ledger: Ledger) -> None:
    roster = await champion(ledger, "v1", "v2")
    chosen, late = (
        replace(issued(pattern=pattern), roster_sequence=roster.sequence) for pattern in ((0.0,), (0.0, 1.0, 2.0))
    )
    [first] = await recorded(ledger, chosen)
    await change_models(ledger, ModelAction.PROMOTE, "v2")
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


VERSIONS = ("a", "b", "c", "d", "e", "f")


changes = st.builds(
    change, st.sampled_from(ModelAction), st.sampled_from(VERSIONS), reason=st.sampled_from(["", "tried"])
)


@settings(max_examples=examples(15))
@given(asked=st.lists(changes, max_size=40))
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
                expected, added = model_changes.change_models(connection, lambda *_, made=each: made, known)
                recorded += added is not None
                assert (added is None) == before.changes_nothing(each)
        with backend.read() as connection:
            assert model_changes.KnownRoster().read(connection) == known.read(connection) == expected
            assert model_changes.newest_change(connection) == expected.sequence == recorded
        backend.close()
        assert verify(f"sqlite:///{path}").model_changes == recorded
