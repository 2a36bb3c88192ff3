"""Keeps the results of stages of a fit, by the content of their inputs: recipes that share a stage compute it once."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from dejavu_common.files import write_atomic
from dejavu_trainer.data.games import Games
from dejavu_trainer.lineage import code_version

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class StageCache:
    """Results of stages in a folder.

    The files are pickles: reading one runs what it says, so the folder must be as private as the programs.

    Attributes:
        folder: the folder, created with the first result; None: nothing is kept.
    """

    folder: Path | None = None

    def get(self, stage: str, inputs: Sequence[object], compute: Callable[[], R]) -> R:
        """Return the result of a stage, computed if it is not there or unreadable.

        Args:
            stage: name of the stage.
            inputs: all that its result depends on beside the version of the code: games, numbers, texts, dataclasses.
            compute: called without arguments.
        """
        if self.folder is None:
            return compute()
        content = json.dumps([code_version(), stage, *inputs], default=_plain)
        path = self.folder / f"{stage}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.pickle"
        try:
            kept: R = pickle.loads(path.read_bytes())  # noqa: S301 - written by us, see above
        except (OSError, pickle.UnpicklingError, EOFError):  # not there, or cut off by a full disk
            result = compute()
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, pickle.dumps(result, pickle.HIGHEST_PROTOCOL))
            return result
        return kept


def _plain(value: Any) -> Any:
    return value.fingerprint if isinstance(value, Games) else asdict(value)


NO_CACHE: Final = StageCache()
"""Keeps nothing."""
