"""Files of the events of games, which a poller keeps for later use: a file for each game, replaced as it goes on."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dejavu_feed.event_table import event_schema, write_events
from dejavu_feed.events import Event

MAX_GAMES_A_DAY: Final = 100
"""Maximum number of games whose files are begun in a day; a hostile feed could fill the disk with others."""

_DAY_SECONDS: Final = 86_400.0


class EventFiles:
    """Keeps the events of games in a folder, as events_{game_id}.parquet. Calls for different games may overlap.

    Args:
        folder: the folder; created if it does not exist.

    Raises:
        OSError: if the folder cannot be created.
        FeedNotInstalled: if pyarrow is missing.
    """

    def __init__(self, folder: Path) -> None:
        event_schema()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._since, self._games = time.monotonic(), 0
        self._kept: dict[str, int] = {}  # hash of the events in the file of each game

    def keep(self, game_id: str, events: Sequence[Event]) -> None:
        """Write the events of a game, unless they are those of the last time.

        Raises:
            OSError: if the file cannot be written, or there are too many games.
        """
        content = hash(tuple(events))
        if self._kept.get(game_id) != content:
            if game_id not in self._kept:
                self._count_game()
            write_events(self._folder / f"events_{game_id}.parquet", [(game_id, events)])
            self._kept[game_id] = content

    def _count_game(self) -> None:
        now = time.monotonic()
        if now - self._since > _DAY_SECONDS:
            self._since, self._games = now, 0
        if self._games >= MAX_GAMES_A_DAY:
            raise OSError(errno.EDQUOT, f"more than {MAX_GAMES_A_DAY} games in a day")
        self._games += 1

    def forget(self, game_id: str) -> None:
        """Forget a game that is not followed any more; its file stays."""
        self._kept.pop(game_id, None)
