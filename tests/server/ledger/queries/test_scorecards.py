"""Settled forecasts of a scorecard: selection, order and columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from functools import cache
from statistics import mean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.record_book import EVENING, RecordBook, forecast, new_book, with_market, with_total

from dejavu_feed.game_day import game_day
from dejavu_feed.game_ids import is_league_id, is_replay
from dejavu_models.betting import MarketSide
from dejavu_models.scorecard import Exclusion, LeftOut, SettledForecasts, scorecard
from dejavu_models.types import Horizon
from dejavu_server.ledger.queries import pages, predictions, scorecards
from dejavu_server.ledger.queries.pages import ForecastFilter
from dejavu_server.ledger.queries.scorecards import TEAM_CODES, ScoreFilter, SettledByModel
from dejavu_server.records import LateReason, RecordedForecast
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
                    # An A/B test on the odd games, until its shares are changed before minute 23 of all but three.
                    if number % 2 and (minute < 23 or number < 6):
                        told = replace(told, arm="challenger" if model == "v2" else "champion")
                    if number % 3 != 1:
                        told = with_total(told, points=int(abs(told.pattern.last)) + 4 * minute + 2 * number)
                    made.predict(with_market(told, stake=0.05 * (number % 2)) if minute == 18 else told)
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


def wanted_of(book: RecordBook, wanted: ScoreFilter) -> list[RecordedForecast]:
    """Computes the same from the forecasts themselves, in order of their outcomes' first revisions."""
    everything = book.read(lambda connection: predictions.forecasts_at(connection, range(1, 1000)))

    def counts(each: RecordedForecast) -> bool:
        told, day = each.issued.forecast, game_day(each.issued.generated_time).toordinal()
        return (
            each.settlement is not None
            and not each.superseded
            and each.issued.late is None
            and told.horizon is wanted.horizon
            and wanted.model_version in {"", told.model_version}
            and (wanted.first_day or 0) <= day <= (wanted.last_day or day)
            and (wanted.min_minutes or 0) <= told.elapsed_minutes <= (wanted.max_minutes or 99)
            and wanted.game_id in {"", each.issued.game_id}
            and wanted.arm in {"", each.issued.arm}
            and wanted.team in {"", each.issued.home_team, each.issued.away_team}
            and max(told.home_lead_probability, 1.0 - told.home_lead_probability) >= (wanted.min_confidence or 0.0)
            and (wanted.replays or wanted.game_id != "" or not each.issued.game_id.startswith("99"))
        )

    def order(each: RecordedForecast) -> tuple[int, int]:
        game = book.read(
            lambda connection: predictions.latest_forecast(connection, each.issued.game_id, wanted.horizon)
        )
        return game.outcomes[0].sequence, each.issued.sequence

    return sorted(filter(counts, everything), key=order)


