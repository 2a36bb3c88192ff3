"""Of two pollers, the leader works; the other takes over if it ends, hangs or is cut off. Nothing is made twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.evenings import (
    HALF,
    ONCE,
    SIX_MINUTES,
    Evening,
    FakeOfClient,
    StoringPredictor,
    Watch,
    game,
    watching,
)
from tests.support.harness.waiting import until

from dejavu.ops.v1.lease_service_pb2 import AcquireLeaseResponse, Lease
from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client.errors import DejavuClientError, PermissionDeniedError, UnauthenticatedError, UnavailableError
from dejavu_client.requests import HALFTIME
from dejavu_poller import LeaderElection, LeaderRole, LeadershipChanged, Prediction, lease_name
from dejavu_poller.leadership import LEASE_SECONDS
from dejavu_poller.lines import GameLines
from dejavu_poller.metrics import register_metrics

TTL = 1.0


class Leases(FakeOfClient):  # type: ignore[misc]
    """The leases of a server, by a clock of the test, and that clock.

    Attributes:
        now: seconds.
        failure: error of every request while it is set, by holder.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.failure: dict[str, DejavuClientError] = {}
        self._holder, self._acquired, self._until = "", 0.0, 0.0

    def cut_off(self, holder: str) -> None:
        """Let the lease of a holder expire, who reaches the server no more."""
        self.failure[holder] = UnavailableError("cut off")
        self.now += TTL

    async def acquire_lease(self, name: str, holder: str, ttl: float, **_: object) -> AcquireLeaseResponse:
        if holder in self.failure:
            raise self.failure[holder]
        stands = self._until > self.now
        if not stands or self._holder == holder:
            self._acquired = self._acquired if stands else self.now
            self._holder, self._until = holder, self.now + ttl
        lease = Lease(name=name, holder=self._holder)
        lease.remaining_seconds = 0.001  # so that a follower soon asks again: the clock stands still
        lease.acquired_time.FromMilliseconds(round(self._acquired * 1000))
        return AcquireLeaseResponse(acquired=self._holder == holder, lease=lease)

    async def release_lease(self, name: str, holder: str, **_: object) -> bool:
        if holder in self.failure:
            raise self.failure[holder]
        if self._holder == holder:
            self._until = 0.0
        return True

    def election(self, holder: str) -> LeaderElection:
        return LeaderElection(self, "poll", holder, ttl=TTL, clock=lambda: self.now)


async def until_role(watch: Watch, role: LeaderRole) -> None:
    await until(lambda: watch.poller.leadership is not None and watch.poller.leadership.role is role)


@asynccontextmanager
async def running(
    leases: Leases, evening: Evening, predictor: StoringPredictor, holder: str, **more: Any
) -> AsyncIterator[Watch]:
    """Yield a poller that runs."""
    options: dict[str, Any] = {**ONCE, "interval": 0.02, "election": leases.election(holder), **more}
    async with watching(evening, predictor, **options) as watch:
        task = asyncio.create_task(watch.poller.run())
        yield watch
        watch.poller.stop()
        await task


@pytest.fixture
def evening() -> Evening:
    made = Evening([game()])
    made.go_to(SIX_MINUTES - 60)
    return made


async def test_a_second_poller_stands_by_and_takes_over_at_once_when_the_first_ends(evening: Evening) -> None:
    leases, predictor = Leases(), StoringPredictor()
    async with AsyncExitStack() as stack:
        second = None
        async with running(leases, evening, predictor, "a") as first:
            await until_role(first, LeaderRole.LEADING)
            second = await stack.enter_async_context(running(leases, evening, predictor, "b"))
            await until_role(second, LeaderRole.STANDBY)
            await until(lambda: second.poller.scoreboard_time)  # it reads the scoreboard, to be ready
            leads = [register_metrics(each.poller).get_sample_value("dejavu_poll_leads") for each in (first, second)]
            assert leads == [1.0, 0.0]
            evening.go_to(SIX_MINUTES)
            await until(lambda: first.told(Prediction))
        await until_role(second, LeaderRole.LEADING)
        evening.go_to(HALF)
        await until(lambda: predictor.reports)
        made = [each.forecast for each in first.told(Prediction) + second.told(Prediction)]
        assert set(predictor.minutes(HALFTIME)) == {18}
        assert {(each.sequence, each.revision) for each in made} == {(1, 0)}, "the second got what the first had made"


