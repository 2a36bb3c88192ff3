"""Schedule of the games of a table, each from the games before it, and their terms, which equal those of a server."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dejavu_feed.game_ids import PLAYOFF_PHASES
from dejavu_models.arrays import Floats
from dejavu_models.schedule import (
    GameSchedule,
    GameTerms,
    ScheduleHistory,
    TeamSchedule,
    TotalTerms,
    game_terms,
    total_terms,
)
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
    """Return the schedule of each game, from the games of the table on earlier days."""
    schedules = _schedules(games)
    teams = np.array([(each.home, each.away) for each in schedules], dtype=np.float64)  # None becomes NaN
    altitude = np.array([each.altitude for each in schedules], dtype=np.float64)
    columns = dict(zip(TeamSchedule._fields, np.moveaxis(teams.reshape(len(games), 2, -1), 2, 0), strict=True))
    return ScheduleTerms(**columns, altitude=altitude)


def margin_terms(games: Games) -> list[GameTerms]:
    """Return the terms by which the schedule and the phase of each game enter its expected margin.

    Args:
        games: games, from the first of each season on: missing ones count as not played.
    """
    columns = zip(_schedules(games), games.home.tolist(), games.phase.tolist(), strict=True)
    return [game_terms(schedule, home, is_playoffs=phase in PLAYOFF_PHASES) for schedule, home, phase in columns]


def totals_terms(games: Games) -> list[TotalTerms]:
    """Return the terms by which schedule and phase of each game enter its expected total; see `margin_terms`."""
    columns = zip(_schedules(games), games.home.tolist(), games.phase.tolist(), strict=True)
    return [total_terms(schedule, home, is_playoffs=phase in PLAYOFF_PHASES) for schedule, home, phase in columns]


def _schedules(games: Games) -> list[GameSchedule]:
    history, schedules = ScheduleHistory(), list[GameSchedule]()
    columns = (games.date.tolist(), games.home.tolist(), games.away.tolist(), games.neutral)
    for day, home, away, neutral in zip(*columns, strict=True):
        schedules.append(history.before(day, home, away, neutral_site=neutral))
        history = history.after(day, home, away)
    return schedules
