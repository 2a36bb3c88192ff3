"""Fans the ledger's tail out to the subscribers of this worker.

One task follows the ledger; without subscribers it skips entries of other processes. It serializes each forecast and
outcome once, whatever the number of subscribers, and queues it for the subscribers of that game. A subscriber gets
every entry after its start position exactly once, in order of sequence: it reads the ledger page by page until it has
caught up with the tail, and is then attached. No other task runs between the check that it has caught up and attaching
it. A page is read when the subscriber needs it, encoded on the thread that reads it, and shared with other subscribers
at the same position (catch_up.py). Pages are small: a subscriber that stops reading holds at most PAGE_MESSAGES
messages.

A subscriber that stops reading is detached once its queue is full, and the queue is dropped at once. It gets the error
only when it reads again: its call is blocked by the connection's flow control, which a status cannot bypass, and
grpc.aio cannot reset a single call. Until then it costs one task and one message. Keepalive detects dead connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1 import forecast_pb2, prediction_service_pb2, record_pb2
from dejavu_common.clock import microseconds
from dejavu_common.slots import FairSlots
from dejavu_common.tasks import BackgroundTask
from dejavu_ledger import Ledger, LedgerError, ResumeTokenExpired
from dejavu_ledger.database.backend import Connection, Query
from dejavu_ledger.database.store import ChainHead
from dejavu_ledger.errors import copy_of
from dejavu_ledger.queries import predictions
from dejavu_ledger.records import IssuedForecast, ReportedOutcome
from dejavu_models.errors import DejavuError
from dejavu_server.streaming.catch_up import PAGE_MESSAGES, CatchUpPages
from dejavu_server.streaming.stream_errors import ServerDraining, StreamFailed
from dejavu_server.streaming.subscription import StreamEvent, Subscription

_T = TypeVar("_T")

CURRENT_AGE = timedelta(hours=12)
"""Maximum age of the forecasts that `include_current` sends: one day of games."""

MAX_CATCHING_UP = 2
"""Subscribers that read the ledger concurrently, callers in turn: fewer than its reader threads, so that the tail never
waits."""


class Broadcaster:
    """Sends entries recorded by any worker to the subscribers of this worker.

    Args:
        ledger: the ledger to follow; the caller closes it, after closing the broadcaster.
        encode: converts a forecast, with its explanation, to its proto message.
        encode_outcome: converts an outcome to its proto message.
        heartbeat_seconds: idle time after which a subscriber gets a heartbeat.
        on_failure: called once, with the reason, when the ledger can no longer be followed. All streams of this
            broadcaster have then ended for good; continuing takes a new broadcaster.

    Attributes:
        position: position up to which the ledger has been followed.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        encode: Callable[[IssuedForecast], forecast_pb2.Forecast],
        encode_outcome: Callable[[ReportedOutcome], record_pb2.Outcome],
        heartbeat_seconds: float = 15.0,
        on_failure: Callable[[DejavuError], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._encode = encode
        self._encode_outcome = encode_outcome
        self._heartbeat_seconds = heartbeat_seconds
        self._on_failure = on_failure
        self.position = ChainHead(0, b"")  # every entry up to it was offered to the attached subscribers
        self._subscriptions: set[Subscription] = set()
        self._attached_to_all: set[Subscription] = set()
        self._attached_to_game: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._turns = FairSlots(MAX_CATCHING_UP)
        self._pages = CatchUpPages(self._turns, ledger.read, self._serialize)
        self._ended: DejavuError | None = None
        self._tail = BackgroundTask()

    @property
    def ended(self) -> bool:
        """Whether the broadcaster was closed or has failed."""
        return self._ended is not None

    @property
    def idle(self) -> bool:
        """Whether there are no subscribers; entries of other processes are not read then."""
        return not self._subscriptions

    def skip_to(self, position: ChainHead) -> None:
        """Advance to the position of a forecast or outcome, unless it has already been passed."""
        if position.sequence > self.position.sequence:
            self.position = position

    async def start(self, after: ChainHead | None = None) -> None:
        """Start following the ledger.

        Args:
            after: the position to start after. None, or a position that the ledger does not have, as after a restore:
                that of the newest forecast or outcome. The ledger's head is not used: after entries of other kinds a
                page may rightly be empty.

        Raises:
            LedgerError: if the ledger, or the next entry in it, cannot be read.
        """
        known = after is not None and await self._ledger.position_of(after.sequence) == after
        self.position = after if after is not None and known else await self._ledger.newest()
        # Fail now if the next entries are unreadable, rather than after reporting a successful start.
        await self._ledger.read_after(self.position.sequence, PAGE_MESSAGES)
        self._tail.start(self._follow(), "ledger-tail")

    async def close(self, reason: DejavuError | None = None) -> None:
        """End every subscription at once and refuse new ones. Idempotent.

        Args:
            reason: the error that subscribers get; ServerDraining by default.
        """
        self._finish(reason or ServerDraining())
        await self._tail.end()

    async def subscribe(
        self, game_ids: frozenset[str], resume_token: str, include_current: bool, caller: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """Yield serialized StreamPredictionsResponse messages to one subscriber, without end.

        The first message is a heartbeat, preceded only by the forecasts that `include_current` requests. These are the
        newest ones as of the start of the stream, however long reading them takes; later ones follow the heartbeat. No
        entry after the heartbeat's token is missed.

        Args:
            game_ids: the games to subscribe to; empty: all.
            resume_token: token of the message to resume after; empty: start now.
            include_current: send the newest forecast of each game and horizon first; ignored with a token.
            caller: name by which it takes turns with other callers; empty if it is not limited.

        Raises:
            InvalidResumeToken, ResumeTokenExpired: if the stream cannot resume from that token.
            SubscriberTooSlow: if more than QUEUE_SIZE forecasts and outcomes were queued for the caller.
            ServerDraining: when the broadcaster is closed.
            LedgerError: if the ledger cannot be read, or can no longer be followed.
            StreamFailed: if an internal error stops the broadcaster from following the ledger.
        """
        subscription = Subscription(game_ids, caller)
        with self._registered(subscription):
            if resume_token:
                subscription.position = await self._turns.run(
                    caller, partial(self._ledger.resume_position, resume_token)
                )
            else:
                # Not the tail's position: it may lag behind commits that callers already know of.
                subscription.position = await self._turns.run(caller, self._ledger.position)
                if include_current:
                    async with contextlib.aclosing(self._current(subscription)) as messages:
                        async for message in messages:
                            yield message
            attached = self._attach(subscription)
            yield self._heartbeat(subscription)
            if not attached:
                async with contextlib.aclosing(self._catch_up(subscription)) as messages:
                    async for message in messages:
                        yield message
            while True:
                event = await subscription.next(self._heartbeat_seconds)
                if event is not None:
                    yield event.data
                else:
                    # The queue is empty: every entry up to the tail's position was sent or filtered out.
                    if self.position.sequence > subscription.position.sequence:
                        subscription.position = self.position
                    yield self._heartbeat(subscription)

    async def _catch_up(self, subscription: Subscription) -> AsyncGenerator[bytes, None]:
        """Yield the entries after a subscription's position, until it is attached."""
        with self._pages.reading():
            attached = False
            while not attached:
                page = await self._pages.get(subscription.game_ids, subscription.position, subscription.caller)
                if page.through == subscription.position:  # the database lost entries; a next page would be as empty
                    raise ResumeTokenExpired("a token of entries that the ledger has lost meanwhile")
                for event in page.events:
                    subscription.position = event.position
                    yield event.data
                    subscription.check()
                passed_over = subscription.position != page.through
                subscription.position = page.through
                attached = self._attach(subscription)
                if attached or passed_over:  # advances the token even if the page had no event for this subscriber
                    yield self._heartbeat(subscription)

    async def _current(self, subscription: Subscription) -> AsyncGenerator[bytes, None]:
        """Yield the newest forecasts as of the sequence at which a subscription starts."""
        newest = partial(
            predictions.current_sequences,
            game_ids=subscription.game_ids,
            since_us=microseconds(datetime.now(UTC) - CURRENT_AGE),
            up_to=subscription.position.sequence,
        )
        sequences = await self._query(subscription.caller, newest)
        for start in range(0, len(sequences), PAGE_MESSAGES):
            page = partial(self._messages_at, sequences[start : start + PAGE_MESSAGES])
            for message in await self._query(subscription.caller, page):
                yield message
                subscription.check()

    async def _follow(self) -> None:
        try:
            async with contextlib.aclosing(self._ledger.tail(self.position.sequence, reader=self)) as pages:
                async for page in pages:
                    for entry in page:
                        if self._publish(entry):
                            await asyncio.sleep(0)  # lets other calls run during a long page
        except LedgerError as error:
            self._fail(error)
        except Exception as error:
            failure = StreamFailed()
            failure.__cause__ = error
            self._fail(failure)
        else:
            self._finish(ServerDraining())

    def _fail(self, error: DejavuError) -> None:
        # Without the tail no stream would get anything more: end the streams so that clients notice.
        self._finish(error)
        self._on_failure(error)

    def _publish(self, entry: IssuedForecast | ReportedOutcome) -> bool:
        """Offer an entry to the attached subscribers that want it; return whether there are any."""
        targets = self._attached_to_all | self._attached_to_game.get(entry.game_id, set())
        position = ChainHead(entry.sequence, entry.hash)
        if targets:
            event = StreamEvent(position, self._serialize(entry))
            for subscription in targets:
                if not subscription.offer(event):
                    self._detach(subscription)
        self.position = position
        return bool(targets)

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
        """Attach a subscriber if it has caught up with the tail's position. Must never await."""
        subscription.check()
        if subscription.position.sequence < self.position.sequence:
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

    async def _query(self, caller: str, query: Query[_T]) -> _T:
        return await self._turns.run(caller, partial(self._ledger.read, query))

    def _messages_at(self, sequences: Sequence[int], connection: Connection) -> list[bytes]:
        """Read and encode forecasts; runs on a reader thread."""
        return list(map(self._serialize, predictions.issued_at(connection, sequences)))

    def _serialize(self, entry: IssuedForecast | ReportedOutcome) -> bytes:
        token = self._ledger.token(ChainHead(entry.sequence, entry.hash))
        message = prediction_service_pb2.StreamPredictionsResponse(resume_token=token)
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
            resume_token=self._ledger.token(subscription.position),
        ).SerializeToString()
