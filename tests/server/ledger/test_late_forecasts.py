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
from tests.support.builders.record_book import EVENING, RecordBook, forecast, new_book, with_market, with_total

from dejavu_common.clock import game_day
from dejavu_feed.live_inputs import LiveInputs
from dejavu_models.betting import StakingPolicy
from dejavu_models.scorecard import NOTHING_LEFT_OUT, LeftOut, Scorecard, scorecard
from dejavu_models.types import ExpectedMarginTerms, Horizon
from dejavu_server.ledger import verify
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.recording_rules import DEFAULT_LIMITS, LATE_MINUTES
from dejavu_server.ledger.errors import InvalidTime
from dejavu_server.ledger.queries import completed_games, current_forecasts, learning, pages, predictions, scorecards
from dejavu_server.ledger.queries.current_forecasts import CurrentFilter
from dejavu_server.ledger.queries.pages import ForecastFilter
from dejavu_server.ledger.queries.scorecards import ScoreFilter
from dejavu_server.records import IssuedForecast, LateReason, MarketRecording

GAME = "0022500001"
HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
LATE_AFTER = DEFAULT_LIMITS.late_after


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RecordBook]:
    with new_book(tmp_path) as made:
        yield made


def said(
    book: RecordBook, minute: int, lead: float = 3.0, after: timedelta = timedelta(0), **more: object
) -> IssuedForecast:
    """Record a forecast of the final, generated `after` the evening's start, and return it as recorded."""
    more = {"horizon": FINAL, **more}
    [stored] = book.predict(forecast(GAME, minute=minute, lead=lead, generated_time=EVENING + after, **more))  # type: ignore[arg-type]
    assert isinstance(stored, IssuedForecast)
    return stored


def priced(book: RecordBook, made: IssuedForecast, **market: Any) -> IssuedForecast:
    """Record a forecast with a market, and return it as answered."""
    [answer] = book.predict(with_market(made, **market))
    assert isinstance(answer, IssuedForecast)
    return answer


def card(book: RecordBook) -> Scorecard:
    return scorecard(book.read(lambda connection: scorecards.settled(connection, ScoreFilter(horizon=FINAL))).forecasts)


def test_a_minute_of_one_horizon_tells_how_far_the_game_is_for_the_other(book: RecordBook) -> None:
    said(book, 23, horizon=HALF)
    assert said(book, 6).late is LateReason.LATER_MINUTE
    assert said(book, 24).late is None


def test_a_late_revision_supersedes_nothing(book: RecordBook) -> None:
    standing = said(book, 6, 3.0)
    said(book, 47, 10.0)
    late = said(book, 6, 20.0)
    game = book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL, minute=6))
    assert (late.late, late.revision) == (LateReason.LATER_MINUTE, 1)
    assert (game.latest.issued, game.latest.superseded) == (standing, False)
    assert [each.issued for each in game.revisions] == [late]
    assert said(book, 6, 3.0) == standing, "asked for again, what was said in time is the answer"
    assert said(book, 6, 20.0) == late
    assert said(book, 6, 21.0).revision == 2


def test_late_forecasts_are_not_current(book: RecordBook) -> None:
    said(book, 30)
    newest = said(book, 31)
    said(book, 5)
    page = book.read(lambda connection: current_forecasts.page(connection, CurrentFilter(frozenset(), 0, 1000), 0, 10))
    assert page.forecasts == [newest]


def test_hindsight_leaves_the_scorecard_as_it_was(book: RecordBook) -> None:
    said(book, 6, 3.0, point=-9.0)
    said(book, 47, 10.0)
    book.report(GAME, FINAL, 11)
    honest = card(book)
    with new_book() as attacked:
        said(attacked, 6, 3.0, point=-9.0)
        said(attacked, 47, 10.0)
        said(attacked, 6, 20.0, point=11.0)
        said(attacked, 3, 1.0, point=11.0)
        said(attacked, 47, 11.0, point=11.0, after=timedelta(hours=1))
        attacked.report(GAME, FINAL, 11)
        found = card(attacked)
    assert found.left_out == LeftOut(later_minute=2, late_time=1)
    assert (found.mae, found.brier, found.crps, found.market) == (honest.mae, honest.brier, honest.crps, honest.market)
    assert (found.games, found.forecasts, found.coverage) == (honest.games, honest.forecasts, honest.coverage)


