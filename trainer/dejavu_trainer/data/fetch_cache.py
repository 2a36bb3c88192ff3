"""Games that were had, one file each, so that a fetch goes on where it ended, however it ended.

A file is there whole or not at all. One that cannot be read, or is of another form, counts as not there.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dejavu_feed.nba.stats import ScoreTimeline
from dejavu_feed.pattern import Score
from dejavu_trainer.data.plays import DataError

FOLDER: Final = "fetched"
"""Where the games lie, in the folder of the seasons."""
_FORM: Final = 1
"""Raised when games are read in another way: then they are asked for anew."""
_PART: Final = ".part"


class FetchCache:
    """The games of one season.

    Args:
        out: folder of the seasons.
        name: of the season, such as "2024-25".
    """

    def __init__(self, out: Path, name: str) -> None:
        self._folder = out / FOLDER / name
        self._folder.mkdir(parents=True, exist_ok=True)

    def course(self, game_id: str) -> ScoreTimeline | None:
        """A game, if it is there."""
        try:
            found = json.loads(self._path(game_id).read_bytes())
            if (found["form"], found["game_id"]) != (_FORM, game_id):
                return None
            scores = tuple(Score(float(elapsed), int(home), int(away)) for elapsed, home, away in found["scores"])
            return ScoreTimeline(str(found["home"]), str(found["away"]), scores) if scores else None
        except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def keep(self, game_id: str, course: ScoreTimeline) -> None:
        """Keeps a game, in place of an older version."""
        content = {"form": _FORM, "game_id": game_id, "home": course.home, "away": course.away, "scores": course.scores}
        text = json.dumps(content, separators=(",", ":")) + "\n"
        write_atomic(self._path(game_id), self._folder, lambda part: part.write_text(text))

    def _path(self, game_id: str) -> Path:
        return self._folder / f"{game_id}.json"


@contextmanager
def exclusive_lock(out: Path) -> Iterator[Path]:
    """Holds the folder of the seasons for one fetch, and clears away what a killed one left half written.

    Yields:
        The folder where files may be written before they are moved into `out`.

    Raises:
        DataError: if another fetch is at work there.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{out}: another fetch is at work there") from error
        for part in folder.rglob(f"*{_PART}"):
            part.unlink()
        yield folder


def write_atomic(target: Path, beside: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a file in the folder `beside`, of the same file system, and moves it into place when whole.

    The name that it has until then is always the same, so that `exclusive_lock` finds it after a kill.
    """
    part = beside / (target.name + _PART)
    write(part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