async def test_a_follower_takes_over_when_the_lease_expires_and_the_first_then_does_nothing_more(
    evening: Evening,
) -> None:
    leases, predictor = Leases(), StoringPredictor()
    async with running(leases, evening, predictor, "a") as first:
        await until_role(first, LeaderRole.LEADING)
        await until(lambda: first.poller.games)
        async with running(leases, evening, predictor, "b") as second:
            await until_role(second, LeaderRole.STANDBY)
            leases.cut_off("a")
            await until_role(second, LeaderRole.LEADING)
            evening.go_to(SIX_MINUTES)
            await until(lambda: second.told(Prediction))
            await until_role(first, LeaderRole.WAITING)
            del leases.failure["a"]
            await until_role(first, LeaderRole.STANDBY)
            assert predictor.calls == 1
            assert not first.poller.games
            assert first.told(Prediction) == []


async def test_a_poller_that_was_stopped_publishes_nothing_once_its_time_is_over(evening: Evening) -> None:
    """It hangs after it has read the plays and before it requests the forecast; meanwhile its lease expires."""
    leases, predictor = Leases(), StoringPredictor()
    async with running(leases, evening, predictor, "a") as first:
        await until(lambda: first.poller.games)
        evening.stalled.add(evening.ids[0])
        evening.go_to(SIX_MINUTES)
        reads = evening.reads[evening.ids[0]]
        await until(lambda: evening.reads[evening.ids[0]] > reads)
        leases.cut_off("a")
        await leases.acquire_lease("poll", "b", TTL)
        evening.stalled.clear()
        evening.release.set()  # it wakes up
        await until_role(first, LeaderRole.WAITING)
        assert predictor.calls == 0


async def test_a_leader_that_was_cut_off_forgets_its_lines_and_takes_that_of_the_poller_between(
    evening: Evening, tmp_path: Path
) -> None:
    leases, predictor, [game_id], file = Leases(), StoringPredictor(), evening.ids, tmp_path / "lines.csv"
    file.write_text(f"game_id,spread\n{game_id},-4.5\n")
    lines = GameLines(evening.clock, file=file, published=predictor.list_games)

    def margin() -> float | None:
        line = lines.of(game_id)
        return None if line is None else line.margin

    async with running(leases, evening, predictor, "a", lines=lines) as first:
        await until(lambda: margin() == 4.5)
        leases.cut_off("a")
        await leases.acquire_lease("poll", "b", TTL)
        await until(lambda: margin() is None)
        assert not first.poller.games
        between = Game(game_id=game_id, home_team="BOS", away_team="LAL", status=GameStatus.GAME_STATUS_LIVE)
        between.pregame_margin = 5.5
        predictor.published = {game_id: between}
        leases.failure.clear()
        leases.now += TTL
        await until(lambda: margin() == 5.5)
        assert first.poller.leads


async def test_a_leader_acts_for_less_than_the_time_of_its_lease_and_its_work_is_free_within_15_seconds() -> None:
    leases = Leases()
    election = LeaderElection(leases, "poll", "a", clock=lambda: leases.now)
    changed = asyncio.Event()
    async with election.running(changed.set):
        await changed.wait()
        leases.failure["a"] = UnavailableError("cut off")
        led = list[bool]()
        for share in (0.0, 0.79, 0.02):
            leases.now += share * LEASE_SECONDS
            led.append(election.leads)
        assert led == [True, True, False]
        other = await leases.acquire_lease("poll", "b", TTL)
        assert not other.acquired, "calls on their way have time to end"
        leases.now += 15 - 0.81 * LEASE_SECONDS
        assert (await leases.acquire_lease("poll", "b", TTL)).acquired


@pytest.mark.parametrize(
    "error", [UnauthenticatedError("the token has expired"), PermissionDeniedError("lacks scope 'outcome'")]
)
async def test_a_poller_whose_token_is_refused_stands_by_and_says_why(
    evening: Evening, error: DejavuClientError
) -> None:
    """Formerly, all pollers of a revoked token led at once."""
    leases, predictor = Leases(), StoringPredictor()
    leases.failure["a"] = error
    evening.go_to(SIX_MINUTES)
    async with running(leases, evening, predictor, "a") as refused:
        await until(lambda: refused.told(LeadershipChanged))
        [changed] = refused.told(LeadershipChanged)
        assert changed.status.role is LeaderRole.WAITING
        assert error.message in changed.status.reason
        assert not predictor.calls


def test_pollers_of_the_same_work_have_the_same_lease() -> None:
    assert lease_name("http://feed", "both", 6) == lease_name("http://feed", "both", 6)
    assert lease_name("http://feed", "both", 6) != lease_name("http://feed", "half", 6)
