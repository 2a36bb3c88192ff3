"""The messages of an upload of a bundle, and its retries.

This module makes no calls, so the synchronous and the asynchronous client use it in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dejavu.v1.bundle_pb2 import BundleChunk, BundleHeader, MissingFiles
from dejavu.v1.model_service_pb2 import RegisterBundleRequest
from dejavu_client.errors import (
    PASSING,
    DeadlineExceededError,
    DejavuClientError,
    ResourceExhaustedError,
)

CHUNK_BYTES: Final = 512 * 1024
"""Size of a chunk; the server accepts twice as much."""

MOST_FAILURES: Final = 4
"""Number of consecutive failures without progress after which an upload is given up."""

ENDED_CALL: Final = "Internal error from Core"
"""gRPC's error text for a message written to a call that the server has just ended."""

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 4.0
_COURSES: Final = "courses.npz"


class BundleFolder:
    """A bundle's folder.

    Args:
        folder: the folder.
        reason: why it is registered.

    Raises:
        OSError: if it has no manifest that can be read.
        ValueError: if its manifest is invalid.
    """

    def __init__(self, folder: Path, reason: str) -> None:
        self._folder = folder
        self._manifest = (folder / "manifest.json").read_bytes()
        self._reason = reason
        try:
            self._names = {*json.loads(self._manifest)["files"], _COURSES}
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"{folder / 'manifest.json'} is not the manifest of a bundle") from error

    @property
    def header(self) -> RegisterBundleRequest:
        """The first message of an upload."""
        return RegisterBundleRequest(header=BundleHeader(manifest=self._manifest, reason=self._reason))

    def chunks(self, missing: MissingFiles) -> Iterator[RegisterBundleRequest]:
        """Yield the remaining messages: the missing files, each from the offset that the server has reached.

        Raises:
            ValueError: if the server asks for a file that is not in the bundle.
            OSError: if a file cannot be read.
        """
        for each in missing.files:
            if each.file not in self._names or Path(each.file).name != each.file:
                raise ValueError(f"the server asks for {each.file!r}, which is no file of the bundle")
            path = self._folder / each.file
            size = path.stat().st_size
            # If the server has a file's full size and still reports it missing, its bytes differ from this file's:
            # start over.
            offset = each.offset if each.offset < size else 0
            with path.open("rb") as file:
                file.seek(offset)
                while True:
                    data = file.read(CHUNK_BYTES)
                    yield RegisterBundleRequest(chunk=BundleChunk(file=each.file, offset=offset, data=data))
                    offset += len(data)
                    if offset >= size or not data:
                        break


class UploadRetries:
    """Decides whether a failed upload is continued. Use one instance per upload."""

    def __init__(self) -> None:
        self._failures = 0

    def went_on(self) -> None:
        """Reset the count of failures, because the server answered and the upload makes progress."""
        self._failures = 0

    def pause(self, error: DejavuClientError, left: float) -> float | None:
        """Return the seconds to wait until the next attempt; None if there is none.

        Args:
            error: why the attempt failed.
            left: seconds until the deadline of the upload.
        """
        self._failures += 1
        waits = isinstance(error, ResourceExhaustedError)  # the server waits for another upload, which takes a while
        if not isinstance(error, PASSING) or (self._failures >= MOST_FAILURES and not waits):
            return None
        if isinstance(error, DeadlineExceededError) and not error.reason:  # the deadline of this client
            return None
        pause = error.retry_after or min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (self._failures - 1))
        return pause if pause < left else None
