"""Files of keys, certificates and tokens that are replaced while the server runs."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar

import structlog

from dejavu_common.files import open_regular
from dejavu_models.errors import DejavuError

MAX_BYTES = 4 * 1024 * 1024
"""Maximum size of such a file, in bytes."""

OnReload: TypeAlias = Callable[[str, bool], None]
"""Callback after a file was replaced; its arguments are the kind of the file (tokens, jwks, tls), and whether its
content could be used."""

_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="access-files")

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_Version = tuple[int, ...]
"""Identity of a version of a file. It also changes if a link gets another target, as in a secret of Kubernetes."""


class AccessFileError(DejavuError, reason="ACCESS_FILE_INVALID"):
    """A file of keys, certificates or tokens cannot be used; names the file, never its content."""


def ignore_reload(_: str, __: bool) -> None:
    """Do nothing about a replaced file."""


def read(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        AccessFileError: if it cannot be read, is no regular file, is too large, or if others may change it.
    """
    try:
        with open_regular(path, follow_links=True) as file:
            status = os.fstat(file.fileno())
            if status.st_mode & stat.S_IWOTH:
                raise AccessFileError(f"{path}: everybody may change it; expected mode 0600")
            if status.st_size > MAX_BYTES:
                raise AccessFileError(f"{path}: larger than {MAX_BYTES:,} bytes")
            return file.read(MAX_BYTES)
    except OSError as error:
        raise AccessFileError(f"{path}: {error.strerror}") from None


class ReloadedFiles(Generic[T]):
    """The content of files that may be replaced. While new files cannot be used, the former content stays.

    Args:
        kind: tokens, jwks or tls.
        paths: the files, which have one content together.
        load: reads the content; raises AccessFileError if the files cannot be used.
        on_reload: called after the files were replaced.

    Attributes:
        content: the newest content that could be used.

    Raises:
        AccessFileError: if the files cannot be used at first.
    """

    def __init__(self, kind: str, paths: Sequence[Path], load: Callable[[], T], on_reload: OnReload) -> None:
        self._kind, self._paths, self._load, self._on_reload = kind, paths, load, on_reload
        self._unusable = ""  # why files that were replaced cannot be used
        self._versions = self._look()  # before reading, so that a later change is noticed
        self.content = load()

    def _look(self) -> list[_Version]:
        return [_version(path) for path in self._paths]

    async def reload(self) -> bool:
        """Load the files if one was replaced; return whether the content is new."""
        versions = self._look()
        if versions == self._versions and not self._unusable:
            return False
        self._versions = versions
        # On a thread of its own, so that no other work delays a revocation.
        loading = asyncio.get_running_loop().run_in_executor(_THREAD, self._load)
        try:
            self.content = await loading
        except AccessFileError as error:  # tried again: the cause may disappear without a change of the files
            if self._unusable != str(error):
                self._unusable = str(error)
                effect = "the former content stays in use"
                _log.error("access_reload_failed", file=self._kind, reason=str(error), effect=effect)
                self._on_reload(self._kind, False)
            return False
        self._unusable = ""
        _log.info("access_reloaded", file=self._kind, path=str(self._paths[0]))
        self._on_reload(self._kind, True)
        return True


def _version(path: Path) -> _Version:
    """Return the version of a file; empty if there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    # The version also changes (st_ctime_ns) with the mode or owner of the file, which may make it readable.
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
