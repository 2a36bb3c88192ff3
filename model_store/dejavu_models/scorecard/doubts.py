"""Games of a record that may not be what they are recorded as: the server has no schedule to compare them with."""

from __future__ import annotations

import numpy as np

from dejavu_models.scorecard.settled import SettledForecasts


def doubtful_games(settled: SettledForecasts) -> int:
    """Returns the number of games of doubtful identity.

    These are games with an id such as the NBA gives to none; with forecasts that name different teams, or the same ones
    the other way round, among themselves or than the outcome; and those whose two teams play another game on the same
    evening. Neither late forecasts nor replays count: those of past games are all made on one day.
    """
    counted = settled.in_time & ~settled.replay
    named = settled.where(counted & (settled.home > 0) & (settled.away > 0))
    doubtful = set(settled.game[counted & (settled.other_teams | ~settled.in_league)].tolist())
    teams = np.unique(np.stack((named.game, named.home, named.away), axis=1), axis=0)[:, 0]
    doubtful.update(teams[1:][teams[1:] == teams[:-1]].tolist())
    pair = np.sort(np.stack((named.home, named.away), axis=1), axis=1)
    played = np.unique(np.column_stack((named.day, pair, named.game)), axis=0)
    again = (played[1:, :3] == played[:-1, :3]).all(axis=1)
    doubtful.update(played[1:, 3][again].tolist(), played[:-1, 3][again].tolist())
    return len(doubtful)
