"""Keeps a worker's ledger and its streams up, whatever the disk does.

A ledger that can't be used costs named forecasts and streams, which are refused with the reason; what-ifs do not need
it. Meanwhile the keeper tries again, ever less often, and once the disk is well both work as before, without a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import structlog
from sqlalchemy import Connection

from dejavu_models.errors import DejavuError
from dejavu_server.ledger import (
    Durability,
    Ledger,
    LedgerCorrupt,
    LedgerError,
    LedgerUnavailable,
    OutcomeAlreadyRecorded,
)
from dejavu_server.ledger.database.sqlite import database_path
from dejavu_server.ledger.database.store import Identity
from dejavu_server.ledger.errors import copy_of
from dejavu_server.observability.failure_log import FailureLog
from dejavu_server.records import IssuedForecast, ReportedOutcome
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.streaming.errors import ServerDraining, StreamFailed

WATCH_SECONDS = 1.0
"""How often a ledger that is well is looked at: whether it still lies where it was opened."""

FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 5.0

AWAY_SECONDS = 60.0
"""A ledger that was well for so long is tried again as soon as at first."""

OPENING_SECONDS = 10.0
"""How long a worker's start waits for its ledger, which another process may be making; then it serves without."""

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class LedgerHealth(NamedTuple):
    """What works.

    Attributes:
        recording: named forecasts are recorded, as far as is known.
        streaming: streams are sent.
    """

    recording: bool
    streaming: bool


class BroadcasterFactory(Protocol):
    """Makes a hub that follows a ledger."""

    def __call__(self, ledger: Ledger, *, on_failure: Callable[[DejavuError], None]) -> Broadcaster:
        """A hub that has not started."""


