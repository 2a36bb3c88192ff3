"""The real games, each season of which is loaded once per run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.builders.made_once import computed_once

from dejavu_feed.live_inputs import LastScore, LiveInputs, Side
from dejavu_trainer.data.games import Games, load_games

SEASONS = range(2014, 2025)


def real_games(data_dir: Path, seasons: Sequence[int] = SEASONS) -> Games:
    """Return the real games of some of SEASONS."""

    def season(year: int) -> Games:
        return computed_once(f"real-games-{year}", lambda: load_games(data_dir, [year]))

    return Games.joined([season(year) for year in sorted(set(seasons))])


def live_inputs_of(games: Games, game: int, minute: int) -> LiveInputs:
    """Return the total points and the last score of the game at an index, at the end of a minute."""
    total, side, seconds, *_ = games.live[game, minute - 1].tolist()
    return LiveInputs(int(total), LastScore(Side(int(side)), int(seconds)) if side else None)
