"""Files of a store in a folder."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from dejavu_common.files import open_regular, sync
from dejavu_models.errors import BundleCorrupt, BundleIncomplete
from dejavu_store.errors import ModelStoreUnavailable

MAX_FILE_BYTES: Final = 128 * 1024**2
"""Maximum size of a file that is read: that of the largest bundle that a server accepts by default."""

_UNFINISHED: Final = ".new"
"""Suffix of the name of an unfinished file; the whole name also begins with a dot."""


class StoredFiles(Protocol):
    """Files by path, with parts separated by `/`. Readers see a complete file or none."""

    name: str
    """Place of the files, for messages."""

    def read(self, path: str, most: int = MAX_FILE_BYTES) -> bytes | None:
        """Return the content of a file; None if there is none.

        Args:
            path: the file.
            most: largest size in bytes.

        Raises:
            BundleCorrupt: if it is larger, or no regular file.
            ModelStoreUnavailable: if the storage fails.
        """

    def write(self, path: str, content: bytes, *, replace: bool) -> bool:
        """Write a file so that it survives a power loss; return False if it exists and is not to be replaced.

        Args:
            path: the file.
            content: its content.
            replace: whether to replace an existing file.

        Raises:
            ModelStoreUnavailable: if the storage fails.
        """


class FolderFiles:
    """Files in a folder, which is made when the first file is written. See `StoredFiles`.

    Any number of processes may read and write them at once.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = str(folder)

    def read(self, path: str, most: int = MAX_FILE_BYTES) -> bytes | None:
        """See `StoredFiles`."""
        with disk(self.name):
            try:
                return _read_regular(self._folder, path, self.name, most)
            except FileNotFoundError:
                return None

    def write(self, path: str, content: bytes, *, replace: bool) -> bool:
        """See `StoredFiles`."""
        target = self._folder / path
        with disk(self.name):
            if not replace and target.exists():
                return False
            make_folders(target.parent)
            new = target.with_name(f".{secrets.token_hex(8)}{_UNFINISHED}")
            try:
                new.write_bytes(content)
                sync(new)
                if replace or not _link(new, target):
                    if not replace and target.exists():
                        return False
                    new.replace(target)
            finally:
                new.unlink(missing_ok=True)
            sync(target.parent)
        return True

    def remove_unfinished(self, path: str, age: float) -> None:
        """Remove leftovers of killed processes from a folder.

        Args:
            path: the folder.
            age: seconds after which an unfinished file counts as abandoned.
        """
        oldest = time.time() - age
        for file in (self._folder / path).glob(f".*{_UNFINISHED}"):
            with suppress(OSError):  # another process removed it
                if file.stat().st_mtime < oldest:
                    file.unlink()


def _read_regular(folder: Path, path: str, source: str, most: int = MAX_FILE_BYTES) -> bytes:
    """Read a regular file in a folder, up to the size that it has when it is opened.

    Other kinds of files are refused: anyone who can write to the folder could replace a file by a pipe, which blocks
    its reader, or by a link to a device, which never ends.

    Raises:
        BundleCorrupt: if it is larger than `most` bytes, or no regular file.
        OSError: if it cannot be read.
    """
    file = folder / path
    if not stat.S_ISREG(file.lstat().st_mode):
        raise BundleCorrupt(f"{source}: {path} is no regular file")
    with open_regular(file) as opened:  # a pipe or a device may just have taken its place
        size = os.fstat(opened.fileno()).st_size
        check_size(source, path, size, most)
        return opened.read(size)


def check_size(store: str, path: str, size: int, most: int) -> None:
    """Raise BundleCorrupt if a file of a store is too large to be read."""
    if size > most:
        raise BundleCorrupt(f"{store}: {path} has {size} bytes; expected at most {most}")


@contextmanager
def disk(name: object) -> Iterator[None]:
    """Turn an OSError into a ModelStoreUnavailable that names the store or its folder (`name`)."""
    try:
        yield
    except OSError as error:
        raise ModelStoreUnavailable(f"{name} fails: {error.strerror or error}") from error


class FolderContents(Mapping[str, bytes]):
    """Contents of files in a folder, by name; each is read on access, so that not all are in memory at once.

    Reading one raises BundleIncomplete if it is missing, and BundleCorrupt if it cannot be read.

    Args:
        folder: the folder.
        names: the names of the files.
        source: their origin, for messages.
    """

    def __init__(self, folder: Path, names: Iterable[str], source: str) -> None:
        self._folder = folder
        self._names = tuple(names)
        self._source = source

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        try:
            return _read_regular(self._folder, name, self._source)
        except FileNotFoundError:
            raise BundleIncomplete(f"{self._source}: {name} is missing") from None
        except OSError as error:
            raise BundleCorrupt(f"{self._source}: {name} cannot be read: {error.strerror}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _link(new: Path, target: Path) -> bool:
    """Hard-link a file to its final name unless that name is taken (a rename would replace it); return success."""
    try:
        target.hardlink_to(new)
    except OSError:  # another file has the name, or the file system has no hard links
        return False
    return True


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, so that they survive a power loss."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync(each.parent)
