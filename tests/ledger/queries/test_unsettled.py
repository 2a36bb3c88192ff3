"""Unreported games are shown on every scorecard that would have contained them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.record_book import EVENING, RecordBook, forecast, new_book

from dejavu_common.clock import day_bounds, game_day
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.queries.unsettled import UnsettledGame, unsettled_games
from dejavu_models.types import Horizon

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
FIRST, SECOND, REPLAY = "0022500001", "0022500002", "9900000007"
OVER = day_bounds(EVENING)[1]
DAY = game_day(EVENING).toordinal()


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RecordBook]:
    with new_book(tmp_path) as made:
        yield made


def unsettled(book: RecordBook, before: datetime = OVER, **conditions: Any) -> list[tuple[str, str]]:
    wanted = ScoreFilter(**{"horizon": FINAL, **conditions})
    found: list[UnsettledGame] = book.read(partial(unsettled_games, filter_=wanted, before=before))
    return sorted((each.game_id, each.model_version) for each in found)


def test_a_game_is_unsettled_until_its_outcome_is_reported_at_the_horizon(book: RecordBook) -> None:
    for horizon in Horizon:
        book.predict(*(forecast(game, horizon=horizon) for game in (FIRST, SECOND)))
    assert unsettled(book) == unsettled(book, horizon=HALF) == [(FIRST, "v1"), (SECOND, "v1")]
    book.report(FIRST, HALF, 3)
    book.report(SECOND, FINAL, -20)
    assert (unsettled(book, horizon=HALF), unsettled(book)) == ([(SECOND, "v1")], [(FIRST, "v1")])
    book.withdraw(SECOND, FINAL)
    assert unsettled(book) == [(FIRST, "v1")], "a game that was withdrawn shows as that"


def test_what_was_withdrawn_before_the_first_forecast_settles_nothing(book: RecordBook) -> None:
    """Otherwise a caller could prepare a game so that it appears nowhere if its forecasts are bad."""
    book.report(FIRST, FINAL, 3)
    book.withdraw(FIRST, FINAL)
    book.predict(forecast(FIRST, horizon=FINAL))
    assert unsettled(book) == [(FIRST, "v1")]


def test_games_of_this_evening_and_late_forecasts_make_none(book: RecordBook) -> None:
    book.predict(forecast(FIRST, minute=40, horizon=HALF, model_version="v1"))
    book.predict(forecast(FIRST, minute=20, horizon=FINAL, model_version="late"))
    book.predict(forecast(SECOND, horizon=FINAL, generated_time=OVER))
    assert unsettled(book) == []
    assert unsettled(book, OVER + timedelta(days=1)) == [(SECOND, "v1")]


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, [FIRST, SECOND]),
        ({"replays": True}, [FIRST, SECOND, REPLAY]),
        ({"game_id": REPLAY}, [REPLAY]),
        ({"team": "LAL"}, [SECOND]),
        ({"model_version": "v2"}, [SECOND]),
        ({"min_minutes": 19}, [SECOND]),
        ({"max_minutes": 18}, [FIRST]),
        ({"min_confidence": 0.8}, [FIRST]),
        ({"first_day": DAY + 1}, [SECOND]),
        ({"last_day": DAY}, [FIRST]),
    ],
    ids=str,
)
def test_it_has_to_match_the_filter_of_the_card(book: RecordBook, conditions: dict[str, Any], found: list[str]) -> None:
    other: dict[str, Any] = {"home_team": "LAL", "away_team": "DEN", "model_version": "v2", "minute": 30}
    next_day = EVENING + timedelta(days=1)
    book.predict(
        forecast(FIRST, horizon=FINAL, probability=0.9),
        forecast(SECOND, horizon=FINAL, generated_time=next_day, **other),
        forecast(REPLAY, horizon=FINAL),
    )
    assert {game for game, _ in unsettled(book, OVER + timedelta(days=1), **conditions)} == set(found)
