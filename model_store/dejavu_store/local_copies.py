"""A local copy of the files of a store that several servers share."""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from dejavu_store.errors import ModelStoreUnavailable
from dejavu_store.folder import MAX_FILE_BYTES, FolderFiles, StoredFiles

MAX_CACHED_BYTES: Final = 2 * 1024**3
"""Size above which the copies that were used least recently are removed."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class CachedFiles:
    """Remote files, with local copies of the files that were read. See `StoredFiles`.

    A file named by its SHA-256 is read from the copy if the copy still has this hash. Any other file is read from the
    storage, and from the copy only while the storage fails, so that a server can start without the storage. If the
    folder cannot be written, reading is slower, but works.

    Args:
        remote: the files.
        folder: local folder for the copies.
        max_bytes: size above which the copies that were used least recently are removed.
    """

    def __init__(self, remote: StoredFiles, folder: Path, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._remote = remote
        self._folder = folder
        self._copies = FolderFiles(folder)
        self._max_bytes = max_bytes
        self.name = remote.name

    def read(self, path: str, most: int = MAX_FILE_BYTES) -> bytes | None:
        """See `StoredFiles`."""
        if is_hash_of := _SHA256.fullmatch(Path(path).name):
            copy = self._copy(path)
            if copy is not None and hashlib.sha256(copy).hexdigest() == is_hash_of.group():
                return copy
        try:
            content = self._remote.read(path, most)
        except ModelStoreUnavailable:
            copy = None if is_hash_of else self._copy(path)
            if copy is None:
                raise
            return copy
        if content is not None:
            self._keep(path, content)
        return content

    def write(self, path: str, content: bytes, *, replace: bool) -> bool:
        """See `StoredFiles`."""
        written = self._remote.write(path, content, replace=replace)
        if written:
            self._keep(path, content)
        return written

    def _copy(self, path: str) -> bytes | None:
        """Return the copy of a file, and mark it as the most recently used; None if there is no readable copy."""
        with suppress(ModelStoreUnavailable, OSError):
            copy = self._copies.read(path)
            if copy is not None:
                os.utime(self._folder / path, (now := time.time(), now))
            return copy
        return None

    def _keep(self, path: str, content: bytes) -> None:
        with suppress(ModelStoreUnavailable, OSError):
            self._copies.write(path, content, replace=True)
            self._trim()

    def _trim(self) -> None:
        """Remove the copies that were used least recently, until the rest is small enough."""
        found = []
        for file in self._folder.rglob("*"):
            with suppress(FileNotFoundError):  # another process removed it
                if file.is_file():
                    found.append((file.stat().st_mtime, file.stat().st_size, file))
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if total <= self._max_bytes:
                return
            file.unlink(missing_ok=True)
            total -= size
