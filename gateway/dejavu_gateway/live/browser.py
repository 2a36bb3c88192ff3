"""One browser's path through the log: where it starts, what it receives, and when it is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final, Protocol

from dejavu_client import DejavuClientError, InvalidArgumentError, OutOfRangeError
from dejavu_gateway.live.event_log import LiveEvent
from dejavu_gateway.live.feed import LiveFeed
from dejavu_gateway.live.games import PublishedGame
from dejavu_gateway.live.status import StatusReport
from dejavu_gateway.messages.encode import JsonObject
from dejavu_gateway.messages.errors import RequestRefused, of_server

EVENTS_A_SEND: Final = 8
"""Maximum number of events, and of states, handed to a connection at once; its buffer holds the unsent data."""

RETRY_SECONDS: Final = 1.0
"""Pause before a browser whose stream has ended reconnects."""

CROWDED_SECONDS: Final = 10.0
"""Mean pause of a browser whose slot was given to another one: if it came back at once, it would take the slot of a
third one."""

_REPLACED: Final[JsonObject] = RequestRefused(
    HTTPStatus.GONE,
    "OUT_OF_RANGE",
    "The server has another ledger than before: what was shown is no longer part of it.",
    "LEDGER_REPLACED",
).as_json()

_TOO_OLD: Final[JsonObject] = RequestRefused(
    HTTPStatus.GONE, "OUT_OF_RANGE", "Too much was recorded since this position to be sent again.", "POSITION_TOO_OLD"
).as_json()


class Outlet(Protocol):
    """A connection to a browser, with a format of its own.

    A method returns once the network has taken most of the previous data; at once if the connection is closed.
    """

    transport: str

    async def status(self, status: JsonObject, token: str) -> None:
        """Send a status, with the browser's position unless the token is empty."""

    async def games(self, states: Sequence[PublishedGame]) -> None:
        """Send states of games."""

    async def events(self, entries: Sequence[tuple[LiveEvent, bytes]]) -> None:
        """Send events, each with its chunk."""

    def event_now(self, entry: tuple[LiveEvent, bytes]) -> bool:
        """Send an event if this needs no waiting; return whether it was sent."""

    async def position(self, token: str) -> None:
        """Keep the connection alive; send the position, from which a browser can resume, unless the token is empty."""

    async def reset(self, error: JsonObject) -> None:
        """Announce that the stream does not go on from the browser's position, and that the newest forecasts follow."""

    async def finish(self, retry_seconds: float) -> None:
        """End the stream; the browser should connect again after a time."""

    def abort(self) -> None:
        """Drop the connection with its unsent data."""


