"""Keeps a worker's ledger and streams available across disk failures.

While the ledger is unusable, named forecasts and streams are refused with the reason; what-ifs do not need the ledger.
The manager retries with exponential backoff. Once the disk works again, forecasts and streams recover without a
restart.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from dejavu_common.activity import Activity
from dejavu_common.clock import Backoff, utc_now, wait_until_set
from dejavu_common.failure_log import FailureLog
from dejavu_ledger import Durability, Ledger, LedgerCorrupt, LedgerError, LedgerUnavailable
from dejavu_ledger.database.backends import check_url
from dejavu_ledger.database.store import ChainHead, Identity
from dejavu_ledger.errors import LedgerClockDiffers, LedgerReplaced, copy_of
from dejavu_ledger.rules import RecordingLimits
from dejavu_models.errors import DejavuError
from dejavu_server.observability.metrics import Metrics
from dejavu_server.settings import Settings
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.streaming.ledger_watch import LedgerWatch
from dejavu_server.streaming.stream_errors import ServerDraining, StreamFailed

WATCH_SECONDS = 1.0
"""Interval between checks that a healthy ledger's files are still at the path where they were opened."""

FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 5.0

BACKOFF_RESET_SECONDS = 60.0
"""Time without a failure after which the retry delay is reset."""

OPENING_SECONDS = 10.0
"""Maximum time that a worker's start waits for its ledger, which another process may be creating. After that, the
worker serves without the ledger."""

_log = structlog.get_logger(__name__)
_MEBIBYTE = 1024 * 1024


class LedgerHealth(NamedTuple):
    """Functions of the ledger that work.

    Attributes:
        recording: whether named forecasts can be recorded, as far as is known.
        streaming: whether streams are served.
    """

    recording: bool
    streaming: bool


class BroadcasterFactory(Protocol):
    """Creates a broadcaster that follows a ledger."""

    def __call__(self, ledger: Ledger, *, on_failure: Callable[[DejavuError], None]) -> Broadcaster:
        """Return a broadcaster that has not been started."""


