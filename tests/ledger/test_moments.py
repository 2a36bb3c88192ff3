"""Recorded forecasts of moments: revisions of a second, late ones, scores by minute, and nothing learned from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.builders.evening_events import FINAL, GAME, lessons, reported, said, told
from tests.support.builders.record_book import RecordBook, forecast, new_book

from dejavu_feed.live_inputs import LiveInputs, Possession, Side
from dejavu_feed.moment import Moment
from dejavu_ledger import LedgerCorrupt, verify
from dejavu_ledger.queries import completed_games, current_forecasts, predictions
from dejavu_ledger.queries.current_forecasts import CurrentFilter
from dejavu_ledger.queries.predictions import UnknownGame
from dejavu_models.types import Horizon


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RecordBook]:
    with new_book(tmp_path) as made:
        yield made


def test_every_state_of_a_second_counts_and_is_corrected_by_itself(book: RecordBook, tmp_path: Path) -> None:
    home, away = (LiveInputs(possession=Possession(side)) for side in Side)
    foul = said(moment=Moment(4, 12.5, 1, 2), live=home)
    *made, of_minute = told(
        book,
        foul,
        foul,
        said(moment=Moment(4, 12.5, 2, 1), live=home),
        said(moment=Moment(4, 12.5, 1, 1), live=home),  # a correction
        said(moment=Moment(4, 12.5, 2), live=away),
        said(moment=Moment(4, 12.5, 2)),  # whose ball it is, is not known
        said(moment=Moment(4, 12.0, 2)),
        said(47),
    )
    assert made.pop(0) == made[0]
    assert [each.revision for each in (*made, of_minute)] == [0, 0, 1, 0, 1, 0, 0]
    game = book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL))
    assert game.latest.issued == made[-1]
    found = book.read(lambda connection: predictions.forecasts_at(connection, [each.sequence for each in made]))
    assert [each.superseded for each in found] == [False, True, False, True, False, False]
    assert found[0].issued.forecast.moment == Moment(4, 12.5, 1, 2)
    assert verify(f"sqlite:///{tmp_path / 'ledger.db'}").forecasts == 7


def test_a_minute_is_asked_for_without_its_moments(book: RecordBook) -> None:
    told(book, said(moment=Moment(4, 12.5, 1)))
    with pytest.raises(UnknownGame, match="47"):
        book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL, minute=47))
    minute, _ = told(book, said(47), said(moment=Moment(4, 10.0, 1)))
    game = book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL, minute=47))
    assert game.latest.issued == minute


def test_the_newest_second_of_a_game_is_current(book: RecordBook) -> None:
    earlier = said(moment=Moment(4, 12.5, 1), at=50 / 60)
    *_, last = told(book, said(47), earlier, said(moment=Moment(5, 200.0, 3), at=200 / 60))
    page = book.read(lambda connection: current_forecasts.page(connection, CurrentFilter(frozenset(), 0, 1000), 0, 10))
    assert page.forecasts == [last]


def test_nothing_is_learned_from_moments_and_their_inputs_are_not_those_of_a_minute(book: RecordBook) -> None:
    told(book, said(moment=Moment(4, 40.0, 3), live=LiveInputs(total_points=201)), reported(6))
    [lesson] = lessons(book)
    assert lesson.observations == ()
    [game] = book.read(lambda connection: list(completed_games.completed_games(connection)))
    assert isinstance(game, completed_games.CompletedGame)
    assert not game.live


@pytest.mark.parametrize(
    ("moment", "minute", "horizon", "fault"),
    [
        (Moment(4, 42.5, 3), 47, FINAL, ""),
        (Moment(4, 42.5, 3), 46, FINAL, "pattern is 46 slots; expected 47"),
        (Moment(5, 0.0, 3), 47, FINAL, "the end of the game"),
        (Moment(3, 600.0, 3), 23, Horizon.HALFTIME, "a moment of the first half"),
        (Moment(4, 42.5, 3, 5), 47, FINAL, "moment.free_throws is 5"),
    ],
)
def test_an_impossible_moment_is_no_sound_record(
    tmp_path: Path, moment: Moment, minute: int, horizon: Horizon, fault: str
) -> None:
    """A forecast of the half after the half, for example, would be one with hindsight."""
    with new_book(tmp_path) as book:
        made = forecast(GAME, minute=minute, horizon=horizon)  # the minute need not be that of the moment
        book.predict(replace(made, forecast=replace(made.forecast, moment=moment)))
    if not fault:
        assert verify(f"sqlite:///{tmp_path / 'ledger.db'}").forecasts == 1
        return
    with pytest.raises(LedgerCorrupt, match=fault):
        verify(f"sqlite:///{tmp_path / 'ledger.db'}")
