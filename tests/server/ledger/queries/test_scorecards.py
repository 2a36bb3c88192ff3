"""Settled forecasts of a scorecard: selection, order and columns."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.builders.record_book import (
    EVENING,
    RecordBook,
    forecast,
    new_book,
    with_market,
    with_total,
    with_total_market,
)

from dejavu_common.clock import game_day, microseconds
from dejavu_feed.game_ids import is_league_id, is_replay
from dejavu_models.betting import MarketKind, MarketSide
from dejavu_models.scorecard import Exclusion, SettledForecasts, SettledMarket, scorecard
from dejavu_models.scorecard.doubtful import FEED_LAG_SECONDS
from dejavu_models.types import Horizon
from dejavu_server.ledger.queries import pages, predictions, scorecards
from dejavu_server.ledger.queries.pages import ForecastFilter
from dejavu_server.ledger.queries.scorecards import TEAM_CODES, ScoreFilter, SettledByModel
from dejavu_server.records import LateReason, RecordedForecast, RecordedMarket
from dejavu_server.results import Failed

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
TODAY = game_day(EVENING).toordinal()
GAMES = [f"00225{number:05d}" for number in range(12)]
REPLAY = "9900000007"


@pytest.fixture(scope="module")
def book() -> Iterator[RecordBook]:
    """Twelve games on three evenings and a replayed one; two models, revisions, markets; all but one settled."""
    rng = np.random.default_rng(11)
    with new_book() as made:
        for number, game in enumerate([*GAMES, REPLAY]):
            for minute in (6, 18, 23):
                for model in ("v1", "v2"):
                    told = forecast(
                        game,
                        minute=minute,
                        model_version=model,
                        lead=float(rng.integers(-9, 9)),
                        point=float(rng.normal(0.0, 5.0)),
                        half_width=6.0 if model == "v2" else 12.0,
                        alpha=0.3 if model == "v2" else 0.05,
                        probability=float(rng.random()),
                        home_team="BOS" if number % 2 else "BKN",
                        generated_time=EVENING + timedelta(days=number % 3),
                        distribution=minute != 6,
                    )
                    if number % 3 != 1:
                        told = with_total(told, points=int(abs(told.pattern.last)) + 4 * minute + 2 * number)
                    if minute > 6 and told.forecast.total is not None:
                        told = with_total_market(told, over=92.5 + 2 * number, stake=0.03 * (number % 3))
                    made.predict(with_market(told, stake=0.05 * (number % 2)) if minute > 6 else told)
                if (game, minute) == (GAMES[3], 18):
                    made.predict(forecast(game, minute=18, lead=-20.0))  # a revision
            made.predict(forecast(game, minute=30, horizon=FINAL))
        made.predict(forecast(GAMES[4], minute=18, lead=-20.0))  # a late one
        # Not in the order of the games; some are corrected.
        for game in [*GAMES[:0:-1], REPLAY]:
            differential = int(rng.integers(-15, 15))
            points = None if game == GAMES[6] else 92 + abs(differential) % 2 + 2 * int(game[-2:])
            made.report(game, HALF, differential, teams=("", ""), total_points=points)
        made.report(GAMES[3], HALF, 14, teams=("", ""), total_points=112)
        made.report(GAMES[2], FINAL, 3, teams=("", ""))
        yield made


def settled(book: RecordBook, wanted: ScoreFilter) -> SettledByModel:
    return book.read(lambda connection: scorecards.settled(connection, wanted))


LATE = {LateReason.LATER_MINUTE: Exclusion.LATER_MINUTE, LateReason.TIME: Exclusion.LATE_TIME}


def columns_of(book: RecordBook, listed: list[RecordedForecast]) -> SettledForecasts:
    """Return listed forecasts as the columns of a scorecard, in the order of their outcomes' first revisions."""

    @cache
    def first_report(game_id: str, horizon: Horizon) -> int:
        game = book.read(lambda connection: predictions.latest_forecast(connection, game_id, horizon))
        return game.outcomes[0].sequence

    def row(each: RecordedForecast) -> tuple[float, ...]:
        told, settlement, outcome = each.issued.forecast, each.settlement, each.outcome
        assert settlement is not None
        assert outcome is not None
        first = first_report(each.issued.game_id, told.horizon)
        points = math.nan if told.total is None else float(each.issued.live.total_points or 0)
        took, left = outcome.observed_time - each.issued.generated_time, told.horizon.minutes - told.elapsed_minutes
        return (
            first,
            told.elapsed_minutes,
            told.elapsed_seconds,
            settlement.error,
            settlement.persistence_error,
            settlement.covered,
            told.alpha,
            told.interval.upper - told.interval.lower,
            told.home_lead_probability,
            outcome.differential > 0,
            settlement.brier,
            (
                (1 if each.issued.pattern.last > 0 else 0.5 if each.issued.pattern.last == 0 else 0)
                - (outcome.differential > 0)
            )
            ** 2,
            math.nan if settlement.crps is None else settlement.crps,
            each.issued.day.toordinal(),
            first,
            LATE[each.issued.late] if each.issued.late else each.superseded * Exclusion.SUPERSEDED,
            TEAM_CODES[each.issued.home_team],
            TEAM_CODES[each.issued.away_team],
            False,  # the outcomes name the teams of the forecasts, or none
            is_league_id(each.issued.game_id),
            each.issued.late is None,
            is_replay(each.issued.game_id),
            math.nan if each.issued.pregame_margin is None else each.issued.pregame_margin,
            math.nan if each.issued.live.pregame_total is None else each.issued.live.pregame_total,
            math.nan if each.issued.live.neutral_site is None else each.issued.live.neutral_site,
            math.nan,  # no line-ups
            microseconds(each.issued.generated_time),
            took < timedelta(minutes=left, seconds=-FEED_LAG_SECONDS)
            or points - (outcome.total_points or math.inf) > 6,
            outcome.revision > 0,  # each corrects the differential
            points,
            *total(each),
        )

    def total(each: RecordedForecast) -> tuple[float, ...]:
        told, outcome = each.issued.forecast, each.outcome
        scores = None if each.settlement is None else each.settlement.total
        if scores is None or told.total is None or outcome is None or outcome.total_points is None:
            return told.total is not None, math.nan, math.nan, False, math.nan, math.nan
        rival = (each.issued.live.total_points or 0) * told.horizon.minutes / told.elapsed_minutes
        width = told.total.interval.upper - told.total.interval.lower
        return False, scores.error, rival - outcome.total_points, scores.covered, width, scores.crps

    def market_of(each: RecordedForecast, found: RecordedMarket, profit: float | None, points: int) -> SettledMarket:
        market, answer, settlement = found.market, found.answer, each.settlement
        assert settlement is not None
        side, left = answer.chosen, each.issued.forecast.horizon.minutes - each.issued.forecast.elapsed_minutes
        on_total, final = market.kind is MarketKind.TOTAL, each.issued.forecast.horizon is FINAL
        return SettledMarket(
            on_total=on_total,
            line=market.line,
            spread=({False: 10.4, True: 11.7} if not final else {False: 12.5, True: 17.9})[on_total]
            * math.sqrt(left / each.issued.forecast.horizon.minutes),
            model_probability=answer.above.win_probability / (1.0 - answer.push_probability),
            fair_probability=market.below_odds / (market.above_odds + market.below_odds),
            home_won=float(points > market.line),
            side={None: 0, MarketSide.HOME: 1, MarketSide.OVER: 1}[answer.side],
            odds=0.0 if side is None else side.decimal_odds,
            stake=0.0 if side is None else side.stake_fraction,
            profit=math.nan if profit is None else profit,
            expected_profit=0.0 if side is None else side.stake_fraction * side.expected_value,
            game_cap=answer.policy.game_cap,
            evening_cap=answer.policy.evening_cap,
            sequence=found.sequence,
            late=found.sent_after,
        )

    def markets_of(each: RecordedForecast) -> tuple[SettledMarket, ...] | None:
        assert each.settlement is not None
        assert each.outcome is not None
        total = each.settlement.total
        results = {MarketKind.LEAD: (each.settlement.market_profit, each.outcome.differential)}
        if total is not None and each.outcome.total_points is not None:
            results[MarketKind.TOTAL] = (total.market_profit, each.outcome.total_points)
        counted = [market for market in each.markets if market.market.kind in results]
        return tuple(market_of(each, market, *results[market.market.kind]) for market in counted) or None

    listed.sort(
        key=lambda each: (first_report(each.issued.game_id, each.issued.forecast.horizon), each.issued.sequence)
    )
    names = [each.name for each in fields(SettledForecasts) if each.name != "markets"]
    columns = np.array([row(each) for each in listed], dtype=np.float64).reshape(len(listed), len(names)).T
    integers = dict.fromkeys(("game", "minute", "day", "order", "exclusion", "made_us"), np.int64)
    flags = (
        "covered",
        "total_open",
        "home_led",
        "total_covered",
        "other_teams",
        "in_league",
        "in_time",
        "replay",
        "outcome_doubtful",
        "corrected",
    )
    whole = {**integers, **dict.fromkeys(("home", "away"), np.int32), **dict.fromkeys(flags, np.bool_)}
    typed: dict[str, Any] = {
        name: column.astype(whole.get(name, np.float64)) for name, column in zip(names, columns, strict=True)
    }
    typed["markets"] = np.full(len(listed), None, dtype=np.object_)
    for index, each in enumerate(listed):
        typed["markets"][index] = markets_of(each)
    return SettledForecasts(**typed)


