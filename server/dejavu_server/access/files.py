"""Files of keys, certificates and tokens that are replaced while the server runs."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from dejavu_models.errors import DejavuError

MAX_BYTES = 4 * 1024 * 1024
"""Maximum size of such a file, in bytes."""

OnReload: TypeAlias = Callable[[str, bool], None]
"""Callback after a file was replaced; its arguments are the kind of the file (tokens, jwks, tls), and whether its
content could be used."""

_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="access-files")

_T = TypeVar("_T")

FileVersion = tuple[int, ...]
"""Identity of a version of a file. It also changes if a link gets another target, as in a secret of Kubernetes."""


class AccessFileError(DejavuError, reason="ACCESS_FILE_INVALID"):
    """A file of keys, certificates or tokens cannot be used; names the file, never its content."""


async def on_thread(load: Callable[[], _T]) -> _T:
    """Return the result of reading such files, on a thread of their own, so that no other work delays a revocation."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, load)


def ignore_reload(_: str, __: bool) -> None:
    """Do nothing about a replaced file."""


def read(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        AccessFileError: if it cannot be read, is no regular file, is too large, or if others may change it.
    """
    try:
        # O_NONBLOCK: opening a pipe without a writer must not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise AccessFileError(f"{path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise AccessFileError(f"{path}: not a regular file")
        if status.st_mode & stat.S_IWOTH:
            raise AccessFileError(f"{path}: everybody may change it; expected mode 0600")
        if status.st_size > MAX_BYTES:
            raise AccessFileError(f"{path}: larger than {MAX_BYTES:,} bytes")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    finally:
        os.close(descriptor)


def version(path: Path) -> FileVersion:
    """Return the version of a file; empty if there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    # The version also changes (st_ctime_ns) with the mode or owner of the file, which may make it readable.
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
