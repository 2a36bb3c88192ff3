"""Files of a store in storage that several servers share, through fsspec (extra model-store)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import fsspec
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.callbacks import Callback

from dejavu_models.errors import BundleCorrupt
from dejavu_store.errors import InvalidModelStore, ModelStoreUnavailable
from dejavu_store.folder import MAX_FILE_BYTES, check_size

CALL_SECONDS: Final = 60.0
"""Maximum time of a whole call of the storage, such as reading a file, in seconds."""

_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "s3": {
        # Cached listings would not show bundles that other servers stored.
        "use_listings_cache": False,
        # One request at a time, so that `_Received` can stop a download before more arrives than it accepts.
        "max_concurrency": 1,
        "config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 3}},
    }
}


class _Received(Callback):  # type: ignore[misc]  # fsspec is not typed
    """Stops the download of a file that is larger than its limit, whatever size the storage reports."""

    def __init__(self, place: str, path: str, most: int) -> None:
        super().__init__()
        self._check = partial(check_size, place, path, most=most)

    def set_size(self, size: int | None) -> None:
        """See `Callback`."""
        self._check(size=size or 0)

    def relative_update(self, inc: int = 1) -> None:
        """See `Callback`."""
        super().relative_update(inc)
        self._check(size=self.value)


@dataclass(slots=True)
class _Download:
    """A file that is being received in memory.

    Attributes:
        path: path to write it to, since not every kind of storage can write to an open file.
        content: the received content; None if the storage has no such file.
    """

    path: str
    content: bytes | None = None


@contextmanager
def _in_memory() -> Iterator[_Download]:
    """Receive a file within the block, in memory: the folder for temporary files may be small, or missing.

    The block must last as long as the download: afterwards another open file may have the same path.
    """
    with os.fdopen(os.memfd_create("dejavu-model"), "rb") as file:
        download = _Download(f"/proc/self/fd/{file.fileno()}")
        try:
            yield download
        except FileNotFoundError as error:
            if error.filename == download.path:  # the path, not the stored file, is missing
                raise
        else:
            download.content = file.read()


class RemoteFiles:
    """Files under a URL. See `StoredFiles`.

    Readers see complete files only if the storage writes whole objects, as S3 does. If two servers write the same file
    at once, the later write wins.

    Args:
        url: URL of a kind that fsspec supports, such as s3://BUCKET/FOLDER. Credentials come from the environment.

    Raises:
        InvalidModelStore: if fsspec does not support this kind of URL, or lacks the library for it.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without a password
        try:
            self._files, root = fsspec.url_to_fs(url, **_OPTIONS.get(parts.scheme, {}))
        except (ImportError, ValueError, TypeError) as error:
            raise InvalidModelStore(f"{self.name} cannot be used as a model store: {error}") from error
        self._root = str(root).rstrip("/")

    def read(self, path: str, most: int = MAX_FILE_BYTES) -> bytes | None:
        """See `StoredFiles`."""
        file, received = f"{self._root}/{path}", _Received(self.name, path, most)
        with self._reported():
            if isinstance(self._files, AsyncFileSystem):
                content: bytes | None = sync(self._files.loop, self._receive, file, received, timeout=CALL_SECONDS)
                return content
            with _in_memory() as download:
                self._files.get_file(file, download.path, callback=received)
            return download.content

    async def _receive(self, file: str, received: _Received) -> bytes | None:
        with _in_memory() as download:
            await self._files._get_file(file, download.path, callback=received)  # its documented asynchronous form
        return download.content

    def write(self, path: str, content: bytes, *, replace: bool) -> bool:
        """See `StoredFiles`."""
        target = f"{self._root}/{path}"
        with self._reported():
            if not replace and self._call("exists", target):
                return False
            self._call("pipe_file", target, content)
        return True

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Return the result of a method of the storage, within CALL_SECONDS if its kind of storage allows that."""
        if isinstance(self._files, AsyncFileSystem):  # its own time-outs are per packet
            method = getattr(self._files, f"_{name}")  # its documented asynchronous form
            return sync(self._files.loop, method, *arguments, timeout=CALL_SECONDS, **options)
        return getattr(self._files, name)(*arguments, **options)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Convert errors of storage libraries, which have their own classes, to ModelStoreUnavailable."""
        try:
            yield
        except BundleCorrupt:
            raise
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise ModelStoreUnavailable(f"the model store {self.name} fails: {reason}") from error
