"""The record service: outcomes, scorecards and checkpoints of a real worker, and shared reads that none outlives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.builders.issued_forecasts import game, issued
from tests.support.builders.model_changes import champion
from tests.support.builders.outcomes import outcome
from tests.support.fakes.clock import SteppedClock
from tests.support.processes.postgres import ledger_url

from dejavu.v1 import model_service_pb2 as pb_models
from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_client import HALFTIME, AsyncDejavuClient, NotFoundError, UnavailableError
from dejavu_common.clock import game_day
from dejavu_ledger import Ledger, LedgerUnavailable, verify
from dejavu_ledger.audit.checkpoints import is_signed
from dejavu_ledger.database.backend import Query, StopSignal
from dejavu_ledger.errors import ReadStopped
from dejavu_server.api.model_service import ModelService, StoredModels
from dejavu_server.api.record_service import RecordService
from dejavu_server.api.shared_reads import MAX_WAITING, SharedReads
from dejavu_server.cli import checkpoint_files
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.limits import SERVER, Caller, Overloaded
from dejavu_server.worker.worker import Worker

GAME = current_game(1)


async def test_an_outcome_settles_what_was_forecast_and_is_told_with_it(client: AsyncDejavuClient) -> None:
    with pytest.raises(NotFoundError) as unknown:
        await client.get_prediction(GAME)
    assert unknown.value.reason == "UNKNOWN_GAME"
    made = await client.predict([3.0] * 18, game_id=GAME, horizon=HALFTIME, home_team="BOS", away_team="NYK")
    reported = await client.report_outcome(GAME, 8, horizon=HALFTIME, home_team="BOS", away_team="NYK")
    assert (reported.settled_forecasts, reported.outcome.revision) == (1, 0)
    told = await client.get_prediction(GAME)
    assert list(told.outcomes) == [told.prediction.outcome] == [reported.outcome]
    settlement = told.prediction.settlement
    assert settlement.outcome_sequence == reported.outcome.sequence
    assert settlement.error == pytest.approx(made.point_forecast - 8)
    assert settlement.absolute_error == pytest.approx(abs(made.point_forecast - 8))
    assert settlement.persistence_absolute_error == 5.0
    assert settlement.covered == (made.interval_lower <= 8 <= made.interval_upper)
    assert settlement.brier == pytest.approx((made.home_lead_probability - 1.0) ** 2)
    [plain] = [each async for each in client.list_predictions()]
    [full] = [each async for each in client.list_predictions(explain=True)]
    for similar in told.prediction.forecast.explanation.similar_games:
        assert similar.course
        similar.ClearField("course")  # a page has none
    assert full == told.prediction
    full.forecast.ClearField("explanation")
    assert plain == full


async def test_a_scorecard_and_a_leaderboard_come_out_of_the_ledger(client: AsyncDejavuClient, worker: Worker) -> None:
    for number in range(4):
        await client.predict([float(number)] * 18, game_id=current_game(number), horizon=HALFTIME)
        await client.report_outcome(current_game(number), number + 2, horizon=HALFTIME)
    card = await client.get_scorecard(horizon=HALFTIME)
    assert (card.games, card.forecasts, card.persistence_mae.value) == (4, 4, 2.0)
    later = game_day(datetime.now(UTC)) + timedelta(days=2)
    assert await client.get_scorecard(horizon=HALFTIME, from_date=later) == Scorecard()
    board = await client.get_leaderboard(metric=pb.LEADERBOARD_METRIC_MAE, min_games=4, horizon=HALFTIME)
    assert [(row.rank, row.model_version, row.value) for row in board.rows] == [(1, worker.models[0], card.mae.value)]
    assert board.rows[0].scorecard == card
    assert not (await client.get_leaderboard(horizon=HALFTIME)).rows, "of a hundred games"


async def test_a_checkpoint_is_of_what_was_answered_before(client: AsyncDejavuClient, tmp_path: Path) -> None:
    forecast = await client.predict(PATTERN, game_id=GAME, horizon=HALFTIME)
    checkpoint = checkpoint_files.from_message(await client.get_checkpoint())
    assert checkpoint.sequence == forecast.sequence == 1
    assert is_signed(checkpoint)
    assert verify(ledger_url(tmp_path), checkpoint).hash == checkpoint.hash.hex()


@pytest.mark.sqlite
async def test_without_a_key_checkpoints_are_unavailable_and_forecasts_are_not(worker: Worker, tmp_path: Path) -> None:
    key = tmp_path / "signing-key.pem"
    key.write_text("nonsense")
    async with AsyncDejavuClient(worker.address, timeout=2.0) as client:
        with pytest.raises(UnavailableError, match="signing key") as refused:
            await client.get_checkpoint()
        assert str(tmp_path) not in f"{refused.value}", "callers must not see the path"
        assert (await client.predict(PATTERN, game_id=GAME, horizon=HALFTIME)).sequence == 1
        key.unlink()
        assert (await client.get_checkpoint()).sequence == 1


ANSWER = pb.GetScorecardResponse()


class SlowRecord(Ledger):
    """A ledger whose scorecard reads last until they are released or stopped; other reads are those of a real one.

    Attributes:
        running: slow reads in progress.
        slow_reads: all slow reads so far.
        most: most slow reads at a time.
        stopped: slow reads that were told to stop.
        faults: errors of the next slow reads.
        looked_up: released after each other read.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.running = self.slow_reads = self.most = self.stopped = 0
        self.faults: list[Exception] = []
        self.released = threading.Event()
        self.started, self.looked_up = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def read(self, query: Query[Any], *, stop: StopSignal | None = None) -> Any:
        if stop is None:
            found = await self._ledger.read(query)
            self.looked_up.release()
            return found
        if self.faults:
            raise self.faults.pop(0)
        self.slow_reads += 1
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.release()
        try:
            return await asyncio.to_thread(self._slowly, stop)
        finally:
            self.running -= 1

    def _slowly(self, stop: StopSignal) -> pb.GetScorecardResponse:
        while not self.released.wait(0.001):
            if stop.is_set():
                self.stopped += 1
                raise ReadStopped
        return ANSWER


