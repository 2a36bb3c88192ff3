"""Settled forecasts, compared with a plain computation, and the projection that holds their scores."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import pytest
from tests.support.builders.evening_events import GAME, HALF, OTHER, reported, said, told, withdrawn
from tests.support.builders.issued_forecasts import game
from tests.support.builders.record_book import RecordBook, forecast, new_book, with_market, with_total

from dejavu_ledger import LedgerCorrupt, verify
from dejavu_ledger.audit.verification import check_scores
from dejavu_ledger.database import sql
from dejavu_ledger.queries import predictions
from dejavu_ledger.records import IssuedForecast, MarketResult, Settlement
from dejavu_models.types import DISTRIBUTION_LEVELS, Interval


def settlements(book: RecordBook, made: list[IssuedForecast]) -> list[Settlement]:
    """Return the scores of recorded forecasts."""
    found = book.read(lambda connection: predictions.forecasts_at(connection, [each.sequence for each in made]))
    return [each.settlement for each in found if each.settlement is not None]


def crps(quantiles: tuple[float, ...], came: int) -> float:
    pinball = (
        2 * max(level * (came - quantile), (level - 1) * (came - quantile))
        for level, quantile in zip(DISTRIBUTION_LEVELS, quantiles, strict=True)
    )
    return sum(pinball) / len(quantiles)


def some_forecast(rng: random.Random, number: int) -> IssuedForecast:
    made = forecast(
        game(number), lead=float(rng.randrange(-40, 40)), point=rng.uniform(-30, 30), probability=rng.random()
    )
    lower, upper = sorted((float(rng.randrange(-9, 9)), rng.uniform(-9, 9)))
    quantiles = tuple(sorted(rng.uniform(-30, 30) for _ in DISTRIBUTION_LEVELS)) if number else ()
    made = replace(made, forecast=replace(made.forecast, interval=Interval(lower, upper), distribution=quantiles))
    return with_total(made, points=rng.randrange(60, 90)) if number % 2 else made


def test_a_settlement_is_what_its_figures_are_said_to_be() -> None:
    rng = random.Random(3)
    with new_book() as book:
        for number in range(40):
            [made] = book.predict(some_forecast(rng, number))
            assert isinstance(made, IssuedForecast)
            came, points = rng.randrange(-9, 9), None if number % 3 else rng.randrange(90, 120)
            outcome = book.report(made.game_id, HALF, came, total_points=points)
            [found] = settlements(book, [made])
            one = made.forecast
            assert found.outcome_sequence == outcome.sequence
            assert (found.error, found.persistence_error) == (one.point - came, made.pattern.last - came)
            assert found.covered == (one.interval.lower <= came <= one.interval.upper)
            assert found.brier == pytest.approx((one.home_lead_probability - (came > 0)) ** 2)
            assert (found.crps, found.score is None) == (
                (pytest.approx(crps(one.distribution, came)), False) if one.distribution else (None, True)
            )
            assert (found.market_profit, found.market_result) == (None, None)
            if one.total is None or points is None:
                assert found.total is None
                continue
            assert found.total is not None
            pace = (made.live.total_points or 0) * 24 / one.elapsed_minutes
            assert (found.total.error, found.total.pace_error) == (one.total.point - points, pace - points)
            assert found.total.covered == (one.total.interval.lower <= points <= one.total.interval.upper)
            assert found.total.crps == pytest.approx(crps(one.total.distribution, points))


@pytest.mark.parametrize(
    ("static", "score"), [((), NormalDist().inv_cdf(0.21)), (tuple(n / 10 for n in range(50)), 1.0)]
)
def test_the_score_of_an_outcome_is_that_of_the_level_whose_quantile_it_is(
    static: tuple[float, ...], score: float
) -> None:
    made = forecast(GAME)
    quantiles = tuple(float(place) for place in range(50))
    with new_book() as book:
        stored = book.predict(
            replace(made, forecast=replace(made.forecast, distribution=quantiles, static_scores=static))
        )
        book.report(GAME, HALF, 10)
        [found] = settlements(book, [each for each in stored if isinstance(each, IssuedForecast)])
    assert found.score == pytest.approx(score)


@pytest.mark.parametrize(
    ("came", "stake", "profit", "result"),
    [
        (-2, 0.1, 0.1 * 0.9, MarketResult.WON),
        (-3, 0.1, -0.1, MarketResult.LOST),
        (-2.5, 0.1, 0.0, MarketResult.PUSH),
        (-2, 0.0, None, None),
    ],
)
def test_a_stake_wins_at_its_odds_or_is_lost(
    came: float, stake: float, profit: float | None, result: MarketResult | None
) -> None:
    line, differential = (-2.5, int(came)) if came == int(came) else (-3.0, -3)
    with new_book() as book:
        stored = book.predict(with_market(forecast(GAME), line=line, odds=1.9, stake=stake))
        book.report(GAME, HALF, differential)
        [found] = settlements(book, [each for each in stored if isinstance(each, IssuedForecast)])
    assert found.market_profit == (None if profit is None else pytest.approx(profit))
    assert found.market_result is result


def test_scores_written_report_by_report_are_those_of_the_whole_record() -> None:
    with new_book() as book:
        told(
            book,
            reported(5),
            withdrawn(),
            *(said(minute, at=2 * minute, points=4 * minute, market={}) for minute in (6, 18, 30)),
            *(said(minute, 9.0, OTHER, at=2 * minute) for minute in (6, 18, 30)),
            reported(2, HALF),
            reported(5, at=-5),
            reported(7, total_points=190),
            reported(3, game_id=OTHER),
            withdrawn(game_id=OTHER),
            said(40, game_id=OTHER, at=90),
            reported(4, game_id=OTHER),
            withdrawn(HALF),
        )
        book.read(check_scores)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE scores SET forecasts = zeroblob(length(forecasts))", "does not match the entries: column forecasts"),
        ("UPDATE scores SET observations = '[]'", "does not match the entries: column observations"),
        ("DELETE FROM scores", "is missing"),
        ("UPDATE scores SET game_id = '0022500009'", "is missing"),
        ("INSERT", "should not exist"),
    ],
)
def test_verify_names_the_scores_that_do_not_follow_from_the_entries(tmp_path: Path, change: str, what: str) -> None:
    with new_book(tmp_path) as book:
        told(book, said(18), reported(5))
        if change.startswith("INSERT"):
            names = book.read(lambda c: [row[1] for row in sql.rows(c, "SELECT * FROM pragma_table_info('scores')")])
            change = f"INSERT INTO scores SELECT '0022500009', 'final', {', '.join(names[2:])} FROM scores"
        book.write(lambda connection: sql.run_each(connection, change, [{}]))
    with pytest.raises(LedgerCorrupt, match=rf"the row in scores of game 002250000\d at the final {what}"):
        verify(f"sqlite:///{tmp_path / 'ledger.db'}")
