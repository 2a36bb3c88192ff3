"""Folder in which a retrain keeps the result of each step, so that a killed one continues.

Each result is one file, or one folder of a bundle, named by a hash of its inputs and written atomically. So equal
inputs find their results, and other inputs never do.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dejavu_common.files import write_atomic
from dejavu_models.errors import DejavuError
from dejavu_trainer.lineage import digest_of
from dejavu_trainer.locks import RETRAIN_LOCK, locked


class RetrainError(DejavuError):
    """A retrain was refused or failed; the message has the reason and the remedy."""


class RetrainRunning(RetrainError):
    """Another retrain is running in the same work folder."""


_LAST: Final = "last.json"

_RESULT: Final = re.compile(r"[a-z]+-[0-9a-f]{16}")
"""Names of results: what has another name, such as a store within the work folder, is not the retrain's to remove."""


class WorkFolder:
    """The results of a retrain's steps. Create it with `open_work_folder`, which lets one process use it at a time.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept = set[str]()

    def path(self, name: str, **inputs: Any) -> Path:
        """Return the path of the result of a step, which `finish` then keeps.

        Args:
            name: the name of the step.
            inputs: its inputs, which must be JSON, with the version of the code; their hash is part of the file's name.
        """
        result = f"{name}-{digest_of(inputs)}"
        self._kept.add(result)
        return self._folder / result

    @property
    def last(self) -> bytes | None:
        """The description of the last challenger that was made here; None if there is none."""
        path = self._folder / _LAST
        return path.read_bytes() if path.exists() else None

    def finish(self, description: str) -> None:
        """Store the description of a challenger, and remove the results of other inputs."""
        write_atomic(self._folder / _LAST, description.encode() + b"\n")
        for path in self._folder.iterdir():
            if _RESULT.fullmatch(path.name) and path.name not in self._kept:
                _remove(path)


@contextmanager
def open_work_folder(folder: Path) -> Iterator[WorkFolder]:
    """Open a work folder for one process, and remove half-done results of a killed one.

    Raises:
        RetrainError: if the folder is in other use: hidden files, and results of other inputs, are removed.
        RetrainRunning: if another process has it open.
        OSError: if it cannot be made or written.
    """
    others = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    if others and RETRAIN_LOCK not in others:
        raise RetrainError(f"{folder} has {others[0]} and is no work folder; expected a new or an empty folder")
    with locked(folder, RETRAIN_LOCK, RetrainRunning(f"{folder}: another retrain is running there")):
        for path in folder.glob(".*"):
            if path.name != RETRAIN_LOCK:
                _remove(path)
        yield WorkFolder(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