@pytest.mark.parametrize(
    "wanted",
    [
        ScoreFilter(),
        ScoreFilter(horizon=FINAL),
        ScoreFilter(replays=True),
        ScoreFilter(model_version="v2", min_minutes=18, max_minutes=18),
        ScoreFilter(first_day=TODAY + 1),
        ScoreFilter(last_day=TODAY + 1, max_minutes=18),
        ScoreFilter(first_day=TODAY + 1, last_day=TODAY + 1, min_minutes=7),
        ScoreFilter(model_version="v9"),
        ScoreFilter(game_id=GAMES[3]),
        ScoreFilter(game_id=REPLAY, max_minutes=18),
        ScoreFilter(team="BOS"),
        ScoreFilter(team="GSW", first_day=TODAY + 1, min_confidence=0.8),
        ScoreFilter(min_confidence=0.9, model_version="v1"),
        ScoreFilter(arm="challenger"),
        ScoreFilter(arm="champion", min_minutes=23),
        ScoreFilter(arm="champion", model_version="v2"),
    ],
)
def test_the_columns_are_those_of_the_forecasts_that_count(book: RecordBook, wanted: ScoreFilter) -> None:
    found = settled(book, wanted)
    count, expected = found.forecasts.exclusion == Exclusion.NONE, wanted_of(book, wanted)
    told = found.forecasts.where(count)
    assert len(told) == len(expected)
    models = [found.models[place] for place in found.model[count]]
    assert models == [each.issued.forecast.model_version for each in expected]
    games = [each.issued.game_id for each in expected]
    assert len(set(zip(told.game.tolist(), games, strict=True))) == len(set(games)) == len(set(told.game.tolist()))
    assert (np.diff(told.order) >= 0).all()
    for place, each in enumerate(expected):
        settlement, issued, outcome = each.settlement, each.issued, each.outcome
        assert settlement is not None
        assert outcome is not None
        assert (told.error[place], told.persistence_error[place]) == (settlement.error, settlement.persistence_error)
        assert told.minute[place] == issued.forecast.elapsed_minutes
        assert (told.covered[place], told.brier[place]) == (settlement.covered, settlement.brier)
        assert told.crps[place] == pytest.approx(math.nan if settlement.crps is None else settlement.crps, nan_ok=True)
        assert (told.alpha[place], told.probability[place]) == (
            issued.forecast.alpha,
            issued.forecast.home_lead_probability,
        )
        assert told.width[place] == issued.forecast.interval.upper - issued.forecast.interval.lower
        assert told.home_led[place] == (outcome.differential > 0)
        assert math.isnan(told.stake[place]) == (each.market is None)
        expected_profit = math.nan if settlement.market_profit is None else settlement.market_profit
        assert told.profit[place] == pytest.approx(expected_profit, nan_ok=True)


