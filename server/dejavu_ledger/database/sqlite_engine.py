"""Connections to the ledger's SQLite database, its path, its errors as errors of the ledger, and commit notifications.

Readers use no transactions, but for `sql.snapshot`: each statement sees the newest commit, and none prevents a WAL
checkpoint from completing. Connections never create the file. A connection is discarded after a failure that may lie in
its file: SQLite would keep the state in which it opened the file, such as read-only, after the disk has recovered.

Each open ledger listens on a Unix datagram socket whose name begins with a hash of the path of its database. A
notification sends one empty datagram to each of these; the receivers then read the ledger. A datagram is dropped if the
receiver's queue is full. Receivers also poll now and then, in case one is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import socket
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import structlog

from dejavu_ledger.database.backend import Connection, StopSignal
from dejavu_ledger.errors import (
    InvalidLedgerUrl,
    LedgerCorrupt,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailable,
    ReadStopped,
)
from dejavu_ledger.url import check_ledger_url

_log = structlog.get_logger(__name__)

_LONGEST_PATH = 107  # of a Unix socket, in bytes: sun_path without the final NUL
_TOKEN_LENGTH = 22  # what follows the hash in a socket's name: a hyphen, 16 hexadecimal digits and ".sock"

BUSY_SECONDS = 2.0
"""Time that a write waits for another process's transaction, which takes milliseconds; less than callers wait."""

STEPS_PER_CHECK = 50_000
"""Steps of SQLite's virtual machine between two checks of the stop signal: a thousand rows, some milliseconds."""

CACHED_STATEMENTS = 32
"""Prepared statements that a connection keeps; sqlite3's default is 128, and a ledger has several connections."""

DISCARDING_CODES = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}
"""Result codes after which a new connection may succeed."""

# Messages to callers for SQLite's primary result codes (https://www.sqlite.org/rescode.html).
_CAUSES = {
    sqlite3.SQLITE_BUSY: "locked by another process for too long",
    sqlite3.SQLITE_PROTOCOL: "locked by another process for too long",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "not accessible: permission denied",
    sqlite3.SQLITE_IOERR: "not accessible: disk I/O error",
    sqlite3.SQLITE_FULL: "full: no space left on the disk",
    sqlite3.SQLITE_CANTOPEN: "not accessible: check the path and its permissions",
}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

# SQLite's messages for a missing table or column, which share the generic code SQLITE_ERROR.
_OTHER_SCHEMA = ("no such table", "no such column", "has no column named")

_UNSOUND = "the ledger is damaged: its file is not a sound SQLite database"


def database_path(url: str) -> Path:
    """Return the absolute path of the database that a URL names.

    Raises:
        InvalidLedgerUrl: if the URL is not sqlite:///PATH, or has no absolute path.
    """
    try:
        return Path(unquote(check_ledger_url(url).removeprefix("sqlite:///"))).expanduser().resolve()
    except ValueError as error:
        raise InvalidLedgerUrl(str(error)) from None
    except (OSError, RuntimeError) as error:  # unknown home directory, or a cycle of symbolic links
        raise InvalidLedgerUrl(f"{url!r} cannot hold a ledger: {error}") from error


def file_bytes(path: Path) -> int:
    """Return the size of a file, in bytes; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def free_bytes(path: Path) -> int | None:
    """Return the bytes that the disk of a database has left for it; None if its file system does not say."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else None


def connect(path: Path, *pragmas: str, immutable: bool = False) -> sqlite3.Connection:
    """Connect the driver to a database, without creating it; only BEGIN starts a transaction.

    Args:
        path: the database.
        *pragmas: settings of the connection.
        immutable: whether nothing can change the file, see `SqliteBackend`.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{'mode=ro&immutable=1' if immutable else 'mode=rw'}",
        uri=True,
        timeout=BUSY_SECONDS,
        cached_statements=CACHED_STATEMENTS,
        check_same_thread=False,
        isolation_level=None,
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def primary_code(error: BaseException | None) -> int:
    """Return SQLite's primary result code of an error; 0 if it has none, like errors of the Python driver itself."""
    # The low byte of an extended result code is the primary code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def from_driver(cause: BaseException) -> LedgerError:
    """Convert an error of SQLite's driver to a ledger error. The original error must only go to the log."""
    code, text = primary_code(cause), str(cause)
    if code in _DAMAGE:
        return LedgerCorrupt(_UNSOUND)
    if code == sqlite3.SQLITE_CONSTRAINT or "Could not decode to UTF-8" in text:
        # Writers read under the write lock, so only damage can violate a constraint.
        return LedgerCorrupt("the ledger is damaged: its entries contradict each other")
    if code == sqlite3.SQLITE_ERROR and any(words in text for words in _OTHER_SCHEMA):
        return LedgerSchemaError("the database is not a ledger of this release: a table or column is missing")
    if code in _CAUSES:
        return LedgerUnavailable(f"the ledger is {_CAUSES[code]}")
    return LedgerUnavailable("the ledger's database failed")


