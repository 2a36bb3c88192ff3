"""Answers that many browsers ask for at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final

from dejavu_gateway.live.feed import LiveFeed

KEPT_SECONDS: Final = 60.0
"""How long an answer is kept: what is no event, such as a market, shows after this time."""

MAX_KEPT: Final = 16


class SharedAnswers:
    """Answers that many browsers ask for: made once for those that ask meanwhile, and kept while nothing changes."""

    def __init__(self) -> None:
        self._making: dict[Hashable, tuple[str, asyncio.Task[bytes]]] = {}
        self._kept: OrderedDict[Hashable, tuple[str, float, bytes]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, bytes]], feed: LiveFeed) -> bytes:
        """Returns the answer of a key: one that is kept or being made, or else a new one.

        An answer is kept for KEPT_SECONDS at most, and no longer than until the next event of the stream; without a
        stream not at all.

        Args:
            key: identifies the answer.
            make: makes it.
            feed: tells of events.
        """
        loop = asyncio.get_running_loop()
        token = feed.log.token if feed.board.report.streaming else ""
        kept = self._kept.get(key)
        if kept is not None and token and kept[0] == token and loop.time() < kept[1]:
            return kept[2]
        making = self._making.get(key)
        if making is None:
            task = asyncio.create_task(make())
            making = self._making[key] = token, task
            task.add_done_callback(lambda _: self._making.pop(key, None))
        begun, task = making  # the answer may lack what has happened since
        answer = await asyncio.shield(task)
        self._kept[key] = begun, loop.time() + KEPT_SECONDS, answer
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return answer
