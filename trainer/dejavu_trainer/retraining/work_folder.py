"""Folder in which a retrain keeps the result of each step, so that a killed one continues.

Each result is one file, or one folder of a bundle, named by a hash of its inputs and written atomically. So equal
inputs find their results, and other inputs never do.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dejavu_common.files import write_atomic


class RetrainError(Exception):
    """A retrain was refused or failed; the message has the reason and the remedy."""


class RetrainRunning(RetrainError):
    """Another retrain is running in the same work folder."""


FORMAT: Final = 1
"""Version of the results; incremented with every change of a step's result or its storage, so that older results are
not used."""

_LOCK: Final = ".lock"
_LAST: Final = "last.json"


class WorkFolder:
    """The results of a retrain's steps. Create it with `open_work_folder`, which lets one process use it at a time.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._used = set[str]()

    def key(self, **inputs: Any) -> str:
        """Return a hash of a step's inputs, which must be JSON: 16 hexadecimal digits."""
        content = json.dumps({"format": FORMAT, **inputs}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def path(self, name: str) -> Path:
        """Return the path of a result, which `keep_used` then keeps."""
        self._used.add(name)
        return self.folder / name

    def document(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the JSON document of a step; `make` computes it if it is not stored."""
        path = self.path(name)
        if not path.exists():
            write_atomic(path, json.dumps(make(), indent=2, allow_nan=False).encode() + b"\n")
        return _read(path)

    @property
    def last(self) -> dict[str, Any] | None:
        """The document that describes the last challenger that was made here; None if there is none."""
        path = self.folder / _LAST
        return _read(path) if path.exists() else None

    def finish(self, document: dict[str, Any]) -> None:
        """Store the description of a challenger, and remove the results of other inputs."""
        write_atomic(self.folder / _LAST, json.dumps(document, indent=2, allow_nan=False).encode() + b"\n")
        for path in self.folder.iterdir():
            if path.name not in {*self._used, _LAST, _LOCK}:
                _remove(path)

    def temporary(self, name: str) -> Path:
        """Return a new folder that the next run removes if this one does not."""
        folder = self.folder / f".{name}.{os.getpid()}"
        folder.mkdir()
        return folder


@contextmanager
def open_work_folder(folder: Path) -> Iterator[WorkFolder]:
    """Open a work folder for one process, and remove half-done results of a killed one.

    The kernel releases the lock when the process that has it ends, however it ends.

    Raises:
        RetrainRunning: if another process has it open.
        OSError: if it cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            other = f", process {pid}" if (pid := lock.read().strip()) else ""
            raise RetrainRunning(f"{folder}: another retrain is running there{other}") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        for path in folder.glob(".*"):
            if path.name != _LOCK:
                _remove(path)
        yield WorkFolder(folder)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise RetrainError(f"{path}: is not a result of a retrain: {error}; remove it") from error
