"""Games that may not be as recorded: of doubtful identity, or with times that no game has."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.scorecard.settled import Exclusion, SettledForecasts

FEED_LAG_SECONDS: Final = 300
"""Time by which a feed may be late, and later not."""

MAX_CORRECTION: Final = 6
"""Points by which feeds correct a differential afterwards. Forecasts that differ by more tell different games."""

MAX_MINUTE_SWING: Final = 18
"""Points by which a lead changes in a minute at most: in eleven seasons two games have one that changes by more."""

_MINUTE_US: Final = 60_000_000

_LONGEST_SECONDS: Final = 1_000_000
"""More than any game takes, less than the largest integer divided by the games of a ledger."""


def doubtful_games(settled: SettledForecasts) -> int:
    """Return the number of doubtful games.

    These are games, replays left out,

    - with an id such as the NBA gives to none;
    - with forecasts that name no teams, or different ones, or the same ones the other way round, among themselves or
      than the outcome; or with a team that has another game on the same evening;
    - whose forecasts and outcome follow each other faster than play: they may all have been made after the game;
    - whose forecasts contradict one another, in the lead or in the margin expected before the game: what is compared
      with them, such as persistence, is then what the caller chose;
    - whose outcome's time leaves out forecasts, and those with forecasts in time and others after their evening:
      somebody else may have told that time, or recorded the first forecasts.

    Otherwise late forecasts do not count: those of past games are all made on one day.
    """
    left_out = settled.where(~settled.replay)
    games = settled.where(settled.in_time & ~settled.replay)
    unnamed = (games.home == 0) | (games.away == 0)
    parts = (
        left_out.game[left_out.exclusion == Exclusion.OBSERVED],
        np.intersect1d(left_out.game[left_out.exclusion == Exclusion.GAME_DATE], games.game),
        games.game[games.other_teams | ~games.in_league | games.outcome_too_soon | unnamed],
        _of_many_teams(games),
        _of_teams_with_many_games(games.where(~unnamed)),
        games.game[_faster_than_play(games)],
        _of_two_stories(games.where(games.exclusion != Exclusion.SUPERSEDED)),
    )
    return len(np.unique(np.concatenate(parts)))


def _of_many_teams(games: SettledForecasts) -> NDArray[np.int64]:
    """Return the games that have different teams, or the same ones the other way round."""
    teams = np.unique(np.column_stack((games.game, games.home, games.away)), axis=0)[:, 0]
    again: NDArray[np.int64] = teams[1:][teams[1:] == teams[:-1]]
    return again


def _of_teams_with_many_games(games: SettledForecasts) -> NDArray[np.int64]:
    """Return the games of teams that have several on one day."""
    rows = [np.column_stack((games.day, team, games.game)) for team in (games.home, games.away)]
    played = np.unique(np.concatenate(rows), axis=0)
    again = (played[1:, :2] == played[:-1, :2]).all(axis=1)
    return np.concatenate((played[1:, 2][again], played[:-1, 2][again]))


def _of_two_stories(games: SettledForecasts) -> NDArray[np.int64]:
    """Return the games with leads that no game has one after another, or with several margins expected before them."""
    margins = np.unique(np.column_stack((games.game, games.margin))[~np.isnan(games.margin)], axis=0)[:, 0]
    order = np.lexsort((games.persistence_error, games.minute, games.game))
    game, minute, error = games.game[order], games.minute[order], games.persistence_error[order]
    swing = np.abs(np.diff(error)) - MAX_MINUTE_SWING * np.diff(minute)  # of one outcome: as that of the leads
    contradictory = (swing > MAX_CORRECTION) & (game[1:] == game[:-1])
    return np.concatenate((game[1:][contradictory], margins[1:][margins[1:] == margins[:-1]].astype(np.int64)))


def _faster_than_play(games: SettledForecasts) -> NDArray[np.bool_]:
    """Return which forecasts, in order of time, come sooner after an earlier one of the game than play allows."""
    order = np.lexsort((games.minute, games.made_us, games.game))
    ahead = (games.minute * _MINUTE_US - games.made_us)[order] // 1_000_000
    _, first, place = np.unique(games.game[order], return_index=True, return_inverse=True)
    # The least value so far within each game: every game's values are below those of the games before it.
    ahead = np.clip(ahead - ahead[first][place], -_LONGEST_SECONDS, _LONGEST_SECONDS) - 4 * _LONGEST_SECONDS * place
    fast = np.empty(len(order), dtype=np.bool_)
    fast[order] = ahead - np.minimum.accumulate(ahead) > FEED_LAG_SECONDS
    return fast