def service_of(
    ledger: Any, clock: Callable[[], datetime] = lambda: datetime.now(UTC), reads: SharedReads | None = None
) -> RecordService:
    async def sign() -> Any:
        raise NotImplementedError

    return RecordService(lambda: ledger, clock, sign, reads or SharedReads(lambda: ledger))


def models_of(reads: SharedReads) -> ModelService:
    none: Any = None
    return ModelService(ServingModels(), stored=StoredModels(none, none, reads))


BEST_MAE = pb.GetLeaderboardRequest(
    metric=pb.LEADERBOARD_METRIC_MAE, min_games=1, filter=pb.ScoreFilter(horizon=HORIZON_HALFTIME)
)


def ask(service: RecordService, model: str = "", caller: str = "") -> asyncio.Task[pb.GetScorecardResponse]:
    filter_ = pb.ScoreFilter(model_version=model, horizon=HORIZON_HALFTIME)
    return asyncio.create_task(service.get_scorecard(pb.GetScorecardRequest(filter=filter_), Caller(turn=caller)))


@pytest.fixture
def slow(ledger: Ledger) -> Iterator[SlowRecord]:
    record = SlowRecord(ledger)
    yield record
    record.released.set()  # a thread that still reads would keep the loop from closing


async def test_callers_that_ask_for_the_same_share_one_read_and_its_answer_is_kept(slow: SlowRecord) -> None:
    service = service_of(slow)
    calls = [ask(service) for _ in range(20)]
    await slow.started.acquire()
    slow.released.set()
    assert await asyncio.gather(*calls, ask(service)) == [ANSWER] * 21
    await ask(service, "another")
    assert slow.slow_reads == 2


async def test_a_caller_with_many_reads_waits_alone_for_them_and_leaves_room_to_others(slow: SlowRecord) -> None:
    """A caller who shared a waiting read would otherwise wait behind all reads of the one who began it."""
    service = service_of(slow)
    greedy = [ask(service, str(number), "greedy") for number in range(MAX_WAITING + 1)]  # one reads, the others wait
    await slow.started.acquire()
    with pytest.raises(Overloaded, match=f"{MAX_WAITING} other reads"):
        await ask(service, "one more", "greedy")
    others = [ask(service, str(MAX_WAITING), caller) for caller in ("one", "other", "one")]
    for _ in range(MAX_WAITING + 2 + len(others)):
        await slow.looked_up.acquire()  # then its read waits
    slow.released.set()
    assert await asyncio.gather(*others) == [ANSWER] * 3
    assert sum(asked.done() for asked in greedy) < 10
    answers = await asyncio.gather(*greedy, return_exceptions=True)
    assert sum(isinstance(each, Overloaded) for each in answers) == 2, "its newest reads make room for one and other"
    assert slow.slow_reads == MAX_WAITING + 1 - 2 + 1


async def test_a_scorecard_is_never_older_than_an_outcome_that_its_caller_was_told_of(ledger: Ledger) -> None:
    service = service_of(ledger)
    await ledger.commit([issued(game(number)) for number in range(30)])

    async def report_and_ask(number: int) -> None:
        await ledger.record_outcome(outcome(3, game(number)))
        answered.append(number)
        known = len(answered)
        card = (await ask(service)).scorecard
        board = await service.get_leaderboard(BEST_MAE, SERVER)
        assert card.games >= known
        assert board.rows[0].scorecard.games >= known

    answered: list[int] = []
    for number in range(10):
        await report_and_ask(number)
    await asyncio.gather(*(report_and_ask(number) for number in range(10, 20)))
    await ledger.withdraw_outcome(game(0), outcome(3).horizon)
    assert (await ask(service)).scorecard.games == 19


