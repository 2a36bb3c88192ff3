"""Tests that every backend must pass: inherit from `BackendConformance` and provide the fixture `backend`."""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import text
from tests.support.builders.issued_forecasts import current, game, issued, recorded
from tests.support.builders.model_changes import champion, change_models, shadow
from tests.support.builders.outcomes import outcome

from dejavu_ledger import (
    Ledger,
    LedgerError,
    OutcomeAlreadyRecorded,
    leases,
    model_workers,
)
from dejavu_ledger.database import store
from dejavu_ledger.database.backend import Backend, Connection
from dejavu_ledger.errors import ModelsChanged, ReadStopped
from dejavu_ledger.queries import learning, model_changes, predictions, scorecards
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.records import IssuedForecast, ShadowRefusal
from dejavu_models.results import Failed
from dejavu_models.types import Horizon
from dejavu_store.stages import ModelAction

_SINCE = datetime(2000, 1, 1, tzinfo=UTC)
_EVENING = datetime(2024, 1, 15, 3, 30, tzinfo=UTC)
"""In the season of the games."""


def epoch(connection: Connection) -> str:
    """Return a value that `set_epoch` changes."""
    value: str = connection.execute(text("SELECT epoch FROM ledger")).scalar_one()
    return value


def set_epoch(connection: Connection, value: str) -> None:
    connection.execute(text("UPDATE ledger SET epoch = :epoch"), {"epoch": value})


def set_epoch_and_fail(connection: Connection) -> None:
    set_epoch(connection, "0" * 16)
    raise ZeroDivisionError


