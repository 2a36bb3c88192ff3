"""Notifies the processes that have a ledger open after a commit.

Each open ledger listens on a Unix datagram socket in a folder derived from the path of its database. A notification
sends one empty datagram to each socket in that folder; the receivers then read the ledger. A datagram is dropped if the
receiver's queue is full. Receivers also poll now and then, in case one is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import socket
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

_LONGEST_PATH = 107  # of a Unix socket, in bytes: sun_path without the final NUL
_NAME_LENGTH = 21  # of a socket in its folder: 16 hexadecimal digits and ".sock"


def runtime_folder(ledger: Path) -> Path:
    """Return the folder of the tails' sockets, the same for every process of this user on this machine.

    The folder itself exists while a tail listens.

    Args:
        ledger: absolute path of the ledger's database, symbolic links resolved.

    Raises:
        OSError: if there is no private location for it, or its path would be too long.
    """
    name = hashlib.sha256(os.fsencode(ledger)).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    bases = [Path(runtime)] if runtime and Path(runtime).is_dir() else []
    for base in [*bases, Path(tempfile.gettempdir()), Path("/tmp")]:  # noqa: S108 - the folder made in it is private
        folder = base / f"dejavu-{os.getuid()}" / name
        if len(os.fsencode(folder)) + 1 + _NAME_LENGTH <= _LONGEST_PATH:
            _make_private(folder.parent)
            return folder
    raise OSError("the path of every candidate folder for sockets is too long")


def _make_private(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user")


class Notifier:
    """Notifies every tail of a ledger. Use it from one thread at a time.

    Attributes:
        own: name of a socket that is left out: its process knows its own commits.
    """

    def __init__(self, folder: Path) -> None:
        self.own = ""
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def notify(self) -> None:
        """Wake the tails; remove the sockets of processes that died. Never raises and never blocks."""
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - after every commit
        except FileNotFoundError:
            return  # no tail listens
        except OSError as error:
            _log.warning("ledger_announcement_failed", error=str(error))
            return
        for name in names:
            if name == self.own or not name.endswith(".sock"):
                continue
            peer = f"{self._folder}/{name}"
            try:
                self._socket.sendto(b"", peer)
            except BlockingIOError:
                pass  # earlier datagrams are still queued there, so it will read the ledger anyway
            except ConnectionRefusedError:
                Path(peer).unlink(missing_ok=True)  # left by a process that was killed
            except FileNotFoundError:
                pass  # closed just now
            except OSError as error:
                _log.warning("ledger_announcement_failed", error=str(error))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Listener:
    """Socket of one open ledger. Create and close it in the event loop.

    Args:
        folder: the ledger's runtime folder.
        committed: called on every notification.

    Raises:
        OSError: if the socket cannot be created.
    """

    def __init__(self, folder: Path, committed: Callable[[], None]) -> None:
        self._committed = committed
        self._path = folder / f"{secrets.token_hex(8)}.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._bind()
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket, self._read)
        except BaseException:
            self._socket.close()
            raise

    @property
    def name(self) -> str:
        """Name of the socket in its folder."""
        return self._path.name

    def _bind(self) -> None:
        # Rename it once it is bound: a notifier would otherwise take it for the socket of a dead process.
        temporary = self._path.with_suffix(".new")
        while True:
            _make_private(self._path.parent)
            try:
                self._socket.bind(str(temporary))
            except FileNotFoundError:
                continue  # the last listener has just closed and removed the folder
            temporary.rename(self._path)
            return

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)
        self._committed()

    def close(self) -> None:
        """Stop listening; remove the socket, and the folder if no other tail listens."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._path.parent.rmdir()
