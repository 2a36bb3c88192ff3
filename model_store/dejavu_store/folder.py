"""Files of a store in a folder, and the errors of stores."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Protocol

from dejavu_common.files import read_regular, sync, write_atomic
from dejavu_models.errors import BundleCorrupt, DejavuError
from dejavu_store.bundle import MAX_SIZE


class InvalidModelStore(DejavuError, reason="INVALID_MODEL_STORE"):
    """The address of a model store cannot be used."""


class ModelStoreUnavailable(DejavuError, reason="MODEL_STORE_UNAVAILABLE", category="UNAVAILABLE"):
    """The storage of the models cannot be read or written at present."""


class StoredFiles(Protocol):
    """Files by path, with parts separated by `/`. Readers see a complete file or none."""

    name: str
    """Place of the files, for messages: a path, or a URL without credentials."""

    def read(self, path: str, most: int = MAX_SIZE) -> bytes | None:
        """Return the content of a file; None if there is none.

        Args:
            path: the file.
            most: largest size in bytes.

        Raises:
            BundleCorrupt: if it is larger, or no regular file.
            ModelStoreUnavailable: if the storage fails.
        """

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file, so that it survives a power loss.

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

    def read(self, path: str, most: int = MAX_SIZE) -> bytes | None:
        """See `StoredFiles`.

        Anyone who can write to the folder could replace a file by a pipe, which blocks its reader, or by a link to a
        device, which never ends: only regular files are read, up to the size that they have when they are opened.
        """
        try:
            return read_regular(self._folder / path, most, follow_links=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EFBIG):
                raise BundleCorrupt(f"{self.name}: {path}: {error.strerror}") from None
            raise ModelStoreUnavailable(f"{self.name} fails: {error.strerror}") from error

    def write(self, path: str, content: bytes) -> None:
        """See `StoredFiles`."""
        target = self._folder / path
        try:
            missing = [each for each in target.parents if not each.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, content)
            for folder in (target.parent, *(each.parent for each in missing)):
                sync(folder)
        except OSError as error:
            raise ModelStoreUnavailable(f"{self.name} fails: {error.strerror or error}") from error