class BackendConformance:
    """Tests of one implementation."""

    @pytest.fixture
    def absent(self, backend: Backend) -> Backend:
        """The backend of a ledger that does not exist; `backend` may be that of an empty one."""
        return backend

    def test_a_ledger_that_is_not_there_is_made_only_if_asked(self, absent: Backend) -> None:
        with pytest.raises(LedgerError):
            absent.open(make=False)
        absent.open(make=True)
        absent.open(make=False)

    def test_a_ledger_is_opened_again_as_it_was(self, backend: Backend) -> None:
        backend.open(make=True)
        with backend.read() as connection:
            identity = store.identity(connection)
        backend.open(make=False)
        with backend.read() as connection:
            assert store.identity(connection) == identity
        backend.check()
        backend.probe()

    def test_what_a_failed_block_wrote_is_gone(self, backend: Backend) -> None:
        backend.open(make=True)
        with backend.read() as connection:
            before = epoch(connection)
        with pytest.raises(ZeroDivisionError), backend.write() as connection:
            set_epoch_and_fail(connection)
        with backend.read() as connection:
            assert epoch(connection) == before

    def test_a_failing_statement_is_an_error_of_the_ledger_and_harms_no_later_one(self, backend: Backend) -> None:
        backend.open(make=True)
        with pytest.raises(LedgerError) as failed, backend.write() as connection:
            connection.execute(text("SELECT secret FROM nowhere"))
        assert "secret" not in str(failed.value)
        backend.probe()

    def test_writers_take_turns_and_see_what_was_committed_before(self, backend: Backend) -> None:
        backend.open(make=True)
        with backend.write() as connection:
            set_epoch(connection, f"{0:016x}")

        def count_up() -> None:
            for _ in range(10):
                with backend.write() as connection:
                    set_epoch(connection, f"{int(epoch(connection), 16) + 1:016x}")

        threads = [threading.Thread(target=count_up) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with backend.read() as connection:
            assert epoch(connection) == f"{40:016x}"

    def test_a_snapshot_is_one_state_and_the_next_statement_sees_the_newest(self, backend: Backend) -> None:
        backend.open(make=True)
        done = threading.Event()

        def write() -> None:
            with backend.write() as other:
                set_epoch(other, "f" * 16)
            done.set()

        writer = threading.Thread(target=write)
        with backend.read() as connection, store.snapshot_read(connection):
            before = epoch(connection)
            writer.start()
            done.wait(0.2)  # some backends let the writer go on meanwhile, others make it wait
            assert epoch(connection) == before != "f" * 16
        writer.join()
        with backend.read() as connection:
            assert epoch(connection) == "f" * 16

    def test_the_structure_of_a_sound_ledger_is_sound(self, backend: Backend) -> None:
        backend.open(make=True)
        with backend.read() as connection:
            for thorough in (False, True):
                backend.check_integrity(connection, thorough=thorough)

    def test_a_read_that_is_told_to_stop_ends_and_harms_no_later_one(self, backend: Backend) -> None:
        backend.open(make=True)
        endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
        reading, stop = threading.Event(), threading.Event()

        def stop_while_it_reads() -> None:
            reading.wait(30)
            stop.set()

        stopper = threading.Thread(target=stop_while_it_reads)
        stopper.start()

        def read_without_end() -> None:
            with backend.read(stop) as connection, store.snapshot_read(connection):
                reading.set()
                connection.execute(endless)

        with pytest.raises(ReadStopped):
            read_without_end()
        stopper.join()
        with pytest.raises(ReadStopped), backend.read(stop):
            raise AssertionError("it starts nothing")
        with backend.read() as connection:
            assert store.head(connection).sequence == 0
            assert connection.execute(text("SELECT count(*) FROM ledger")).scalar_one() == 1
        with backend.read(threading.Event()) as connection:
            assert store.head(connection).sequence == 0

    async def test_a_stopped_read_is_no_failure_of_the_ledger(self, backend: Backend) -> None:
        failures: list[LedgerError] = []
        ledger = await Ledger.open_backend(backend, on_failure=failures.append)
        stop = threading.Event()
        stop.set()
        with pytest.raises(ReadStopped):
            await ledger.read(store.head, stop=stop)
        assert failures == []
        assert await ledger.head() == 0
        await ledger.close()

    async def test_forecasts_are_recorded_once_in_one_order_with_revisions(self, backend: Backend) -> None:
        ledger = await Ledger.open_backend(backend)
        first = await ledger.commit([issued(game(1)), issued(game(2))])
        again = await ledger.commit([issued(game(1)), issued(game(1), pattern=(0.0, 2.0, 4.0))])
        assert [each.sequence for each in first if isinstance(each, IssuedForecast)] == [1, 2]
        known, revised = again
        assert isinstance(known, IssuedForecast)
        assert isinstance(revised, IssuedForecast)
        found = (known.sequence, known.revision, revised.sequence, revised.revision)
        assert found == (1, 0, 3, 1)
        assert [each.sequence for each in await ledger.read_after(0, 10)] == [1, 2, 3]
        assert [each.sequence for each in await current(ledger, frozenset(), _SINCE, 3)] == [2, 3]
        assert await ledger.head() == await ledger.newest() == 3
        assert await ledger.resume_position(ledger.token(2)) == 2
        await ledger.close()

    async def test_a_ledger_grows_with_what_is_recorded(self, backend: Backend) -> None:
        ledger = await Ledger.open_backend(backend)
        empty = await ledger.size_bytes()
        assert empty > 0
        await ledger.commit([issued(game(number)) for number in range(300)])
        assert await ledger.size_bytes() > empty + 100_000
        await ledger.close()

    async def test_many_who_record_at_once_get_every_place_once(self, backend: Backend) -> None:
        ledger = await Ledger.open_backend(backend)
        answers = await asyncio.gather(*(ledger.commit([issued(game(n % 7))]) for n in range(40)))
        sequences = {each.game_id: each.sequence for [each] in answers if isinstance(each, IssuedForecast)}
        assert sorted(sequences.values()) == list(range(1, 8))
        await ledger.close()

    async def test_an_outcome_settles_is_corrected_and_ends_what_may_be_recorded(self, backend: Backend) -> None:
        ledger = await Ledger.open_backend(backend)
        await ledger.commit([issued("0022300001")])
        recorded, settled = await ledger.record_outcome(outcome(7, "0022300001", observed_time=_EVENING))
        assert (recorded.sequence, settled) == (2, 1)
        corrected, settled = await ledger.record_outcome(outcome(5, "0022300001", observed_time=_EVENING))
        assert (corrected.revision, settled) == (1, 1)
        [late] = await ledger.commit([issued("0022300001", alpha=0.2)])
        assert isinstance(late, Failed)
        assert isinstance(late.error, OutcomeAlreadyRecorded)
        [learned] = await ledger.read(lambda connection: list(learning.settled_games_after(connection, 0)))
        assert learned.differential == 5
        found = await ledger.read(
            lambda connection: predictions.latest_forecast(connection, "0022300001", Horizon.HALFTIME, None, "")
        )
        assert [each.differential for each in found.outcomes] == [7, 5]
        await ledger.close()

    async def test_settled_forecasts_are_scored(self, backend: Backend) -> None:
        ledger = await Ledger.open_backend(backend)
        made = [
            issued(game(number), (1.0,), horizon=Horizon.FINAL, generated_time=_EVENING, pregame_margin=margin)
            for number, margin in ((1, None), (2, 4.5))
        ]
        made.append(issued(game(3), (1.0,) * 46, horizon=Horizon.FINAL, generated_time=_EVENING))
        await recorded(ledger, *made)
        for number, minutes in ((1, 30), (2, 130)):  # the minutes that remain take 47 at least
            seen = _EVENING + timedelta(minutes=minutes)
            await ledger.record_outcome(outcome(5, game(number), horizon=Horizon.FINAL, observed_time=seen))
        far = outcome(44, game(3), horizon=Horizon.FINAL, observed_time=_EVENING + timedelta(minutes=130))
        await ledger.record_outcome(far)  # 43 points in two minutes
        wanted = ScoreFilter(horizon=Horizon.FINAL)
        settled = (await ledger.read(lambda connection: scorecards.settled(connection, wanted))).forecasts
        assert settled.outcome_doubtful.tolist() == [True, False, True]
        assert settled.margin.tolist() == pytest.approx([math.nan, 4.5, math.nan], nan_ok=True)
        await ledger.close()

    async def test_a_snapshot_of_the_online_state_is_kept_replaced_and_dropped(self, backend: Backend) -> None:
        ledger = await Ledger.open_backend(backend)

        async def stored() -> tuple[int, bytes] | None:
            return await ledger.read(lambda connection: learning.read_snapshot(connection, 100))

        for state in (b"first", b"first", b"second"):
            await ledger.write(partial(learning.write_snapshot, sequence=7, state=state, read_at=7))
            assert await stored() == (7, state)
        await ledger.write(lambda connection: learning.drop_snapshots(connection, 7))
        assert await stored() is None
        await ledger.close()

    async def test_a_tail_is_woken_by_a_commit(self, backend: Backend) -> None:
        ledger = await Ledger.open_backend(backend)
        async with aclosing(ledger.tail(0, poll_seconds=3600.0)) as tail:
            page = asyncio.ensure_future(anext(tail))
            await asyncio.wait([page], timeout=0.05)
            await ledger.commit([issued(game(1))])
            async with asyncio.timeout(20):
                assert [each.sequence for each in await page] == [1]
        await ledger.close()

    async def test_models_change_in_one_order_and_a_forecast_knows_the_change_that_stands(
        self, backend: Backend
    ) -> None:
        ledger = await Ledger.open_backend(backend)
        roster = await champion(ledger, "v1", "v2")
        assert await ledger.read(model_changes.KnownRoster().read) == roster
        [first] = await ledger.commit([replace(issued(game(1)), roster_sequence=roster.sequence)])
        assert isinstance(first, IssuedForecast)
        promoted, _ = await change_models(ledger, ModelAction.PROMOTE, "v2")
        [refused] = await ledger.commit([replace(issued(game(2)), roster_sequence=roster.sequence)])
        assert isinstance(refused, Failed)
        assert isinstance(refused.error, ModelsChanged)
        assert refused.error.sequence == promoted.sequence == first.sequence + 1
        await ledger.close()

    async def test_a_challenger_forecasts_beside_a_forecast_once_and_not_with_hindsight(self, backend: Backend) -> None:
        ledger = await Ledger.open_backend(backend)
        first, second = await recorded(ledger, issued("0022300001"), issued(game(2)))
        made = await ledger.record_shadows([shadow(first), shadow(first, "v3"), shadow(first)])
        assert [each.sequence for each in made.recorded] == [3, 4]
        assert made.refused == {ShadowRefusal.RECORDED: 1}
        await ledger.record_outcome(outcome(7, "0022300001", observed_time=_EVENING))
        late = await ledger.record_shadows([shadow(first, "v4"), shadow(second)])
        assert ([each.sequence for each in late.recorded], late.refused) == ([6], {ShadowRefusal.OUTCOME_KNOWN: 1})
        assert [each.sequence for each in await ledger.read_after(0, 10)] == [1, 2, 5]
        await ledger.close()

    async def test_workers_report_what_they_have_loaded_until_they_are_not_heard_of(self, backend: Backend) -> None:
        ledger = await Ledger.open_backend(backend)
        await ledger.write(partial(model_workers.report, server="a", worker="1", state="{}"))
        await ledger.write(partial(model_workers.report, server="a", worker="1", state='{"loaded":[]}'))
        [live] = await ledger.read(model_workers.live)
        assert (live.server, live.worker, live.state) == ("a", "1", '{"loaded":[]}')
        assert live.age < model_workers.REPORT_COUNTS
        await ledger.close()

    async def test_a_lease_has_one_holder_by_the_clock_of_the_database(self, backend: Backend) -> None:
        ledger = await Ledger.open_backend(backend)
        ask = partial(leases.acquire, name="poll", caller="", ttl=timedelta(minutes=1))
        granted, lease = await ledger.write(partial(ask, holder="a"))
        assert granted
        assert abs(lease.acquired_time - datetime.now(UTC)) < timedelta(minutes=1)
        other, standing = await ledger.write(partial(ask, holder="b"))
        assert (other, standing.holder, standing.expire_time) == (False, "a", lease.expire_time)
        await ledger.close()