class LedgerManager:
    """The ledger and the hub of one worker, as they are at present. Made, used and closed in one event loop.

    It never makes a ledger in the place of one that it, or another worker of its server, had open. A file that vanished
    may be on a disk that is about to come back, and the record must not go on in two places; whoever wants a new ledger
    restarts the server.

    Args:
        url: the ledger's.
        durability: what a recorded forecast survives.
        new_hub: makes a hub for a ledger.
        on_change: told of every change of condition, and of the first.
        make: whether to make a ledger where there is none.
    """

    def __init__(
        self,
        url: str,
        *,
        durability: Durability,
        new_hub: BroadcasterFactory,
        on_change: Callable[[LedgerHealth], None] = lambda _: None,
        make: bool = True,
    ) -> None:
        self._url = url
        self._durability = durability
        self._new_broadcaster = new_hub
        self._on_change = on_change
        self._make = make
        self._ledger: Ledger | None = None
        self._broadcaster: Broadcaster | None = None
        self._identity: Identity | None = None  # of the ledger that is open, or was
        self._position: int | None = None  # how far in it a hub got
        self._error: DejavuError | None = LedgerUnavailable("the ledger is still being opened")
        self._writable = False
        self._damaged = False
        self._troubles: defaultdict[str, FailureLog] = defaultdict(
            partial(FailureLog, _log, failed="ledger_failing", recovered="ledger_recovered")
        )
        self._pause = FIRST_RETRY_SECONDS
        self._failed_at = -AWAY_SECONDS
        self._health: LedgerHealth | None = None
        self._tried = asyncio.Event()
        self._reported = asyncio.Event()
        self._closing = asyncio.Event()
        self._streams_ended = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a ledger at present, be it one that can't be written."""
        return self._ledger is not None

    @property
    def _streaming(self) -> bool:
        return self._broadcaster is not None and not self._broadcaster.ended

    async def start(self) -> None:
        """Begins to keep the ledger; returns when it is open, or can't be opened at present.

        Raises:
            InvalidLedgerUrl: if the URL names no database that could hold one: no disk will ever mend that.
        """
        database_path(self._url)
        self._task = asyncio.create_task(self._supervise(), name="ledger-keeper")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPENING_SECONDS):
                await self._tried.wait()
        self._tell()

    async def commit(self, issued: Sequence[IssuedForecast]) -> list[IssuedForecast | OutcomeAlreadyRecorded]:
        """Records forecasts; see `Ledger.commit`.

        Raises:
            LedgerError: if there is no ledger to record them in, or it fails.
        """
        return await self._open_ledger().commit(issued)

    async def record_outcome(self, outcome: ReportedOutcome) -> tuple[ReportedOutcome, int]:
        """Records an outcome; see `Ledger.record_outcome`.

        Raises:
            LedgerError: if there is no ledger to record it in, or it fails.
        """
        return await self._open_ledger().record_outcome(outcome)

    async def read(self, function: Callable[[Connection], _T]) -> _T:
        """What a function reads; see `Ledger.read`.

        Raises:
            LedgerError: if there is no ledger to read, or it fails.
        """
        return await self._open_ledger().read(function)

    async def write(self, function: Callable[[Connection], _T]) -> _T:
        """What a function writes; see `Ledger.write`.

        Raises:
            LedgerError: if there is no ledger to write, or it fails.
        """
        return await self._open_ledger().write(function)

    def _open_ledger(self) -> Ledger:
        if self._ledger is None:
            raise self._why()
        return self._ledger

    def subscribe(
        self, game_ids: frozenset[str], resume_token: str, include_current: bool
    ) -> AsyncGenerator[bytes, None]:
        """The stream of one subscriber; see `Hub.subscribe`.

        Raises:
            LedgerError, StreamFailed: if the ledger can't be followed at present.
            Draining: after `end_streams`.
        """
        if self._streams_ended:
            raise ServerDraining()
        if self._broadcaster is None:
            raise self._why()
        return self._broadcaster.subscribe(game_ids, resume_token, include_current)

    async def end_streams(self) -> None:
        """Ends every stream with Draining, and refuses new ones; named forecasts are still recorded."""
        self._streams_ended = True
        if self._broadcaster is not None:
            await self._broadcaster.close()

    async def close(self) -> None:
        """Ends the streams, commits what is waiting and closes the ledger. May be called again."""
        self._closing.set()
        self._reported.set()
        if self._task is not None:
            await self._task
        await self._let_go(ServerDraining())

    async def _supervise(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            self._reported.clear()
            try:
                await self._repair()
            except Exception as error:
                self._fail(error)
            else:
                self._succeed()
            self._tried.set()
            if self._error is None:
                await _wait(self._reported, WATCH_SECONDS)
            if self._error is not None:
                await _wait(self._closing, self._next_pause(began))

    def _next_pause(self, began: float) -> float:
        """Seconds until a ledger that failed is tried again, given when the last attempt began."""
        now = time.monotonic()
        if now - self._failed_at >= AWAY_SECONDS:
            self._pause = FIRST_RETRY_SECONDS
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_RETRY_SECONDS)
        self._failed_at = now
        return max(pause, now - began)  # a whole file may have been read

    async def _repair(self) -> None:
        """Does what is left to do until both work; nothing, where they do.

        Raises:
            DejavuError: if that is not possible at present.
        """
        if self._ledger is not None:
            try:
                await self._ledger.check()
            except LedgerUnavailable as error:
                self._on_failure(error)
                await self._let_go(error)
        ledger = self._ledger or await self._open()
        following_anew = not self._streams_ended and not self._streaming
        if following_anew:
            await self._follow(ledger)
        if following_anew or not self._writable:  # meanwhile a hub that fails at once has done so, and is no recovery
            damaged, self._writable, self._damaged = self._damaged, True, False
            try:
                await ledger.probe(thorough=damaged)
            except Exception:
                self._writable, self._damaged = False, damaged
                raise

    async def _open(self) -> Ledger:
        last = self._identity
        ledger = await Ledger.open(self._url, durability=self._durability, make=self._make, on_failure=self._on_failure)
        self._ledger, self._identity, self._make = ledger, ledger.identity, False
        if last is not None and not last.same(ledger.identity):
            self._position = None
            _log.warning(
                "ledger_replaced", effect="another ledger, or a restored one: resume tokens of the last one end"
            )
        return ledger

    async def _follow(self, ledger: Ledger) -> None:
        """Has a new hub go on where the last one stood, so that it passes over nothing that could not be read."""
        await self._end_broadcaster(ServerDraining())
        hub = self._new_broadcaster(ledger, on_failure=self._on_failure)
        await hub.start(self._position)
        if self._position is not None and hub.position < self._position:
            _log.warning("ledger_shortened", was=self._position, ends=hub.position, effect="it was restored to less")
        self._broadcaster, self._position = hub, hub.position
        if self._streams_ended:  # meanwhile
            await hub.close()

    async def _end_broadcaster(self, reason: DejavuError) -> None:
        hub, self._broadcaster = self._broadcaster, None
        if hub is not None:
            self._position = hub.position
            await hub.close(reason)

    async def _let_go(self, reason: DejavuError) -> None:
        """Closes what is open; streams end with the reason."""
        await self._end_broadcaster(reason)
        ledger, self._ledger = self._ledger, None
        self._writable = False
        if ledger is not None:
            await ledger.close()

    def _on_failure(self, error: DejavuError) -> None:
        """Hears of a failure while the ledger is in use."""
        self._writable &= isinstance(error, StreamFailed)  # which says nothing of the ledger
        self._damaged |= isinstance(error, LedgerCorrupt)
        self._fail(error)
        self._reported.set()

    def _fail(self, error: Exception) -> None:
        known: LedgerError | StreamFailed = LedgerUnavailable("the ledger can't be used")
        if isinstance(error, LedgerError | StreamFailed):
            known = error
        self._error = known
        cause = known.__cause__
        self._troubles[known.reason].failed(
            error,
            traceback=not isinstance(known, LedgerError) or known is not error,
            reason=known.reason,
            cause=str(getattr(cause, "orig", cause)),
            effect="named forecasts or streams fail, what-ifs do not; it is tried again",
        )
        self._tell()

    def _succeed(self) -> None:
        if not self._writable or not (self._streams_ended or self._streaming):  # a failure was reported meanwhile
            return
        self._error = None
        for reason, trouble in self._troubles.items():
            trouble.succeeded(reason=reason)
        self._tell()

    def _tell(self) -> None:
        if self._streams_ended:
            return  # a drain is no trouble
        condition = LedgerHealth(recording=self._ledger is not None and self._writable, streaming=self._streaming)
        if condition != self._health:
            self._health = condition
            self._on_change(condition)

    def _why(self) -> DejavuError:
        return copy_of(self._error) if self._error is not None else LedgerUnavailable("the ledger is being opened anew")


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
