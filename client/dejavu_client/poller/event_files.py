"""Files of the events of games, which a poller keeps for later use: a file for each game, replaced as it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dejavu_feed.event_table import event_schema, write_events
from dejavu_feed.events import Event


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
        self._kept: dict[str, int] = {}  # hash of the events in the file of each game

    def keep(self, game_id: str, events: Sequence[Event]) -> None:
        """Write the events of a game, unless they are those of the last time.

        Raises:
            OSError: if the file cannot be written.
        """
        content = hash(tuple(events))
        if self._kept.get(game_id) != content:
            write_events(self._folder / f"events_{game_id}.parquet", [(game_id, events)])
            self._kept[game_id] = content

    def forget(self, game_id: str) -> None:
        """Forget a game that is not followed any more; its file stays."""
        self._kept.pop(game_id, None)
