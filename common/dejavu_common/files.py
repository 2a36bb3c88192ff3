"""Atomic file writes: readers see the old file or the new one, never a partial one. Safe opening of others' files.

Also the user's folder for data that programs keep between runs.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast


@contextmanager
def atomic_replace(path: Path, *, durable: bool = False, temporary: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path; replace `path` with the file written there, or remove the temporary file after an error.

    Args:
        path: the file to write.
        durable: whether the file must survive a power loss: it is synced to disk before the rename.
        temporary: the temporary path, on the same file system; by default a random hidden name in the folder of `path`.

    Raises:
        OSError: if `path` cannot be replaced.
    """
    new = temporary or path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        yield new
        if durable:
            sync(new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically and sync it to disk; see `atomic_replace`."""
    with atomic_replace(path, durable=True) as new:
        new.write_bytes(content)


def sync(path: Path) -> None:
    """Sync a file, or the entries of a folder, to disk, so that they survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_regular(path: Path, *, follow_links: bool = False) -> BinaryIO:
    """Open a file to read in a folder that others can write to; unlike `open`, never wait, as for a pipe's writer.

    Args:
        path: the file.
        follow_links: whether the file may be a link.

    Raises:
        OSError: if it cannot be opened, or is no regular file.
    """
    kept = os.O_NONBLOCK if follow_links else os.O_NONBLOCK | os.O_NOFOLLOW
    irregular = OSError(errno.EINVAL, f"{path.name} is no regular file", str(path))

    def opener(name: str, flags: int) -> int:
        try:
            descriptor = os.open(name, flags | kept, 0o666)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, or a pipe without a reader
                raise irregular from None
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise irregular
        return descriptor

    return cast("BinaryIO", open(path, "rb", opener=opener))


def read_regular(path: Path, most: int, *, follow_links: bool = True) -> bytes:
    """Return the content of a file of `most` bytes at most; see `open_regular`.

    Raises:
        OSError: if it cannot be read, is no regular file, or is larger than `most` bytes.
    """
    with open_regular(path, follow_links=follow_links) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"{path.name} has {size:,} bytes; expected at most {most:,}", str(path))
        return file.read(most)


def state_folder() -> Path:
    """Return the folder dejavu/ in XDG_STATE_HOME, by default in ~/.local/state; it may not exist."""
    home = Path(os.environ.get("XDG_STATE_HOME", "").strip() or "~/.local/state")
    with suppress(RuntimeError):  # a user without a home, as in some containers, where paths are set explicitly
        home = home.expanduser()
    return home / "dejavu"
