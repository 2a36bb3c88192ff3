"""Received parts of incomplete bundles: a folder for each, which the next attempt continues.

Each upload holds a lock on its folder, which is released at the latest when its process ends. All processes of a
machine that use a folder share its limits.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from dejavu_common.files import open_regular
from dejavu_models.errors import BundleCorrupt, BundleIncomplete, quoted
from dejavu_models.registry.store.errors import (
    InvalidChunk,
    ModelStoreUnavailable,
    TooManyUploads,
    UploadInProgress,
    UploadTooLarge,
)
from dejavu_models.registry.store.folder import FolderContents, disk, make_folders

_MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Limits of uploads.

    Attributes:
        bundle_bytes: maximum size of the files of one upload, those of earlier attempts included, in bytes.
        chunk_bytes: maximum size of a chunk, and of a manifest, in bytes.
        at_once: maximum number of uploads in progress.
        unfinished: maximum number of incomplete bundles; beyond it, the one that has been waiting longest is removed.
        free_bytes: free space that must remain on the disk besides the two copies made of a complete bundle, in bytes,
            for example for a ledger on the same disk.
        keep_seconds: how long parts of a bundle are kept after the last attempt, in seconds.
    """

    bundle_bytes: int = 128 * _MEBIBYTE
    chunk_bytes: int = _MEBIBYTE
    at_once: int = 2
    unfinished: int = 4
    free_bytes: int = 1024 * _MEBIBYTE
    keep_seconds: float = 86_400.0


_LOCK: Final = "lock"