def test_late_forecasts_teach_nothing_and_are_not_exported(book: RecordBook) -> None:
    book.predict(forecast(GAME, minute=23, lead=3.0))
    book.predict(forecast(GAME, minute=23, lead=9.0, generated_time=EVENING + 2 * LATE_AFTER))
    said(book, 47, 4.0, after=timedelta(hours=1))
    said(book, 47, 8.0, after=timedelta(hours=2))
    book.report(GAME, HALF, 5)
    book.report(GAME, FINAL, 5)
    lessons = book.read(lambda connection: list(learning.settled_games_after(connection, 0)))
    assert [len(lesson.observations) for lesson in lessons] == [1, 1]
    [game] = book.read(lambda connection: list(completed_games.completed_games(connection)))
    assert isinstance(game, completed_games.CompletedGame)
    assert game.scores[-2].home - game.scores[-2].away == 4


@pytest.mark.parametrize(("leads", "learned"), [((3.0,), 1), ((3.0, 3.0), 1), ((90.0, 3.0), 0), ((3.0, 90.0), 0)])
def test_nothing_is_learned_from_a_minute_that_is_told_in_two_ways(
    book: RecordBook, leads: tuple[float, ...], learned: int
) -> None:
    """Otherwise a caller who may record, not report, could widen all intervals by patterns that no game has."""
    for number, lead in enumerate(leads):
        said(book, 18, lead, alpha=0.05 + number / 1000)
    book.report(GAME, FINAL, 5)
    [lesson] = book.read(lambda connection: list(learning.settled_games_after(connection, 0)))
    assert len(lesson.observations) == learned


def test_a_market_that_comes_late_is_answered_and_no_bet(book: RecordBook) -> None:
    stored = said(book, 6)
    said(book, 9)
    for made in (forecast(GAME, minute=6, horizon=FINAL), forecast(GAME, minute=5, horizon=FINAL)):
        priced(book, made)
    [found] = book.read(lambda connection: predictions.forecasts_at(connection, [stored.sequence]))
    assert found.markets == ()
    book.report(GAME, FINAL, 5)
    assert card(book).market is None


@pytest.mark.parametrize(
    ("minute", "seconds", "recorded"),
    [(20, 60, True), (20, 61, False), (23, 61, False), (24, 600, True), (24, 601, False)],
)
def test_a_market_is_recorded_within_a_minute_of_its_forecast_or_in_the_break_at_the_half(
    book: RecordBook, minute: int, seconds: int, recorded: bool
) -> None:
    """Later ones could be chosen by how the game went on, each at a price that was right."""
    said(book, minute)
    later = forecast(GAME, minute=minute, horizon=FINAL, generated_time=EVENING + timedelta(seconds=seconds))
    expected = MarketRecording.RECORDED if recorded else MarketRecording.FORECAST_LATE
    assert priced(book, later).markets[0].recording is expected


def test_a_bet_stays_in_the_record_when_its_forecast_is_superseded(book: RecordBook) -> None:
    made = forecast(GAME, minute=20, horizon=FINAL, lead=3.0)
    book.predict(with_market(made, line=0.5, odds=2.0, stake=0.05))
    said(book, 20, 4.0)
    book.report(GAME, FINAL, -7)
    found = card(book)
    assert found.market is not None
    assert (found.market.bets, found.market.staked, found.market.profit) == (1, 0.05, -0.05)
    assert (found.forecasts, found.left_out) == (1, LeftOut(superseded=1))


def test_a_forecast_that_came_late_has_no_bet_when_a_later_minute_makes_it_timely_again(book: RecordBook) -> None:
    said(book, 20)
    assert said(book, 20, 9.0, after=2 * LATE_AFTER).late is LateReason.TIME
    said(book, 21, after=2 * LATE_AFTER)
    again = forecast(GAME, minute=20, lead=9.0, horizon=FINAL, generated_time=EVENING + 2 * LATE_AFTER)
    told = priced(book, again)
    assert (told.late, told.markets[0].recording) == (LateReason.TIME, MarketRecording.FORECAST_LATE)


