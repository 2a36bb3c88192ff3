"""Late forecasts of a game are marked, and supersede nothing that was recorded in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.builders.evening_events import (
    FINAL,
    GAME,
    HALF,
    OTHER,
    Event,
    answer_of,
    card,
    figures,
    lessons,
    reported,
    said,
    told,
    withdrawn,
)
from tests.support.builders.record_book import EVENING, RecordBook, forecast, new_book, with_market

from dejavu_common.clock import game_day
from dejavu_feed.moment import Moment
from dejavu_ledger import verify
from dejavu_ledger.database import store
from dejavu_ledger.database.recording_rules import LATE_AFTER, LATE_MINUTES
from dejavu_ledger.errors import InvalidTime
from dejavu_ledger.queries import completed_games, current_forecasts, pages, predictions
from dejavu_ledger.queries.current_forecasts import CurrentFilter
from dejavu_ledger.queries.pages import ForecastFilter
from dejavu_ledger.records import IssuedForecast, LateReason, MarketRecording
from dejavu_models.betting import StakingPolicy
from dejavu_models.scorecard.cards import LeftOut
from dejavu_models.types import Horizon

MINUTES_LATE = LATE_AFTER // timedelta(minutes=1)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RecordBook]:
    with new_book(tmp_path) as made:
        yield made


LATER, TIME, REPORTED = LateReason.LATER_MINUTE, LateReason.TIME, LateReason.REPORTED
RECORDED, TOO_LATE = MarketRecording.RECORDED, MarketRecording.FORECAST_LATE
CAPS = StakingPolicy(game_cap=0.02, evening_cap=0.05)
LAL_DEN: dict[str, Any] = {"home_team": "LAL", "away_team": "DEN"}
OVERTIME = Moment(5, 199.0, 0)

CORRECTIONS: list[tuple[int, list[tuple[int, int | None] | None]]] = [
    (0, [(11, None)]),
    (0, [(11, None), (11, 201)]),  # added to
    (1, [(11, None), (4, None)]),
    (1, [(11, 201), (11, 203)]),
    (1, [(11, None), None, (4, None)]),
    (0, [(11, None), None, (11, None)]),
    (1, [(11, 201), None, (11, None)]),  # a total that is left out
    (0, [(11, None), None, (11, 201)]),
]
"""Whether a game is corrected, and its reports: differential and total, None for a withdrawal."""

GAMES: dict[str, tuple[list[Event], list[object], dict[str, object]]] = {
    "a minute of one horizon tells how far the game is for the other":
        ([said(23, horizon=HALF), said(6), said(24)], [None, LATER, None], {}),
    "a market that comes late is answered and no bet":
        ([said(6), said(9), said(6, market={}), said(5, market={}), reported(5)], [None, None, TOO_LATE, TOO_LATE],
         {"market": None, "left_out": LeftOut(later_minute=1)}),
    # Later ones could be chosen by how the game went on, each at a price that was right.
    **{f"a market {seconds} s after its forecast of minute {minute}":
        ([said(minute), said(minute, at=seconds / 60, market={})], [None, answer], {})
       for minute, seconds, answer in [(20, 60, RECORDED), (20, 61, TOO_LATE), (23, 61, TOO_LATE),
                                       (24, 600, RECORDED), (24, 601, TOO_LATE)]},
    "a bet stays in the record when its forecast is superseded":
        ([said(20, market={"stake": 0.05}), said(20, 4.0), reported(-7)], [RECORDED, None],
         {"market.bets": 1, "market.staked": 0.05, "market.profit": -0.05, "forecasts": 1,
          "left_out": LeftOut(superseded=1)}),
    "a forecast that came late has no bet when a later minute makes it timely again":
        ([said(20), said(20, 9.0, at=20), said(21, at=20), said(20, 9.0, at=20, market={})],
         [None, TIME, None, TOO_LATE], {}),
    # Also if its forecast is older: otherwise, filling the game's cap would cancel a bet that is being lost.
    "a market that is quoted later takes nothing from a bet that was placed":
        ([said(20), said(21, market={"stake": 0.02, "policy": CAPS}),
          said(20, at=50 / 60, market={"line": -30.5, "stake": 0.02, "policy": CAPS}), reported(-10)],
         [None, RECORDED, RECORDED],
         {"market.bets": 1, "market.markets": 2, "market.capped": 1, "market.profit": -0.02}),
    "what is made after a report is late for ever, whatever becomes of the report":
        ([said(47, 10.0, point=-4.0), reported(), withdrawn(), said(47, 10.5, point=11.0, at=1),
          said(20, 10.5, point=11.0, at=1), said(47, 10.0, point=-4.0, market={}), reported()],
         [None, REPORTED, REPORTED, TOO_LATE],
         {"left_out": LeftOut(reported=2), "mae.value": 15.0, "market": None, "forecasts": 1}),
    "a half that was withdrawn makes what it precedes late and nothing of later":
        ([said(19), reported(3, HALF), withdrawn(HALF), said(20), said(24)], [None, REPORTED, None], {}),
    "a report that follows a void one decides what was made with hindsight":
        ([reported(), withdrawn(), said(47), said(47, 10.0, at=5), reported(at=4)], [None, None],
         {"left_out": LeftOut(observed=1)}),
    "a game whose outcome was withdrawn is seen and counts nowhere":
        ([said(20, market={}), said(20, game_id=OTHER, market={}, **LAL_DEN), reported(),
          reported(-30, game_id=OTHER, teams=("LAL", "DEN")), withdrawn(game_id=OTHER)], [RECORDED, RECORDED],
         {"games": 1, "withdrawn_games": 1, "left_out": LeftOut(withdrawn=1), "market.markets": 1}),
    "no later report makes late what was in time":
        ([said(47), reported(), reported(-40, at=-30 * 1440), reported()], [None],
         {"left_out": LeftOut(), "mae.value": 7.0}),
    "what is said of the end from before the half after the half was observed is late":
        ([said(22, market={}), said(23, at=5, market={}), said(24, at=5, market={}), reported(11, HALF, at=4),
          reported()], [RECORDED] * 3,
         {"forecasts": 2, "left_out": LeftOut(observed=1, late_markets=1), "market.bets": 2}),
    # Nor does a wrong time zone: after 22 minutes 26 are left to play, and a forecast is 5 minutes late at most.
    **{f"an outcome of {at} minutes after the start leaves out no minutes that went badly":
        ([said(10, market={}), said(22, at=39, market={}), said(47, at=90, market={}), reported(at=at)], [RECORDED] * 3,
         {"forecasts": counted, "doubtful_games": int(counted < 3),
          "left_out": LeftOut(observed=3 - counted, late_markets=3 - counted)})
       for at, counted in [(60, 2), (-1, 0), (400, 3)]},
    # Otherwise a caller who may record, not report, could widen all intervals by patterns that no game has.
    **{f"nothing is learned from a minute that is told in two ways: {leads}":
        ([*(said(18, lead, alpha=0.05 + place / 1000) for place, lead in enumerate(leads)), reported(5)],
         [None] * len(leads), {"learned": [learned]})
       for leads, learned in [((3.0,), 1), ((3.0, 3.0), 1), ((90.0, 3.0), 0), ((3.0, 90.0), 0)]},
    **{f"a correction shows on the card: {reports}":
        ([said(20), *(withdrawn() if each is None else reported(each[0], total_points=each[1]) for each in reports)],
         [None], {"corrected_games": corrected})
       for corrected, reports in CORRECTIONS},
    "a total that was forecast and is not reported shows on the card":
        ([said(20, points=80), said(20, game_id=OTHER, points=80, **LAL_DEN), said(20, game_id="0022500003"),
          reported(total_points=201), reported(game_id=OTHER, teams=("LAL", "DEN")), reported(game_id="0022500003")],
         [None] * 3, {"total.games": 1, "unsettled_totals": 1}),
    # The bet on a superseded forecast counts: formerly, a lost one on the total vanished without a trace.
    "a total hides in no correction that leaves its points out":
        ([said(20, points=80), said(20, 5.0), reported()], [None, None],
         {"left_out.superseded": 1, "unsettled_totals": 1}),
    **{f"a moment is late by seconds of play and by the clock: {moment}":
        ([said(47, at=-15), said(moment=OVERTIME), said(moment=moment, at=seconds / 60)], [None, None, late], {})
       for moment, seconds, late in [
           (Moment(5, 299.0, 2), 0, None),  # 101 s of play before the newest
           (Moment(4, 1.0, 2), 0, None),
           (Moment(4, 30.0, 2), 0, LATER),
           (Moment(5, 200.0, 2), 700, TIME),
           (Moment(5, 198.0, 2), 500, None),
           (Moment(5, 198.0, 3), 700, TIME),  # whoever knows what followed could still choose it
           (Moment(5, 139.0, 2), 700, None),
           (Moment(6, 299.0, 2), 700, None),  # after a break
       ]},
    "the forecasts of a minute share its weight, and an overtime has five":
        ([said(46, point=8.0), said(moment=Moment(4, 40.0, 3), point=11.0), said(moment=Moment(4, 20.0, 3), point=13.0),
          said(moment=Moment(5, 290.0, 3), point=9.0), said(moment=Moment(5, 30.0, 3), point=7.0), reported(6)],
         [None] * 5,
         # Minute 46, minute 47 with two moments, and the first and the last minute of the overtime.
         {"games": 1, "forecasts": 5, "left_out": LeftOut(), "mae.value": (2 + (5 + 7) / 2 + 3 + 1) / 4,
          "persistence_mae.value": 3.0}),
}  # fmt: skip
"""What happens in a game → how its forecasts are answered (`answer_of`), and figures of the scorecard."""


@pytest.mark.parametrize(("events", "answers", "expected"), GAMES.values(), ids=GAMES)
def test_a_game_counts_by_what_was_said_while_it_could_not_be_known(
    book: RecordBook, tmp_path: Path, events: list[Event], answers: list[object], expected: dict[str, object]
) -> None:
    assert [answer_of(each) for each in told(book, *events)] == answers
    whole = {name: pytest.approx(value) if isinstance(value, float) else value for name, value in expected.items()}
    assert figures(book, *expected) == whole
    if RECORDED not in answers:  # with made-up probabilities
        verify(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.mark.parametrize("at", [29, 59], ids=["before the lost bet", "too early for what was left to play"])
def test_an_outcome_of_before_what_was_played_is_refused(book: RecordBook, at: int) -> None:
    told(book, said(10), said(22, at=39), said(47, at=90))
    expected = r"expected 20\d\d-.* or later: the game's forecast after minute (10|22) was made at"
    with pytest.raises(InvalidTime, match=expected):
        told(book, reported(at=at))


def test_a_late_revision_supersedes_nothing(book: RecordBook) -> None:
    standing, _, late = told(book, said(6), said(47, 10.0), said(6, 20.0))
    game = book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL, minute=6))
    assert (late.late, late.revision) == (LATER, 1)
    assert (game.latest.issued, game.latest.superseded) == (standing, False)
    assert [each.issued for each in game.revisions] == [late]
    again, late_again, third = told(book, said(6), said(6, 20.0), said(6, 21.0))
    assert again == standing, "asked for again, what was said in time is the answer"
    assert late_again == late
    assert third.revision == 2


def test_late_forecasts_are_not_current(book: RecordBook) -> None:
    _, newest, _ = told(book, said(30), said(31), said(5))
    page = book.read(lambda connection: current_forecasts.page(connection, CurrentFilter(frozenset(), 0, 1000), 0, 10))
    assert page.forecasts == [newest]


def test_hindsight_leaves_the_scorecard_as_it_was(book: RecordBook) -> None:
    honest = (said(6, market={"line": 9.5, "stake": 0.02}, point=-9.0), said(47, 10.0))
    better = (
        said(6, 20.0, point=11.0),
        said(3, 1.0, point=11.0),
        said(47, 11.0, point=11.0, at=60),
        said(6, market={"line": 2.5, "odds": 8.0}, point=-9.0, at=60),
    )
    told(book, *honest, reported())
    with new_book() as attacked:
        told(attacked, *honest, *better, reported())
        found = card(attacked)
    assert found.left_out == LeftOut(later_minute=2, late_time=1)
    assert replace(found, left_out=LeftOut()) == card(book)


def test_late_forecasts_teach_nothing_and_are_not_exported(book: RecordBook) -> None:
    told(book, said(23, horizon=HALF), said(23, 9.0, horizon=HALF, at=20), said(47, 4.0, at=60), said(47, 8.0, at=120))
    told(book, reported(5, HALF), reported(5))
    assert [len(lesson.observations) for lesson in lessons(book)] == [1, 1]
    [game] = book.read(lambda connection: list(completed_games.completed_games(connection)))
    assert isinstance(game, completed_games.CompletedGame)
    assert game.scores[-2].home - game.scores[-2].away == 4


@given(
    events=st.lists(
        st.tuples(st.integers(1, 47), st.integers(0, 30), st.sampled_from([1.0, 2.0])), min_size=1, max_size=30
    )
)
@example(events=[(47, 0, 1.0), (3, 0, 1.0), (47 - LATE_MINUTES - 1, 0, 1.0), (47 - LATE_MINUTES, 0, 1.0)])
@example(events=[(20, 0, 1.0), (20, MINUTES_LATE, 2.0), (20, 1, 1.0), (19, 0, 1.0), (21, 30, 1.0)])
def test_a_record_counts_what_was_said_while_it_could_not_be_known(events: list[tuple[int, int, float]]) -> None:
    newest, since, time = 0, timedelta(0), timedelta(0)
    with new_book() as book:
        for minute, later, lead in events:
            time += timedelta(minutes=later)
            known = book.read(store.newest)
            [stored] = told(book, said(minute, lead, at=time / timedelta(minutes=1)))
            if stored.sequence <= known:  # recorded before
                continue
            expected = None
            if minute < newest - LATE_MINUTES:
                expected = LateReason.LATER_MINUTE
            elif minute <= newest and time - since > LATE_AFTER:
                expected = LateReason.TIME
            assert stored.late is expected
            if minute > newest:
                newest, since = minute, time


@pytest.mark.parametrize("seen", [-60, 130], ids=["claims to be of the past", "of a time after the game"])
def test_a_report_withdrawn_before_the_first_forecast_makes_none_late_and_the_game_doubtful(
    tmp_path: Path, seen: int
) -> None:
    """Otherwise a reporting caller could make all forecasts of future games late; the doubt shows hindsight."""
    with new_book(tmp_path) as book:
        told(book, reported(11, HALF, at=seen), withdrawn(HALF), reported(at=seen), withdrawn())
        assert [each.late for each in told(book, said(20), said(47, at=90))] == [None, None]
        with pytest.raises(InvalidTime):
            told(book, reported(at=1))
        told(book, reported(at=95))
        expected = {"forecasts": 2, "left_out": LeftOut(), "doubtful_games": 1, "learned": [2]}
        assert figures(book, *expected) == expected
        [late] = told(book, withdrawn(), said(47, 12.0, at=91))
        assert late.late is REPORTED
        assert card(book).withdrawn_games == 1
    verify(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_a_game_that_is_reported_again_keeps_its_place_in_the_order_of_the_bankroll(book: RecordBook) -> None:
    """Otherwise a loss could be moved away from other losses, which reduces the drawdown."""
    day, games = 1440, [f"002250000{number}" for number in range(1, 5)]
    for evening, (game, differential) in enumerate(zip(games, (-5, -5, 5, 5), strict=True)):
        made = said(20, game_id=game, at=evening * day, market={"stake": 0.02})
        told(book, made, reported(differential, game_id=game, at=5 * day))
    honest, place = card(book), place_of(book, games[0])
    told(book, withdrawn(game_id=games[0]), reported(-5, game_id=games[0], at=5 * day))
    assert card(book) == honest
    assert place_of(book, games[0]) == place


def place_of(book: RecordBook, game_id: str) -> int:
    """Return the place of a game in the order of the bankroll."""
    return book.read(
        lambda connection: predictions.latest_forecast(connection, game_id, FINAL)
    ).latest.first_outcome_sequence


def test_what_is_made_after_the_outcome_was_observed_is_late_and_supersedes_nothing(book: RecordBook) -> None:
    first, _ = told(book, said(47, point=-4.0), said(47, 10.0, point=11.0, at=5))
    # What was observed before stays so.
    for reports in ([reported(at=4)], [withdrawn(), reported(at=60)]):
        told(book, *reports)
        game = book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL))
        assert (game.latest.issued, game.latest.superseded) == (first, False)
        assert [each.issued.late for each in game.revisions] == [LateReason.OBSERVED]
        expected = {"forecasts": 1, "left_out": LeftOut(observed=1), "learned": [1]}
        assert figures(book, *expected) == expected


@pytest.mark.parametrize("first", [HALF, FINAL])
def test_what_is_said_of_the_half_after_the_end_was_observed_is_late(book: RecordBook, first: Horizon) -> None:
    told(book, said(20, horizon=HALF), said(21, horizon=HALF, at=35))
    reports = {HALF: reported(11, HALF, at=39), FINAL: reported(at=30)}
    told(book, reports.pop(first))
    learned = lessons(book)[0]
    told(book, *reports.values())
    wanted = ForecastFilter(game_id=GAME, horizon=HALF, superseded=True)
    page = book.read(lambda connection: pages.page(connection, wanted, "", 50))
    late = {each.issued.forecast.elapsed_minutes: each.issued.late for each in page.forecasts}
    assert late == {20: None, 21: LateReason.OBSERVED}
    assert card(book, HALF).left_out == LeftOut(observed=1)
    assert lessons(book)[0] == learned, "what was learned follows from the reports up to then"


def test_a_price_that_is_sent_after_the_outcome_was_observed_is_no_bet(book: RecordBook) -> None:
    _, sent = told(book, said(47), said(47, at=50 / 60, market={}))
    assert answer_of(sent) is RECORDED
    told(book, reported(at=40 / 60))
    expected = {"market": None, "forecasts": 1, "left_out": LeftOut(late_markets=1)}
    assert figures(book, *expected) == expected
    latest = book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL)).latest
    [market] = latest.markets
    assert market.sent_after
    assert latest.settlement is not None
    assert latest.settlement.market_result is None


@pytest.mark.parametrize(
    ("game_id", "day", "late"),
    [
        (GAME, EVENING.date() - timedelta(days=1), None),  # the evening itself, which goes on until 11:00 UTC
        (GAME, EVENING.date() - timedelta(days=2), LateReason.GAME_DATE),
        ("9900000001", EVENING.date() - timedelta(days=2), None),
        (GAME, None, None),
    ],
)
def test_a_game_dated_before_the_evening_is_over(
    book: RecordBook, game_id: str, day: date | None, late: LateReason | None
) -> None:
    made = replace(forecast(game_id, minute=20, horizon=FINAL), game_date=day)
    [stored] = book.predict(with_market(made))
    assert isinstance(stored, IssuedForecast)
    assert stored.late is late
    book.report(game_id, FINAL, 11)
    found = card(book, first_day=(day or game_day(EVENING)).toordinal())
    assert (found.games, found.left_out.game_date) == ((1, 0) if late is None else (0, 1))
    assert (found.market is None) == (late is not None)


@pytest.mark.parametrize("game_id", [GAME, "9900000001"])
@pytest.mark.parametrize("day", [None, 1])
def test_minutes_that_are_filled_in_the_next_day_are_late_whatever_date_they_give(
    tmp_path: Path, game_id: str, day: int | None
) -> None:
    def minute(record: RecordBook, number: int, hours: float) -> IssuedForecast:
        made = forecast(game_id, minute=number, horizon=FINAL, generated_time=EVENING + timedelta(hours=hours))
        date_ = None if day is None else game_day(made.generated_time) + timedelta(days=day)
        [stored] = record.predict(replace(made, game_date=date_))
        assert isinstance(stored, IssuedForecast)
        return stored

    with new_book(tmp_path) as record:
        reasons = [minute(record, *each).late for each in [(30, 0), (31, 12), (32, 12.1), (33, 12.2)]]
    late = None if game_id != GAME else LateReason.GAME_DATE
    assert reasons == [None, None, late, late]
    assert verify(f"sqlite:///{tmp_path / 'ledger.db'}").forecasts == 4
