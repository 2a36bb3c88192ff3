"""Pruning removes whole evenings from the start; what is left verifies, and models know what they knew before."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select
from tests.server.ledger.retention.evenings import FIRST, KEY, TEAMS, Evenings, evenings_at, rows_at
from tests.support.builders import full_ledger
from tests.support.builders.issued_forecasts import issued
from tests.support.builders.model_changes import change
from tests.support.tampering.forging import append, last

from dejavu_models.live_ratings import LiveRatings, RatedSchedule
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import RatingFilter
from dejavu_models.registry.stages import ModelAction, Roster
from dejavu_models.team_filter import RatingSettings
from dejavu_models.types import Horizon
from dejavu_server.forecasting.online_updater import OnlineProjection
from dejavu_server.ledger import Ledger, LedgerCorrupt, ResumeTokenExpired, verify
from dejavu_server.ledger.audit import checkpoints as signing
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.backend import Backend
from dejavu_server.ledger.database.schema import shadows
from dejavu_server.ledger.entries import codec
from dejavu_server.ledger.errors import ModelsChanged
from dejavu_server.ledger.queries import checkpoints, model_changes, pruned
from dejavu_server.ledger.queries.pruned import PrunedStatement
from dejavu_server.ledger.retention import pruning
from dejavu_server.ledger.retention.prune_plan import NothingToPrune, PrunePlan, plan
from dejavu_server.records import LateReason
from dejavu_server.results import Failed

NOW = datetime(2026, 11, 1, tzinfo=UTC)
START = LiveRatings.start(
    RatingFilter.start(RatingSettings()).predict(2025, np.datetime64("2025-06-17")).update("BOS", "NYK", 18)
)


@pytest.fixture
def evenings(tmp_path: Path) -> Iterator[Evenings]:
    made = evenings_at(tmp_path / "ledger.db", 4, seed=2, lifecycle=True)
    yield made
    made.backend.close()


def planned(backend: Backend, through: int | None = None, before: datetime | None = None) -> PrunePlan:
    with backend.read() as connection:
        return plan(connection, through=through, before=before, now=NOW)


def begin(backend: Backend, through: int) -> PrunedStatement:
    return pruning.begin(backend, planned(backend, through), KEY, NOW)


def prune(backend: Backend, through: int, *, step: int = 7) -> int:
    return pruning.remove(backend, begin(backend, through), step=step, pause=lambda _: None)


def learned(backend: Backend, known: OnlineProjection | None = None) -> OnlineProjection:
    projection = known or OnlineProjection({"v1": RatedSchedule(START, players=PlayerRatings())}, intervals=True)
    with backend.read() as connection:
        projection.read(connection)
    return projection


def state(projection: OnlineProjection) -> tuple[object, ...]:
    ratings = projection.ratings("v1")
    assert ratings is not None
    table = ratings.filter.ratings()
    margins = [table.expected_margin(home, away) for home in TEAMS for away in TEAMS if home != away]
    players = projection.players("v1")
    assert players is not None
    return projection.newest, projection.intervals.to_bytes(), margins, players.players


@pytest.mark.parametrize("evening", [0, 3])
def test_models_know_what_they_knew_before_and_learn_on_as_if_nothing_was_removed(
    evenings: Evenings, evening: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dejavu_server.forecasting.projection.SNAPSHOT_EVERY", 3)
    running = learned(evenings.backend)
    before = state(running)
    assert running.intervals.to_bytes() != OnlineProjection({}, intervals=True).intervals.to_bytes()
    prune(evenings.backend, evenings.signed[evening].sequence)
    assert state(learned(evenings.backend)) == before
    assert state(learned(evenings.backend, running)) == before
    twin = evenings_at(tmp_path / "whole.db", 4, seed=2, lifecycle=True)
    for each in (evenings, twin):
        each.play()
        each.correct(each.games[4][0], 33)
    whole = state(learned(twin.backend))
    twin.backend.close()
    # Fresh, and one that has run since before: the two ledgers differ in nothing but what was removed.
    assert state(learned(evenings.backend)) == whole
    assert state(learned(evenings.backend, running)) == whole
    assert verify(f"sqlite:///{tmp_path}/ledger.db").pruned_through == evenings.signed[evening].sequence


def test_a_game_that_was_removed_does_not_come_back_in_time(evenings: Evenings, tmp_path: Path) -> None:
    prune(evenings.backend, evenings.signed[1].sequence)
    later = evenings.signed[-1].signed_time + timedelta(days=1)
    games = [evenings.games[0][0], evenings.games[1][1], "0022500999"]
    with evenings.backend.write() as connection:
        made = [issued(each, (1.0,) * 30, horizon=Horizon.FINAL, generated_time=later) for each in games]
        again = store.append(connection, [codec.prepare(each) for each in made])
    assert [getattr(each, "late", "refused") for each in again] == [LateReason.REPORTED, LateReason.REPORTED, None]
    verify(f"sqlite:///{tmp_path}/ledger.db")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        entry = last(database, codec.FORECAST)
        entry["payload"]["request"]["game_id"] = evenings.games[0][1]
        append(database, {**entry, "revision": 0})
    with pytest.raises(LedgerCorrupt, match="not marked as late, although it is: reported"):
        verify(f"sqlite:///{tmp_path}/ledger.db")


def count_shadows(backend: Backend) -> int:
    with backend.read() as connection:
        number: int = connection.execute(select(func.count()).select_from(shadows)).scalar_one()
        return number


def test_each_step_leaves_a_ledger_that_is_valid_and_whose_models_know_the_same(
    evenings: Evenings, tmp_path: Path
) -> None:
    before, seen = state(learned(evenings.backend)), list[int]()

    def look(at: int) -> None:
        found = verify(f"sqlite:///{tmp_path}/ledger.db")
        assert (found.pruned_through, found.entries) == (at, evenings.signed[3].sequence - at)
        assert found.shadows == count_shadows(evenings.backend)
        assert state(learned(evenings.backend)) == before
        seen.append(at)

    statement = begin(evenings.backend, evenings.signed[1].sequence)
    look(0)
    pruning.remove(evenings.backend, statement, look, step=16, pause=lambda _: None)
    assert len(seen) > 3
    assert seen[-1] == statement.through


def test_checkpoints_from_the_last_entry_removed_on_still_prove_the_rest(evenings: Evenings, tmp_path: Path) -> None:
    prune(evenings.backend, evenings.signed[1].sequence)
    url = f"sqlite:///{tmp_path}/ledger.db"
    with pytest.raises(LedgerCorrupt, match=r"can't be verified against them; expected one at \d+ or later"):
        verify(url, evenings.signed[0])
    for kept in evenings.signed[1:]:
        assert verify(url, kept).pruned_through == evenings.signed[1].sequence


def test_a_ledger_is_pruned_again_and_again(evenings: Evenings, tmp_path: Path) -> None:
    before = state(learned(evenings.backend))
    for kept in evenings.signed:
        prune(evenings.backend, kept.sequence)
        assert verify(f"sqlite:///{tmp_path}/ledger.db", kept).pruned_through == kept.sequence
        assert state(learned(evenings.backend)) == before
    assert rows_at(tmp_path / "ledger.db")["entries"] == []
    with evenings.backend.read() as connection:
        assert store.head(connection) == (evenings.signed[3].sequence, evenings.signed[3].hash)
    evenings.play()
    assert evenings.signed[4].sequence > evenings.signed[3].sequence


def test_less_than_asked_for_is_removed_where_a_game_goes_on_and_the_plan_says_why(evenings: Evenings) -> None:
    game = evenings.games[2][0]
    evenings.correct(game, 41)
    evenings.play()
    found = planned(evenings.backend, evenings.signed[3].sequence)
    assert found.through.sequence == evenings.signed[1].sequence
    assert f"the entries of game {game} go on until {evenings.signed[3].sequence + 1}" in found.limited_by
    assert planned(evenings.backend, evenings.signed[4].sequence).through.sequence == evenings.signed[4].sequence


def test_games_without_an_outcome_stay_unless_asked_for(evenings: Evenings) -> None:
    evenings.play(settled=False)
    evenings.play()
    found = planned(evenings.backend, evenings.signed[5].sequence)
    assert found.through.sequence == evenings.signed[3].sequence
    assert f"the outcome of {', '.join(evenings.games[4])} is missing" in found.limited_by
    with evenings.backend.read() as connection:
        everything = plan(connection, through=evenings.signed[5].sequence, include_unsettled=True, now=NOW)
    assert everything.through.sequence == evenings.signed[5].sequence
    assert everything.unsettled == tuple(evenings.games[4])


def test_the_plan_is_by_date_and_never_of_the_last_week(evenings: Evenings) -> None:
    second = evenings.signed[1]
    found = planned(evenings.backend, before=second.signed_time + timedelta(hours=1))
    assert found.through.sequence == second.sequence
    assert (found.first_day, found.last_day) == (FIRST.date() - timedelta(days=1), FIRST.date())
    assert len(found.games) == 4
    with evenings.backend.read() as connection:
        young = second.signed_time + timedelta(days=7)
        assert plan(connection, through=10**6, now=young).through.sequence == second.sequence
        with pytest.raises(NothingToPrune, match="there is no signed checkpoint of 2026-01-05"):
            plan(connection, through=10**6, now=FIRST + timedelta(days=7))
        with pytest.raises(NothingToPrune, match="at 3 or before"):
            plan(connection, through=3, now=NOW)


def test_a_game_that_is_corrected_while_the_ledger_is_verified_is_not_removed(evenings: Evenings) -> None:
    found = planned(evenings.backend, evenings.signed[1].sequence)
    evenings.correct(evenings.games[0][0], 40)
    with pytest.raises(NothingToPrune, match=f"game {evenings.games[0][0]} was changed"):
        pruning.begin(evenings.backend, found, KEY, NOW)


def test_a_removed_game_that_is_reported_again_is_not_learned_from_twice(evenings: Evenings, tmp_path: Path) -> None:
    prune(evenings.backend, evenings.signed[1].sequence)
    before = state(learned(evenings.backend))
    game = evenings.games[0][0]
    evenings.correct(game, 55)
    evenings.correct(game, 56)
    after = learned(evenings.backend)
    assert state(after)[1:] == before[1:]
    assert after.newest.reported > evenings.signed[3].sequence
    verify(f"sqlite:///{tmp_path}/ledger.db")
    with evenings.backend.read() as connection:
        assert pruned.read_statement(connection) is not None


async def test_tokens_of_before_expire_and_others_stay_valid(evenings: Evenings, tmp_path: Path) -> None:
    ledger = await Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    tokens = {sequence: ledger.token(sequence) for sequence in (0, 5, evenings.signed[1].sequence)}
    prune(evenings.backend, evenings.signed[1].sequence)
    for sequence, token in tokens.items():
        if sequence < evenings.signed[1].sequence:
            with pytest.raises(ResumeTokenExpired, match="whose following forecasts were removed"):
                await ledger.resume_position(token)
        else:
            assert await ledger.resume_position(token) == sequence
    await ledger.close()


EMPTY = OnlineProjection({}, intervals=True).intervals.to_bytes()


@pytest.mark.parametrize(
    ("statement", "values", "why"),
    [
        (
            "UPDATE snapshots SET state = replace(state, '\"standing\": ', '\"standing\": 1') WHERE part = 'pruned'",
            (),
            "signature is not valid|cannot be read",
        ),
        (
            "UPDATE snapshots SET state = ? WHERE part = 'pruned-outcomes'",
            (pruned.encode_outcomes([]),),
            "were altered",
        ),
        (
            "UPDATE snapshots SET state = ? WHERE part = 'pruned-outcomes'",
            (lambda: zlib.compress(bytes(2**27), 1),),
            "pruned outcomes is cut off or too large; expected a complete one of at most 64 MiB",
        ),
        ("UPDATE snapshots SET state = ? WHERE part = 'intervals'", (EMPTY,), "were altered"),
        ("DELETE FROM snapshots WHERE part = 'pruned'", (), "were removed, and no signed snapshot says so"),
        ("DELETE FROM snapshots WHERE part = 'pruned-outcomes'", (), "were altered"),
        ("DELETE FROM snapshots WHERE part = 'pruned-models'", (), ""),
    ],
    ids=["statement", "outcomes", "outcomes without end", "intervals", "no statement", "no outcomes", "no models"],
)
def test_verification_finds_what_was_changed_of_what_stands_for_the_rest(
    evenings: Evenings, tmp_path: Path, statement: str, values: tuple[bytes | Callable[[], bytes], ...], why: str
) -> None:
    prune(evenings.backend, evenings.signed[1].sequence)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        database.execute(statement, [each() if callable(each) else each for each in values])
    with pytest.raises(LedgerCorrupt, match=why or None):
        verify(f"sqlite:///{tmp_path}/ledger.db")


OTHER = Ed25519PrivateKey.generate()
KNOWN, UNKNOWN = (key.public_key().public_bytes_raw() for key in (KEY, OTHER))


def remove(evenings: Evenings, found: PrunePlan, key: Ed25519PrivateKey = KEY, now: datetime = NOW) -> None:
    pruning.remove(evenings.backend, pruning.begin(evenings.backend, found, key, now), pause=lambda _: None)


def test_another_key_than_the_known_ones_is_found(evenings: Evenings, tmp_path: Path) -> None:
    remove(evenings, planned(evenings.backend, evenings.signed[1].sequence), OTHER)
    url = f"sqlite:///{tmp_path}/ledger.db"
    with pytest.raises(LedgerCorrupt, match="what was pruned is signed with another key"):
        verify(url, public_keys=[KNOWN])
    with pytest.raises(LedgerCorrupt, match="by a statement with another key than the checkpoint's"):
        verify(url)
    evenings.correct(evenings.games[-1][0], 3)
    with evenings.backend.write() as connection:  # as if that key were the ledger's by now
        identity, head = checkpoints.head(connection)
        checkpoints.add(connection, signing.sign(OTHER, identity, head, NOW))
    assert verify(url).keys == tuple(sorted(key.hex() for key in (KNOWN, UNKNOWN)))
    with pytest.raises(LedgerCorrupt, match="by a statement with another key than the checkpoint's"):
        verify(url, evenings.signed[-1])
    verify(url, evenings.signed[-1], public_keys=[KNOWN, UNKNOWN])


def test_a_removal_at_other_times_than_its_checkpoint_says_is_found(evenings: Evenings, tmp_path: Path) -> None:
    found = planned(evenings.backend, evenings.signed[1].sequence)
    remove(evenings, replace(found, before=datetime(2023, 1, 1, tzinfo=UTC)))
    with pytest.raises(LedgerCorrupt, match="recorded before 2023-01-01 00:00 by the statement"):
        verify(f"sqlite:///{tmp_path}/ledger.db")


def test_a_removal_of_what_was_young_is_found(evenings: Evenings, tmp_path: Path) -> None:
    found = planned(evenings.backend, evenings.signed[1].sequence)
    remove(evenings, found, now=found.before + timedelta(days=6))
    with pytest.raises(LedgerCorrupt, match="less than 7 days after the last of them"):
        verify(f"sqlite:///{tmp_path}/ledger.db")


def test_a_removal_without_its_checkpoint_is_found(evenings: Evenings, tmp_path: Path) -> None:
    remove(evenings, planned(evenings.backend, evenings.signed[1].sequence))
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        database.execute("DELETE FROM checkpoints WHERE sequence = ?", (evenings.signed[1].sequence,))
    with pytest.raises(LedgerCorrupt, match="the ledger has no checkpoint of the last of them"):
        verify(f"sqlite:///{tmp_path}/ledger.db")


def roster(backend: Backend) -> Roster:
    with backend.read() as connection:
        return model_changes.KnownRoster().read(connection)


def test_a_pruned_ledger_still_knows_every_change_and_its_roster(evenings: Evenings, tmp_path: Path) -> None:
    before = roster(evenings.backend)
    with evenings.backend.read() as connection:
        history = model_changes.newest_changes(connection, 100)
    for evening, removed, left in ((1, 4, 2), (3, 2, 0)):  # once, and once more
        made = planned(evenings.backend, evenings.signed[evening].sequence)
        assert made.model_changes == removed
        prune(evenings.backend, made.through.sequence)
        assert roster(evenings.backend) == before
        with evenings.backend.read() as connection:
            assert model_changes.newest_changes(connection, 100) == history
            assert model_changes.newest_change(connection) == before.sequence
        assert verify(f"sqlite:///{tmp_path}/ledger.db").model_changes == left
    with evenings.backend.write() as connection:
        after, added = model_changes.append_change(
            connection, model_changes.KnownRoster().read(connection), change(ModelAction.UNLOAD, "v2"), NOW
        )
    assert added is not None
    assert roster(evenings.backend) == after != before
    assert verify(f"sqlite:///{tmp_path}/ledger.db").model_changes == 1


def test_the_writer_knows_which_change_stands_also_once_it_was_pruned(evenings: Evenings) -> None:
    prune(evenings.backend, evenings.signed[3].sequence)
    stands = roster(evenings.backend).sequence
    made = replace(full_ledger.recordable(900), roster_sequence=stands)
    with evenings.backend.write() as connection:
        [kept] = store.append(connection, [codec.prepare(made)])
        [other] = store.append(connection, [codec.prepare(replace(full_ledger.recordable(901), roster_sequence=0))])
    assert not isinstance(kept, Failed)
    assert isinstance(other, Failed)
    assert isinstance(other.error, ModelsChanged)
    assert other.error.sequence == stands


def test_a_correction_of_what_is_being_removed_leaves_what_stands_for_it(evenings: Evenings) -> None:
    statement = begin(evenings.backend, evenings.signed[1].sequence)
    before = state(learned(evenings.backend))
    evenings.correct(evenings.games[0][0], 40)
    pruning.remove(evenings.backend, statement, pause=lambda _: None)
    assert state(learned(evenings.backend))[1:] == before[1:]
