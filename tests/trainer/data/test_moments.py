"""States of a game after each play before the half, before the end and in overtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dejavu_feed.events import Event, EventKind, with_possession
from dejavu_feed.pattern import Score, period_of
from dejavu_trainer.data.moments import COLUMNS, moments_of

SHOT, FOUL, FREE_THROW, REBOUND = EventKind.SHOT, EventKind.FOUL, EventKind.FREE_THROW, EventKind.REBOUND


def event(elapsed: float, score: tuple[int, int], kind: EventKind, team: str, **fields: Any) -> Event:
    return Event(period_of(elapsed), elapsed, 0, kind, team, *score, **fields)


EVENTS = with_possession(
    [
        event(1290.0, (40, 40), SHOT, "BOS", made=False),
        event(1300.0, (40, 40), REBOUND, "LAL"),
        event(1440.0, (40, 40), SHOT, "LAL", made=False),
        event(2860.0, (90, 90), REBOUND, "LAL"),
        event(2860.0, (90, 90), EventKind.TIMEOUT, "LAL"),
        event(2870.5, (90, 90), FOUL, "LAL", detail="shooting"),
        event(2870.5, (91, 90), FREE_THROW, "BOS", made=True, attempt=1, attempts=2),
        event(2870.5, (91, 90), FREE_THROW, "BOS", made=False, attempt=2, attempts=2),
        event(2875.0, (91, 90), FOUL, "BOS", detail="technical", attempts=1),
        event(2875.0, (91, 91), FREE_THROW, "LAL", made=True, attempt=1, attempts=1, detail="technical"),
        event(2876.0, (91, 91), REBOUND, "LAL"),
        event(2880.0, (91, 91), SHOT, "LAL", made=False),
        event(2890.0, (91, 93), SHOT, "LAL", made=True),
    ],
    ("BOS", "LAL"),
)
SCORES = [Score(100, 2, 0), Score(1300, 40, 40), Score(2860, 90, 90), Score(2870.5, 91, 90), Score(2890, 91, 93)]


def test_a_state_has_score_ball_and_free_throws_after_each_play_that_changes_it() -> None:
    assert moments_of(SCORES, EVENTS, "BOS").tolist() == [
        [1290, 0, 80, 1, 1, 0],
        [1300, 0, 80, -1, 0, 0],  # then the half ends
        [2860, 0, 180, -1, 0, 0],
        [2870.5, 0, 180, 1, 0, 2],
        [2870.5, 1, 181, 1, 0, 1],
        [2870.5, 1, 181, 1, 1, 0],  # after the technical foul it is not known who shoots how often
        [2876, 0, 182, -1, 0, 0],
        [2890, -2, 184, 1, 0, 0],  # overtime
    ]


@pytest.mark.parametrize(
    ("scores", "events", "rows"),
    [
        (SCORES, [], 4),
        (SCORES[::-1], EVENTS, 0),  # a clock that runs backwards
        (SCORES, EVENTS[::-1], 4),
        ([*SCORES, Score(2900, 91, 95)], EVENTS, 5),  # another game
    ],
)
def test_without_events_of_the_same_game_the_scores_are_known_alone(
    scores: list[Score], events: Sequence[Event], rows: int
) -> None:
    found = moments_of(scores, events, "BOS")
    assert len(found) == rows
    assert not found[:, COLUMNS.index("side")].any()
