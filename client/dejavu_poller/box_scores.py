"""Reads the players of the watched games from their box scores, for forecasts and for the reports of finals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from dejavu_client.logs import get_logger
from dejavu_client.requests import FINAL
from dejavu_feed.box_score import MARKS, Lineups, PlayerLine, final_faults, mark_of
from dejavu_feed.errors import FeedError
from dejavu_feed.nba.live_payloads import BoxScore
from dejavu_poller.enricher import Enricher
from dejavu_poller.inputs import ForecastInputs
from dejavu_poller.reads import read_in_thread
from dejavu_poller.watched_game import PendingOutcome, WatchedGame

WAIT: Final = 5.0
"""Seconds that forecasts wait for a box score."""

TRIES: Final = 3
"""Maximum number of reads of the box score of a final that does not fit the final score."""

NOBODY: Final = BoxScore(None, ())
"""A box score that names no player."""

log = get_logger()


class BoxScores(Enricher):
    """Players seen on court in each game, read once for each of MARKS; forecasts wait for the read.

    If a box score cannot be read in time, or does not name the starters, forecasts use an earlier one, or only the
    teams' ratings.

    Args:
        read: reads the box score of a game by its id; blocks, and raises `FeedError`.
        pause: seconds between two reads of the box score of a final that does not fit yet.
    """

    source = "players"

    def __init__(self, read: Callable[[str], BoxScore], *, pause: float = 10.0) -> None:
        self._read_box_score = read
        self._pause = pause
        self._known: dict[str, dict[int, tuple[int, Lineups | None]]] = {}

    async def enrich(self, game: WatchedGame, minutes: Sequence[int], inputs: ForecastInputs) -> None:
        """Add the players who had been on court."""
        inputs.lineups = await self.lineups(game.state.game_id, minutes)

    async def players(self, outcome: PendingOutcome) -> tuple[PlayerLine, ...]:
        """Return the box score of a final; that of a half is not reported."""
        if outcome.horizon != FINAL:
            return ()
        return await self.final(outcome.game.game_id, outcome.differential)

    async def lineups(self, game_id: str, minutes: Sequence[int]) -> Mapping[int, Lineups]:
        """Return the players who had been on court, by the minutes after which forecasts of a game are due.

        Minutes before the first read have no entry: later reads would be hindsight for them.

        Args:
            game_id: the game.
            minutes: the minutes, at least one.
        """
        newest, known = max(minutes), self._known.setdefault(game_id, {})
        mark = MARKS[mark_of(newest)]
        if mark not in known:
            box_score = await self._box_score(game_id)
            lineups = None if box_score is None else box_score.lineups
            known[mark] = newest, lineups and lineups._replace(minute=mark)
        seen = sorted((since, lineups) for since, lineups in known.values() if lineups is not None)
        return {minute: lineups for minute in minutes for since, lineups in seen if since <= minute}

    async def final(self, game_id: str, differential: int) -> tuple[PlayerLine, ...]:
        """Return the box score of a final; empty if it is not known, or does not fit the differential.

        A box score can lag behind the scoreboard: it is read until it fits, at most TRIES times.
        """
        for left in reversed(range(TRIES)):
            box_score = await self._box_score(game_id)
            if box_score == NOBODY:  # a replay
                return ()
            faults = final_faults(box_score.lines, differential) if box_score is not None else []
            if box_score is not None and box_score.lines and not faults:
                return box_score.lines
            if faults:
                log.info("poll.box_score_unusable", game_id=game_id, field=faults[0][0], expected=faults[0][2])
            if left:
                await asyncio.sleep(self._pause)
        return ()

    def forget(self, game_id: str) -> None:
        """Forget a game."""
        self._known.pop(game_id, None)

    async def _box_score(self, game_id: str) -> BoxScore | None:
        try:
            return await read_in_thread(self._read_box_score, game_id, seconds=WAIT)
        except FeedError as error:
            log.info("poll.box_score_missing", game_id=game_id, reason=str(error))
            return None
