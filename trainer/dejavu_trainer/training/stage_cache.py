"""Keeps the results of stages of a fit, by the content of their inputs: recipes that share a stage compute it once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from dejavu_common.files import write_atomic
from dejavu_feed.errors import DataError
from dejavu_trainer.data.games import Games
from dejavu_trainer.lineage import code_version, digest_of

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class StageCache:
    """Results of stages in a folder, as JSON or arrays.

    Attributes:
        folder: the folder, created with the first result; None: nothing is kept.
    """

    folder: Path | None = None

    def get(
        self,
        name: str,
        inputs: Sequence[object],
        compute: Callable[[], R],
        write: Callable[[R], bytes],
        read: Callable[[bytes], R],
    ) -> R:
        """Return the result of a stage, computed if it is not there.

        Args:
            name: name of the stage, with the ending of its files: .json or .npz.
            inputs: all that its result depends on beside the version of the code: games, numbers, texts, dataclasses.
            compute: called without arguments.
            write: returns the content of the file of a result.
            read: the inverse of `write`; must not execute anything in the content.

        Raises:
            DataError: if a file in the folder is not what `write` returns; the message names it.
        """
        if self.folder is None:
            return compute()
        path = self.folder / f"{digest_of([code_version(), name, *inputs], _plain)}-{name}"
        try:
            return read(path.read_bytes())
        except FileNotFoundError:
            result = compute()
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, write(result))
            return result
        except (ValueError, KeyError) as error:
            raise DataError(f"{path}: is not a result of a stage: {str(error)[:200]}; delete it") from None


def _plain(value: Any) -> Any:
    return value.fingerprint if isinstance(value, Games) else asdict(value)


NO_CACHE: Final = StageCache()
"""Keeps nothing."""