def test_a_market_that_is_quoted_later_takes_nothing_from_a_bet_that_was_placed(book: RecordBook) -> None:
    """Also if its forecast is older: otherwise, filling the game's cap would cancel a bet that is being lost."""
    policy = StakingPolicy(game_cap=0.02, evening_cap=0.05)
    said(book, 20)
    book.predict(with_market(forecast(GAME, minute=21, horizon=FINAL), line=0.5, stake=0.02, policy=policy))
    later = forecast(GAME, minute=20, horizon=FINAL, generated_time=EVENING + timedelta(seconds=50))
    told = priced(book, later, line=-30.5, stake=0.02, policy=policy)
    assert told.markets[0].recording is MarketRecording.RECORDED
    book.report(GAME, FINAL, -10)
    found = card(book).market
    assert found is not None
    assert (found.bets, found.markets, found.capped, found.profit) == (1, 2, 1, -0.02)


MINUTES_LATE = LATE_AFTER // timedelta(minutes=1)


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
            stored = said(book, minute, lead, after=time)
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


def test_what_is_made_after_a_report_is_late_for_ever_whatever_becomes_of_the_report(book: RecordBook) -> None:
    said(book, 47, 10.0, point=-4.0)
    book.report(GAME, FINAL, 11)
    honest = card(book)
    book.withdraw(GAME, FINAL)
    for minute in (47, 20):
        better = said(book, minute, 10.5, point=11.0, after=timedelta(minutes=1))
        assert better.late is LateReason.REPORTED
    told = priced(book, forecast(GAME, minute=47, lead=10.0, horizon=FINAL, point=-4.0))
    assert told.markets[0].recording is MarketRecording.FORECAST_LATE
    book.report(GAME, FINAL, 11)
    again = card(book)
    assert again.left_out == LeftOut(reported=2)
    assert (again.mae, again.market, again.forecasts) == (honest.mae, None, 1)


def test_a_half_that_was_withdrawn_makes_what_it_precedes_late_and_nothing_of_later(book: RecordBook) -> None:
    said(book, 19)
    book.report(GAME, HALF, 3)
    book.withdraw(GAME, HALF)
    assert said(book, 20).late is LateReason.REPORTED
    assert said(book, 24).late is None


