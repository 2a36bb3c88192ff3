"""Games whose record may be wrong: of doubtful identity, with impossible times, or with contradictory forecasts."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.scorecard.settled import Exclusion, SettledForecasts

FEED_LAG_SECONDS: Final = 300
"""Longest usual delay between a minute of play and its appearance in a feed, in seconds."""

MAX_CORRECTION: Final = 6
"""Largest later correction of a differential in feeds, in points. Forecasts whose leads differ by more describe
different games."""

MAX_MINUTE_SWING: Final = 18
"""Maximum change of a lead within a minute, in points; exceeded in two games in eleven seasons."""

MAX_LINEUP_SWING: Final = 8
"""Maximum difference between the effects of missing players on the expected margin within a game, in points; in 12,325
games of 2015 to 2024 it was at most 7.3."""

_MANY_TEAMS: Final = 64
"""Exclusive upper bound of the integers that identify teams, so that one integer identifies a pair of them."""

_ABSENT: Final = 1e9
"""Stands for a pregame input that a request did not have; no input has this value."""

_SECOND_US: Final = 1_000_000

_LONGEST_SECONDS: Final = 1_000_000
"""A time longer than any game, in seconds; multiplied by the number of games, it still fits in an int64."""


def doubtful_games(settled: SettledForecasts) -> int:
    """Return the number of doubtful games.

    These are games, except replays,

    - with an id of a form that the NBA never assigns;
    - whose forecasts name no teams, or disagree about the teams or their sides with each other or with the outcome; or
      with a team that has another game on the same evening;
    - whose forecasts and outcome follow each other faster than play: they may all have been made after the game;
    - whose outcome is further from a lead than the remaining minutes allow;
    - with a forecast of an overtime that it did not have;
    - with an outcome that was reported and withdrawn before the first forecast;
    - whose forecasts, corrected ones with a bet included, contradict each other in the lead or in the points of both
      teams, which never fall, or have more points than the outcome: the caller may have chosen inputs that weaken a
      reference, such as persistence;
    - whose forecasts differ in a pregame input (pregame margin, pregame total, neutral site), or only some have it: the
      caller may have chosen, minute by minute, the forecast that the next minutes confirmed;
    - whose forecasts, corrected ones included, have line-ups with effects more than MAX_LINEUP_SWING apart;
    - with forecasts made after the observed time of the outcome, or with both timely forecasts and some made after the
      evening: somebody else may have reported that time, or recorded the timely forecasts.

    Apart from that, late forecasts are ignored: forecasts of past games are all made on one day.
    """
    kept, real = settled.where(settled.in_time & ~settled.replay), settled.where(~settled.replay)
    games, first, place = np.unique(kept.game, return_index=True, return_inverse=True)
    teams = kept.home.astype(np.int64), kept.away.astype(np.int64)
    wrong = kept.other_teams | ~kept.in_league | kept.outcome_doubtful | (kept.home == 0) | (kept.away == 0)
    wrong |= _faster_than_play(kept.elapsed_s, kept.made_us, first, place)
    # A correction contradicts what it corrects, but a bet on that counts; of a withdrawn game neither does.
    bets = (kept.exclusion == Exclusion.SUPERSEDED) & (kept.markets != np.array(None))
    counted = (kept.exclusion == Exclusion.NONE) | bets
    told, of = kept.where(counted), place[counted]
    doubtful = [
        place[wrong],
        _of_spread(_MANY_TEAMS * teams[0] + teams[1], place, 0),
        _of_spread(kept.day.astype(np.float64), place, 0),
        _of_busy_teams(kept.day, teams, place, len(games)),
        *(_of_spread(np.nan_to_num(each, nan=_ABSENT), of, 0) for each in (told.margin, told.pregame_total)),
        _of_spread(np.nan_to_num(told.neutral_site, nan=_ABSENT), of, 0),
        _of_spread(kept.missing_players, place, MAX_LINEUP_SWING),
        _of_two_stories(told.persistence_error, told.elapsed_s, of),
        of[contradictory_points(told.total_points, told.elapsed_s, of)],
    ]
    late = real.game[real.exclusion == Exclusion.GAME_DATE]
    observed = real.game[real.exclusion == Exclusion.OBSERVED]
    return len(np.unique(np.concatenate((games[np.concatenate(doubtful)], np.intersect1d(late, games), observed))))


def _of_spread(values: Floats | NDArray[np.int64], place: NDArray[np.int64], most: float) -> NDArray[np.int64]:
    """Return the indices of games whose values, except NaN, are more than `most` apart."""
    least, largest = np.full((2, int(place.max(initial=-1)) + 1), np.nan)
    np.fmin.at(least, place, values)
    np.fmax.at(largest, place, values)
    return np.flatnonzero(largest - least > most)


def _of_busy_teams(
    day: NDArray[np.int32], teams: tuple[NDArray[np.int64], ...], place: NDArray[np.int64], games: int
) -> NDArray[np.int64]:
    """Return the indices of games with a team that has several games on one day."""
    evenings = [(_MANY_TEAMS * day.astype(np.int64) + team)[team > 0] * games + place[team > 0] for team in teams]
    played = np.unique(np.concatenate(evenings))
    again = np.flatnonzero(played[1:] // games == played[:-1] // games) if games else np.zeros(0, dtype=np.int64)
    return np.concatenate((played[again], played[again + 1])) % max(games, 1)


def _of_two_stories(persistence_error: Floats, elapsed_s: Floats, place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of games with implausibly different leads in one second, one minute or consecutive ones."""
    order = np.lexsort((persistence_error, elapsed_s, place))
    if not len(order):
        return order
    # The errors of a game share one outcome, so they differ exactly as the leads do.
    place, elapsed, error = place[order], elapsed_s[order], persistence_error[order]
    begins = np.flatnonzero(np.append(True, (np.diff(place) != 0) | (np.diff(elapsed) != 0)))
    least, most = error[begins], error[np.append(begins[1:], len(order)) - 1]
    wide = np.flatnonzero(most - least > MAX_CORRECTION)
    swing = np.maximum(most[1:] - least[:-1], most[:-1] - least[1:]) - MAX_MINUTE_SWING * np.ceil(
        np.diff(elapsed[begins]) / 60.0
    )
    far = np.flatnonzero((swing > MAX_CORRECTION) & (np.diff(place[begins]) == 0))
    minute = np.ceil(elapsed / 60.0)  # that was played: otherwise a lead could change with every moment of it
    starts = np.flatnonzero(np.append(True, (np.diff(place) != 0) | (np.diff(minute) != 0)))
    swings = np.maximum.reduceat(error, starts) - np.minimum.reduceat(error, starts)
    within = place[starts][swings > MAX_CORRECTION + MAX_MINUTE_SWING]
    return np.concatenate((place[begins][np.concatenate((wide, far))], within))


