"""Files of a store in storage that several servers share, through fsspec (extra model-store), with local copies."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.callbacks import Callback

from dejavu_common.files import atomic_replace
from dejavu_models.errors import BundleCorrupt
from dejavu_store.bundle import MAX_SIZE
from dejavu_store.folder import FolderFiles, InvalidModelStore, ModelStoreUnavailable

CALL_SECONDS: Final = 60.0
"""Maximum time of a whole call of the storage, such as reading a file, in seconds; its own time-outs are per packet."""

MAX_COPIED_BYTES: Final = 2 * 1024**3
"""Size above which the copies that were used least recently are removed."""

_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "s3": {
        # Cached listings would not show bundles that other servers stored.
        "use_listings_cache": False,
        # One request at a time, so that `_Received` can stop a download before more arrives than it accepts.
        "max_concurrency": 1,
        "config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 3}},
    }
}

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class _Received(Callback):  # type: ignore[misc]  # fsspec is not typed
    """Stops the download of a file that is larger than its limit, whatever size the storage reports."""

    def __init__(self, file: str, most: int) -> None:
        super().__init__()
        self._file, self._most = file, most

    def set_size(self, size: int | None) -> None:
        """See `Callback`."""
        if (size or 0) > self._most:
            raise BundleCorrupt(f"{self._file} has {size:,} bytes; expected at most {self._most:,}")

    def relative_update(self, inc: int = 1) -> None:
        """See `Callback`."""
        super().relative_update(inc)
        self.set_size(self.value)


class RemoteFiles:
    """Files under a URL. See `StoredFiles`.

    A file named by its SHA-256 is read from its local copy if that still has this hash. Any other file is read from the
    storage, and from the copy only while the storage fails, so that a server can start without the storage.

    Readers see complete files only if the storage writes whole objects, as S3 does. If two servers write the same file
    at once, the later write wins.

    Args:
        url: URL of a kind that fsspec supports, such as s3://BUCKET/FOLDER. Credentials come from the environment.
        copies: local folder for the copies.
        max_bytes: size above which the copies that were used least recently are removed.

    Raises:
        InvalidModelStore: if fsspec does not support this kind of URL, or lacks the library for it.
    """

    def __init__(self, url: str, copies: Path, max_bytes: int = MAX_COPIED_BYTES) -> None:
        parts = urlsplit(url)
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without a password
        try:
            self._files, root = fsspec.url_to_fs(url, **_OPTIONS.get(parts.scheme, {}))
        except (ImportError, ValueError, TypeError) as error:
            raise InvalidModelStore(f"{self.name} cannot be used as a model store: {error}") from error
        self._root = str(root).rstrip("/")
        self._timeout = {"timeout": CALL_SECONDS} if isinstance(self._files, AsyncFileSystem) else {}
        self._folder = copies
        self._copies = FolderFiles(copies)
        self._max_bytes = max_bytes

    def read(self, path: str, most: int = MAX_SIZE) -> bytes | None:
        """See `StoredFiles`."""
        copy = self._copy(path)
        is_hash = _SHA256.fullmatch(Path(path).name)
        if copy is not None and is_hash and hashlib.sha256(copy).hexdigest() == is_hash.group():
            return copy
        try:
            self._download(path, most)
        except FileNotFoundError:
            return None
        except ModelStoreUnavailable:
            if copy is None or is_hash:
                raise
            return copy
        return self._copies.read(path, most)

    def write(self, path: str, content: bytes) -> None:
        """See `StoredFiles`."""
        with self._reported():
            self._files.pipe_file(f"{self._root}/{path}", content, **self._timeout)

    def _copy(self, path: str) -> bytes | None:
        """Return the copy of a file, and mark it as the most recently used; None if there is no readable copy."""
        copy = None
        with suppress(BundleCorrupt, ModelStoreUnavailable, OSError):
            copy = self._copies.read(path)
            os.utime(self._folder / path)
        return copy

    def _download(self, path: str, most: int) -> None:
        """Copy a file from the storage; raise FileNotFoundError if the storage has no such file."""
        copy = self._folder / path
        with self._reported(FileNotFoundError):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with atomic_replace(copy) as new:
                received = _Received(f"{self.name}: {path}", most)
                self._files.get_file(f"{self._root}/{path}", str(new), callback=received, **self._timeout)
        self._trim()

    def _trim(self) -> None:
        """Remove the copies that were used least recently, until the rest is small enough."""
        with suppress(FileNotFoundError):  # another process removed one
            found = [(file.stat(), file) for file in self._folder.rglob("*") if file.is_file()]
            found.sort(key=lambda each: each[0].st_mtime, reverse=True)
            for total, (_, file) in zip(accumulate(stat.st_size for stat, _ in found), found, strict=True):
                if total > self._max_bytes:
                    file.unlink()

    @contextmanager
    def _reported(self, told: type[Exception] = BundleCorrupt) -> Iterator[None]:
        """Convert errors of storage libraries, which have their own classes, to ModelStoreUnavailable, save `told`."""
        try:
            yield
        except (BundleCorrupt, told):
            raise
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise ModelStoreUnavailable(f"the model store {self.name} fails: {reason}") from error