@pytest.mark.parametrize("seen", [-60, 130], ids=["claims to be of the past", "of a time after the game"])
def test_a_report_withdrawn_before_the_first_forecast_makes_none_late_and_the_game_doubtful(
    tmp_path: Path, seen: int
) -> None:
    """Otherwise a reporting caller could make all forecasts of future games late; the doubt shows hindsight."""
    with new_book(tmp_path) as book:
        for horizon in (HALF, FINAL):
            book.report(GAME, horizon, 11, seen=EVENING + timedelta(minutes=seen))
            book.withdraw(GAME, horizon)
        assert said(book, 20).late is None
        said(book, 47, after=timedelta(minutes=90))
        with pytest.raises(InvalidTime):
            book.report(GAME, FINAL, 11, seen=EVENING + timedelta(minutes=1))
        book.report(GAME, FINAL, 11, seen=EVENING + timedelta(minutes=95))
        found = card(book)
        assert (found.forecasts, found.left_out, found.doubtful_games) == (2, NOTHING_LEFT_OUT, 1)
        [lesson] = book.read(lambda connection: list(learning.settled_games_after(connection, 0)))
        assert len(lesson.observations) == 2
        book.withdraw(GAME, FINAL)
        assert said(book, 47, 12.0, after=timedelta(minutes=91)).late is LateReason.REPORTED
        assert card(book).withdrawn_games == 1
    verify(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_a_report_that_follows_a_void_one_decides_what_was_made_with_hindsight(book: RecordBook) -> None:
    book.report(GAME, FINAL, 11)
    book.withdraw(GAME, FINAL)
    said(book, 47)
    said(book, 47, 10.0, after=timedelta(minutes=5))
    book.report(GAME, FINAL, 11, seen=EVENING + timedelta(minutes=4))
    assert card(book).left_out == LeftOut(observed=1)


def test_a_game_whose_outcome_was_withdrawn_is_seen_and_counts_nowhere(book: RecordBook) -> None:
    book.predict(with_market(forecast(GAME, minute=20, horizon=FINAL)))
    book.predict(with_market(forecast("0022500002", minute=20, horizon=FINAL, home_team="LAL", away_team="DEN")))
    book.report(GAME, FINAL, 11)
    book.report("0022500002", FINAL, -30, teams=("LAL", "DEN"))
    book.withdraw("0022500002", FINAL)
    found = card(book)
    assert (found.games, found.withdrawn_games, found.left_out) == (1, 1, LeftOut(withdrawn=1))
    assert found.market is not None
    assert found.market.markets == 1


def test_a_game_that_is_reported_again_keeps_its_place_in_the_order_of_the_bankroll(book: RecordBook) -> None:
    """Otherwise a loss could be moved away from other losses, which reduces the drawdown."""
    lost, games = -5, [f"002250000{number}" for number in range(1, 5)]
    for evening, (game, differential) in enumerate(zip(games, (lost, lost, 5, 5), strict=True)):
        made = forecast(game, minute=20, horizon=FINAL, generated_time=EVENING + timedelta(days=evening))
        book.predict(with_market(made, stake=0.02))
        book.report(game, FINAL, differential, seen=EVENING + timedelta(days=5))
    honest, place = card(book), place_of(book, games[0])
    book.withdraw(games[0], FINAL)
    book.report(games[0], FINAL, lost, seen=EVENING + timedelta(days=5))
    assert card(book) == honest
    assert place_of(book, games[0]) == place


def place_of(book: RecordBook, game_id: str) -> int:
    """Return the place of a game in the order of the bankroll."""
    return book.read(
        lambda connection: predictions.latest_forecast(connection, game_id, FINAL)
    ).latest.first_outcome_sequence


def test_what_is_made_after_the_outcome_was_observed_is_late_and_supersedes_nothing(book: RecordBook) -> None:
    hour = timedelta(hours=1)
    first = said(book, 47, 3.0, point=-4.0)
    said(book, 47, 10.0, point=11.0, after=5 * timedelta(minutes=1))
    book.report(GAME, FINAL, 11, seen=EVENING + timedelta(minutes=4))
    for seen in (None, EVENING + hour):
        if seen is not None:  # what was observed before stays so
            book.withdraw(GAME, FINAL)
            book.report(GAME, FINAL, 11, seen=seen)
        game = book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL))
        assert (game.latest.issued, game.latest.superseded) == (first, False)
        assert [each.issued.late for each in game.revisions] == [LateReason.OBSERVED]
        found = card(book)
        assert (found.forecasts, found.left_out) == (1, LeftOut(observed=1))
        [lesson] = book.read(lambda connection: list(learning.settled_games_after(connection, 0)))
        assert len(lesson.observations) == 1


@pytest.mark.parametrize(
    ("seen", "counted"),
    [(29, None), (59, None), (60, 2), (-1, 0), (400, 3)],
    ids=["before the lost bet", "too early for what was left to play", "possible", "of a past game", "after all"],
)
def test_no_time_of_an_outcome_leaves_out_the_minutes_that_went_badly(
    book: RecordBook, seen: int, counted: int | None
) -> None:
    """Nor does a wrong time zone: after 22 minutes 26 are left to play, and a forecast is 5 minutes late at most."""
    for minute, after in ((10, 0), (22, 39), (47, 90)):
        made = forecast(GAME, minute=minute, horizon=FINAL, generated_time=EVENING + timedelta(minutes=after))
        book.predict(with_market(made, stake=0.02))
    if counted is None:
        with pytest.raises(
            InvalidTime, match=r"expected 20\d\d-.* or later: the game's forecast after minute (10|22) was made at"
        ):
            book.report(GAME, FINAL, 11, seen=EVENING + timedelta(minutes=seen))
        return
    book.report(GAME, FINAL, 11, seen=EVENING + timedelta(minutes=seen))
    found = card(book)
    assert (found.forecasts, found.left_out.observed, found.left_out.late_markets) == (
        counted,
        3 - counted,
        3 - counted,
    )
    assert found.doubtful_games == (counted < 3)


