"""Changes of models, and forecasts of challengers: one order for all, nothing twice, nothing impossible."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders import full_ledger
from tests.support.builders.empty_ledger import put_empty_ledger
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.model_changes import champion, change, change_models, shadow
from tests.support.builders.outcomes import outcome
from tests.support.harness.documents import blocks
from tests.support.harness.laws import examples

from dejavu_ledger import Ledger, verify
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.errors import ModelsChanged
from dejavu_ledger.ledger import MODEL_CHANGE
from dejavu_ledger.queries import learning, model_changes
from dejavu_ledger.records import IssuedForecast, ShadowForecast
from dejavu_ledger.rules import RecordingLimits
from dejavu_models.errors import DejavuError
from dejavu_models.results import Failed
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import Observation, TrackerKey, static_score
from dejavu_server.access.caller import Principal
from dejavu_server.access.policy import CallKind
from dejavu_server.limits import MODEL_CHANGES, Caller, CallerLimit, Limits
from dejavu_server.settings import Settings
from dejavu_store.stages import ModelAction, ModelChange, ModelEvidence, ModelInUse, ModelStage, Roster

EVIDENCE = ModelEvidence("v1", games=140, crps_e_value=21.5, coverage=0.94)


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


class FillingBackend(SqliteBackend):
    """A backend of a disk that has some bytes left."""

    free = 1000

    def free_bytes(self) -> int:
        return self.free


@pytest.mark.sqlite
async def test_a_shadow_of_no_forecast_or_another_minute_is_left_out_and_none_is_recorded_on_a_disk_kept_for_outcomes(
    url: str,
) -> None:
    backend = FillingBackend(url)
    ledger = await Ledger.open(backend, limits=RecordingLimits(reserve_bytes=1000))
    [first] = await recorded(ledger, issued(game(1)))
    right = shadow(first)
    other_minute = replace(right, forecast=replace(right.forecast, elapsed_minutes=7))
    assert await ledger.record_shadows([other_minute]) == []
    assert await ledger.record_shadows([replace(right, forecast_sequence=99)]) == []
    backend.free = 999
    assert await ledger.record_shadows([right]) == []
    assert (await ledger.position()).sequence == 1
    await ledger.close()


GAME = "0022300007"
EVENING = datetime(2024, 1, 15, 3, 30, tzinfo=UTC)


def made(minutes: int, last: float = 2.0, *, version: str = "v1", margin: float | None = None) -> IssuedForecast:
    """Return a forecast with a distribution, of a game of January 2024."""
    plain = full_ledger.recordable(7, slots=minutes, last=last)
    forecast = replace(plain.forecast, model_version=version)
    return replace(plain, game_id=GAME, generated_time=EVENING, forecast=forecast, pregame_margin=margin)


def beside_of(of: IssuedForecast, made_: IssuedForecast) -> ShadowForecast:
    """Return a shadow by v2 beside a recorded forecast, with the values of another forecast."""
    return replace(shadow(of), forecast=replace(made_.forecast, model_version="v2"))


async def observed(ledger: Ledger) -> dict[TrackerKey, Observation]:
    games = await ledger.read(lambda connection: learning.settled_games_after(connection, 0))
    return {each.key: each for game in games for each in game.observations}


def halves(version: str) -> list[TrackerKey]:
    return [TrackerKey(version, Horizon.HALFTIME, quarter) for quarter in (0, 1)]


async def settled(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(5, GAME, observed_time=EVENING))


async def test_it_learns_from_them_as_a_champion_from_its_forecasts(ledger: Ledger) -> None:
    for minute in (3, 6, 18):
        beside, other = await recorded(ledger, made(minute), made(minute + 1, last=7.0, version="v3"))
        await ledger.record_shadows([beside_of(each, made(minute + 1, last=7.0)) for each in (beside, other)])
    await settled(ledger)
    found = await observed(ledger)
    assert len(found) == 6
    for mine, theirs, of_champion in zip(halves("v2"), halves("v3"), halves("v1"), strict=True):
        assert found[mine].score == found[theirs].score != found[of_champion].score


async def test_of_its_forecasts_and_shadows_of_a_quarter_the_one_nearest_to_its_middle_counts(ledger: Ledger) -> None:
    [early, middle] = await recorded(ledger, made(3), made(6))
    await ledger.record_shadows([shadow(early), beside_of(middle, made(6, last=9.0))])
    await recorded(ledger, made(5, last=1.0, version="v2"))  # it was promoted
    await settled(ledger)
    expected = made(6, last=9.0).forecast
    observation = (await observed(ledger))[TrackerKey("v2", Horizon.HALFTIME, 0)]
    assert observation.score == static_score(expected.distribution, expected.static_scores, 5)


async def test_nothing_is_learned_beside_a_forecast_that_was_replaced(ledger: Ledger) -> None:
    [first] = await recorded(ledger, made(6, last=2.0))
    await ledger.record_shadows([shadow(first)])
    await recorded(ledger, made(6, last=4.0))
    await settled(ledger)
    assert [key.model_version for key in await observed(ledger)] == ["v1"]