MINUTES = st.sampled_from([6, 18, 23])


@given(
    common=st.fixed_dictionaries(
        {"horizon": st.sampled_from([HALF, FINAL])},
        optional={
            "game_id": st.sampled_from([*GAMES[:3], REPLAY]),
            "first_day": st.integers(TODAY - 1, TODAY + 3),
            "last_day": st.integers(TODAY - 1, TODAY + 3),
            "team": st.sampled_from(["BOS", "BKN", "GSW", "LAL"]),
            "min_confidence": st.floats(0.5, 1.0),
            "model_version": st.sampled_from(["v1", "v2", "v9"]),
            "replays": st.booleans(),
        },
    ),
    minutes=st.none() | st.tuples(MINUTES, MINUTES),
)
@example(common={"horizon": HALF}, minutes=None)
@example(common={"horizon": FINAL, "replays": True}, minutes=None)
def test_a_filtered_scorecard_is_that_of_the_forecasts_listed_with_the_same_filter(
    book: RecordBook, common: dict[str, Any], minutes: tuple[int, int] | None
) -> None:
    least, most = minutes or (1, 47)
    wanted = pages.ForecastFilter(**common, settled=True, superseded=True)
    everything = book.read(lambda connection: pages.page(connection, wanted, "", 500))
    assert not everything.next_token
    listed = [each for each in everything.forecasts if least <= each.issued.forecast.elapsed_minutes <= most]
    found = settled(book, ScoreFilter(**common, min_minutes=least, max_minutes=most))
    assert scorecard(found.forecasts) == scorecard(columns_of(book, listed))
    versions = sorted(found.models[place] for place in found.model)
    assert versions == sorted(each.issued.forecast.model_version for each in listed)