class Upload:
    """The received part of one bundle. Use from one thread at a time.

    Args:
        folder: the folder with the parts of files.
        missing: the files that are to be received: name → SHA-256.
        limits: limits of the upload.
    """

    def __init__(self, folder: Path, missing: Mapping[str, str], limits: UploadLimits) -> None:
        self._folder = folder
        self._missing = dict(missing)
        self._limits = limits
        self._hashes = {name: hashlib.sha256() for name in missing}
        self._sizes = dict.fromkeys(missing, 0)
        self._open: tuple[str, BinaryIO] | None = None
        for name in missing:
            with suppress(FileNotFoundError), open_regular(folder / name) as file:
                while part := file.read(_MEBIBYTE):
                    self._hashes[name].update(part)
                    self._sizes[name] += len(part)

    @property
    def offsets(self) -> dict[str, int]:
        """The files that are not complete, in the order in which to send them: name → number of bytes received."""
        return {name: size for name, size in self._sizes.items() if not self._is_complete(name)}

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Add the next piece of a file, or start it again with its first piece.

        Raises:
            InvalidChunk: if the file is not missing, or the piece is neither the next nor the first one.
            BundleCorrupt: if the file of the piece before does not match the manifest; that file is removed.
            UploadTooLarge: if the chunk or the bundle is too large.
            ModelStoreUnavailable: if the disk fails, or has too little space left.
        """
        if len(data) > self._limits.chunk_bytes:
            raise UploadTooLarge(f"a chunk of {len(data):,} bytes; expected at most {self._limits.chunk_bytes:,}")
        if name not in self._sizes or self._is_complete(name):
            raise InvalidChunk(quoted(name), "a file that is missing", field="chunk.file")
        if offset == 0 and self._sizes[name]:
            self._remove(name)
        if offset != self._sizes[name]:
            expected = f"{self._sizes[name]}, the end of the received part, or 0 to restart the file"
            raise InvalidChunk(f"{offset}", expected, field="chunk.offset")
        if sum(self._sizes.values()) + len(data) > self._limits.bundle_bytes:
            self._remove(name)
            raise UploadTooLarge(f"the bundle is larger than {self._limits.bundle_bytes:,} bytes, which is the limit")
        with disk(self._folder):
            self._check_space(len(data))
            file = self._file(name)
            file.write(data)
            file.flush()
            self._hashes[name].update(data)
            self._sizes[name] += len(data)
            if self._is_complete(name):
                self.close()

    def _check_space(self, more: int) -> None:
        needed = self._limits.free_bytes + 2 * sum(self._sizes.values()) + 3 * more
        if (free := shutil.disk_usage(self._folder).free) < needed:
            raise ModelStoreUnavailable(
                f"the disk has {free // _MEBIBYTE:,} MiB left; an upload needs {needed // _MEBIBYTE:,} MiB"
            )

    def contents(self) -> FolderContents:
        """Return the files, once all are complete; they can be read until the upload ends.

        Raises:
            BundleIncomplete: if a file is not complete. The received part stays: the beginning of the right file looks
                like a wrong file. A caller that has no more data of it must send it again from the start.
            ModelStoreUnavailable: if the disk fails.
        """
        self.close()
        for name, size in self.offsets.items():
            got = f"the {size:,} bytes of {name} do not have the SHA-256 in the manifest"
            raise BundleIncomplete(f"the upload is incomplete: {got if size else f'{name} was not sent'}")
        return FolderContents(self._folder, self._missing, "the upload")

    def close(self) -> None:
        """Write the received part to the disk."""
        if self._open is not None:
            file, self._open = self._open[1], None
            with disk(self._folder), file:
                file.flush()
                os.fsync(file.fileno())

    def _is_complete(self, name: str) -> bool:
        return self._hashes[name].hexdigest() == self._missing[name]

    def _file(self, name: str) -> BinaryIO:
        """Return the file for the next piece: that of the piece before, or a new one."""
        if self._open is not None and self._open[0] != name:
            before = self._open[0]
            self.close()
            self._refuse(before)
        if self._open is None:
            self._open = (name, open_regular(self._folder / name, "ab"))
        return self._open[1]

    def _refuse(self, name: str) -> None:
        """Remove a complete file that does not match the manifest, so that the next attempt begins it again."""
        size = self._sizes[name]
        self._remove(name)
        raise BundleCorrupt(f"{name} does not match the manifest: the SHA-256 of its {size:,} bytes differs")

    def _remove(self, name: str) -> None:
        self.close()
        self._sizes[name], self._hashes[name] = 0, hashlib.sha256()
        (self._folder / name).unlink(missing_ok=True)


class Uploads:
    """Uploads that are not complete.

    Args:
        folder: the folder for them.
        limits: limits of the uploads.
    """

    CHECKED: Final = "checked-"
    """Prefix of the names of folders with bundles that are being verified."""

    def __init__(self, folder: Path, limits: UploadLimits | None = None) -> None:
        self._folder = folder
        self.limits = limits or UploadLimits()

    @contextmanager
    def begin(self, manifest_text: bytes, version: str, missing: Mapping[str, str]) -> Iterator[Upload]:
        """Begin or continue the upload of a bundle; the received part stays, unless `finish` removes it.

        Args:
            manifest_text: the content of its manifest.json.
            version: its version.
            missing: the files that are to be received: name → SHA-256.

        Raises:
            UploadInProgress: if another upload of the same bundle is in progress.
            TooManyUploads: if the maximum number of uploads is in progress.
            ModelStoreUnavailable: if the disk fails.
        """
        folder = self._path(manifest_text, version)
        with ExitStack() as stack:
            with disk(self._folder):
                make_folders(self._folder)
                with self._exclusive():
                    self._make_room(folder)
                    folder.mkdir(exist_ok=True)
                    lock = stack.enter_context(open_regular(folder / _LOCK, "wb"))
                    if not _lock(lock):
                        raise UploadInProgress(f"another upload of model {version} is in progress; try again later")
                os.utime(folder)
                upload = Upload(folder, missing, self.limits)
            stack.callback(upload.close)
            yield upload

    def finish(self, manifest_text: bytes, version: str) -> None:
        """Remove the received part of a bundle that is in the store.

        Raises:
            ModelStoreUnavailable: if the disk fails.
        """
        with disk(self._folder):
            make_folders(self._folder)
            with self._exclusive():
                shutil.rmtree(self._path(manifest_text, version), ignore_errors=True)

    def remove_left(self, age: float) -> None:
        """Remove the folders of verifications whose process was killed, `age` seconds ago or earlier."""
        oldest = time.time() - age
        for folder in self._folder.glob(f"{self.CHECKED}*"):
            with suppress(FileNotFoundError):
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)

    def _path(self, manifest_text: bytes, version: str) -> Path:
        return self._folder / f"{version}-{hashlib.sha256(manifest_text).hexdigest()[:16]}"

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let only one process at a time begin or remove uploads."""
        with open_regular(self._folder / _LOCK, "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_room(self, wanted: Path) -> None:
        """Remove abandoned uploads, so that there is room for one more.

        Raises:
            TooManyUploads: if the maximum number of uploads is in progress.
        """
        waiting, in_progress = [], 0
        for folder in self._folder.iterdir():
            if folder == wanted or not folder.is_dir() or folder.name.startswith(self.CHECKED):
                continue
            (folder / _LOCK).touch()  # its process may have ended before it made the lock file
            with open_regular(folder / _LOCK) as lock:
                if not _lock(lock):
                    in_progress += 1
                    continue
            waiting.append((folder.stat().st_mtime, folder))
        oldest = time.time() - self.limits.keep_seconds
        room = max(0, self.limits.unfinished - 1 - in_progress)
        for index, (used, folder) in enumerate(sorted(waiting, reverse=True)):
            if index >= room or used < oldest:
                shutil.rmtree(folder, ignore_errors=True)
        if in_progress >= self.limits.at_once:
            raise TooManyUploads(f"{in_progress} uploads are in progress, which is the limit; try again later")


def _lock(file: BinaryIO) -> bool:
    """Lock a file unless it is locked; return whether this worked. The lock ends when the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