def test_what_is_read_in_many_parts_is_the_same(book: RecordBook, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = settled(book, ScoreFilter())
    monkeypatch.setattr(scorecards, "_PARTITION_ROWS", 7)
    parts = settled(book, ScoreFilter())
    assert scorecard(parts.forecasts) == scorecard(whole.forecasts)
    assert (parts.model.tolist(), parts.models) == (whole.model.tolist(), whole.models)


def test_a_scorecard_from_the_ledger_is_the_one_that_its_forecasts_make(book: RecordBook) -> None:
    wanted = ScoreFilter(model_version="v1")
    card = scorecard(settled(book, wanted).forecasts)
    by_game: dict[str, list[RecordedForecast]] = {}
    for each in wanted_of(book, wanted):
        by_game.setdefault(each.issued.game_id, []).append(each)
    errors = [mean(abs(each.settlement.error) for each in told if each.settlement) for told in by_game.values()]
    held = [mean(each.settlement.covered for each in told if each.settlement) for told in by_game.values()]
    assert (card.games, card.forecasts) == (len(GAMES) - 1, sum(map(len, by_game.values())))
    assert card.mae is not None
    assert card.mae.value == pytest.approx(mean(errors))
    [coverage] = card.coverage
    assert coverage.coverage == pytest.approx(mean(held))
    assert card.market is not None
    superseded = 1  # its market stays
    counted = sum(each.market is not None for told in by_game.values() for each in told)
    assert card.market.markets == counted + superseded
    assert card.left_out == LeftOut(superseded=1, later_minute=1)


LATE = {LateReason.LATER_MINUTE: Exclusion.LATER_MINUTE, LateReason.TIME: Exclusion.LATE_TIME}


def columns_of(book: RecordBook, listed: list[RecordedForecast]) -> SettledForecasts:
    """Returns listed forecasts as the columns of a scorecard, in the order of their outcomes' first revisions."""

    @cache
    def first_report(game_id: str, horizon: Horizon) -> int:
        game = book.read(lambda connection: predictions.latest_forecast(connection, game_id, horizon))
        return game.outcomes[0].sequence

    def row(each: RecordedForecast) -> tuple[float, ...]:
        told, settlement, outcome = each.issued.forecast, each.settlement, each.outcome
        assert settlement is not None
        assert outcome is not None
        side = None if each.market_answer is None else each.market_answer.side
        first = first_report(each.issued.game_id, told.horizon)
        return (
            first,
            told.elapsed_minutes,
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
            math.nan if each.market_answer is None else each.market_answer.home.stake_fraction if side else 0.0,
            math.nan if settlement.market_profit is None else settlement.market_profit,
            expected_profit(each),
            math.nan if each.market_answer is None else each.market_answer.policy.game_cap,
            math.nan if each.market_answer is None else each.market_answer.policy.evening_cap,
            each.issued.day.toordinal(),
            each.market_sent_after,
            each.market_sequence,
            first,
            LATE[each.issued.late] if each.issued.late else each.superseded * Exclusion.SUPERSEDED,
            TEAM_CODES[each.issued.home_team],
            TEAM_CODES[each.issued.away_team],
            False,  # the outcomes name the teams of the forecasts, or none
            is_league_id(each.issued.game_id),
            each.issued.late is None,
            is_replay(each.issued.game_id),
            outcome.revision > 0,  # each corrects the differential
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

    def expected_profit(each: RecordedForecast) -> float:
        if each.market_answer is None:
            return math.nan
        sides = {MarketSide.HOME: each.market_answer.home, MarketSide.AWAY: each.market_answer.away}
        side = sides.get(each.market_answer.side) if each.market_answer.side else None
        return 0.0 if side is None else side.stake_fraction * side.expected_value

    listed.sort(
        key=lambda each: (first_report(each.issued.game_id, each.issued.forecast.horizon), each.issued.sequence)
    )
    names = [each.name for each in fields(SettledForecasts)]
    columns = np.array([row(each) for each in listed], dtype=np.float64).reshape(len(listed), len(names)).T
    integers = dict.fromkeys(("game", "minute", "day", "market_sequence", "order", "exclusion"), np.int64)
    flags = (
        "covered",
        "late_market",
        "total_open",
        "home_led",
        "total_covered",
        "other_teams",
        "in_league",
        "in_time",
        "replay",
        "corrected",
    )
    whole = {**integers, **dict.fromkeys(("home", "away"), np.int32), **dict.fromkeys(flags, np.bool_)}
    typed: dict[str, Any] = {
        name: column.astype(whole.get(name, np.float64)) for name, column in zip(names, columns, strict=True)
    }
    return SettledForecasts(**typed)


@given(
    common=st.fixed_dictionaries(
        {"horizon": st.sampled_from([HALF, FINAL])},
        optional={
            "game_id": st.sampled_from([*GAMES[:3], REPLAY]),
            "first_day": st.integers(TODAY - 1, TODAY + 3),
            "last_day": st.integers(TODAY - 1, TODAY + 3),
            "team": st.sampled_from(["BOS", "BKN", "GSW", "LAL"]),
            "min_confidence": st.floats(0.5, 1.0),
            "model_version": st.sampled_from(["v1", "v2"]),
            "replays": st.booleans(),
        },
    )
)
def test_a_filtered_scorecard_is_that_of_the_forecasts_listed_with_the_same_filter(
    book: RecordBook, common: dict[str, Any]
) -> None:
    listed: list[RecordedForecast] = []
    token, more = "", True
    while more:
        wanted, after = pages.ForecastFilter(**common, settled=True, superseded=True), token
        page = book.read(lambda connection: pages.page(connection, wanted, after, 50))  # noqa: B023 - called at once
        listed += page.forecasts
        token, more = page.next_token, page.next_token != ""
    assert scorecard(settled(book, ScoreFilter(**common)).forecasts) == scorecard(columns_of(book, listed))


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


def test_the_narrowest_condition_decides_whether_a_read_is_small(
    book: RecordBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorecards, "SMALL_READ", 20)
    assert not book.read(lambda connection: scorecards.is_small(connection, ScoreFilter(model_version="v1")))
    narrow = ScoreFilter(model_version="v1", game_id=GAMES[0])
    assert book.read(lambda connection: scorecards.is_small(connection, narrow))


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
