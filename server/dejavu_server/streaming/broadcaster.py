"""The ledger's tail, fanned out to the subscribers of this worker.

One task follows the ledger; each forecast and outcome is serialised once, whatever the number of subscribers, and goes
to those that want its game. A subscriber gets all of them after its starting place once and in order of sequence: until
it is level with the tail it reads the ledger by pages, then it is attached, and between finding it level and attaching
it nothing else runs.

A subscriber that stops reading is detached once too much waits for it, and its queue is dropped at once. It hears of it
when it reads on: its call waits in flow control for the connection, which neither a status nor the end of the handler
passes, and grpc.aio offers no way to reset a single call. Meanwhile it costs a task and one message; a connection whose
other end is gone is found by keepalive.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1 import forecast_pb2, prediction_service_pb2, record_pb2
from dejavu_models.errors import DejavuError
from dejavu_server.ledger import Ledger, LedgerError, ResumeTokenExpired
from dejavu_server.ledger.errors import copy_of
from dejavu_server.records import IssuedForecast, ReportedOutcome
from dejavu_server.streaming.errors import ServerDraining, StreamFailed
from dejavu_server.streaming.subscription import StreamEvent, Subscription

_T = TypeVar("_T")

CURRENT_AGE = timedelta(hours=12)
"""How far back `include_current` reaches: a day's games."""

PAGE_SIZE = 500
"""How many entries a subscriber that catches up reads at once."""

MAX_CATCHING_UP = 2
"""How many subscribers read the ledger at the same time: fewer than it has readers, so that the tail never waits."""


