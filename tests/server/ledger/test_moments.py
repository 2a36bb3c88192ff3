"""Recorded forecasts of moments: revisions of a second, late ones, scores by minute, and nothing learned from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.builders.record_book import EVENING, RecordBook, forecast, new_book

from dejavu_feed.live_inputs import LiveInputs, Possession, Side
from dejavu_feed.moment import Moment
from dejavu_models.scorecard import LeftOut, Scorecard, scorecard
from dejavu_models.types import Horizon
from dejavu_server.ledger import LedgerCorrupt, verify
from dejavu_server.ledger.database.recording_rules import DEFAULT_LIMITS
from dejavu_server.ledger.queries import completed_games, current_forecasts, learning, predictions, scorecards
from dejavu_server.ledger.queries.current_forecasts import CurrentFilter
from dejavu_server.ledger.queries.predictions import UnknownGame
from dejavu_server.ledger.queries.scorecards import ScoreFilter
from dejavu_server.records import IssuedForecast, LateReason

GAME = "0022500001"
FINAL = Horizon.FINAL


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RecordBook]:
    with new_book(tmp_path) as made:
        yield made


def said(
    book: RecordBook, moment: Moment, *, point: float = 4.0, after: float = 0.0, live: LiveInputs | None = None
) -> IssuedForecast:
    """Record a forecast at a moment, made seconds after the evening's start; return it as recorded."""
    made = forecast(
        GAME, minute=moment.slots, lead=float(moment.differential), horizon=FINAL, point=point,
        generated_time=EVENING + timedelta(seconds=after), live=live or LiveInputs(),
    )  # fmt: skip
    [stored] = book.predict(replace(made, forecast=replace(made.forecast, moment=moment)))
    assert isinstance(stored, IssuedForecast)
    return stored


def of_minute(book: RecordBook, minute: int, *, point: float = 4.0, after: float = 0.0) -> IssuedForecast:
    made = forecast(GAME, minute=minute, horizon=FINAL, point=point, generated_time=EVENING + timedelta(seconds=after))
    [stored] = book.predict(made)
    assert isinstance(stored, IssuedForecast)
    return stored


def card(book: RecordBook) -> Scorecard:
    return scorecard(book.read(lambda connection: scorecards.settled(connection, ScoreFilter(horizon=FINAL))).forecasts)


def test_every_state_of_a_second_counts_and_is_corrected_by_itself(book: RecordBook, tmp_path: Path) -> None:
    home = LiveInputs(possession=Possession(Side.HOME))
    foul = said(book, Moment(4, 12.5, 1, 2), live=home)
    assert said(book, Moment(4, 12.5, 1, 2), live=home) == foul
    made = said(book, Moment(4, 12.5, 2, 1), live=home)
    corrected = said(book, Moment(4, 12.5, 1, 1), live=home)
    over = said(book, Moment(4, 12.5, 2), live=LiveInputs(possession=Possession(Side.AWAY)))
    unknown = said(book, Moment(4, 12.5, 2))
    later = said(book, Moment(4, 12.0, 2))
    told = (foul, made, corrected, over, unknown, later)
    assert [each.revision for each in told] == [0, 0, 1, 0, 1, 0]
    assert of_minute(book, 47).revision == 0
    game = book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL))
    assert game.latest.issued == later
    found = book.read(lambda connection: predictions.forecasts_at(connection, [each.sequence for each in told]))
    assert [each.superseded for each in found] == [False, True, False, True, False, False]
    assert found[0].issued.forecast.moment == Moment(4, 12.5, 1, 2)
    assert verify(f"sqlite:///{tmp_path / 'ledger.db'}").forecasts == 7


def test_a_minute_is_asked_for_without_its_moments(book: RecordBook) -> None:
    said(book, Moment(4, 12.5, 1))
    with pytest.raises(UnknownGame, match="47"):
        book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL, minute=47))
    minute = of_minute(book, 47)
    said(book, Moment(4, 10.0, 1))
    game = book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL, minute=47))
    assert game.latest.issued == minute