def test_a_ledger_without_outcomes_has_nothing_settled() -> None:
    with new_book() as empty:
        empty.predict(forecast(GAMES[0]))
        found = settled(empty, ScoreFilter())
    assert (len(found.forecasts), found.models) == (0, [])


@pytest.mark.parametrize(
    "conditions",
    [
        {"game_id": GAMES[0]},
        {"first_day": TODAY},
        {"last_day": TODAY},
        {"first_day": TODAY + 1, "last_day": TODAY + 1},
        {"team": "BOS"},
        {"model_version": "v1"},
        {},
        {"min_confidence": 0.9},
    ],
    ids=str,
)
def test_a_read_is_small_if_an_index_leads_to_few_forecasts(
    book: RecordBook, monkeypatch: pytest.MonkeyPatch, conditions: dict[str, Any]
) -> None:
    filter_ = ScoreFilter(**conditions)
    indexed = {name: value for name, value in conditions.items() if name != "min_confidence"}
    listed = ForecastFilter(**indexed, replays=True, superseded=True)
    forecasts = len(book.read(lambda connection: pages.page(connection, listed, "", 500)).forecasts)
    assert forecasts
    for most, small in ((forecasts, True), (forecasts - 1, False)):
        monkeypatch.setattr(scorecards, "SMALL_READ", most)
        assert book.read(lambda connection: scorecards.is_small(connection, filter_)) == small


def test_the_position_of_scorecards_moves_with_every_report_and_with_nothing_else() -> None:
    with new_book() as made:
        positions = [made.read(scorecards.position)]

        def moved() -> bool:
            positions.append(made.read(scorecards.position))
            return positions[-1] != positions[-2]

        made.predict(with_market(forecast(GAMES[0]), stake=0.05))
        assert not moved()
        for differential, moves in ((3, True), (3, False), (4, True)):
            made.report(GAMES[0], Horizon.HALFTIME, differential)
            assert moved() == moves
        [refused] = made.predict(forecast(GAMES[0], lead=9.0))
        assert isinstance(refused, Failed)
        assert not moved()


@pytest.mark.parametrize("wanted", [ScoreFilter(horizon=FINAL), ScoreFilter(horizon=FINAL, game_id=GAMES[0])])
def test_thousands_of_revisions_of_one_minute_take_no_memory_of_their_pairs(wanted: ScoreFilter) -> None:
    """1,500 revisions have a million pairs; those of 5,000 once exceeded the memory of a worker and its successors."""
    with new_book() as record:
        told = (forecast(GAMES[0], minute=18, horizon=FINAL, lead=float(number % 40)) for number in range(1500))
        record.predict(*told)
        record.report(GAMES[0], FINAL, 3)
        tracemalloc.start()
        try:
            found = settled(record, wanted).forecasts
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert Counter(found.exclusion.tolist()) == {Exclusion.SUPERSEDED: 1499, Exclusion.NONE: 1}
    assert peak < 20_000_000