@contextmanager
def stopping(connection: Connection, stop: StopSignal) -> Iterator[None]:
    """End the statements of a connection once `stop` is set.

    Raises:
        ReadStopped: if a statement was ended, or would have been started.
    """
    connection.driver.set_progress_handler(stop.is_set, STEPS_PER_CHECK)
    try:
        if stop.is_set():
            raise ReadStopped
        yield
    except sqlite3.Error as error:
        if stop.is_set() and primary_code(error) == sqlite3.SQLITE_INTERRUPT:
            raise ReadStopped from error
        raise
    finally:
        connection.driver.set_progress_handler(None, 0)


@contextmanager
def database_errors() -> Iterator[None]:
    """Convert errors of the driver in the block to ledger errors, with the original as the cause."""
    try:
        yield
    except sqlite3.Error as error:
        raise from_driver(error) from error
    except UnicodeDecodeError as error:
        # SQLite's message names an object of a damaged schema, and the driver cannot read it.
        raise LedgerCorrupt(_UNSOUND) from error


def sockets_of(ledger: Path) -> Path:
    """Return what the paths of a ledger's sockets begin with, the same for every process of this user on this machine.

    Their folder is made, and is private.

    Args:
        ledger: absolute path of the ledger's database, symbolic links resolved.

    Raises:
        OSError: if there is no private location for them, or their paths would be too long.
    """
    name = hashlib.sha256(os.fsencode(ledger)).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    bases = [Path(runtime)] if runtime and Path(runtime).is_dir() else []
    for base in [*bases, Path(tempfile.gettempdir()), Path("/tmp")]:  # noqa: S108 - the folder made in it is private
        folder = base / f"dejavu-{os.getuid()}"
        if len(os.fsencode(folder / name)) + _TOKEN_LENGTH <= _LONGEST_PATH:
            _make_private(folder)
            return folder / name
    raise OSError("the path of every candidate folder for sockets is too long")


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user")


def notify(sockets: Path, but: Path | None = None) -> None:
    """Wake the listeners of a ledger; remove the sockets of processes that died. Never raises and never blocks.

    Args:
        sockets: what `sockets_of` returns.
        but: a socket that is left out: its process knows its own commits.
    """
    try:
        names = os.listdir(sockets.parent)  # noqa: PTH208 - after every commit
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            for name in names:
                if name.startswith(sockets.name) and name.endswith(".sock") and (but is None or name != but.name):
                    _wake(sender, sockets.with_name(name))
    except OSError as error:
        _log.warning("ledger_announcement_failed", error=str(error))


def _wake(sender: socket.socket, listener: Path) -> None:
    try:
        sender.sendto(b"", str(listener))
    except BlockingIOError:
        pass  # earlier datagrams are still queued there, so it will read the ledger anyway
    except ConnectionRefusedError:
        listener.unlink(missing_ok=True)  # left by a process that was killed
    except FileNotFoundError:
        pass  # closed just now


class Listener:
    """Socket of one open ledger. Create and close it in the event loop.

    Args:
        sockets: what `sockets_of` returns for the ledger.
        committed: called on every notification.

    Attributes:
        path: of the socket.

    Raises:
        OSError: if the socket cannot be created.
    """

    def __init__(self, sockets: Path, committed: Callable[[], None]) -> None:
        self._committed = committed
        self.path = sockets.with_name(f"{sockets.name}-{secrets.token_hex(8)}.sock")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            # Rename it once it is bound: a notifier would otherwise take it for the socket of a dead process.
            unbound = self.path.with_suffix(".new")
            self._socket.bind(str(unbound))
            unbound.rename(self.path)
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket, self._read)
        except BaseException:
            self._socket.close()
            raise

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)
        self._committed()

    def close(self) -> None:
        """Stop listening; remove the socket."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self.path.unlink(missing_ok=True)