def test_no_later_report_makes_late_what_was_in_time(book: RecordBook) -> None:
    said(book, 47)
    book.report(GAME, FINAL, 11)
    honest = card(book)
    book.report(GAME, FINAL, -40, seen=EVENING - timedelta(days=30))
    book.report(GAME, FINAL, 11)
    assert card(book).left_out == NOTHING_LEFT_OUT
    assert card(book).mae == honest.mae


def lateness(book: RecordBook, horizon: Horizon) -> list[LateReason | None]:
    """Return why each forecast of the game at a horizon is late, by minute."""
    wanted = ForecastFilter(game_id=GAME, horizon=horizon, superseded=True)
    page = book.read(lambda connection: pages.page(connection, wanted, "", 50))
    by_minute = sorted(page.forecasts, key=lambda each: each.issued.forecast.elapsed_minutes)
    return [each.issued.late for each in by_minute]


@pytest.mark.parametrize("first", [HALF, FINAL])
def test_what_is_said_of_the_half_after_the_end_was_observed_is_late(book: RecordBook, first: Horizon) -> None:
    said(book, 20, horizon=HALF)
    said(book, 21, horizon=HALF, after=timedelta(minutes=35))
    seen = {HALF: EVENING + timedelta(minutes=39), FINAL: EVENING + timedelta(minutes=30)}
    second = HALF if first is FINAL else FINAL
    book.report(GAME, first, 11, seen=seen[first])
    learned = book.read(lambda connection: next(learning.settled_games_after(connection, 0)))
    book.report(GAME, second, 11, seen=seen[second])
    assert lateness(book, HALF) == [None, LateReason.OBSERVED]
    settled = book.read(lambda connection: scorecards.settled(connection, ScoreFilter(horizon=HALF))).forecasts
    assert scorecard(settled).left_out == LeftOut(observed=1)
    again = book.read(lambda connection: next(learning.settled_games_after(connection, 0)))
    assert again == learned, "what was learned follows from the reports up to then"


def test_what_is_said_of_the_end_from_before_the_half_after_the_half_was_observed_is_late(book: RecordBook) -> None:
    for minute, after in ((22, 0), (23, 5), (24, 5)):
        made = forecast(GAME, minute=minute, horizon=FINAL, generated_time=EVENING + timedelta(minutes=after))
        book.predict(with_market(made))
    book.report(GAME, HALF, 11, seen=EVENING + timedelta(minutes=4))
    assert lateness(book, FINAL) == [None, LateReason.OBSERVED, None]
    book.report(GAME, FINAL, 11)
    found = card(book)
    assert (found.forecasts, found.left_out) == (2, LeftOut(observed=1, late_markets=1))
    assert found.market is not None
    assert found.market.bets == 2


def test_a_price_that_is_sent_after_the_outcome_was_observed_is_no_bet(book: RecordBook) -> None:
    seen, later = EVENING + timedelta(seconds=40), EVENING + timedelta(seconds=50)
    said(book, 47)
    sent = priced(book, forecast(GAME, minute=47, horizon=FINAL, generated_time=later))
    assert sent.markets[0].recording is MarketRecording.RECORDED
    book.report(GAME, FINAL, 11, seen=seen)
    found = card(book)
    assert (found.market, found.forecasts, found.left_out) == (None, 1, LeftOut(late_markets=1))
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
    stored = priced(book, made)
    assert stored.late is late
    book.report(game_id, FINAL, 11)
    wanted = ScoreFilter(horizon=FINAL, replays=True, first_day=(day or game_day(EVENING)).toordinal())
    found = scorecard(book.read(lambda connection: scorecards.settled(connection, wanted)).forecasts)
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


@pytest.mark.parametrize(
    ("reports", "corrected"),
    [
        ([(11, None)], 0),
        ([(11, None), (11, 201)], 0),  # added to
        ([(11, None), (4, None)], 1),
        ([(11, 201), (11, 203)], 1),
        ([(11, None), None, (4, None)], 1),
        ([(11, None), None, (11, None)], 0),
        ([(11, 201), None, (11, None)], 1),  # a total that is left out
        ([(11, None), None, (11, 201)], 0),
    ],
)
def test_a_correction_shows_on_the_card(
    book: RecordBook, reports: list[tuple[int, int | None] | None], corrected: int
) -> None:
    said(book, 20)
    for report in reports:
        if report is None:
            book.withdraw(GAME, FINAL)
        else:
            book.report(GAME, FINAL, report[0], total_points=report[1])
    assert card(book).corrected_games == corrected


