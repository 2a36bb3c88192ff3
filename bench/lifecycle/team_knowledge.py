"""Measures on real games how well the ratings know teams, and the intervals of games with hardly known teams.

Run with `python -m bench.lifecycle.team_knowledge --data DIR` from the project's folder; DIR has the plays of all
seasons. Prints how well teams are known in usual seasons, from which the constants of `ratings.py` are taken. Then
forecasts the games of three weeks, from 15 February and from 15 March, as a server does whose bundle ends with the
season one or three years before. It knows all finals of the tested season up to a day (31 July, so none, or 20
December), and of those after that day only the last few of every team. Prints coverage and width of the intervals of
the final margin: as served, and as the tables alone give them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import KNOWN_GAMES, GameResult, RatedSchedule
from dejavu_models.online_state import OnlineState
from dejavu_models.ratings import RatingFilter
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import Horizon, MarginSource
from dejavu_models.uncertainty.lattice.calibration import Situation
from dejavu_trainer.data.games import Games, load_games
from dejavu_trainer.training.ratings import carry

SEASONS = range(2016, 2024)
TESTED = (2022, 2023)
UNUSUAL = (2020, 2021)
"""The season of 2020 was interrupted; that of 2021 began in December."""
MINUTES = (6, 12, 24, 36)
ALPHAS = (0.2, 0.05)
SCENARIOS = (
    ("June, a year ago", 1, "07-31", (82, 10, 5, 2, 1)),
    ("June, 3 years ago", 3, "07-31", (82, 10, 5, 2, 1)),
    ("20 December", 1, "12-20", (5, 2, 1)),
)
"""Name, seasons since the bundle, day up to which all finals were reported, numbers of finals of each team since."""
DAYS = np.timedelta64(21, "D")


def print_usual(games: Games, start: RatingFilter) -> None:
    """Print means, upper deciles and maxima of the deviations and variances in the games of usual seasons."""
    state = frozen = start
    found: dict[str, list[float]] = {}
    played = Counter[tuple[int, str]]()
    for today in np.unique(games.date):
        which = np.flatnonzero(games.date == today).tolist()
        season = int(games.season[which[0]])
        if season != state.season:
            frozen = state.predict(season)
        state, aged = state.predict(season, today), frozen.predict(season, today)
        teams = [(str(games.home[game]), str(games.away[game])) for game in which]
        for home, away in teams if season in SEASONS and season not in UNUSUAL else ():
            carried, old = (each.expected(home, away)[1] - each.settings.noise for each in (state, aged))
            found.setdefault(f"deviation in {today.item():%B}", []).extend(map(state.deviation, (home, away)))
            found.setdefault("variance, frozen", []).append(old)
            if min(played[season, home], played[season, away]) >= KNOWN_GAMES:
                found.setdefault(f"variance, {KNOWN_GAMES} games", []).append(carried)
        for (home, away), game in zip(teams, which, strict=True):
            state = state.update(home, away, float(games.final[game]))
            played.update([(season, home), (season, away)])
    print(f"{'usual seasons':>24} {'n':>6}   mean  9 of 10  largest")
    for name, values in found.items():
        print(f"{name:>24} {len(values):>6} {np.mean(values):6.2f} {np.quantile(values, 0.9):8.2f} {max(values):8.2f}")


def reported(games: Games, until: np.datetime64, cut: np.datetime64, finals: int) -> Iterator[GameResult]:
    """Yield all games up to `until`, then those in which a team plays one of its last `finals` games before `cut`."""
    left, chosen = Counter[str](), []
    for game in np.flatnonzero(games.date < cut)[::-1].tolist():
        teams = str(games.home[game]), str(games.away[game])
        if games.date[game] <= until or min(left[code] for code in teams) < finals:
            left.update(teams)
            chosen.append(game)
    for game in reversed(chosen):
        teams, day = (str(games.home[game]), str(games.away[game])), games.date[game].item()
        yield GameResult(*teams, int(games.season[game]), day, int(games.final[game]))


def intervals(forecaster: Forecaster, ratings: RatedSchedule, games: Games) -> Iterator[list[float]]:
    """Yield, for each forecast, coverage and width of its intervals, as served and as the tables alone give them."""
    calibration = forecaster.calibration
    forecaster.update(OnlineState(1, ratings=ratings.ratings, schedule=ratings.schedule))
    for game in range(len(games)):
        final, teams = float(games.final[game]), (str(games.home[game]), str(games.away[game]))
        is_known = ratings.ratings.known(*teams)
        for minute in MINUTES:
            pattern = ScorePattern(tuple(games.levels[game, :minute].tolist()))
            row = []
            for alpha in ALPHAS:
                query = ForecastQuery(pattern, Horizon.FINAL, alpha, *teams, game_date=games.date[game].item())
                served = forecaster.forecast(query)
                situation = Situation(Horizon.FINAL, minute, MarginSource.KNOWN if is_known else MarginSource.RATED)
                tables = calibration.game(situation, served.point, pattern.last, served.expected_margin)
                for interval in (served.interval, tables.interval(alpha)):
                    row += [100.0 * (final in interval), interval.upper - interval.lower]
            yield row


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DEJAVU_DATA", "data"), help="folder of plays")
    options = parser.parse_args(arguments)
    forecaster = load_bundle(default_bundle())
    games = load_games(options.data, range(SEASONS[0] - 1, SEASONS[-1] + 1))
    start = RatingFilter.start(forecaster.rating_filter.settings)
    print_usual(games, start)
    print(f"\n{'known until':>17} {'finals':>6} {'n':>6}   80 %: served      tables   95 %: served      tables")
    for name, years, until, numbers in SCENARIOS:
        for finals in numbers:
            rows: list[list[float]] = []
            for season in TESTED:
                bundle = RatedSchedule.start(carry(start, games.select(games.season <= season - years))[1])
                tested = games.of_seasons([season])
                for month in (2, 3):
                    cut = np.datetime64(f"{season}-0{month}-15")
                    ratings = bundle
                    for result in reported(tested, np.datetime64(f"{season - 1}-{until}"), cut, finals):
                        ratings = ratings.after(result)
                    ahead = tested.select((tested.date >= cut) & (tested.date < cut + DAYS))
                    rows += intervals(forecaster, ratings, ahead)
            cells = "  ".join(f"{share:5.1f} {width:6.2f}" for share, width in np.mean(rows, axis=0).reshape(-1, 2))
            print(f"{name:>17} {finals:>6} {len(rows):>6}   {cells}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
