"""Cache of fetched games, one file per game, so that an interrupted fetch can resume.

Files are written atomically. A file that cannot be read or has another format version counts as missing.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from dejavu_common.files import atomic_replace
from dejavu_feed.errors import DataError
from dejavu_feed.events import Event, EventKind
from dejavu_feed.nba.stats_payloads import ListedGame, ScoreTimeline
from dejavu_feed.pattern import Score

FOLDER: Final = "fetched"
"""Subfolder of the cache in the folder of the seasons."""
_FORMAT_VERSION: Final = 2
"""Format version; incremented when games are parsed differently, so that they are fetched again."""
_PARTIAL_SUFFIX: Final = ".part"


class FetchedGame(NamedTuple):
    """Stored plays of a game.

    Attributes:
        timeline: every change of the score.
        events: all events.
    """

    timeline: ScoreTimeline
    events: tuple[Event, ...]


class FetchCache:
    """Cached games of one season.

    Args:
        out: folder of the seasons.
        name: name of the season, such as "2024-25".
    """

    def __init__(self, out: Path, name: str) -> None:
        self._folder = out / FOLDER / name
        self._folder.mkdir(parents=True, exist_ok=True)

    def game(self, game: ListedGame) -> FetchedGame | None:
        """Return a cached game if its final score is still that of the list, else None."""
        try:
            document = json.loads(self._path(game.game_id).read_bytes())
            if (document["form"], document["game_id"]) != (_FORMAT_VERSION, game.game_id):
                return None
            scores = tuple(Score(float(elapsed), int(home), int(away)) for elapsed, home, away in document["scores"])
            events = tuple(Event(*values)._replace(kind=EventKind(values[3])) for values in document["events"])
            timeline = ScoreTimeline(str(document["home"]), str(document["away"]), scores)
            return FetchedGame(timeline, events) if scores and timeline.points == dict(game.points) else None
        except (FileNotFoundError, ValueError, TypeError, KeyError, IndexError, RecursionError):
            return None

    def keep(self, game_id: str, game: FetchedGame) -> None:
        """Store a game, replacing an older version."""
        content = {
            "form": _FORMAT_VERSION,
            "game_id": game_id,
            "home": game.timeline.home,
            "away": game.timeline.away,
            "scores": game.timeline.scores,
            "events": game.events,
        }
        text = json.dumps(content, separators=(",", ":")) + "\n"
        with write_part(self._path(game_id), self._folder) as part:
            part.write_text(text)

    def _path(self, game_id: str) -> Path:
        return self._folder / f"{game_id}.json"


@contextmanager
def exclusive_lock(out: Path) -> Iterator[Path]:
    """Lock the folder of the seasons for one fetch, and remove partial files of a killed one.

    Yields:
        The folder for temporary files, which are then moved into `out`.

    Raises:
        DataError: if another fetch is running there.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{out}: another fetch is running there") from error
        for part in folder.rglob(f"*{_PARTIAL_SUFFIX}"):
            part.unlink()
        yield folder


def write_part(target: Path, folder: Path) -> AbstractContextManager[Path]:
    """Write a file atomically, by way of a temporary file in `folder`; see `files.atomic_replace`.

    The temporary name is deterministic, so that `exclusive_lock` can remove the file after a kill.
    """
    return atomic_replace(target, durable=True, temporary=folder / (target.name + _PARTIAL_SUFFIX))
