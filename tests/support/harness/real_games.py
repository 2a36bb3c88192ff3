"""The real games, each season of which is loaded once per run, and the comparison of an evening with its scorecards."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.support.builders.made_once import computed_once, made_once

from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_cli.output.scores import Record
from dejavu_client.formatting import horizon_label
from dejavu_feed.live_inputs import LastScore, LiveInputs, Side
from dejavu_poller.summary import HorizonSummary, Summary
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


_SAME: Final = 1e-6
"""Tolerance when comparing two means of the same values, which are summed in different orders."""


def disagreement(summary: Summary, record: Record) -> str:
    """Describe the first metric that differs between the poller's summary and the server's record; "" if none does.

    The record must contain only this evening.
    """
    for of in summary.horizons:
        if of.horizon not in record:
            continue
        for name, own, recorded in _compared(of, record[of.horizon]):
            if not math.isclose(own or 0.0, recorded, rel_tol=_SAME, abs_tol=_SAME):
                horizon = horizon_label(of.horizon)
                return f"for the {horizon} the server has {recorded:g} {name}, but the poller has {own or 0.0:g}"
    return ""


def _compared(of: HorizonSummary, card: Scorecard) -> Iterator[tuple[str, float | None, float]]:
    """Yield the name of each metric with the poller's and the server's value."""
    yield "games", of.settled_games, card.games
    yield "forecasts", of.settled, card.forecasts
    yield "as mean absolute error", of.error, card.mae.value
    yield "as that of persistence", of.persistence_error, card.persistence_mae.value
    yield "as Brier score", of.brier, card.brier.value