class LedgerManager:
    """Owns the current ledger and broadcaster of one worker. Create, use and close it in one event loop.

    It never creates a ledger to replace one that it, or another worker of its server, had open. A file that vanished
    may be on a disk that is about to come back, and the record must not be split into two files. Creating a new ledger
    takes a restart of the server.

    Args:
        settings: settings of the worker.
        metrics: metrics of the worker.
        new_broadcaster: creates a broadcaster for a ledger.
        on_change: called with the first health status and with every change.
        committed: events, one for each task that waits for them. All are set when a ledger is opened, and after every
            commit, of any process, that may have added entries other than forecasts.
        make: whether to create a ledger if none exists.
        clock: returns the current time, aware and in UTC; see `Ledger.open`.

    Attributes:
        activities: activities of the threads of the current ledger, or of the last one, which may still be closing.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        new_broadcaster: BroadcasterFactory,
        on_change: Callable[[LedgerHealth], None],
        *,
        committed: Sequence[asyncio.Event] = (),
        make: bool = True,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._new_broadcaster = new_broadcaster
        self._on_change = on_change
        self._committed = committed
        self._make = make
        self._clock = clock
        self._limits = RecordingLimits(settings.max_game_forecasts, settings.ledger_reserve_mib * _MEBIBYTE)
        metrics.ledger_reserve.set(self._limits.reserve_bytes)
        self._watch = LedgerWatch(self._limits.reserve_bytes, metrics)
        self._ledger: Ledger | None = None
        self.activities: tuple[Activity, ...] = ()
        self._broadcaster: Broadcaster | None = None
        self._identity: Identity | None = None  # of the ledger that is open, or was open last
        self._position: ChainHead | None = None  # position of the broadcasters
        self._error: DejavuError | None = LedgerUnavailable("the ledger is still being opened")
        self._writable = False
        self._damaged = False
        self._failure_logs: defaultdict[str, FailureLog] = defaultdict(
            partial(FailureLog, _log, failed="ledger_failing", recovered="ledger_recovered")
        )
        self._backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        self._failed_at = -BACKOFF_RESET_SECONDS
        self._health: LedgerHealth | None = None
        self._first_attempt_done = asyncio.Event()
        self._failure_reported = asyncio.Event()
        self._closing = asyncio.Event()
        self._streams_ended = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a ledger is open, even if it cannot be written."""
        return self._ledger is not None

    @property
    def stream_position(self) -> int | None:
        """Sequence up to which entries were offered to the streams; None while no streams are served."""
        broadcaster = self._broadcaster
        return None if broadcaster is None or broadcaster.ended else broadcaster.position.sequence

    @property
    def _streaming(self) -> bool:
        return self._broadcaster is not None and not self._broadcaster.ended

    async def start(self) -> None:
        """Start managing the ledger; return after the first attempt to open it, successful or not.

        Waits OPENING_SECONDS at most.

        Raises:
            InvalidLedgerUrl: if the URL does not name a database that can hold a ledger, which no retry would fix.
        """
        check_url(self._settings.ledger)
        self._task = asyncio.create_task(self._supervise(), name="ledger-manager")
        await wait_until_set(self._first_attempt_done, OPENING_SECONDS)
        self._report_health()

    def current(self) -> Ledger:
        """Return the ledger.

        Raises:
            LedgerError: if none is open: the reason.
        """
        if self._ledger is None:
            raise self._current_error()
        return self._ledger

    def subscribe(
        self, game_ids: frozenset[str], resume_token: str, include_current: bool, caller: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """Return the stream of one subscriber; see `Broadcaster.subscribe`.

        Raises:
            LedgerError, StreamFailed: if the ledger cannot be followed at the moment.
            ServerDraining: after `end_streams`.
        """
        if self._streams_ended:
            raise ServerDraining()
        if self._broadcaster is None:
            raise self._current_error()
        return self._broadcaster.subscribe(game_ids, resume_token, include_current, caller)

    async def end_streams(self) -> None:
        """End every stream with ServerDraining and refuse new ones; named forecasts are still recorded."""
        self._streams_ended = True
        if self._broadcaster is not None:
            await self._broadcaster.close()

    async def close(self) -> None:
        """End the streams, commit pending writes and close the ledger. Idempotent."""
        self._closing.set()
        self._failure_reported.set()
        if self._task is not None:
            await self._task
        await self._close_current(ServerDraining())

    async def _supervise(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            self._failure_reported.clear()
            try:
                await self._repair()
                if self._ledger is not None:
                    await self._watch.check_disk(self._ledger)
            except Exception as error:
                self._fail(error)
            else:
                self._succeed()
            self._first_attempt_done.set()
            if self._error is None:
                await wait_until_set(self._failure_reported, WATCH_SECONDS)
            if self._error is not None:
                await wait_until_set(self._closing, self._next_pause(began))

    def _next_pause(self, began: float) -> float:
        """Return the seconds until the next attempt, given the start time of the failed one."""
        now = time.monotonic()
        if now - self._failed_at >= BACKOFF_RESET_SECONDS:
            self._backoff.reset()
        self._failed_at = now
        # Wait at least as long as the attempt took: it may have read the whole file.
        return max(self._backoff.next(), now - began)

    async def _repair(self) -> None:
        """Reopen the ledger and restart the streams as needed; do nothing while both work.

        Raises:
            DejavuError: if the repair is not possible at the moment.
        """
        if self._ledger is not None:
            try:
                followed = self._broadcaster.position if self._broadcaster is not None and self._streaming else None
                self._watch.compare_clocks(await self._ledger.check(followed))
            except (LedgerReplaced, LedgerClockDiffers) as error:
                self._on_failure(error)
                await self._close_current(error)
        ledger = self._ledger or await self._open()
        restart_streams = not self._streams_ended and not self._streaming
        if restart_streams:
            await self._follow(ledger)
        # Also probe after a new broadcaster was started: one that fails at once does so before the probe ends.
        if restart_streams or not self._writable:
            damaged, self._writable, self._damaged = self._damaged, True, False
            try:
                await ledger.probe(thorough=damaged)
            except Exception:
                self._writable, self._damaged = False, damaged
                raise

    async def _open(self) -> Ledger:
        last = self._identity
        ledger = await Ledger.open(
            self._settings.ledger,
            durability=Durability(self._settings.durability),
            make=self._make,
            on_failure=self._on_failure,
            limits=self._limits,
            clock=self._clock,
            on_commit_seconds=self._metrics.commit_seconds.observe,
            on_read_seconds=self._metrics.read_seconds.observe,
        )
        self._ledger, self._identity, self._make = ledger, ledger.identity, False
        self._metrics.set_ledger_epoch(ledger.identity.ledger_id, ledger.identity.epoch)
        self.activities = ledger.activities
        for event in self._committed:
            ledger.listen(event)
            event.set()
        if last is not None and last != ledger.identity:
            self._position = None
            _log.warning(
                "ledger_replaced", effect="another or a restored ledger: resume tokens of the previous one expire"
            )
        return ledger

    async def _follow(self, ledger: Ledger) -> None:
        """Start a broadcaster at the position of the previous one, so that no entry it failed to read is skipped."""
        await self._end_broadcaster(ServerDraining())
        broadcaster = self._new_broadcaster(ledger, on_failure=self._on_failure)
        await broadcaster.start(self._position)
        if self._position is not None and broadcaster.position != self._position:
            _log.warning(
                "ledger_shortened",
                was=self._position.sequence,
                ends=broadcaster.position.sequence,
                effect="the ledger was restored to an earlier state",
            )
        self._broadcaster, self._position = broadcaster, broadcaster.position
        if self._streams_ended:  # by `end_streams` while the broadcaster was starting
            await broadcaster.close()

    async def _end_broadcaster(self, reason: DejavuError) -> None:
        broadcaster, self._broadcaster = self._broadcaster, None
        if broadcaster is not None:
            self._position = broadcaster.position
            await broadcaster.close(reason)

    async def _close_current(self, reason: DejavuError) -> None:
        """Close the broadcaster and the ledger, if open; streams end with the reason."""
        await self._end_broadcaster(reason)
        ledger, self._ledger = self._ledger, None
        self._writable = False
        if ledger is not None:
            await ledger.close()

    def _on_failure(self, error: DejavuError) -> None:
        """Handle a failure that occurred while the ledger was in use."""
        self._writable &= isinstance(error, StreamFailed)  # StreamFailed says nothing about the ledger
        self._damaged |= isinstance(error, LedgerCorrupt)
        self._fail(error)
        self._failure_reported.set()

    def _fail(self, error: Exception) -> None:
        ledger_error: LedgerError | StreamFailed = LedgerUnavailable("the ledger cannot be used")
        if isinstance(error, LedgerError | StreamFailed):
            ledger_error = error
        self._error = ledger_error
        if isinstance(error, LedgerClockDiffers):
            self._watch.compare_clocks(error.ahead)
        cause = ledger_error.__cause__
        self._failure_logs[ledger_error.reason].failed(
            error,
            traceback=not isinstance(ledger_error, LedgerError) or ledger_error is not error,
            reason=ledger_error.reason,
            cause=None if cause is None else str(getattr(cause, "orig", cause)),
            effect="named forecasts, streams or the record fail, what-ifs do not; the server retries",
        )
        self._report_health()

    def _succeed(self) -> None:
        if not self._writable or not (self._streams_ended or self._streaming):  # a failure was reported meanwhile
            return
        self._error = None
        for reason, failure_log in self._failure_logs.items():
            failure_log.succeeded(reason=reason)
        self._report_health()

    def _report_health(self) -> None:
        if self._streams_ended:
            return  # a drain is not a failure
        recording = self._ledger is not None and self._writable and not self._watch.below_reserve
        health = LedgerHealth(recording=recording, streaming=self._streaming)
        if health != self._health:
            self._health = health
            self._on_change(health)

    def _current_error(self) -> DejavuError:
        return copy_of(self._error) if self._error is not None else LedgerUnavailable("the ledger is being reopened")