def test_the_newest_second_of_a_game_is_current(book: RecordBook) -> None:
    of_minute(book, 47)
    said(book, Moment(4, 12.5, 1), after=50)
    last = said(book, Moment(5, 200.0, 3), after=200)
    page = book.read(lambda connection: current_forecasts.page(connection, CurrentFilter(frozenset(), 0, 1000), 0, 10))
    assert page.forecasts == [last]


@pytest.mark.parametrize(
    ("moment", "after", "late"),
    [
        (Moment(5, 299.0, 2), 0.0, None),  # 101 s of play before the newest
        (Moment(4, 1.0, 2), 0.0, None),
        (Moment(4, 30.0, 2), 0.0, LateReason.LATER_MINUTE),
        (Moment(5, 200.0, 2), 700.0, LateReason.TIME),
        (Moment(5, 198.0, 2), 500.0, None),
        (Moment(5, 198.0, 2), 700.0, LateReason.TIME),  # whoever knows what followed could still choose it
        (Moment(5, 139.0, 2), 700.0, None),
        (Moment(6, 299.0, 2), 700.0, None),  # after a break
    ],
)
def test_a_moment_is_late_by_seconds_of_play_and_by_the_clock(
    book: RecordBook, moment: Moment, after: float, late: LateReason | None
) -> None:
    assert DEFAULT_LIMITS.late_after == timedelta(seconds=600)
    of_minute(book, 47, after=-900)
    assert said(book, Moment(5, 199.0, 0)).late is None, "an overtime is later than minute 47"
    assert said(book, moment, after=after).late is late


def test_the_forecasts_of_a_minute_share_its_weight_and_an_overtime_has_five(book: RecordBook) -> None:
    of_minute(book, 46, point=8.0)
    for point, moment in (
        (11.0, Moment(4, 40.0, 3)),
        (13.0, Moment(4, 20.0, 3)),
        (9.0, Moment(5, 290.0, 3)),
        (7.0, Moment(5, 30.0, 3)),
    ):
        said(book, moment, point=point)
    book.report(GAME, FINAL, 6)
    found = card(book)
    assert (found.games, found.forecasts, found.left_out) == (1, 5, LeftOut())
    assert found.mae is not None
    # Minute 46, minute 47 with two moments, and the first and the last minute of the overtime.
    assert found.mae.value == pytest.approx((2 + (5 + 7) / 2 + 3 + 1) / 4)
    assert found.persistence_mae is not None
    assert found.persistence_mae.value == pytest.approx(3.0)


@pytest.mark.parametrize(("leads", "doubtful"), [((3, 6), 0), ((3, 20), 0), ((3, 30), 1), ((3, 20, 37), 1)])
def test_a_lead_that_no_minute_of_play_allows_makes_the_game_doubtful(
    book: RecordBook, leads: tuple[int, ...], doubtful: int
) -> None:
    for left, lead in zip((400.0, 370.0, 365.0), leads, strict=False):
        said(book, Moment(4, left, lead))
    book.report(GAME, FINAL, 6)
    assert card(book).doubtful_games == doubtful


@pytest.mark.parametrize(("overtimes", "doubtful"), [(None, 1), (0, 1), (1, 1), (2, 0), (6, 0), (7, 1)])
def test_an_overtime_that_the_game_did_not_have_makes_it_doubtful(
    book: RecordBook, overtimes: int | None, doubtful: int
) -> None:
    said(book, Moment(6, 100.0, 3))
    book.report(GAME, FINAL, 6, overtimes=overtimes)
    assert card(book).doubtful_games == doubtful


def test_nothing_is_learned_from_moments_and_their_inputs_are_not_those_of_a_minute(book: RecordBook) -> None:
    said(book, Moment(4, 40.0, 3), live=LiveInputs(total_points=201))
    book.report(GAME, FINAL, 6)
    [lesson] = book.read(lambda connection: list(learning.settled_games_after(connection, 0)))
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
        made = forecast(GAME, minute=minute, horizon=horizon)
        book.predict(replace(made, forecast=replace(made.forecast, moment=moment)))
    if not fault:
        assert verify(f"sqlite:///{tmp_path / 'ledger.db'}").forecasts == 1
        return
    with pytest.raises(LedgerCorrupt, match=fault):
        verify(f"sqlite:///{tmp_path / 'ledger.db'}")
