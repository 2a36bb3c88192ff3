"""The poller when the feed, the server or a callback fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from tests.support.builders.evenings import Evening, game
from tests.support.harness.poller import HALF, ONCE, SIX_MINUTES, Watch, correct, watching

from dejavu_client.errors import DeadlineExceededError, InvalidArgumentError, UnauthenticatedError, UnavailableError
from dejavu_client.requests import HALFTIME
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.nba.live_payloads import Scoreboard
from dejavu_poller.events import Fault, FaultKind, HorizonResult, Prediction


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    async with watching(Evening([game()]), **ONCE) as watch:
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
    for later in range(len(errors)):
        await watch.at(SIX_MINUTES + 1 + 60 * later)
        assert {seen.failure for seen in watch.poller.games.values()} == {f"server: {errors[later]}"}
    await watch.at(SIX_MINUTES + 121)

    assert len(watch.predictor.asked) == len(errors) + 1
    assert len(watch.told(Prediction)) == 1
    assert {seen.failure for seen in watch.poller.games.values()} == {""}
    faults = [(fault.kind, fault.failures) for fault in watch.told(Fault)]
    assert faults == [(FaultKind.SERVER, number + 1) for number in range(len(errors))], "in a row"


async def test_a_pattern_that_the_server_refuses_is_not_asked_about_again_but_a_corrected_one_is(
    watch: Watch,
) -> None:
    (game_id,) = watch.evening.ids
    watch.predictor.failures = [InvalidArgumentError("odd", code=grpc.StatusCode.INVALID_ARGUMENT)]
    await watch.at(SIX_MINUTES + 1)
    await watch.at(SIX_MINUTES + 61)
    assert len(watch.predictor.asked) == 1
    assert watch.poller.games[game_id].horizons[HALFTIME].note == "refused: odd"

    watch.evening.edit[game_id] = lambda plays: correct(plays, until=SIX_MINUTES + 1, by=-1)
    await watch.at(SIX_MINUTES + 121)
    assert len(watch.told(Prediction)) == 1
    assert watch.poller.games[game_id].horizons[HALFTIME].note == ""


@pytest.mark.parametrize(
    ("error", "said", "kind"),
    [
        (MalformedFeed("play 7.clock is missing"), "play 7.clock is missing", FaultKind.MALFORMED),
        (RuntimeError("nobody foresaw this"), "RuntimeError: nobody foresaw this", FaultKind.INTERNAL),
    ],
)
async def test_a_fault_in_one_games_plays_does_not_touch_the_others(
    error: Exception, said: str, kind: FaultKind
) -> None:
    evening = Evening([game(), game("MIA", "NYK")])
    faulty, sound = evening.ids
    evening.fault[faulty] = error  # type: ignore[assignment]
    async with watching(evening, **ONCE) as watch:
        await watch.at(SIX_MINUTES + 1)

        assert [asked.game_id for asked in watch.predictor.asked] == [sound]
        assert watch.told(Fault) == [Fault(faulty, said, 1, kind=kind)]
        assert watch.poller.games[faulty].failure.endswith(said)

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
    evening = Evening([game()])
    (game_id,) = evening.ids
    evening.stalled.add(game_id)
    async with watching(evening, read_timeout=1.0, **ONCE) as watch:
        await watch.at(60)
        of_game = [fault for fault in watch.told(Fault) if fault.source == game_id]  # a busy machine delays others too
        assert of_game == [Fault(game_id, "no answer within 1 s", 1, kind=FaultKind.UNAVAILABLE)]

        evening.stalled.clear()
        await watch.at(SIX_MINUTES + 1)
        assert len(watch.told(Prediction)) == 1
        evening.release.set()


@pytest.mark.parametrize("of_game", [False, True], ids=["the scoreboard", "the box score of a game that it dropped"])
async def test_a_failing_source_is_read_less_and_less_often(watch: Watch, of_game: bool) -> None:
    (game_id,) = watch.evening.ids
    source = f"box score of {game_id}" if of_game else "scoreboard"
    if of_game:
        await watch.at(60)
        watch.evening.hidden.add(game_id)
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
    for _ in range(4):
        await watch.turn()
    assert watch.poller.games, "it comes back"


async def test_a_failing_callback_is_nobody_elses_problem() -> None:
    def fail(prediction: Prediction) -> None:
        raise RuntimeError("the callback's own fault")

    told: list[Prediction] = []
    async with watching(Evening([game()]), on_prediction=[fail, told.append], **ONCE) as watch:
        await watch.at(SIX_MINUTES + 1)
        await watch.at(HALF)

        assert len(told) == 1
        assert len(watch.told(HorizonResult)) == 1


async def test_a_game_that_the_scoreboard_garbles_is_told_once_and_does_not_hide_the_others() -> None:
    class Garbled(Evening):
        def scoreboard(self) -> Scoreboard:
            return replace(super().scoreboard(), faults=(MalformedFeed("games[1].gameId is missing"),))

    async with watching(Garbled([game()]), **ONCE) as watch:
        await watch.at(SIX_MINUTES - 59)
        await watch.at(SIX_MINUTES + 1)

        assert watch.told(Fault) == [Fault("scoreboard", "games[1].gameId is missing", 1, kind=FaultKind.MALFORMED)]
        assert len(watch.told(Prediction)) == 1
