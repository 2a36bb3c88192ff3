"""The ledger as the rest of the server sees it: asynchronous, whatever lies below."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog
from sqlalchemy import Connection, Engine

from dejavu_models.errors import InvalidTeam, quoted
from dejavu_server.ledger import outcomes, resume_tokens
from dejavu_server.ledger.database import notify, sqlite, store
from dejavu_server.ledger.database.migrate import ensure_schema
from dejavu_server.ledger.database.sqlite import Durability
from dejavu_server.ledger.database.store import Identity
from dejavu_server.ledger.entries import codec
from dejavu_server.ledger.errors import (
    InvalidResumeToken,
    LedgerError,
    LedgerUnavailable,
    OutcomeAlreadyRecorded,
    ResumeTokenExpired,
    database_errors,
)
from dejavu_server.ledger.writer import Writer
from dejavu_server.records import IssuedForecast, ReportedOutcome

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

READERS = 3
"""Threads, and so connections, that read: one for the tail, the others for subscribers that catch up."""

PAGE = 500
"""How many entries a tail reads at once."""


class _Opened(NamedTuple):
    """What opening a ledger found."""

    identity: Identity
    files: sqlite.OpenFiles
    runtime: Path | None


class Ledger:
    """Every forecast for a named game, and every outcome: durable, once, and in one order for all who write to it.

    A forecast is kept by its game, horizon, minute, alpha, model version and pregame_margin. Recorded again with the
    pattern and the teams of its newest revision it stays what it is; with others it becomes the next revision. Once the
    outcome of what it forecasts is there, neither is recorded any more.

    Made by `open`; to be used in one event loop, and closed.
    """

    def __init__(
        self, path: Path, writing: Engine, opened: _Opened, on_failure: Callable[[LedgerError], None] | None
    ) -> None:
        self._path = path
        self._writing = writing
        self._identity, self._files, self._runtime = opened
        self._on_failure = on_failure
        self._notifier = None if self._runtime is None else notify.Notifier(self._runtime)
        self._writer = Writer(writing, path, self._notify)
        self._reading = sqlite.reading(path)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-reader")
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        durability: Durability = Durability.PROCESS,
        make: bool = True,
        on_failure: Callable[[LedgerError], None] | None = None,
    ) -> Ledger:
        """Opens the ledger of a URL (`sqlite:///PATH`); makes or migrates it, with its folder, where needed.

        Any number of processes may do so at once. One that fails leaves a ledger as it was, or an empty file.

        Args:
            url: which ledger.
            durability: what a committed forecast survives.
            make: whether to make the ledger, and its folder, where there is none.
            on_failure: called in the loop with whatever keeps a later call from reading or writing.

        Raises:
            InvalidLedgerUrl: if the URL can't name a ledger.
            LedgerSchemaError: if a later release wrote the database, or it is not a ledger.
            LedgerUnavailable, LedgerCorrupt: if it cannot be opened.
        """
        path = sqlite.database_path(url)
        writing = sqlite.writing(path, durability)
        opened = await asyncio.to_thread(cls._open, path, writing, make)
        return cls(path, writing, opened, on_failure)

    @staticmethod
    def _open(path: Path, writing: Engine, make: bool) -> _Opened:
        try:
            with database_errors():
                if make:
                    path.parent.mkdir(parents=True, exist_ok=True)
                ensure_schema(writing, path, make=make)
                with writing.begin() as connection:
                    identity, files = store.identity(connection), sqlite.open_files(connection)
        except OSError as error:
            writing.dispose()
            raise LedgerUnavailable(f"the ledger's folder can't be used: {error.strerror}") from error
        except BaseException:
            writing.dispose()
            raise
        try:
            runtime = notify.runtime_folder(path)
        except OSError as error:
            _log.warning("ledger_runtime_folder_unusable", error=str(error), effect="streams lag by up to a second")
            runtime = None
        return _Opened(identity, files, runtime)

    @property
    def identity(self) -> Identity:
        """Which ledger it is."""
        return self._identity

    async def commit(self, issued: Sequence[IssuedForecast]) -> list[IssuedForecast | OutcomeAlreadyRecorded]:
        """Records forecasts, in one transaction with whatever else is waiting; durable when this returns.

        Cancelled before its turn, it leaves no trace; later, it is recorded all the same.

        Returns:
            For each, in order, what stands in the ledger: itself with its sequence and revision, or the forecast
            recorded earlier where the newest revision of its key has the same pattern and teams; or why it was not
            recorded, though the others were.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if it could not be recorded; then none of `issued` was.
            ValueError: if one names no game or cannot be written down.
        """
        if not issued:
            return []
        drafts = [codec.prepare(each) for each in issued]
        with self._told():
            return await asyncio.wrap_future(self._writer.submit(drafts))

    async def record_outcome(self, outcome: ReportedOutcome) -> tuple[ReportedOutcome, int]:
        """Records an outcome, and settles every forecast of its game and horizon by it; durable when this returns.

        Reported again with the differential of its newest revision, and its teams or none, it stays what it is; with
        others it becomes the next revision, and what was settled is settled anew.

        Returns:
            The outcome as it stands in the ledger, and how many forecasts it settles.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if it could not be recorded.
            InvalidTeam: if the forecasts of the game have its teams the other way round.
            ValueError: if it names no game, ends one level, or cannot be written down.
        """
        codec.outcome_payload(outcome)  # what is wrong with it is told here, and not by the writer
        with self._told():
            answer = await asyncio.wrap_future(
                self._writer.run(lambda connection: outcomes.record_outcome(connection, outcome, datetime.now(UTC)))
            )
        if isinstance(answer, InvalidTeam):
            raise answer
        return answer

    async def write(self, function: Callable[[Connection], _T]) -> _T:
        """What a function returns that writes, in a transaction of its own that holds the write lock.

        It may be called more than once, and must not touch entries: `commit` and `record_outcome` record those.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if it could not be written.
        """
        with self._told():
            return await asyncio.wrap_future(self._writer.run(function, alone=True))

    async def read(self, function: Callable[[Connection], _T]) -> _T:
        """What a function returns that reads, on a connection each of whose statements sees the newest commit.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if the ledger cannot be read.
        """
        with self._told():
            return await self._in_reader(partial(self._read_now, function))

    async def read_after(self, sequence: int, limit: int) -> list[IssuedForecast | ReportedOutcome]:
        """The first `limit` forecasts and outcomes after a place, in order of sequence."""
        return await self.read(lambda connection: store.read_after(connection, sequence, limit))

    async def current(self, game_ids: frozenset[str], since: datetime, up_to: int) -> list[IssuedForecast]:
        """The newest forecast of each game and horizon, in order of sequence.

        Args:
            game_ids: the games; empty: all.
            since: only forecasts made at or after this moment (UTC).
            up_to: only forecasts up to this sequence.
        """
        since_us = codec.microseconds(since)
        return await self.read(lambda connection: store.current(connection, game_ids, since_us, up_to))

    async def head(self) -> int:
        """The sequence of the newest entry; 0 while there is none."""
        return await self.read(lambda connection: store.head(connection).sequence)

    async def newest(self) -> int:
        """The sequence of the newest forecast or outcome; 0 while there is none."""
        return await self.read(store.newest)

    def token(self, sequence: int) -> str:
        """The token with which a stream goes on right after a sequence."""
        return resume_tokens.encode(resume_tokens.ResumeToken(self._identity.ledger_id, self._identity.epoch, sequence))

    async def resume_position(self, token: str) -> int:
        """The sequence after which a token's stream goes on.

        Raises:
            InvalidResumeToken: if it is not a token, or one of another ledger.
            ResumeTokenExpired: if what follows its place was pruned, or its place lies past a restore.
        """
        asked = resume_tokens.decode(token)
        # Read anew: what is pruned by another process counts at once.
        kept, head = await self.read(lambda connection: (store.identity(connection), store.head(connection).sequence))
        if asked.ledger_id != kept.ledger_id:
            raise InvalidResumeToken(
                f"{quoted(token)}, of another ledger", "a resume_token that this server's ledger gave out"
            )
        if asked.epoch != kept.epoch or asked.sequence > head:
            raise ResumeTokenExpired(f"{quoted(token)}, since which the ledger was restored")
        if asked.sequence < kept.pruned_through:
            raise ResumeTokenExpired(f"{quoted(token)}, after which forecasts were removed")
        return asked.sequence

    async def tail(
        self, after: int, *, poll_seconds: float = 1.0
    ) -> AsyncGenerator[list[IssuedForecast | ReportedOutcome], None]:
        """Every forecast and outcome after a place, in order, without end, by pages; each as soon as it is committed.

        Close it (`contextlib.aclosing`) when done.

        Args:
            after: the sequence to begin after.
            poll_seconds: how often to look without having been woken.

        Raises:
            LedgerError: if the ledger cannot be read. Of an entry that cannot be read back, LedgerCorrupt: what comes
                after it can't be told in order any more.
        """
        woken = asyncio.Event()
        listener = self._listen(woken)
        try:
            while not self._closed:
                woken.clear()  # before reading: whatever is announced from here on is looked for again
                if page := await self.read_after(after, PAGE):
                    after = page[-1].sequence
                    yield page
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(poll_seconds):
                            await woken.wait()
        finally:
            if listener is not None:
                listener.close()

    async def check(self) -> None:
        """Looks whether the ledger still lies where it was opened.

        Raises:
            LedgerUnavailable: if its files were removed or replaced.
        """
        await self._in_reader(partial(self._files.check, self._path))

    async def probe(self, *, thorough: bool = False) -> None:
        """Tries whether it can be written, by a commit that changes nothing.

        Args:
            thorough: also read the whole file and check how it is built.

        Raises:
            LedgerUnavailable, LedgerCorrupt, LedgerSchemaError: if it can't, or is damaged.
        """
        await self._in_reader(partial(self._probe_now, thorough))

    def _probe_now(self, thorough: bool) -> None:
        with database_errors():
            if thorough:
                with self._reading.connect() as connection:
                    store.check_structure(connection)
            with self._writing.begin() as connection:
                store.probe_write(connection)
        sqlite.check_room(self._path)

    async def close(self) -> None:
        """Commits what is waiting and closes the ledger. May be called again."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._readers.shutdown(wait=True)
        self._writer.close()
        if self._notifier is not None:
            self._notifier.close()
        self._reading.dispose()

    async def _in_reader(self, work: Callable[[], _T]) -> _T:
        if self._closed:
            raise LedgerUnavailable("the ledger is closed")
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except LedgerError as error:
            if self._on_failure is not None and not self._closed:
                self._on_failure(error)
            raise

    def _read_now(self, read: Callable[[Connection], _T]) -> _T:
        with database_errors(), self._reading.connect() as connection:
            return read(connection)

    def _notify(self) -> None:
        if self._notifier is not None:
            self._notifier.notify()

    def _listen(self, woken: asyncio.Event) -> notify.Listener | None:
        if self._runtime is None:
            return None
        try:
            return notify.Listener(self._runtime, woken)
        except OSError as error:
            _log.warning("ledger_wake_socket_failed", error=str(error), effect="streams lag by up to a second")
            return None
