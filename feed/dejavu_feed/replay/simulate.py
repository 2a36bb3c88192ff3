"""Simulates plausible games, for replays without recorded games and for test seasons of the trainer.

Simulates each possession ("trip"): twos, threes, free throws, and-ones and empty trips at about the league's recent
rates. This gives 108 points per team, final margins with a standard deviation of 14 points, and increments from 6:00 of
the second quarter to the half with a standard deviation of 5.7 points, similar to real seasons. No parameter is fitted
to recorded games.
"""

from __future__ import annotations

import random
from typing import Final

from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_SECONDS, Score

_SHORTEST_TRIP: Final = 6.0
_LONGEST_TRIP: Final = 22.5
_TRIPS_A_TEAM: Final = 100.0
_POINTS_A_TRIP: Final = 1.08
_EASE: Final = 0.0035
"""Points per trip that a team loses for each point of its lead; without this effect, margins would spread too far."""
_EDGE_LEFT: Final = 0.82
"""Share of an edge that remains in the final margin after the effect above (measured on 3,000 games)."""

_TRIPS: Final = (
    # Points of each shot of a trip (each shot becomes a row), and probability of such a trip.
    ((2,), 0.325),
    ((3,), 0.125),
    ((1, 1), 0.070),
    ((1,), 0.040),
    ((2, 1), 0.020),
)
_AVERAGE: Final = sum(sum(points) * share for points, share in _TRIPS)
_WEIGHTS: Final = tuple(share for _, share in _TRIPS)


def _period(rng: random.Random, start: float, seconds: int, home: int, away: int, home_edge: float) -> list[Score]:
    """Simulate the scores of one period that starts at `start` game seconds with the score home–away."""
    scores: list[Score] = []
    end = start + seconds
    now = start
    home_has_ball = rng.random() < 0.5
    while True:
        now += rng.uniform(_SHORTEST_TRIP, _LONGEST_TRIP)
        if now >= end:
            return scores
        # The clock has whole seconds, and tenths in the last minute.
        elapsed = min(float(end), round(now, 1) if end - now < 60 else float(round(now)))
        shift = home_edge / (2 * _TRIPS_A_TEAM * _EDGE_LEFT) - _EASE * (home - away) / 2
        level = (_POINTS_A_TRIP + (shift if home_has_ball else -shift)) / _AVERAGE
        empty = 1 - level * sum(_WEIGHTS)
        (points,) = rng.choices(
            [(), *(points for points, _ in _TRIPS)], weights=[max(0.0, empty), *(level * w for w in _WEIGHTS)]
        )
        for shot in points:
            if home_has_ball:
                home += shot
            else:
                away += shot
            scores.append(Score(elapsed, home, away))
        home_has_ball = not home_has_ball


def simulate_game(rng: random.Random, *, home_edge: float = 0.0) -> list[Score]:
    """Simulate one game: every score change in chronological order, from 0–0 at tip-off. The game never ends tied.

    Args:
        rng: random number generator; the same state gives the same game.
        home_edge: expected final margin of the home team in points, within about ±25.

    Returns:
        Scores as in a file of recorded games: the first is `Score(0.0, 0, 0)`, free throws of a trip have the same
        time, and overtimes of 300 s follow while the game is tied.
    """
    scores = [Score(0.0, 0, 0)]
    start = 0
    while start < 4 * QUARTER_SECONDS or scores[-1].home == scores[-1].away:
        seconds = QUARTER_SECONDS if start < 4 * QUARTER_SECONDS else OVERTIME_SECONDS
        scores += _period(rng, start, seconds, scores[-1].home, scores[-1].away, home_edge)
        start += seconds
    return scores
