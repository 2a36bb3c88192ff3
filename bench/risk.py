"""What is usual in NBA games: the quantiles against which `dejavu_models.risk` holds a game.

    python -m bench.risk --data DIR                        # DIR/plays_{season}.parquet, or DIR/nba/…: prints USUAL
    python -m bench.risk --data DIR --seasons 2022-2023
    python -m bench.risk --data DIR --then                 # what the score says of what comes: nothing, it turns out

Every game that counts (dejavu_feed.eligibility) is measured once at each of `risk_norms.MINUTES`. With --then, its
risk score at some minutes is held against how far the lead moved from there to the half or the end: Spearman's rank
correlation, and the mean of that movement in the quarters of games with the lowest and the highest scores.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from scipy import stats

from dejavu_feed.eligibility import exclusion_reason
from dejavu_feed.pattern import REGULATION_MINUTES, Score, slots
from dejavu_models import risk
from dejavu_models.risk_quantiles import MINUTES, SEASONS, SHARES
from dejavu_models.types import ScorePattern
from dejavu_trainer.data.games import parse_seasons
from dejavu_trainer.data.plays import plays_file, read_plays

WHAT_COMES = ((12, 24), (18, 24), (24, 48), (36, 48), (42, 48))
"""Minutes from which, and to which, what comes is looked at."""

Course = tuple[tuple[int, ...], tuple[int, ...]]
"""Differentials and total points at the end of each minute."""


def courses(folder: Path, season: int) -> Iterator[Course]:
    """The games of a season that count."""
    columns = ("game_id", "away", "elapsed_s", "home_score", "away_score")
    table = read_plays(plays_file(folder, season))
    rows = zip(*(table[column].to_pylist() for column in columns), strict=True)
    for _, of_game in groupby(rows, key=lambda row: row[0]):
        game = list(of_game)
        scores = [Score(elapsed, home, away) for _, _, elapsed, home, away in game]
        away = None if any(row[1] is None for row in game) else game[0][1]
        if exclusion_reason(away, scores):
            continue
        # A total is a differential to a team that never scores.
        totals = [Score(score.elapsed, score.home + score.away, 0) for score in scores]
        yield slots(scores, REGULATION_MINUTES), slots(totals, REGULATION_MINUTES)


def usual(games: Sequence[Course]) -> dict[str, tuple[tuple[float, ...], ...]]:
    """By factor: for each of MINUTES the quantiles at SHARES, but for the first, which is 0."""
    levels = [share / 100 for share in SHARES[1:-1]] + [0.999]
    table: dict[str, list[tuple[float, ...]]] = {name: [] for name in risk.WEIGHTS}
    for minute in MINUTES:
        measured = [risk.measure(_pattern(course, minute), course[1][minute - 1]) for course in games]
        for name, rows in table.items():
            quantiles = np.quantile([values[name] for values in measured], levels)
            rows.append(tuple(round(float(value), 2) for value in quantiles))
    return {name: tuple(rows) for name, rows in table.items()}


def then(games: Sequence[Course], minute: int, later: int) -> tuple[float, float, float]:
    """What the score after a minute says of how far the lead moves until a later one.

    Returns:
        Spearman's rank correlation; the mean movement, in points, in the calmest and in the most unsettled quarter.
    """
    scores = np.array([risk.assess(_pattern(course, minute), course[1][minute - 1]).score for course in games])
    moved = np.array([abs(differentials[later - 1] - differentials[minute - 1]) for differentials, _ in games])
    low, high = np.quantile(scores, [0.25, 0.75])
    correlation = float(stats.spearmanr(scores, moved).statistic)
    return correlation, float(moved[scores <= low].mean()), float(moved[scores >= high].mean())


def _pattern(course: Course, minute: int) -> ScorePattern:
    return ScorePattern(tuple(map(float, course[0][:minute])))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table as it stands in risk_norms.py, or what the score says of what comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DEJAVU_DATA", "data"), help="folder of plays")
    parser.add_argument("--seasons", type=parse_seasons, default=SEASONS, help="such as 2019-2023")
    parser.add_argument("--then", action="store_true", help="say what the score tells of what comes")
    options = parser.parse_args(arguments)
    games = [course for season in options.seasons for course in courses(options.data, season)]
    print(f"# {len(games):,} games", file=sys.stderr)
    if options.then:
        print("from  to  rank correlation  moved, calmest quarter  moved, most unsettled quarter")
        for minute, later in WHAT_COMES:
            correlation, low, high = then(games, minute, later)
            print(f"{minute:4d} {later:3d} {correlation:+17.3f} {low:23.2f} {high:30.2f}")
        return 0
    for name, rows in usual(games).items():
        print(f'    "{name}": (')
        for row in rows:
            print(f"        {row},")
        print("    ),")
    return 0


if __name__ == "__main__":
    sys.exit(main())