def test_a_total_that_was_forecast_and_is_not_reported_shows_on_the_card(book: RecordBook) -> None:
    book.predict(
        with_total(forecast(GAME, minute=20, horizon=FINAL), points=80),
        with_total(forecast("0022500002", minute=20, horizon=FINAL, home_team="LAL", away_team="DEN"), points=80),
        forecast("0022500003", minute=20, horizon=FINAL),
    )
    for game_id, teams, points in ((GAME, None, 201), ("0022500002", ("LAL", "DEN"), None), ("0022500003", None, None)):
        book.report(game_id, FINAL, 11, teams=teams or ("BKN", "GSW"), total_points=points)
    found = card(book)
    assert found.total is not None
    assert (found.total.games, found.unsettled_totals) == (1, 1)


def test_a_total_hides_in_no_correction_that_leaves_its_points_out(book: RecordBook) -> None:
    """The bet on a superseded forecast counts: formerly, a lost one on the total vanished without a trace."""
    first = forecast(GAME, minute=20, horizon=FINAL)
    book.predict(with_total(first, points=80))
    book.predict(forecast(GAME, minute=20, lead=first.pattern.last + 2.0, horizon=FINAL))
    book.report(GAME, FINAL, 11)
    found = card(book)
    assert (found.left_out.superseded, found.unsettled_totals) == (1, 1)


@pytest.mark.parametrize(
    ("second", "doubtful"),
    [
        ({"game_id": "0022500002", "home_team": "LAL", "away_team": "DEN"}, 0),
        ({"game_id": "0022500002", "home_team": "BKN", "away_team": "GSW"}, 2),
        ({"game_id": "0022500002", "home_team": "GSW", "away_team": "BKN"}, 2),
        ({"game_id": "0022500002", "home_team": "LAL", "away_team": "GSW"}, 2),
        ({"game_id": "0022500002", "home_team": "", "away_team": ""}, 1),
        ({"game_id": "0022500002", "generated_time": EVENING + timedelta(days=1)}, 0),
        ({"game_id": GAME, "home_team": "GSW", "away_team": "BKN"}, 1),
        ({"game_id": GAME, "home_team": "LAL"}, 1),
        ({"game_id": "0022599999", "home_team": "LAL", "away_team": "DEN"}, 1),
        ({"game_id": "0072500001", "home_team": "LAL", "away_team": "DEN"}, 1),
    ],
)
def test_a_game_of_doubtful_identity_shows_on_the_card(book: RecordBook, second: dict[str, Any], doubtful: int) -> None:
    said(book, 20)
    book.predict(forecast(**{"minute": 20, "horizon": FINAL, "lead": 4.0, **second}))
    for game_id in {GAME, second["game_id"]}:
        book.report(game_id, FINAL, 11, teams=("", ""))
    assert card(book).doubtful_games == doubtful


@pytest.mark.parametrize(
    ("minutes", "end", "doubtful"),
    [
        ([(6, 0), (46, 40)], 42, False),
        ([(6, 0), (46, 120)], 125, False),
        ([(6, 5), (7, 5.1), (8, 5.2), (40, 35)], 43, False),  # behind a feed that was late
        ([(6, 0), (46, 34)], 42, True),
        ([(6, 0), (40, 90), (46, 90.5)], 95, True),
        ([(6, 0)], 36, True),
        ([(6, 0), (46, 90)], 92, False),
    ],
)
def test_a_game_that_is_told_faster_than_it_can_be_played_shows_on_the_card(
    book: RecordBook, minutes: list[tuple[int, float]], end: float, doubtful: bool
) -> None:
    """Forecasts that are made after the game, one after another, are in the right order and in time."""
    for minute, after in minutes:
        said(book, minute, after=timedelta(minutes=after))
    book.report(GAME, FINAL, 11, seen=EVENING + timedelta(minutes=end))
    found = card(book)
    assert (found.forecasts, found.doubtful_games) == (len(minutes), doubtful)


