"""Settled forecasts, and the projection that holds their scores.

Their other figures are those that examples/python/check_ledger has from the entries
(tests/examples/test_check_ledger.py).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import NormalDist

import pytest
from tests.support.builders.evening_events import GAME, HALF, reported, said, told
from tests.support.builders.record_book import RecordBook, forecast, new_book, with_market

from dejavu_ledger import LedgerCorrupt, verify
from dejavu_ledger.queries import predictions
from dejavu_ledger.records import IssuedForecast, MarketResult, Settlement


def settlement(book: RecordBook, made: IssuedForecast, differential: int) -> Settlement:
    """Record a forecast and its outcome; return its scores."""
    book.predict(made)
    book.report(GAME, HALF, differential)
    found = book.read(partial(predictions.latest_forecast, game_id=GAME, horizon=HALF)).latest.settlement
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("static", "score"), [((), NormalDist().inv_cdf(0.21)), (tuple(n / 10 for n in range(50)), 1.0)]
)
def test_the_score_of_an_outcome_is_that_of_the_level_whose_quantile_it_is(
    book: RecordBook, static: tuple[float, ...], score: float
) -> None:
    made, quantiles = forecast(GAME), tuple(float(place) for place in range(50))
    said_so = replace(made.forecast, distribution=quantiles, static_scores=static)
    assert settlement(book, replace(made, forecast=said_so), 10).score == pytest.approx(score)


@pytest.mark.parametrize(
    ("came", "line", "stake", "profit", "result"),
    [
        (-2, -2.5, 0.1, pytest.approx(0.1 * 0.9), MarketResult.WON),
        (-3, -2.5, 0.1, pytest.approx(-0.1), MarketResult.LOST),
        (-3, -3.0, 0.1, 0.0, MarketResult.PUSH),
        (-2, -2.5, 0.0, None, None),
    ],
)
def test_a_stake_wins_at_its_odds_or_is_lost(
    book: RecordBook, came: int, line: float, stake: float, profit: float | None, result: MarketResult | None
) -> None:
    found = settlement(book, with_market(forecast(GAME), line=line, odds=1.9, stake=stake), came)
    assert (found.market_profit, found.market_result) == (profit, result)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE scores SET observations = '[]'", "does not match the entries: column observations"),
        ("DELETE FROM scores", "is missing"),
    ],
)
def test_verify_names_the_scores_that_do_not_follow_from_the_entries(tmp_path: Path, change: str, what: str) -> None:
    with new_book(tmp_path) as book:
        told(book, said(18), reported(5))
        book.run(change)
    with pytest.raises(LedgerCorrupt, match=f"the row in scores of game {GAME} at the final {what}"):
        verify(f"sqlite:///{tmp_path / 'ledger.db'}")
