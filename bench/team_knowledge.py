"""Measures intervals of games whose teams are known from earlier seasons and a few finals, on real games.

Run with `python -m bench.team_knowledge --data FOLDER` from the project's folder. Prints how well teams are known in
usual seasons, from which the constants are taken. Then, for each season that is tested, ratings end one or more seasons
before, the last few finals of every team before a date are known, and the games of the three weeks after it are
forecast, as a server would: coverage and width of the intervals of the final margin, as served and without what is
added for teams that are hardly known, and the errors beside those of persistence.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import KNOWN_GAMES, GameResult, RatedSchedule
from dejavu_models.online_state import OnlineState
from dejavu_models.ratings import RatingFilter
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import Horizon, MarginSource
from dejavu_models.uncertainty.calibration import Situation
from dejavu_trainer.data.games import Games, load_games
from dejavu_trainer.training.ratings import carry

MINUTES = (6, 12, 24, 36)
ALPHAS = (0.2, 0.05)
CUTS = ("12-01", "01-01", "02-01", "03-01")
DAYS = np.timedelta64(21, "D")


class Row(NamedTuple):
    """One forecast: what lies in the intervals of ALPHAS, their widths in points, and absolute errors in points."""

    served: tuple[bool, ...]
    without: tuple[bool, ...]
    served_widths: tuple[float, ...]
    without_widths: tuple[float, ...]
    error: float
    persistence: float


def finals_before(games: Games, cut: np.datetime64, finals: int) -> Iterator[GameResult]:
    """Yields games before a date in which a team plays one of its last few, in their order."""
    left, chosen = Counter[str](), []
    for game in np.flatnonzero(games.date < cut)[::-1].tolist():
        teams = str(games.home[game]), str(games.away[game])
        if min(left[code] for code in teams) < finals:
            left.update(teams)
            chosen.append(game)
    for game in reversed(chosen):
        day = games.date[game].item()
        yield GameResult(
            str(games.home[game]), str(games.away[game]), int(games.season[game]), day, int(games.final[game])
        )


def forecasts(forecaster: Forecaster, ratings: RatedSchedule, games: Games, finals: int) -> Iterator[Row]:
    """Yields the forecasts of games, with ratings as they stand."""
    forecaster.update(OnlineState(1, ratings=ratings.ratings, schedule=ratings.schedule))
    source = MarginSource.KNOWN if finals >= KNOWN_GAMES else MarginSource.RATED
    for game in range(len(games)):
        final = float(games.final[game])
        for minute in MINUTES:
            pattern = ScorePattern(tuple(games.levels[game, :minute].tolist()))
            served, without = [], []
            for alpha in ALPHAS:
                teams = str(games.home[game]), str(games.away[game])
                query = ForecastQuery(pattern, Horizon.FINAL, alpha, *teams, game_date=games.date[game].item())
                answer = forecaster.forecast(query)
                served.append(answer.interval)
                situation = Situation(Horizon.FINAL, minute, source)
                plain = forecaster.calibration.game(situation, answer.point, pattern.last, answer.expected_margin)
                without.append(plain.interval(alpha))
            yield Row(
                tuple(final in each for each in served),
                tuple(final in each for each in without),
                tuple(each.upper - each.lower for each in served),
                tuple(each.upper - each.lower for each in without),
                abs(answer.point - final),
                abs(pattern.last - final),
            )


def usual_seasons(games: Games, start: RatingFilter) -> Iterator[tuple[int, float, float, float]]:
    """Yields month, both deviations' larger one and the variances of the margin, carried and frozen, of each game.

    Without the first season, before which nothing is known, and that of 2021, which began in December.
    """
    state = frozen = start
    for today in np.unique(games.date):
        which = np.flatnonzero(games.date == today).tolist()
        season = int(games.season[which[0]])
        if season != state.season:
            frozen = state.predict(season)
        state, aged = state.predict(season, today), frozen.predict(season, today)
        teams = [(str(games.home[game]), str(games.away[game])) for game in which]
        if season not in (games.season[0], 2021):
            for home, away in teams:
                carried, old = (each.expected(home, away)[1] - each.settings.noise for each in (state, aged))
                yield today.item().month, max(state.deviation(home), state.deviation(away)), carried, old
        for (home, away), game in zip(teams, which, strict=True):
            state = state.update(home, away, float(games.final[game]))


def print_usual(games: Games, start: RatingFilter) -> None:
    """Prints the deviations by month, and the mean variances."""
    months, deviations, carried, frozen = (np.array(each) for each in zip(*usual_seasons(games, start), strict=True))
    print(f"{'month':>24} {'games':>6}  deviation of the team that is known less: median, 9 of 10 games, largest")
    for month in (10, 11, 12, 1, 2, 3, 4):
        those = deviations[months == month]
        print(f"{month:>24} {len(those):>6}  {np.median(those):.2f} {np.quantile(those, 0.9):.2f} {those.max():.2f}")
    print(
        f"variance of the expected margin: {carried.mean():.1f} carried, {frozen.mean():.1f} frozen before a season\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row for each age of the ratings and number of finals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DEJAVU_DATA", "data"), help="folder of plays")
    parser.add_argument("--seasons", type=int, nargs="+", default=[2022, 2023], help="seasons to test")
    parser.add_argument("--ages", type=int, nargs="+", default=[1, 2, 3], help="seasons since the ratings end")
    parser.add_argument("--finals", type=int, nargs="+", default=[1, 2, 5, 10], help="finals of each team")
    options = parser.parse_args(arguments)
    forecaster = load_bundle(default_bundle())
    forecaster.max_ratings_days = 10_000
    first = min(options.seasons) - max(options.ages) - 4
    games = load_games(options.data, range(first, max(options.seasons) + 1))
    start = RatingFilter.start(forecaster.rating_filter.settings)
    print_usual(games, start)
    print(f"{'ratings end, seasons ago':>24} {'finals':>6} {'n':>6}  served: 80 %, width; 95 %, width    without it")
    for age in options.ages:
        for finals in options.finals:
            rows: list[Row] = []
            for season in options.seasons:
                past, tested = games.select(games.season <= season - age), games.of_seasons([season])
                before = RatedSchedule.start(carry(start, past)[1])
                for cut in CUTS:
                    day = np.datetime64(f"{season - (cut[:2] == '12')}-{cut}")
                    ratings = before
                    for result in finals_before(tested, day, finals):
                        ratings = ratings.after(result)
                    ahead = tested.select((tested.date >= day) & (tested.date < day + DAYS))
                    rows += forecasts(forecaster, ratings, ahead, finals)
            served, without, widths, other_widths, errors, persistence = (
                np.array(each) for each in zip(*rows, strict=True)
            )
            cells = [
                f"{100 * held[:, index].mean():6.1f} {width[:, index].mean():6.2f}"
                for held, width in ((served, widths), (without, other_widths))
                for index in range(len(ALPHAS))
            ]
            print(
                f"{age:>24} {finals:>6} {len(rows):>6} {'  '.join(cells)}"
                f"   MAE {errors.mean():.2f}, of persistence {persistence.mean():.2f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