class Browser:
    """Sends one browser its events until it is closed.

    Args:
        feed: the feed.
        outlet: the connection.
        games: the games that it follows; empty: all.
        token: resume token to start after; empty to start now.
        current: whether to start with the newest forecasts; ignored with a token.
        address: where the browser is.
    """

    def __init__(
        self, feed: LiveFeed, outlet: Outlet, games: frozenset[str], token: str, *, current: bool, address: str = ""
    ) -> None:
        self._feed = feed
        self._outlet = outlet
        self._games = games
        self._token = token
        self._current = current
        self._address = address
        self._log = feed.log
        self._position = 0
        self._games_sent = 0
        self._reported: StatusReport | None = None
        self._closed = self._ending = self._awake = self._entered = False
        self._pause = RETRY_SECONDS * random.uniform(0.5, 2.0)  # noqa: S311 - spreads them out
        self._loop = asyncio.get_running_loop()
        self._delivered = 0  # counted once a second: a counter costs as much as a tenth of a delivery
        self._waiting: asyncio.Future[None] | None = None
        self._quiet_since = self._loop.time()
        self._sending_since: float | None = None
        self._sent = feed.metrics.sent.labels(outlet.transport)

    def wake(self) -> None:
        """Send new events; if the browser has kept up, at once and without its task."""
        if self._waiting is None or self._waiting.done() or not self._keep_up():
            self._rouse()

    def _keep_up(self) -> bool:
        """Send the new events without waiting; return False if the task has to continue."""
        log = self._log
        if (
            not self._entered
            or log is not self._feed.log
            or self._feed.board.report is not self._reported
            or self._feed.games.count != self._games_sent
            or self._over
        ):
            return False
        while self._position < log.end:
            try:
                [entry] = log.read(self._position, 1)
            except LookupError:
                return False
            if entry[0].wanted_by(self._games):
                if not self._outlet.event_now(entry):
                    return False
                self._delivered += 1
                self._quiet_since = self._loop.time()
            self._position += 1
            self._token = entry[0].token
        return True

    def _rouse(self) -> None:
        self._awake = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def tick(self, now: float) -> None:
        """Cut the browser off if it takes nothing, and keep a silent connection alive."""
        limits = self._feed.settings.limits
        self._count()
        if self._sending_since is not None and now - self._sending_since > limits.stalled_seconds:
            self.cut_off("stalled")
        elif now - self._quiet_since >= limits.heartbeat_seconds:
            self._rouse()

    def end(self) -> None:
        """End the stream after the current event."""
        self._ending = True
        self._rouse()

    def close(self) -> None:
        """Take note that the connection was closed."""
        self._closed = True
        self._rouse()

    def make_room(self) -> None:
        """End the stream after the current event, because another browser gets its slot."""
        self._feed.metrics.cut_off.labels("crowded").inc()
        self._pause = CROWDED_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - spreads them out
        self.end()

    def cut_off(self, reason: str) -> None:
        """Drop the connection of a browser that is too slow; it can resume where it was."""
        if not self._closed:
            self._feed.metrics.cut_off.labels(reason).inc()
            self._outlet.abort()
            self.close()

    async def run(self) -> None:
        """Send until the browser is gone, too slow, or the gateway drains."""
        with self._feed.registered(self), self._feed.metrics.browsers.labels(self._outlet.transport).track_inprogress():
            await self._enter()
            while not self._over:
                if self._log is not self._feed.log:
                    await self._forget(_REPLACED)
                    await self._enter()
                elif not any([await self._send_games(), await self._send_new()]):  # in turns
                    await self._wait()
            if not self._closed:
                with self._sending():
                    await self._outlet.finish(self._pause)
            self._count()

    @property
    def _over(self) -> bool:
        return self._closed or self._ending

    @contextlib.contextmanager
    def _sending(self) -> Iterator[None]:
        """Note that the connection has something to send, until the end of the block."""
        self._quiet_since = self._sending_since = self._now()
        yield
        self._sending_since = None

    def _now(self) -> float:
        return self._loop.time()

    def _count(self) -> None:
        if self._delivered:
            self._sent.inc(self._delivered)
            self._delivered = 0

    async def _wait(self) -> None:
        """Wait until there is something to send; keep the connection alive if this takes long."""
        if not self._awake:
            self._waiting = self._loop.create_future()
            await self._waiting
            self._waiting = None
        self._awake = False
        if self._over:
            return
        if self._feed.board.report is not self._reported:
            await self._send_status()
        if self._now() - self._quiet_since >= self._feed.settings.limits.heartbeat_seconds:
            await self._send_position()

    async def _enter(self) -> None:
        """Move the browser to a position of the log, once the server has sent one."""
        self._entered = False
        if self._reported is None:
            await self._send_status(self._token)
        while not self._over and not await self._join():
            await self._wait()
        self._entered = True

    async def _join(self) -> bool:
        """Move the browser to a position of the log; return False if this has to wait for the server."""
        log = self._log = self._feed.log
        if not log.begun:
            return False
        if self._token:
            position = log.position(self._token)
            if position is None:
                return await self._catch_up()
            self._position = position
            return True
        entries = log.current(self._games) if self._current else []
        self._position, token = log.end, log.token
        for start in range(0, len(entries), EVENTS_A_SEND):
            if not self._over:
                await self._send(entries[start : start + EVENTS_A_SEND])
        self._token = token
        await self._send_position()
        return True

    async def _catch_up(self) -> bool:
        """Have the log extended back to the browser's position, or reset the browser; return False to retry later.

        Meanwhile, send the server's status and keep the connection alive; end once the browser is gone.
        """
        reaching = asyncio.create_task(self._feed.reach_back(self._token, self._address))
        reaching.add_done_callback(lambda _: self._rouse())
        try:
            while not (self._over or reaching.done()):
                await self._wait()
        finally:
            if not reaching.done():
                reaching.cancel()
                await asyncio.wait([reaching])
        if reaching.cancelled():
            return False
        try:
            if not reaching.result():
                await self._forget(_TOO_OLD)
        except (OutOfRangeError, InvalidArgumentError) as error:
            await self._forget(of_server(error).as_json())
        except DejavuClientError:
            return False  # the status names the problem
        return await self._join()

    async def _forget(self, error: JsonObject) -> None:
        """Reset the browser to start with the newest forecasts, and send the reason."""
        self._token, self._current = "", True
        with self._sending():
            await self._outlet.reset(error)

    async def _send_games(self) -> bool:
        """Send the states of games that the browser does not have; return False if there are none."""
        newest = self._feed.games.count
        states = self._feed.games.after(self._games_sent, self._games)[:EVENTS_A_SEND]
        self._games_sent = states[-1].number if len(states) == EVENTS_A_SEND else newest
        if states:
            with self._sending():
                await self._outlet.games(states)
        return bool(states)

    async def _send_new(self) -> bool:
        """Send the next events of the log; return False if there are none."""
        try:
            entries = self._log.read(self._position, EVENTS_A_SEND)
        except LookupError:
            self.cut_off("lagging")
            return True
        if not entries:
            return False
        self._position += len(entries)
        wanted = [each for each in entries if each[0].wanted_by(self._games)] if self._games else entries
        self._token = entries[-1][0].token
        if wanted:
            await self._send(wanted)
        return True

    async def _send(self, entries: Sequence[tuple[LiveEvent, bytes]]) -> None:
        with self._sending():
            await self._outlet.events(entries)
        self._delivered += 0 if self._closed else len(entries)

    async def _send_status(self, token: str = "") -> None:
        feed = self._feed
        self._reported = feed.board.report
        with self._sending():
            await self._outlet.status(feed.status(), token)

    async def _send_position(self) -> None:
        with self._sending():
            await self._outlet.position(self._token)