@pytest.mark.parametrize(
    ("told", "doubtful"),
    [
        ([(18, 3.0, {}), (18, 8.0, {"alpha": 0.1}), (19, 20.0, {}), (24, -30.0, {})], False),
        ([(18, 3.0, {}), (18, 28.0, {})], False),  # a correction
        ([(18, 3.0, {}), (18, 28.0, {"alpha": 0.1})], True),
        ([(18, 3.0 + 6.0 * number, {"alpha": 0.1 + 0.1 * number}) for number in range(4)], True),
        ([(18, 3.0, {}), (19, 28.0, {})], True),
        ([(18, 3.0, {"pregame_margin": 4.0}), (19, 5.0, {"pregame_margin": 4.0})], False),
        ([(18, 3.0, {"pregame_margin": 4.0}), (19, 5.0, {})], True),
        ([(18, 3.0, {"pregame_margin": 4.0}), (19, 5.0, {"pregame_margin": -9.0})], True),
        ([(18, 3.0, {}), (19, 5.0, {"live": LiveInputs(neutral_site=True)})], True),
        ([(18, 3.0, {}), (19, 5.0, {"live": LiveInputs(pregame_total=220.0)})], True),
        ([(18, 3.0, {"live": LiveInputs(pregame_total=each)}) for each in (220.0, 240.0)], False),  # a correction
        ([(each, 3.0, {"live": LiveInputs(pregame_total=200.0 + each)}) for each in (18, 19)], True),
        ([(each, 3.0, {"live": LiveInputs(neutral_site=each > 18)}) for each in (18, 19)], True),
    ],
)
def test_a_game_whose_forecasts_contradict_one_another_shows_on_the_card(
    book: RecordBook, told: list[tuple[int, float, dict[str, Any]]], doubtful: bool
) -> None:
    """A caller states the lead: a false one makes persistence, the comparison, worse, and a margin can offset it."""
    for number, (minute, lead, more) in enumerate(told):
        said(book, minute, lead, after=timedelta(minutes=2 * number), **more)
    book.report(GAME, FINAL, 5)
    assert card(book).doubtful_games == doubtful


@pytest.mark.parametrize(
    ("told", "doubtful"),
    [
        ([(12, -4.0), (12, 3.9), (24, -4.0)], False),
        ([(1, 0.0), (12, 9.0), (24, 9.0)], False),  # 0: who plays was not known yet
        ([(12, -4.0), (24, 4.1)], True),
        ([(12, -4.0), (12, 4.1), (12, -4.0)], True),  # sent again until it suits
    ],
)
def test_a_game_whose_line_ups_change_their_effect_shows_on_the_card(
    book: RecordBook, told: list[tuple[int, float]], doubtful: bool
) -> None:
    """A caller states the line-ups: with different ones for each forecast, it could choose the expected margin."""
    for number, (minute, effect) in enumerate(told):
        terms = ExpectedMarginTerms(2.0, 2.5, missing_players=effect)
        time = EVENING + timedelta(minutes=2 * minute + number)
        made = forecast(GAME, horizon=FINAL, minute=minute, lead=number, generated_time=time)
        book.predict(replace(made, forecast=replace(made.forecast, expected_margin_terms=terms)))
    book.report(GAME, FINAL, 5)
    assert card(book).doubtful_games == doubtful


POINTS = [
    ([(18, 80, {}), (19, 84, {}), (20, 84, {})], 200, set()),
    ([(18, 80, {}), (19, 74, {}), (20, 84, {})], 200, set()),  # a feed that was corrected
    ([(18, 80, {}), (19, 190, {}), (19, 84, {})], 200, set()),  # a correction
    ([(18, 80, {}), (18, 90, {"alpha": 0.2})], 200, {18}),
    ([(18, 150, {}), (19, 84, {}), (20, 86, {})], 200, {18, 19, 20}),
    ([(16, 70, {}), (18, 150, {}), (20, 86, {})], 200, {18, 20}),
    ([(16, 70, {}), (18, 150, {}), (20, 160, {})], 148, {20}),
    ([(16, 70, {}), (18, 150, {}), (20, 160, {})], None, set()),
]
"""Points of both teams by minute, the total of the outcome, and the minutes of contradictory points."""