def contradictory_points(
    points: Floats, time: Floats | NDArray[np.int64], place: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which of n points of both teams contradict others of their game, since points never fall.

    If earlier points exceed later ones by more than MAX_CORRECTION, at least one of them is wrong: both are returned.

    Args:
        points: (n,); NaN where they are not known.
        time: (n,), minute or second of play at which they were known.
        place: (n,), integer ids of the games.
    """
    contradictory = np.zeros(len(points), dtype=np.bool_)
    known = np.flatnonzero(~np.isnan(points))
    if not len(known):
        return contradictory
    # The offset puts the values of a game above those of all games before it, whatever the points are.
    _, game = np.unique(place[known], return_inverse=True)
    values = points[known] + 2.0 * (1.0 + points[known].max()) * game
    rising = np.lexsort((-values, time[known], game))  # most points at a time first, to see fewer ones as a fall
    highest = np.maximum.accumulate(values[rising])
    falling = rising[::-1]
    lowest = np.minimum.accumulate(values[falling])
    contradictory[known[rising]] |= highest - values[rising] > MAX_CORRECTION
    contradictory[known[falling]] |= values[falling] - lowest > MAX_CORRECTION
    return contradictory


def _faster_than_play(
    elapsed_s: Floats, made_us: NDArray[np.int64], first: NDArray[np.int64], place: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which forecasts were made sooner after an earlier forecast of their game than play allows."""
    ahead = (np.rint(elapsed_s * _SECOND_US).astype(np.int64) - made_us) // _SECOND_US
    ahead = np.clip(ahead - ahead[first][place], -_LONGEST_SECONDS, _LONGEST_SECONDS) - 4 * _LONGEST_SECONDS * place
    order = np.lexsort((elapsed_s, made_us, place))
    # Running minimum within each game: the offset puts a game's values below those of all games before it.
    fast = np.zeros(len(order), dtype=np.bool_)
    fast[order] = ahead[order] - np.minimum.accumulate(ahead[order]) > FEED_LAG_SECONDS
    return fast
