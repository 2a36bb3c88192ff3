"""Files of the events of games, which a poller keeps for later use: one for each game, replaced during the game."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from dejavu_client.logs import get_logger
from dejavu_feed.event_table import count_events, event_schema, write_events
from dejavu_feed.events import Event as GameEvent
from dejavu_poller.enricher import Enricher
from dejavu_poller.events import Event, Fault, FaultKind

MAX_GAMES_A_DAY: Final = 100
"""Maximum number of games per day for which a file is begun, so that a hostile feed cannot fill the disk."""

FEW_WITHDRAWN: Final = 5
"""Number of plays that can go missing at once without a warning, because the NBA withdraws plays; a tenth of the kept
plays if that is more."""

_DAY_SECONDS: Final = 86_400.0

log = get_logger()


class EventFiles(Enricher):
    """Keeps the events of games in a folder, as events_{game_id}.parquet. Calls for different games may overlap.

    The last answer of the feed counts, since neither the longest nor the shortest is always right.
    If it lacks many events, the previous file is kept beside it, as events_{game_id}.parquet.more, unless a file of
    that name already has more; this is logged once a game. So a truncated answer loses nothing, and a wrong longer
    one does not block later correct ones.

    Args:
        folder: the folder; created if it does not exist.

    Raises:
        OSError: if the folder cannot be created.
        FeedNotInstalled: if pyarrow is missing.
    """

    source = "events"

    def __init__(self, folder: Path) -> None:
        event_schema()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._since, self._games = time.monotonic(), 0
        self._kept: dict[str, int] = {}  # hash of the events in the file of each game
        self._most: dict[str, int] = {}  # largest number of events that the file of each game has had
        self._failed = False
        self._too_few: set[str] = set()  # games for which far fewer events were reported

    async def keep(self, game_id: str, events: Sequence[GameEvent]) -> Iterable[Event]:
        """Write the events of a game in a thread; report the first of consecutive failures."""
        try:
            await asyncio.to_thread(self.write, game_id, events)
        except OSError as error:
            is_told, self._failed = self._failed, True
            reason = f"its events are not kept: {error.strerror or error}"
            return () if is_told else (Fault(game_id, reason, kind=FaultKind.INTERNAL),)
        self._failed = False
        return ()

    def write(self, game_id: str, events: Sequence[GameEvent]) -> None:
        """Write the events of a game, unless they are the same as in the last call.

        Raises:
            OSError: if the file cannot be written, or if there are too many games.
        """
        content = hash(tuple(events))
        if self._kept.get(game_id) == content:
            return
        path = self._folder / f"events_{game_id}.parquet"
        if game_id not in self._kept:
            self._count_game()
            self._most[game_id] = count_events(path)
        most, count = self._most[game_id], len(events)
        if most - count > max(FEW_WITHDRAWN, most // 10):
            more = path.with_name(f"{path.name}.more")
            if count_events(more) < most:
                with suppress(FileNotFoundError):  # removed meanwhile
                    path.replace(more)
            if game_id not in self._too_few:
                self._too_few.add(game_id)
                log.warning("poll.fewer_events", file=str(path), events=count, before=most)
            most = 0
        write_events(path, [(game_id, events)])
        self._kept[game_id] = content
        self._most[game_id] = max(most, count)

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
        self._most.pop(game_id, None)
        self._too_few.discard(game_id)