def points_told(book: RecordBook, told: list[tuple[int, int, dict[str, float]]]) -> None:
    for number, (minute, points, more) in enumerate(told):
        options: dict[str, Any] = {"minute": minute, "horizon": FINAL, "model_version": f"v{minute}", **more}
        at = EVENING + timedelta(minutes=2 * number)
        book.predict(with_total(forecast(GAME, generated_time=at, **options), points=points))


@pytest.mark.parametrize(("told", "total", "contradictory"), POINTS)
def test_a_game_whose_points_fall_or_exceed_those_of_the_outcome_is_doubtful(
    book: RecordBook, told: list[tuple[int, int, dict[str, float]]], total: int | None, contradictory: set[int]
) -> None:
    """The forecast of a total is compared with pace × time, which depends on the points that the caller states."""
    points_told(book, told)
    book.report(GAME, FINAL, 4, total_points=total)
    assert card(book).doubtful_games == bool(contradictory)


@pytest.mark.parametrize(("told", "total", "contradictory"), POINTS)
def test_nothing_is_learned_from_a_minute_whose_points_contradict_others(
    book: RecordBook, told: list[tuple[int, int, dict[str, float]]], total: int | None, contradictory: set[int]
) -> None:
    """Otherwise a recording caller could narrow or widen all intervals by points that no game has."""
    points_told(book, told)
    book.report(GAME, FINAL, 4, total_points=total)
    [lesson] = book.read(lambda connection: list(learning.settled_games_after(connection, 0)))
    learned = {each.key.model_version for each in lesson.observations}
    assert learned == {f"v{minute}" for minute, *_ in told if minute not in contradictory}


def test_a_game_with_forecasts_in_time_and_others_after_its_evening_shows_on_the_card(book: RecordBook) -> None:
    """Somebody else may have recorded the first one, half a day before the game."""
    said(book, 1)
    assert said(book, 20, after=timedelta(hours=13)).late is LateReason.GAME_DATE
    book.report(GAME, FINAL, 11)
    assert card(book).doubtful_games == 1


def test_late_forecasts_make_no_game_doubtful_nor_do_replays(book: RecordBook) -> None:
    """Also not if its outcome is withdrawn; and all games of a replay are played on one day."""
    said(book, 40)
    assert said(book, 20, home_team="GSW", away_team="BKN").late is not None
    book.report(GAME, FINAL, 10)
    book.withdraw(GAME, FINAL)
    for number in (1, 2):
        replay = f"992610000{number}"
        book.predict(forecast(replay, minute=20, horizon=FINAL))
        book.report(replay, FINAL, 10)
    wanted = ScoreFilter(horizon=FINAL, replays=True)
    found = scorecard(book.read(lambda connection: scorecards.settled(connection, wanted)).forecasts)
    assert (found.games, found.withdrawn_games, found.doubtful_games) == (2, 1, 0)


@pytest.mark.parametrize("swapped", [{"horizon": HALF, "minute": 20}, {"minute": 41, "model_version": "v2"}])
def test_an_outcome_of_other_teams_than_the_forecasts_on_a_card_makes_the_game_doubtful(
    book: RecordBook, swapped: dict[str, Any]
) -> None:
    """The differential has the wrong sign for them, and no entry on the card need have the outcome's teams."""
    said(book, 20, model_version="v1")
    turned = {"minute": 20, "horizon": FINAL, "home_team": "GSW", "away_team": "BKN", **swapped}
    book.predict(forecast(GAME, **turned))
    book.report(GAME, FINAL, 10, teams=("GSW", "BKN"))
    wanted = ScoreFilter(horizon=FINAL, model_version="v1")
    found = scorecard(book.read(lambda connection: scorecards.settled(connection, wanted)).forecasts)
    assert (found.games, found.doubtful_games) == (1, 1)


def test_a_ledger_with_late_forecasts_is_sound(tmp_path: Path) -> None:
    with new_book(tmp_path) as book:
        said(book, 20)
        said(book, 30)
        said(book, 20, 9.0)
        book.report(GAME, FINAL, 4)
    assert verify(f"sqlite:///{tmp_path / 'ledger.db'}").forecasts == 3
