"""Ledgers of any size: evenings of games with forecasts of every minute, recorded by the ledger's own code.

Some template games are made once; every game is a copy of one of these with another id and day. A hundred thousand
forecasts take some 20 seconds.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path
from statistics import NormalDist

from tests.support.builders.record_book import forecast, with_market

from dejavu_common.clock import game_day
from dejavu_feed.teams import TEAMS
from dejavu_ledger import Ledger
from dejavu_ledger.records import IssuedForecast, ReportedOutcome
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.types import DISTRIBUTION_LEVELS, MAX_SLOTS, Horizon, Interval

GAMES_AN_EVENING = 8

FIRST_EVENING = datetime(2016, 10, 26, 0, 30, tzinfo=UTC)

_TEMPLATE_GAMES = 30  # every team plays once at home and once away
_REVISED_MINUTES = {9, 29}  # minutes with a corrected play
_MARKET_MINUTE = 18


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled ledger.

    Attributes:
        url: its URL.
        forecasts: number of forecasts.
        evenings: number of evenings; the games of the last one have no outcomes yet.
    """

    url: str
    forecasts: int
    evenings: int

    @property
    def games(self) -> int:
        """Number of games; `game` returns their ids."""
        return self.evenings * GAMES_AN_EVENING


def game(number: int) -> str:
    """Return the id of the game with a number, from 0 on."""
    return f"002{number:07d}"


def day(evening: int) -> int:
    """Return the day of an evening, as `date.toordinal()`."""
    return game_day(FIRST_EVENING + timedelta(days=evening)).toordinal()


def fill(path: Path, forecasts: int) -> Filled:
    """Create a ledger of at least `forecasts` forecasts, in whole evenings."""
    return asyncio.run(_fill(f"sqlite:///{path}", forecasts))


async def _fill(url: str, forecasts: int) -> Filled:
    ledger = await Ledger.open(url)
    evening, filled = 0, 0
    try:
        while filled < forecasts or evening < 2:
            if evening:
                await _settle(ledger, evening - 1)
            made = _evening(evening)
            await ledger.commit(made)
            evening, filled = evening + 1, filled + len(made)
    finally:
        await ledger.close()
    return Filled(url, filled, evening)


def _evening(evening: int) -> list[IssuedForecast]:
    """Return the forecasts of all games of an evening, ordered by minute."""
    start = FIRST_EVENING + timedelta(days=evening)
    made = []
    for number in range(evening * GAMES_AN_EVENING, (evening + 1) * GAMES_AN_EVENING):
        for each in template_game(number % _TEMPLATE_GAMES):
            time = start + timedelta(minutes=2.5 * each.forecast.elapsed_minutes)
            until = time + timedelta(minutes=5)
            made.append(replace(each, game_id=game(number), generated_time=time, expires_time=until))
    return sorted(made, key=lambda each: each.forecast.elapsed_minutes)


async def _settle(ledger: Ledger, evening: int) -> None:
    """Record the outcomes of the games of an evening."""
    seen = FIRST_EVENING + timedelta(days=evening, hours=3)
    for number in range(evening * GAMES_AN_EVENING, (evening + 1) * GAMES_AN_EVENING):
        last = template_game(number % _TEMPLATE_GAMES)[-1]
        for horizon in Horizon:
            differential = _scores(number % _TEMPLATE_GAMES)[horizon.minutes - 1] or 1
            teams = last.home_team, last.away_team
            await ledger.record_outcome(ReportedOutcome(game(number), horizon, round(differential), *teams, seen, seen))


@cache
def _scores(number: int) -> Sequence[float]:
    """Return the differentials of a template game after each of its 48 minutes."""
    rng = random.Random(number)
    return list(accumulate(rng.choice((-3.0, -2.0, 0.0, 0.0, 2.0, 3.0)) for _ in range(48)))


@cache
def template_game(number: int) -> list[IssuedForecast]:
    """Return all forecasts of a template game, in order, by a model that takes the lead for a random walk."""
    teams = sorted(TEAMS)
    home, away = teams[2 * number % len(teams)], teams[(2 * number + 1) % len(teams)]
    if number >= len(teams) // 2:
        home, away = away, home
    made = []
    for minute in range(1, MAX_SLOTS + 1):
        for horizon in Horizon:
            if minute > horizon.last_slot:
                continue
            known = list(_scores(number)[:minute])
            if minute in _REVISED_MINUTES:
                made.append(_forecast([*known[:-1], known[-1] + 1.0], horizon, home, away))
            each = _forecast(known, horizon, home, away)
            made.append(with_market(each) if minute == _MARKET_MINUTE and horizon is Horizon.FINAL else each)
    return made


def _forecast(known: list[float], horizon: Horizon, home: str, away: str) -> IssuedForecast:
    """Return the forecast of a random walk from the last lead."""
    walk = NormalDist(known[-1], 2.7 * math.sqrt(horizon.minutes - len(known)))
    made = forecast(
        game(0),
        minute=len(known),
        horizon=horizon,
        point=walk.mean,
        probability=min(max(1.0 - walk.cdf(0.0), 0.001), 0.999),
        home_team=home,
        away_team=away,
    )
    answer = replace(
        made.forecast,
        interval=Interval(walk.inv_cdf(0.025), walk.inv_cdf(0.975)),
        distribution=tuple(round(walk.inv_cdf(level), 3) for level in DISTRIBUTION_LEVELS),
    )
    return replace(made, pattern=ScorePattern(tuple(known)), forecast=answer)