async def test_a_read_goes_on_while_one_of_its_callers_waits_and_is_stopped_when_the_last_has_gone(
    slow: SlowRecord,
) -> None:
    service = service_of(slow)
    calls = [ask(service) for _ in range(3)]
    await slow.started.acquire()
    for call in calls[:2]:
        call.cancel()
    await asyncio.wait(calls[:2])
    assert (slow.running, slow.stopped) == (1, 0)
    calls[2].cancel()
    await asyncio.wait(calls)
    other = ask(service, "another")
    await slow.started.acquire()  # the slot was free again
    assert (slow.most, slow.stopped) == (1, 1)
    slow.released.set()
    assert await other == ANSWER


async def test_scorecards_wait_for_one_another_and_not_for_comparisons(slow: SlowRecord, ledger: Ledger) -> None:
    """Together they hold two of the reader threads, which streams need."""
    await champion(ledger, "v1", "v2")
    reads = SharedReads(lambda: slow)
    service, comparisons = service_of(slow, reads=reads), models_of(reads)
    cards = [ask(service), ask(service, "another")]
    await slow.started.acquire()
    assert slow.running == 1
    requests = (pb_models.CompareModelsRequest(horizon=horizon) for horizon in (HORIZON_HALFTIME, HORIZON_FINAL))
    compared = [asyncio.create_task(comparisons.compare_models(request, SERVER)) for request in requests]
    await slow.started.acquire()
    assert slow.running == 2
    slow.released.set()
    await asyncio.gather(*cards, *compared)
    assert (slow.slow_reads, slow.most) == (4, 2)


async def test_a_read_that_fails_is_not_kept_and_leaves_its_turn_to_the_next(slow: SlowRecord) -> None:
    service, slow.faults = service_of(slow), [LedgerUnavailable("a disk"), RuntimeError("a fault")]
    with pytest.raises(LedgerUnavailable, match="a disk"):
        await ask(service)
    with pytest.raises(RuntimeError, match="a fault"):
        await ask(service)
    slow.released.set()
    assert await ask(service) == ANSWER


async def test_lookups_of_all_services_take_turns() -> None:
    """Formerly, 60 lists of a thousand rows at a time took all reader threads, and the loop with their messages."""

    class CountingLedger:
        running = most = 0

        async def read(self, _: object) -> tuple[list[object], str]:
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0)
            self.running -= 1
            return [], ""

    ledger: Any = CountingLedger()
    reads, served = SharedReads(lambda: ledger), list[str]()
    history = models_of(reads)

    async def ask(caller: str) -> None:
        await history.list_model_changes(pb_models.ListModelChangesRequest(), Caller(turn=caller))
        served.append(caller)

    await asyncio.gather(*map(ask, [*["greedy"] * 20, "other"]), reads.look_up(lambda _: None, "third"))
    assert served.index("other") <= 2
    assert ledger.most == 1


async def test_a_game_that_nobody_reported_shows_when_its_evening_is_over(ledger: Ledger) -> None:
    """Also on a cached card, which would otherwise be kept until the next outcome."""
    clock = SteppedClock(datetime(2026, 1, 14, 10, 59, tzinfo=UTC))
    service = service_of(ledger, clock)
    made = [issued(game(number), generated_time=clock() - timedelta(hours=9)) for number in (1, 2)]
    await ledger.commit(made)
    await ledger.record_outcome(outcome(3, game(1), observed_time=clock()))

    async def cards() -> list[Scorecard]:
        card = (await ask(service)).scorecard
        [row] = (await service.get_leaderboard(BEST_MAE, SERVER)).rows
        return [card, row.scorecard]

    assert [(each.games, each.unsettled_games) for each in await cards()] == [(1, 0)] * 2
    clock.step(60.0)
    assert [(each.games, each.unsettled_games) for each in await cards()] == [(1, 1)] * 2
    for number in (1, 2):
        of_game = pb.GetScorecardRequest(filter=pb.ScoreFilter(game_id=game(number), horizon=HORIZON_HALFTIME))
        alone = (await service.get_scorecard(of_game, SERVER)).scorecard
        assert (alone.games, alone.unsettled_games) == (2 - number, number - 1)
    await ledger.record_outcome(outcome(-20, game(2), observed_time=clock()))
    assert [(each.games, each.unsettled_games) for each in await cards()] == [(2, 0)] * 2
