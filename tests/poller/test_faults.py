"""The poller when the feed or the server fails, and reads that are given up in time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from tests.support.builders.evenings import (
    ONCE,
    SIX_MINUTES,
    Evening,
    StoringPredictor,
    Watch,
    game,
    moved,
    watching,
)
from tests.support.fakes.service import FakeServer

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import DeadlineExceededError, InvalidArgumentError, UnauthenticatedError, UnavailableError
from dejavu_client.requests import HALFTIME
from dejavu_client.transport.servers import HealthStatus
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_poller.events import Fault, FaultKind, Prediction, Recovered
from dejavu_poller.reads import DaemonThreads, read_in_thread


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    async with watching(**ONCE) as watch:
        yield watch


@pytest.mark.parametrize(
    "errors",
    [[UnavailableError("away"), DeadlineExceededError("slow")], [UnauthenticatedError("the token has expired")]],
    ids=["away", "an expired token, and then another one in its file"],
)
async def test_while_the_server_does_not_answer_it_keeps_asking_until_the_half(
    watch: Watch, errors: list[Exception]
) -> None:
    watch.predictor.failures = list(errors)
    for later, error in enumerate(errors):
        await watch.minutes(18 + later)
        assert watch.seen.failure == f"server: {error}"
    await watch.minutes(20)

    assert len(watch.predictor.asked) == len(errors) + 1
    assert len(watch.told(Prediction)) == 1
    assert watch.seen.failure == ""
    faults = [(fault.kind, fault.failures) for fault in watch.told(Fault)]
    assert faults == [(FaultKind.SERVER, number + 1) for number in range(len(errors))], "in a row"


async def test_a_pattern_that_the_server_refuses_is_not_asked_about_again_but_a_corrected_one_is(watch: Watch) -> None:
    watch.predictor.failures = [InvalidArgumentError("odd", code=grpc.StatusCode.INVALID_ARGUMENT)]
    await watch.minutes(18, 19)
    assert len(watch.predictor.asked) == 1
    assert watch.seen.horizons[HALFTIME].note == "refused: odd"

    watch.edit(moved(-1, until=SIX_MINUTES + 1))
    await watch.minutes(20)
    assert len(watch.told(Prediction)) == 1
    assert watch.seen.horizons[HALFTIME].note == ""


async def test_a_server_that_is_not_there_is_reported_in_the_first_turn_with_address_and_cause() -> None:
    with FakeServer() as server:
        target = server.target
    async with AsyncDejavuClient(target) as client, watching(client=client) as watch:
        await watch.turn()
        [fault] = watch.told(Fault)
    assert (fault.source, fault.kind) == ("server", FaultKind.SERVER)
    assert f"cannot reach {target}: is a dejavu-server running there? (" in fault.reason
    assert "refused" in fault.reason
    assert watch.poller.server_failure == fault.reason


async def test_a_server_that_goes_away_between_two_forecasts_is_reported_and_forgotten_once_back() -> None:
    async with watching() as watch:
        await watch.turn()
        assert watch.told(Fault) == []
        watch.predictor.unreachable = [UnavailableError("cannot reach it")]
        await watch.turn()
        assert [(each.source, each.reason) for each in watch.told(Fault)] == [("server", "cannot reach it")]
        assert watch.poller.server_failure == "cannot reach it"
        await watch.turn(2)
        assert watch.poller.server_failure == ""
        assert watch.told(Recovered) == [Recovered("server")]


async def test_a_server_that_makes_no_forecasts_is_reported() -> None:
    class Sick(StoringPredictor):
        async def health(self, service: str = "") -> HealthStatus:
            return HealthStatus.NOT_SERVING

    async with watching(predictor=Sick()) as watch:
        await watch.turn()
        [fault] = watch.told(Fault)
    assert "NOT_SERVING" in fault.reason


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MalformedFeed("play 7.clock is missing"), FaultKind.MALFORMED),
        (RuntimeError("nobody foresaw this"), FaultKind.INTERNAL),
    ],
)
async def test_a_fault_in_one_games_plays_does_not_touch_the_others(error: Exception, kind: FaultKind) -> None:
    evening = Evening([game(), game("MIA", "NYK")])
    faulty, sound = evening.ids
    evening.fault[faulty] = error
    async with watching(evening, **ONCE) as watch:
        await watch.minutes(18)
        assert [asked.game_id for asked in watch.predictor.asked] == [sound]
        assert [(each.source, each.kind) for each in watch.told(Fault)] == [(faulty, kind)]
        del evening.fault[faulty]
        await watch.turn()
        assert [asked.game_id for asked in watch.predictor.asked] == [sound, faulty]


async def test_a_slow_game_does_not_delay_the_others() -> None:
    evening = Evening([game(), game("MIA", "NYK")])
    slow, quick = evening.ids
    evening.stalled.add(slow)
    forecast = asyncio.Event()
    async with watching(evening, on_prediction=[lambda _: forecast.set()], **ONCE) as watch:
        evening.go_to(SIX_MINUTES + 1)
        watch.poller.turn()
        await forecast.wait()
        watch.poller.turn()  # no second read is started while the slow one is in progress
        assert [asked.game_id for asked in watch.predictor.asked] == [quick]

        evening.release.set()
        await watch.poller.idle()
        assert [asked.game_id for asked in watch.predictor.asked] == [quick, slow]
        assert evening.reads[slow] == 1


async def test_a_read_that_never_ends_is_given_up_and_tried_again() -> None:
    async with watching(read_timeout=1.0, **ONCE) as watch:
        watch.evening.stalled.add(watch.id)
        await watch.at(60)
        of_game = [fault for fault in watch.told(Fault) if fault.source == watch.id]  # a busy machine delays others too
        assert of_game == [Fault(watch.id, "no answer within 1 s", 1, kind=FaultKind.UNAVAILABLE)]

        watch.evening.stalled.clear()
        await watch.minutes(18)
        assert len(watch.told(Prediction)) == 1


@pytest.mark.parametrize("of_game", [False, True], ids=["the scoreboard", "the box score of a game that it dropped"])
async def test_a_failing_source_is_read_less_and_less_often(watch: Watch, of_game: bool) -> None:
    source = f"box score of {watch.id}" if of_game else "scoreboard"
    if of_game:
        await watch.at(60)
        watch.evening.hidden.add(watch.id)
        await watch.turn()  # the first without it
    watch.evening.fault[source] = FeedUnavailable("status 500")
    read_in = []
    for turn in range(16):
        before = watch.evening.reads[source]
        await watch.turn()
        if watch.evening.reads[source] > before:
            read_in.append(turn)
    assert read_in == [0, 1, 3, 7, 13]
    assert [fault.failures for fault in watch.told(Fault)] == [1, 2, 3, 4, 5]

    watch.evening.fault.clear()
    await watch.turn(4)
    assert watch.poller.games, "it comes back"


async def test_a_game_that_the_scoreboard_garbles_is_told_once_and_does_not_hide_the_others(watch: Watch) -> None:
    garbled = MalformedFeed("games[1].gameId is missing")
    watch.evening.shown = lambda board: replace(board, faults=(garbled,))
    await watch.minutes(17, 18)

    assert watch.told(Fault) == [Fault("scoreboard", "games[1].gameId is missing", 1, kind=FaultKind.MALFORMED)]
    assert len(watch.told(Prediction)) == 1


SECONDS = 0.2


async def test_no_more_threads_than_stated_read_at_once_and_the_next_read_waits_for_one() -> None:
    release, threads, begun = threading.Event(), DaemonThreads(2), list[int]()

    def hanging() -> None:
        begun.append(threading.get_ident())
        release.wait(20)

    for _ in range(4):
        with pytest.raises(FeedUnavailable, match="no answer within"):
            await read_in_thread(hanging, seconds=SECONDS, threads=threads)
    assert len(begun) == 2
    release.set()
    free = await read_in_thread(threading.get_ident, threads=threads)
    assert free in begun, "a free thread is used again; what was given up while it waited is not read"
    assert len(begun) == 2


def test_a_program_ends_although_a_read_hangs() -> None:
    program = """if True:
        import asyncio, threading
        from dejavu_feed.errors import FeedUnavailable
        from dejavu_poller.reads import read_in_thread
        try:
            asyncio.run(read_in_thread(threading.Event().wait, seconds=0.1))
        except FeedUnavailable as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "no answer within 0.1 s\n"
