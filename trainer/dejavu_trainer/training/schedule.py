"""Schedule of the games of a table, each from the games before it; the terms are those of a server."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.schedule import GameSchedule, ScheduleHistory, TeamSchedule
from dejavu_trainer.data.games import Games


class ScheduleTerms(NamedTuple):
    """Schedule of n games; (n, 2) of the home and the away team, NaN where it is not known. See `TeamSchedule`.

    Attributes:
        rest_days: 0 to MAX_REST.
        is_back_to_back: 0 or 1.
        games_in_4_days, games_in_6_days: at least 1.
        road_games: 0 at home.
        time_zones: hours, positive to the east.
        altitude: (n,), metres.
    """

    rest_days: Floats
    is_back_to_back: Floats
    games_in_4_days: Floats
    games_in_6_days: Floats
    road_games: Floats
    time_zones: Floats
    altitude: Floats


def schedule_terms(games: Games) -> ScheduleTerms:
    """Returns the schedule of each game, from the games of the table on earlier days."""
    history, schedules = ScheduleHistory(), list[GameSchedule]()
    for day, home, away in zip(games.date.tolist(), games.home.tolist(), games.away.tolist(), strict=True):
        schedules.append(history.before(day, home, away))
        history = history.after(day, home, away)
    teams = np.array([(each.home, each.away) for each in schedules], dtype=np.float64)  # None becomes NaN
    altitude = np.array([each.altitude for each in schedules], dtype=np.float64)
    columns = dict(zip(TeamSchedule._fields, np.moveaxis(teams.reshape(len(games), 2, -1), 2, 0), strict=True))
    return ScheduleTerms(**columns, altitude=altitude)
