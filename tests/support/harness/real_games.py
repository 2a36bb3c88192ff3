"""The real games, each season of which is loaded once per run, and a folder of them as the documents make it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.builders.made_once import computed_once, made_once

from dejavu_feed.live_inputs import LastScore, LiveInputs, Side
from dejavu_trainer.data.games import Games, load_games

SEASONS = range(2014, 2025)


def real_games(data_dir: Path, seasons: Sequence[int] = SEASONS) -> Games:
    """Return the real games of some of SEASONS."""

    def season(year: int) -> Games:
        return computed_once(f"real-games-{year}", lambda: load_games(data_dir, [year]))

    return Games.joined([season(year) for year in sorted(set(seasons))])


def events_of(data_dir: Path, season: int) -> Path:
    """Return the table of a season's events: of the live feed from 2021 on, before of PlayByPlayV2."""
    return data_dir / "events" / f"{'live' if season > 2020 else 'v2'}_{season}.parquet"


def real_folder(data_dir: Path) -> Path:
    """Return a folder with the lines of SEASONS, and their plays, events and box scores as `import` makes them."""

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "lines").symlink_to(data_dir / "lines")
        for season in SEASONS:
            plays = data_dir / "seasons" / f"plays_{season}.parquet"
            options = ("--events", events_of(data_dir, season), "--season", str(season), "--out", folder)
            command = (sys.executable, "-m", "dejavu_trainer", "import", plays, *options)
            subprocess.run(command, check=True, capture_output=True)

    return made_once("real-folder", make)


def live_inputs_of(games: Games, game: int, minute: int) -> LiveInputs:
    """Return the total points and the last score of the game at an index, at the end of a minute."""
    total, side, seconds, *_ = games.live[game, minute - 1].tolist()
    return LiveInputs(int(total), LastScore(Side(int(side)), int(seconds)) if side else None)
