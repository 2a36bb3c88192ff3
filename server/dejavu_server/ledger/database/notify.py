"""Wakes whoever tails a ledger, in any process, when something was committed to it.

Each tail listens on a Unix datagram socket in a folder that follows from the ledger's path. An announcement is one
datagram to each socket in there. It carries nothing: the ledger itself says what is new. One that can't be delivered
because the receiver has others waiting is not missed; tails look by themselves now and then, should one be lost.
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
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

_LONGEST_PATH = 107  # of a Unix socket, in bytes: sun_path less its final zero
_NAME_LENGTH = 21  # of a socket in its folder: 16 hexadecimal digits and ".sock"


def runtime_folder(ledger: Path) -> Path:
    """Where the sockets of a ledger's tails lie: the same for every process of this user on this machine.

    The folder itself is there while somebody listens.

    Args:
        ledger: absolute path of the ledger's database, symbolic links resolved.

    Raises:
        OSError: if there is no place for it that belongs to this user alone.
    """
    name = hashlib.sha256(os.fsencode(ledger)).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    bases = [Path(runtime)] if runtime and Path(runtime).is_dir() else []
    for base in [*bases, Path(tempfile.gettempdir()), Path("/tmp")]:  # noqa: S108 - the folder made in it is private
        folder = base / f"dejavu-{os.getuid()}" / name
        if len(os.fsencode(folder)) + 1 + _NAME_LENGTH <= _LONGEST_PATH:
            _make_private(folder.parent)
            return folder
    raise OSError("no folder for sockets has a path short enough")


def _make_private(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone")


class Notifier:
    """Tells every tail of a ledger that there is something new. Safe to use from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def notify(self) -> None:
        """Wakes the tails; removes the sockets of those that died. Never raises and never waits."""
        try:
            peers = [entry.path for entry in os.scandir(self._folder) if entry.name.endswith(".sock")]
        except FileNotFoundError:
            return  # nobody listens
        except OSError as error:
            _log.warning("ledger_announcement_failed", error=str(error))
            return
        for peer in peers:
            try:
                self._socket.sendto(b"", peer)
            except BlockingIOError:
                pass  # it has not read the last ones yet, and will look when it does
            except ConnectionRefusedError:
                Path(peer).unlink(missing_ok=True)  # bound by a process that was killed
            except FileNotFoundError:
                pass  # it just closed
            except OSError as error:
                _log.warning("ledger_announcement_failed", error=str(error))

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


class Listener:
    """The socket by which one tail is woken. Made and closed in the loop that it wakes.

    Args:
        folder: the ledger's runtime folder.
        woken: set by every announcement.

    Raises:
        OSError: if the socket can't be made.
    """

    def __init__(self, folder: Path, woken: asyncio.Event) -> None:
        self._woken = woken
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

    def _bind(self) -> None:
        # It appears under its name only when it answers: an announcer would take it for a dead one's otherwise.
        unready = self._path.with_suffix(".new")
        while True:
            _make_private(self._path.parent)
            try:
                self._socket.bind(str(unready))
            except FileNotFoundError:
                continue  # the last one who listened closed and removed the folder just now
            unready.rename(self._path)
            return

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)
        self._woken.set()

    def close(self) -> None:
        """Stops listening and removes the socket, and the folder if nobody else listens."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._path.parent.rmdir()
