"""Scorecards are shared, kept, limited and stopped; none is older than an outcome that its caller was told of."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.builders.issued_forecasts import game, issued
from tests.support.builders.model_changes import champion
from tests.support.builders.outcomes import outcome
from tests.support.fakes.clock import SteppedClock

from dejavu.v1 import model_service_pb2 as pb_models
from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_ledger import Ledger, LedgerUnavailable
from dejavu_ledger.database.backend import Connection, StopSignal
from dejavu_ledger.errors import ReadStopped
from dejavu_ledger.ledger import UNLIMITED, Recorder
from dejavu_ledger.queries.scorecards import KnownScores, ScoreFilter, SettledByModel
from dejavu_ledger.records import ReportedOutcome
from dejavu_models.comparison.gate import GateSettings
from dejavu_server.admission.callers import SERVER
from dejavu_server.api import shared_reads
from dejavu_server.api.models.comparison import ModelComparisons
from dejavu_server.api.record_service import RecordService
from dejavu_server.api.shared_reads import SharedReads

"""The context of a call."""


class SlowRecord(Ledger):
    """A ledger whose scorecard reads last until they are released or stopped; other reads are those of a real one.

    Attributes:
        running: slow reads in progress.
        slow_reads: all slow reads so far.
        most: most slow reads at a time.
        stopped: slow reads that were told to stop.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.running = self.slow_reads = self.most = self.stopped = 0
        self.released = threading.Event()
        self.started = asyncio.Semaphore(0)

    async def record_outcome(
        self, outcome: ReportedOutcome, recorder: Recorder = UNLIMITED, *, correct: bool = True
    ) -> tuple[ReportedOutcome, int]:
        return await self._ledger.record_outcome(outcome, correct=correct)

    async def read(self, function: Callable[[Connection], Any], *, stop: StopSignal | None = None) -> Any:
        if stop is None:
            return await self._ledger.read(function)
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
        return pb.GetScorecardResponse()


def service_of(
    ledger: Any, clock: Callable[[], datetime] = lambda: datetime.now(UTC), reads: SharedReads | None = None
) -> RecordService:
    async def sign() -> Any:
        raise NotImplementedError

    return RecordService(lambda: ledger, clock, sign, reads=reads)


BEST_MAE = pb.GetLeaderboardRequest(
    metric=pb.LEADERBOARD_METRIC_MAE, min_games=1, filter=pb.ScoreFilter(horizon=HORIZON_HALFTIME)
)


def ask(service: RecordService, team: str = "") -> asyncio.Task[pb.GetScorecardResponse]:
    return asyncio.create_task(
        service.get_scorecard(
            pb.GetScorecardRequest(filter=pb.ScoreFilter(team=team, horizon=HORIZON_HALFTIME)), SERVER
        )
    )


@pytest.fixture
def slow(ledger: Ledger) -> SlowRecord:
    return SlowRecord(ledger)


async def test_callers_that_ask_for_the_same_share_one_read_and_its_answer_is_kept(slow: SlowRecord) -> None:
    service = service_of(slow)
    calls = [ask(service) for _ in range(20)]
    await slow.started.acquire()
    slow.released.set()
    assert await asyncio.gather(*calls) == [pb.GetScorecardResponse()] * 20
    assert await ask(service) == pb.GetScorecardResponse()
    assert slow.slow_reads == 1
    await ask(service, "BOS")
    assert slow.slow_reads == 2


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
    other = ask(service, "BOS")
    await slow.started.acquire()  # the slot was free again
    assert (slow.most, slow.stopped) == (1, 1)
    slow.released.set()
    assert await other == pb.GetScorecardResponse()


async def test_scorecards_wait_for_one_another_and_not_for_comparisons_of_models(
    slow: SlowRecord, ledger: Ledger
) -> None:
    """Together they hold two of the reader threads, which streams need."""
    await champion(ledger, "v1", "v2")
    reads = SharedReads()
    service, comparisons = service_of(slow, reads=reads), ModelComparisons(lambda: slow, GateSettings(), reads)
    cards = [ask(service), ask(service, "BKN")]
    await slow.started.acquire()
    assert slow.running == 1
    requests = (pb_models.CompareModelsRequest(horizon=horizon) for horizon in (HORIZON_HALFTIME, HORIZON_FINAL))
    compared = [asyncio.create_task(comparisons.compare_models(request, SERVER)) for request in requests]
    await slow.started.acquire()
    assert slow.running == 2
    slow.released.set()
    await asyncio.gather(*cards, *compared)
    assert (slow.slow_reads, slow.most) == (4, 2)


async def test_a_read_that_fails_is_not_kept_and_leaves_its_turn_to_the_next(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled, faults = KnownScores.settled, [LedgerUnavailable("a disk"), RuntimeError("a fault")]

    def failing(self: KnownScores, connection: Connection, filter_: ScoreFilter) -> SettledByModel:
        if faults:
            raise faults.pop(0)
        return settled(self, connection, filter_)

    monkeypatch.setattr(KnownScores, "settled", failing)
    service = service_of(ledger)
    calls = [ask(service) for _ in range(3)]
    for error in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(error, LedgerUnavailable)
    with pytest.raises(RuntimeError, match="a fault"):
        await ask(service)
    assert (await ask(service)).scorecard.games == 0


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


async def test_the_answers_used_longest_ago_are_dropped(slow: SlowRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reads, "MAX_ANSWERS", 2)
    service = service_of(slow)
    slow.released.set()
    reads = []
    for team in ("BOS", "NYK", "BOS", "LAL", "BOS", "NYK"):
        await ask(service, team)
        reads.append(slow.slow_reads)
    assert reads == [1, 2, 2, 3, 3, 4]
