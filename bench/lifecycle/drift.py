"""Measures the true and false alarms of the drift check of `dejavu-trainer retrain` on real seasons.

    python -m bench.lifecycle.drift --data DIR

Runs the check as `retrain --watch` does, after each day of a season from its 100th game on: the check compares the
games of the season so far with the two seasons before. Prints:

- Alarms of real seasons: the share of days with an alarm, and the first such day.
- Known breaks (--break DATE), checked once: the games from that day to the end of the season are compared with the
  earlier games of that season and of the season before.
- Nothing changed: the games of the season and of the two before are shuffled, so every alarm is a false one.
- A known change: the same, but the scoring of the season is shifted by a number of standard deviations. After 400 new
  games a model is due anyway, so only an alarm before then counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_trainer.data.games import Games, load_games, parse_seasons
from dejavu_trainer.retraining.drift import MIN_GAMES, Drift, GameValues, compare
from dejavu_trainer.retraining.triggers import NEW_GAMES

BEFORE: Final = 2
"""Number of earlier seasons that a season is compared with."""

BUBBLE: Final = "2020-07-30"
"""First day of the 2020 "bubble": all games at one site, without spectators."""

SHIFTS: Final = (0.2, 0.3, 0.4, 0.5)
"""Changes of scoring, in standard deviations of a game."""


@dataclass(frozen=True)
class Season:
    """A season, day by day, and the seasons that it is compared with.

    Attributes:
        name: the year in which it ends.
        before: values of the seasons before.
        now: values of the season, in order.
        days: its days.
        through: for each day, the number of games up to its end.
    """

    name: int
    before: GameValues
    now: GameValues
    days: NDArray[np.datetime64]
    through: NDArray[np.intp]

    @classmethod
    def of(cls, games: Games, name: int) -> Season:
        """Return a season of games."""
        now = games.of_seasons([name])
        days = np.unique(now.date)
        before = GameValues.of(games.of_seasons(range(name - BEFORE, name)))
        return cls(name, before, GameValues.of(now), days, np.searchsorted(now.date, days, side="right"))

    def alarms(self, most: int | None = None) -> Iterator[tuple[str, int, list[Drift]]]:
        """Yield (day, games so far, alarms) of each day with at least MIN_GAMES and fewer than `most` games so far."""
        for day, games in zip(self.days, self.through.tolist(), strict=True):
            if games >= MIN_GAMES and (most is None or games < most):
                found = compare(self.before, selected(self.now, slice(games)))
                yield str(day), games, [each for each in found if each.alarm]

    def any_alarm(self, most: int | None = None) -> bool:
        """Return whether there is an alarm on any day."""
        return any(alarms for _, _, alarms in self.alarms(most))

    def shuffled(self, random: np.random.Generator) -> Season:
        """Return the season with games drawn from it and those before, without replacement."""
        both = {
            field.name: np.concatenate([getattr(self.before, field.name), getattr(self.now, field.name)])
            for field in fields(GameValues)
        }
        order = random.permutation(len(self.before) + len(self.now))
        pool = selected(GameValues(**both), order)
        middle = len(self.before)
        return replace(self, before=selected(pool, slice(middle)), now=selected(pool, slice(middle, None)))

    def shifted(self, deviations: float) -> Season:
        """Return the season with its scoring changed by some standard deviations."""
        scoring = self.now.scoring + deviations * self.before.scoring.std()
        return replace(self, now=replace(self.now, scoring=scoring))


def selected(values: GameValues, which: slice | NDArray[np.intp]) -> GameValues:
    """Select games."""
    return GameValues(*(getattr(values, field.name)[which] for field in fields(GameValues)))


def real_row(season: Season) -> str:
    """Describe the alarms of a season as it was played."""
    looks = list(season.alarms())
    days = sum(bool(alarms) for _, _, alarms in looks)
    text = f"{season.name}   {days:3} of {len(looks)} days"
    first = next((look for look in looks if look[2]), None)
    if first is None:
        return text
    return f"{text}, first {first[0]} after {first[1]} games: {first[2][0]}"


def share(seasons: Sequence[Season], shuffles: int, alarmed: Callable[[Season], bool], seed: int) -> tuple[int, int]:
    """Return the number of shuffled seasons for which a function is true, and the number of all."""
    random = np.random.default_rng(seed)
    results = [alarmed(season.shuffled(random)) for _ in range(shuffles) for season in seasons]
    return sum(results), len(results)


def break_row(games: Games, day: date) -> str:
    """Compare the games of a season from a day on with the earlier games of it and of the season before."""
    season = int(games.season[games.date >= np.datetime64(day)][0])
    near = games.of_seasons([season - 1, season])
    later = near.date >= np.datetime64(day)
    before, after = near.select(~later), near.select(later)
    found = compare(GameValues.of(before), GameValues.of(after))
    largest = max(found, key=lambda each: abs(each.effect))
    alarms = [str(each) for each in found if each.alarm]
    return f"{day}  {len(after)} games, {'; '.join(alarms) or f'no alarm; largest: {largest}'}"


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    parser = argparse.ArgumentParser(description="measures the drift check of retrain on real seasons")
    parser.add_argument("--data", type=Path, required=True, help="folder with plays_{season}.parquet")
    parser.add_argument("--seasons", default="2015-2023", help="the seasons to read")
    parser.add_argument("--shuffles", type=int, default=50, help="shuffles of each season")
    parser.add_argument("--seed", type=int, default=1, help="seed of the shuffles")
    parser.add_argument("--break", dest="breaks", type=date.fromisoformat, action="append", help="day of a known break")
    options = parser.parse_args(arguments)
    names = parse_seasons(options.seasons)
    games = load_games(options.data, names)
    seasons = [Season.of(games, name) for name in sorted(names)[BEFORE:]]
    show("alarms of real seasons")
    for season in seasons:
        show(f"  {real_row(season)}")
    show("known breaks")
    for day in options.breaks or [date.fromisoformat(BUBBLE)]:
        show(f"  {break_row(games, day)}")
    false, tried = share(seasons, options.shuffles, Season.any_alarm, options.seed)
    show(f"nothing changed: an alarm on any day of {false} of {tried} seasons ({100 * false / tried:.1f} %)")
    for deviations in SHIFTS:

        def found(season: Season, deviations: float = deviations) -> bool:
            return season.shifted(deviations).any_alarm(NEW_GAMES)

        alarms, tried = share(seasons, options.shuffles, found, options.seed)
        show(
            f"scoring changed by {deviations:g} standard deviations: found before {NEW_GAMES} games in"
            f" {100 * alarms / tried:.0f} % of {tried} seasons"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
