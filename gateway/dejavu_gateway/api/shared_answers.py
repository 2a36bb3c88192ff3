"""Answers that many browsers request at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Final

from dejavu_gateway.http.answers import Content
from dejavu_gateway.live.feed import LiveFeed

KEPT_SECONDS: Final = 60.0
"""Time to keep an answer: a change without an event, such as a market, shows after this time."""

MAX_KEPT: Final = 64
MAX_KEPT_BYTES: Final = 32 * 1024 * 1024

MAX_MAKING: Final = 2
"""Maximum number of concurrent computations of an answer: one begun before the newest event, and one since."""


@dataclass(slots=True, eq=False)
class _Making:
    """An answer in progress: the newest event at its start, and the number of waiting requests."""

    begun: str
    task: asyncio.Task[Content]
    waiting: int = 0


@dataclass(slots=True, eq=False)
class _Kept:
    """An answer, the newest event at its start, and until when the answer is valid."""

    begun: str
    until: float
    answer: Content


class SharedAnswers:
    """Answers that many browsers request: computed once for concurrent requests, and kept while nothing changes.

    A computation that nobody waits for is cancelled: otherwise a browser that requests and hangs up, again and again,
    could start any number of them. The answers that were requested last are kept.
    """

    def __init__(self) -> None:
        self._making: defaultdict[Hashable, list[_Making]] = defaultdict(list)
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def kept(self, key: Hashable, feed: LiveFeed) -> Content | None:
        """Return the kept answer of a key; None if there is none that is still valid."""
        kept, token = self._kept.get(key), _position(feed)
        if kept is None or not token or kept.begun != token or asyncio.get_running_loop().time() >= kept.until:
            return None
        self._kept.move_to_end(key)
        return kept.answer

    def last(self, key: Hashable) -> Content | None:
        """Return the newest answer of a key, however old; None if there is none in memory."""
        kept = self._kept.get(key)
        return None if kept is None else kept.answer

    async def get(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, Content]], feed: LiveFeed) -> Content:
        """Return the answer of a key: a kept one, one that is being made, or else a new one.

        A request caused by an event does not get an answer begun before the event, unless MAX_MAKING computations are
        in progress. An answer is kept for KEPT_SECONDS at most, and no longer than until the next event of the stream;
        without a stream it is not kept at all.

        Args:
            key: identifies the answer.
            make: makes the answer.
            feed: source of events.
        """
        if (kept := self.kept(key, feed)) is not None:
            return kept
        token = _position(feed)
        making = self._making[key]
        if not making or (making[-1].begun != token and len(making) < MAX_MAKING):
            new = _Making(token, asyncio.create_task(make()))
            making.append(new)
            new.task.add_done_callback(lambda _: self._remove(key, new))
        one = making[-1]  # the answer may lack later events
        one.waiting += 1
        try:
            answer = await asyncio.shield(one.task)
        finally:
            one.waiting -= 1
            if not one.waiting:
                self._remove(key, one)  # at once: a new request must not wait for a cancelled computation
                one.task.cancel()
        self._keep(key, _Kept(one.begun, asyncio.get_running_loop().time() + KEPT_SECONDS, answer))
        return answer

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT or sum(len(each.answer) for each in self._kept.values()) > MAX_KEPT_BYTES:
            self._kept.popitem(last=False)

    def _remove(self, key: Hashable, one: _Making) -> None:
        making = self._making[key]
        if one in making:
            making.remove(one)
        if not making:
            del self._making[key]


def _position(feed: LiveFeed) -> str:
    return feed.log.token if feed.board.report.streaming else ""
