"""Computes the quantiles over NBA games with which `dejavu_models.risk` compares a game.

    python -m bench.risk --data DIR                        # DIR/plays_{season}.parquet, or DIR/nba/…: prints USUAL
    python -m bench.risk --data DIR --seasons 2022-2023

Measures every eligible game (`exclusion_reason`) once at each of `risk.MINUTES`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from dejavu_feed.files.checked_games import exclusion_reason
from dejavu_feed.pattern import REGULATION_MINUTES, Score, slots
from dejavu_models import risk
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.risk import MINUTES, SEASONS, SHARES
from dejavu_trainer.data.games import parse_seasons
from dejavu_trainer.data.plays import read_plays, season_files

Course = tuple[tuple[int, ...], tuple[int, ...]]
"""Differentials and total points at the end of each minute."""


def courses(folder: Path, season: int) -> Iterator[Course]:
    """Yield the eligible games of a season."""
    columns = ("game_id", "away", "elapsed_s", "home_score", "away_score")
    table = read_plays(season_files(folder)[season])
    rows = zip(*(table[column].to_pylist() for column in columns), strict=True)
    for _, plays in groupby(rows, key=lambda row: row[0]):
        game = list(plays)
        scores = [Score(elapsed, home, away) for _, _, elapsed, home, away in game]
        away = None if any(row[1] is None for row in game) else game[0][1]
        if exclusion_reason(away, scores):
            continue
        # The total is computed as the differential against a team that never scores.
        totals = [Score(score.elapsed, score.home + score.away, 0) for score in scores]
        yield slots(scores, REGULATION_MINUTES), slots(totals, REGULATION_MINUTES)


def usual(games: Sequence[Course]) -> dict[str, tuple[tuple[float, ...], ...]]:
    """Return, by factor and for each of MINUTES, the quantiles at SHARES without the first, which is 0."""
    levels = [share / 100 for share in SHARES[1:-1]] + [0.999]
    table: dict[str, list[tuple[float, ...]]] = {name: [] for name in risk.WEIGHTS}
    for minute in MINUTES:
        measured = [risk.measure(_pattern(course, minute), course[1][minute - 1]) for course in games]
        for name, rows in table.items():
            quantiles = np.quantile([values[name] for values in measured], levels)
            rows.append(tuple(round(float(value), 2) for value in quantiles))
    return {name: tuple(rows) for name, rows in table.items()}


def _pattern(course: Course, minute: int) -> ScorePattern:
    return ScorePattern(tuple(map(float, course[0][:minute])))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of risk_quantiles.py."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("DEJAVU_DATA", "data"), help="folder with the files of plays"
    )
    parser.add_argument("--seasons", type=parse_seasons, default=SEASONS, help="seasons, such as 2019-2023")
    options = parser.parse_args(arguments)
    games = [course for season in options.seasons for course in courses(options.data, season)]
    print(f"# {len(games):,} games", file=sys.stderr)
    for name, rows in usual(games).items():
        print(f'    "{name}": (')
        for row in rows:
            print(f"        {row},")
        print("    ),")
    return 0


if __name__ == "__main__":
    sys.exit(main())