class Broadcaster:
    """Sends what is recorded, by whatever worker, to every subscriber of this one.

    Args:
        ledger: the ledger to follow; stays the caller's to close, after the hub.
        encode: the contract's message of a forecast, with its explanation.
        encode_outcome: that of an outcome.
        heartbeat_seconds: after how long a silence a subscriber gets a heartbeat.
        queue_size: how many forecasts and outcomes may wait for a subscriber before it is cut off.
        on_failure: called once, with the reason, if the ledger can't be followed any more: every stream of this hub has
            then ended for good, and only another hub can go on.
        on_outcome: called with every outcome that it comes by in the ledger.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        encode: Callable[[IssuedForecast], forecast_pb2.Forecast],
        encode_outcome: Callable[[ReportedOutcome], record_pb2.Outcome],
        heartbeat_seconds: float = 15.0,
        queue_size: int = 2000,
        on_failure: Callable[[DejavuError], None] = lambda _: None,
        on_outcome: Callable[[ReportedOutcome], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._encode = encode
        self._encode_outcome = encode_outcome
        self._heartbeat_seconds = heartbeat_seconds
        self._queue_size = queue_size
        self._on_failure = on_failure
        self._on_outcome = on_outcome
        self._position = 0  # everything up to here was offered to whoever is attached
        self._subscriptions: set[Subscription] = set()
        self._attached_to_all: set[Subscription] = set()
        self._attached_to_game: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._reading = asyncio.Semaphore(MAX_CATCHING_UP)
        self._ended: DejavuError | None = None
        self._tail: asyncio.Task[None] | None = None

    @property
    def subscribers(self) -> int:
        """How many subscriptions stand."""
        return len(self._subscriptions)

    @property
    def position(self) -> int:
        """The sequence up to which it has followed the ledger."""
        return self._position

    @property
    def ended(self) -> bool:
        """Whether it was closed or has failed."""
        return self._ended is not None

    async def start(self, after: int | None = None) -> None:
        """Begins to follow the ledger.

        Args:
            after: the sequence to begin after; by default, and where it lies before, that of the newest forecast or
                outcome. Not the ledger's head: after another kind of entry a page is empty for no fault.

        Raises:
            LedgerError: if the ledger, or what comes next in it, cannot be read.
        """
        newest = await self._ledger.newest()
        self._position = newest if after is None else min(after, newest)
        await self._ledger.read_after(
            self._position, PAGE_SIZE
        )  # else it would seem to go on until it came to what can't be
        self._tail = asyncio.create_task(self._follow(), name="ledger-tail")

    async def close(self, reason: DejavuError | None = None) -> None:
        """Ends every subscription at once, and refuses new ones. May be called again.

        Args:
            reason: what subscribers are told; Draining by default.
        """
        self._finish(reason or ServerDraining())
        if self._tail is not None:
            self._tail.cancel()
            await asyncio.wait([self._tail])

    async def subscribe(
        self, game_ids: frozenset[str], resume_token: str, include_current: bool
    ) -> AsyncGenerator[bytes, None]:
        """The stream of one subscriber: serialised StreamPredictionsResponse messages, without end.

        The first message is a heartbeat: from then on nothing after its token is missed. Only the forecasts that
        `include_current` asks for go before it.

        Args:
            game_ids: the games wanted; empty: all.
            resume_token: of the message to go on after; empty: from now on.
            include_current: send first the newest forecast of each game and horizon; ignored with a token.

        Raises:
            InvalidResumeToken, ResumeTokenExpired: if the stream can't go on from that token.
            SubscriberTooSlow: if more than `queue_size` forecasts and outcomes waited for the caller.
            Draining: when the hub is closed.
            LedgerError: if the ledger cannot be read, or not be followed any more.
            StreamFailed: if a fault of the program keeps it from being followed.
        """
        subscription = Subscription(game_ids, self._queue_size)
        with self._registered(subscription):
            if resume_token:
                subscription.sequence = await self._read(partial(self._ledger.resume_position, resume_token))
            else:
                # Not the tail's position: that may lag behind what callers were already told is recorded.
                subscription.sequence = await self._read(self._ledger.head)
                if include_current:
                    for issued in await self._current(game_ids, subscription.sequence):
                        yield self._serialize(issued)
            attached = self._attach(subscription)
            yield self._heartbeat(subscription)
            while not attached:
                for entry in await self._page(subscription.sequence):
                    subscription.sequence = entry.sequence
                    if subscription.wants(entry.game_id):
                        yield self._serialize(entry)
                        subscription.check()
                yield self._heartbeat(subscription)  # a page may hold nothing for this subscriber
                attached = self._attach(subscription)
            while True:
                event = await subscription.next(self._heartbeat_seconds)
                if event is not None:
                    yield event.data
                else:
                    # Nothing waits, so all up to the tail's position has been sent or was not wanted.
                    subscription.sequence = max(subscription.sequence, self._position)
                    yield self._heartbeat(subscription)

    async def _follow(self) -> None:
        try:
            async with contextlib.aclosing(self._ledger.tail(self._position)) as pages:
                async for page in pages:
                    for entry in page:
                        self._publish(entry)
                        await asyncio.sleep(0)  # a long page must not hold up the other calls
        except LedgerError as error:
            self._fail(error)
        except Exception as error:
            failure = StreamFailed()
            failure.__cause__ = error
            self._fail(failure)
        else:
            self._finish(ServerDraining())

    def _fail(self, error: DejavuError) -> None:
        # Without the tail nobody would be told anything any more: better an end that clients see.
        self._finish(error)
        self._on_failure(error)

    def _publish(self, entry: IssuedForecast | ReportedOutcome) -> None:
        targets = self._attached_to_all | self._attached_to_game.get(entry.game_id, set())
        if targets:
            event = StreamEvent(entry.sequence, self._serialize(entry))
            for subscription in targets:
                if not subscription.offer(event):
                    self._detach(subscription)
        self._position = entry.sequence
        if isinstance(entry, ReportedOutcome):
            self._on_outcome(entry)

    def _finish(self, error: DejavuError) -> None:
        if self._ended is None:
            self._ended = error
            for subscription in self._subscriptions:
                subscription.end(copy_of(error))

    @contextlib.contextmanager
    def _registered(self, subscription: Subscription) -> Iterator[None]:
        if self._ended is not None:
            raise copy_of(self._ended)
        self._subscriptions.add(subscription)
        try:
            yield
        finally:
            self._subscriptions.discard(subscription)
            self._detach(subscription)

    def _attach(self, subscription: Subscription) -> bool:
        """Attaches a subscriber if it has everything up to the tail's position; no await in here, ever."""
        subscription.check()
        if subscription.sequence < self._position:
            return False
        if not subscription.game_ids:
            self._attached_to_all.add(subscription)
        for game_id in subscription.game_ids:
            self._attached_to_game[game_id].add(subscription)
        return True

    def _detach(self, subscription: Subscription) -> None:
        self._attached_to_all.discard(subscription)
        for game_id in subscription.game_ids:
            if attached := self._attached_to_game.get(game_id):
                attached.discard(subscription)
                if not attached:
                    del self._attached_to_game[game_id]

    async def _read(self, read: Callable[[], Awaitable[_T]]) -> _T:
        async with self._reading:
            return await read()  # made here: who is cancelled before leaves nothing that was never awaited

    async def _page(self, place: int) -> list[IssuedForecast | ReportedOutcome]:
        page = await self._read(partial(self._ledger.read_after, place, PAGE_SIZE))
        if not page:  # the tail saw more than this
            raise ResumeTokenExpired("one after which forecasts were removed meanwhile")
        return page

    async def _current(self, game_ids: frozenset[str], up_to: int) -> list[IssuedForecast]:
        since = datetime.now(UTC) - CURRENT_AGE
        return await self._read(partial(self._ledger.current, game_ids, since, up_to))

    def _serialize(self, entry: IssuedForecast | ReportedOutcome) -> bytes:
        message = prediction_service_pb2.StreamPredictionsResponse(resume_token=self._ledger.token(entry.sequence))
        if isinstance(entry, IssuedForecast):
            message.forecast.CopyFrom(self._encode(entry))
        else:
            message.outcome.CopyFrom(self._encode_outcome(entry))
        return message.SerializeToString()

    def _heartbeat(self, subscription: Subscription) -> bytes:
        now = Timestamp()
        now.GetCurrentTime()
        return prediction_service_pb2.StreamPredictionsResponse(
            heartbeat=prediction_service_pb2.Heartbeat(sent_time=now),
            resume_token=self._ledger.token(subscription.sequence),
        ).SerializeToString()
