"""One browser's path through the log: where it starts, what it receives, and when it is cut off."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from dejavu_gateway.live.event_log import EventLog
from dejavu_gateway.live.feed import LiveFeed
from dejavu_gateway.live.messages import StreamMessage, position, reset
from dejavu_gateway.live.status import StatusReport
from dejavu_gateway.messages.errors import RequestRefused

MESSAGES_A_SEND: Final = 8
"""Maximum number of events, and of states, handed to a connection at once; its buffer holds the unsent data."""

RETRY_SECONDS: Final = 1.0
"""Pause before a browser whose stream has ended reconnects."""

CROWDED_SECONDS: Final = 10.0
"""Mean pause of a browser whose slot was given to another one: if it came back at once, it would take the slot of a
third one."""

_RESET: Final = reset(
    RequestRefused(
        "POSITION_UNKNOWN", "The stream does not go on from this position: load what is shown again."
    ).as_json()
)


class Outlet(Protocol):
    """A connection to a browser, with a format of its own; it calls `Browser.pump` when it becomes ready again."""

    transport: str

    @property
    def ready(self) -> bool:
        """Whether the network has taken most of the previous data, and the connection is open."""

    def write(self, messages: Sequence[StreamMessage]) -> None:
        """Send messages; only while it is ready."""

    async def finish(self, retry_seconds: float) -> None:
        """End the stream; the browser should connect again after a time."""

    def abort(self) -> None:
        """Drop the connection with its unsent data."""


class Browser:
    """Sends one browser its messages until it is closed.

    Args:
        feed: the feed.
        outlet: the connection.
        games: the games that it follows; empty: all.
        token: resume token to start after; empty to start now.
        current: whether to start with the newest forecasts; ignored with a token.
    """

    def __init__(self, feed: LiveFeed, outlet: Outlet, games: frozenset[str], token: str, *, current: bool) -> None:
        self._feed = feed
        self._outlet = outlet
        self._games = games
        self._token = token
        self._current = current
        self._log: EventLog | None = None  # the one of its position
        self._position = 0
        self._backlog = deque[StreamMessage]()  # what comes before the events from its position on
        self._games_sent = 0
        self._reported: StatusReport | None = None
        self._over = asyncio.Event()
        self._closed = False
        self._pause = RETRY_SECONDS * random.uniform(0.5, 2.0)  # noqa: S311 - spreads them out
        self._now = asyncio.get_running_loop().time
        self._taking_at = self._written_at = self._now()
        self._sent = feed.metrics.sent.labels(outlet.transport)

    async def run(self) -> None:
        """Send until the browser is gone, is cut off or makes room, or the gateway drains."""
        with self._feed.registered(self), self._feed.metrics.browsers.labels(self._outlet.transport).track_inprogress():
            self.pump()
            await self._over.wait()
            if not self._closed:
                await self._outlet.finish(self._pause)

    def pump(self) -> None:
        """Send what is new, as far as the connection takes it."""
        while self._outlet.ready and not self._over.is_set():
            self._taking_at = self._now()
            messages = self._next()
            if not messages:
                return
            self._written_at = self._taking_at
            self._outlet.write(messages)

    def tick(self, now: float) -> None:
        """Cut the browser off if it takes nothing, and keep a silent connection alive."""
        limits = self._feed.settings.limits
        if self._outlet.ready:
            self._taking_at = now
            if now - self._written_at >= limits.heartbeat_seconds:
                self._backlog.append(position(self._token))
                self.pump()
        elif now - self._taking_at > limits.stalled_seconds:
            self._cut_off("stalled")

    def end(self) -> None:
        """End the stream after what was sent."""
        self._over.set()

    def close(self) -> None:
        """Take note that the connection was closed."""
        self._closed = True
        self._over.set()

    def make_room(self) -> None:
        """End the stream, because another browser gets its slot."""
        self._feed.metrics.cut_off.labels("crowded").inc()
        self._pause = CROWDED_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - spreads them out
        self.end()

    def _cut_off(self, reason: str) -> None:
        """Drop the connection of a browser that is too slow; it can resume where it was."""
        if not self._closed:
            self._feed.metrics.cut_off.labels(reason).inc()
            self._outlet.abort()
            self.close()

    def _next(self) -> list[StreamMessage]:
        """Return the next messages: the status if it changed, states of games, and events."""
        feed, found = self._feed, list[StreamMessage]()
        if feed.board.report is not self._reported:
            self._reported = feed.board.report
            found.append(feed.status_message())
        states = feed.games.after(self._games_sent, self._games)[:MESSAGES_A_SEND]
        self._games_sent = states[-1].number if len(states) == MESSAGES_A_SEND else feed.games.count
        found += [each.message for each in states]
        if self._log is not feed.log and feed.log.begun:
            self._join(feed.log)
        if self._backlog:
            return found + [self._backlog.popleft() for _ in range(min(len(self._backlog), MESSAGES_A_SEND))]
        return found + self._events(feed.log) if self._log is feed.log else found

    def _join(self, log: EventLog) -> None:
        """Move to a log: to the browser's position if the log has it, otherwise to its end.

        A browser with a position that the log does not have, or of a log that was replaced, is reset: it starts with
        the newest forecasts.
        """
        known = log.position(self._token) if self._token else None
        is_reset = known is None and bool(self._token)
        if is_reset:
            self._backlog.append(_RESET)
        if known is None:
            if self._current or is_reset:
                self._backlog += [each.message for each in log.current(self._games)]
            self._token = log.token
        self._position = log.end if known is None else known
        self._log = log
        self._backlog.append(position(self._token))

    def _events(self, log: EventLog) -> list[StreamMessage]:
        """Return the next events of a log that the browser follows."""
        found = list[StreamMessage]()
        try:
            while not found and (events := log.read(self._position, MESSAGES_A_SEND)):
                self._position += len(events)
                self._token = events[-1].token
                found = [each.message for each in events if each.wanted_by(self._games)]
        except LookupError:
            self._cut_off("lagging")
        self._sent.inc(len(found))
        return found
