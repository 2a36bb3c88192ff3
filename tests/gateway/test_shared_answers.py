"""Answers that many browsers ask for are made once, and kept only while they are those of the server."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

from dejavu_gateway.api.shared_answers import MAX_KEPT_BYTES, SharedAnswers
from dejavu_gateway.http.answers import Content


class Feed:
    """A stream that is at a token."""

    def __init__(self) -> None:
        self.log = SimpleNamespace(token="a")
        self.board = SimpleNamespace(report=SimpleNamespace(streaming=True))


class Maker:
    """Makes a different answer on each call, once `go` is set."""

    def __init__(self) -> None:
        self.made = self.cancelled = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> Content:
        self.made += 1
        answer = Content(b"%d" % self.made)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return answer


async def test_an_answer_is_kept_until_the_next_event() -> None:
    shared, feed, make = SharedAnswers(), Feed(), Maker()
    live: Any = feed
    assert [await shared.get("day", make, live) for _ in range(3)] == [b"1"] * 3
    feed.log.token = "b"
    assert await shared.get("day", make, live) == b"2"
    assert await shared.get("other", make, live) == b"3"


async def test_so_many_bytes_are_kept_of_the_answers_that_were_asked_for_last() -> None:
    shared, feed, made = SharedAnswers(), Feed(), Counter[str]()
    live: Any = feed

    async def get(key: str) -> None:
        async def make() -> Content:
            made[key] += 1
            return Content(MAX_KEPT_BYTES // 2)

        assert len(await shared.get(key, make, live)) == MAX_KEPT_BYTES // 2

    for key in "abacab":
        await get(key)
    assert made == {"a": 1, "b": 2, "c": 1}


async def test_no_answer_is_kept_without_a_stream() -> None:
    shared, feed, make = SharedAnswers(), Feed(), Maker()
    live: Any = feed
    feed.board.report.streaming = False
    assert [await shared.get("day", make, live) for _ in range(2)] == [b"1", b"2"]


async def test_who_asks_after_an_event_gets_an_answer_that_was_begun_after_it() -> None:
    shared, feed, make = SharedAnswers(), Feed(), Maker()
    live: Any = feed
    make.go.clear()
    asking = asyncio.create_task(shared.get("day", make, live))
    await asyncio.sleep(0)
    together = asyncio.create_task(shared.get("day", make, live))
    await asyncio.sleep(0)
    feed.log.token = "b"
    later = [asyncio.create_task(shared.get("day", make, live)) for _ in range(3)]
    await asyncio.sleep(0)
    feed.log.token = "c"
    most = asyncio.create_task(shared.get("day", make, live))
    await asyncio.sleep(0)
    make.go.set()
    assert await asking == await together == b"1"
    assert [await each for each in (*later, most)] == [b"2"] * 4
    assert await shared.get("day", make, live) == b"3"


async def test_an_answer_is_made_as_long_as_somebody_waits_for_it() -> None:
    shared, feed, make = SharedAnswers(), Feed(), Maker()
    live: Any = feed
    make.go.clear()
    first, second = (asyncio.create_task(shared.get("day", make, live)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert (make.made, make.cancelled, second.done()) == (1, 0, False)
    second.cancel()
    third = asyncio.create_task(shared.get("day", make, live))  # while the one that nobody waits for is being ended
    await asyncio.wait([second])
    make.go.set()
    assert await third == b"2"
    assert (make.made, make.cancelled) == (2, 1)


async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    shared, feed = SharedAnswers(), Feed()
    live: Any = feed
    go = asyncio.Event()

    async def fail() -> Content:
        await go.wait()
        raise LookupError("gone")

    asking = [asyncio.create_task(shared.get("day", fail, live)) for _ in range(2)]
    await asyncio.sleep(0)
    go.set()
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in done] == [LookupError, LookupError]
    assert await shared.get("day", Maker(), live) == b"1"
