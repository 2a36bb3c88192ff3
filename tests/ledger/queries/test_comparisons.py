"""Pairs of settled forecasts for exactly the same request, in the order in which their games were settled."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from tests.support.builders.record_book import (
    FINAL,
    GAME,
    HALF,
    OTHER,
    Event,
    RecordBook,
    reported,
    said,
    shadowed,
    told,
    withdrawn,
)

from dejavu_ledger.queries import scorecards
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_models.comparison import PERSISTENCE

THIRD, REPLAY = "0022500003", "9900000007"


def certain(point: float, game_id: str = GAME, minute: int = 3, lead: float = -1.0, **more: Any) -> Event:
    """Return a forecast of the half whose distribution is its point, so that its CRPS is its absolute error."""
    return said(minute, lead, game_id, **{"point": point, "half_width": 0.0, "horizon": HALF, **more})


def settled(differential: int, game_id: str = GAME) -> Event:
    return reported(differential, HALF, game_id)


PAIRS: dict[str, tuple[list[Event], tuple[str, str], list[float], list[float]]] = {
    "a shadow and the forecast that it was made beside":
        ([certain(3.0), shadowed(1, point=6.0), settled(4)], ("v2", "v1"), [2.0], [1.0]),
    "shadows of one forecast, not forecasts of others":
        ([certain(3.0), certain(6.0, minute=4, model_version="v2"), shadowed(1, point=5.0),
          shadowed(1, "v3", point=2.0), shadowed(2, "v1", point=3.5), settled(4)], ("v2", "v3"), [1.0], [2.0]),
    "shadows of several forecasts, of which the other model made one":
        ([certain(3.0), certain(6.0, minute=4, model_version="v2"), shadowed(1, point=5.0),
          shadowed(2, "v1", point=3.5), settled(4)], ("v2", "v1"), [1.0, 2.0], [1.0, 0.5]),
    "neither a correction nor a withdrawal moves a game":
        ([*(certain(3.0, each) for each in (GAME, OTHER, THIRD)), *(shadowed(of, point=of - 1.0) for of in (1, 2, 3)),
          settled(3, THIRD), settled(1), settled(2, OTHER), settled(30, THIRD), withdrawn(HALF), settled(5)],
         ("v2", "v1"), [28.0, 5.0, 1.0], [27.0, 2.0, 1.0]),
    "a superseded forecast and its shadow do not count":
        ([certain(3.0, lead=9.0), shadowed(1, point=5.0), certain(7.0), settled(4)], ("v2", "v1"), [], []),
    "persistence is a certain forecast of the lead": ([certain(3.0), settled(4)], ("v1", PERSISTENCE), [1.0], [5.0]),
    "a forecast without a distribution is left out":
        ([certain(3.0, distribution=False), shadowed(1, point=5.0), settled(4)], ("v2", "v1"), [], []),
}  # fmt: skip
"""What is recorded → a model, the one it is compared with, and the CRPS of both for each pair."""


@pytest.mark.parametrize(("events", "models", "crps", "against_crps"), PAIRS.values(), ids=PAIRS)
def test_two_models_are_compared_on_what_both_forecast(
    book: RecordBook, events: list[Event], models: tuple[str, str], crps: list[float], against_crps: list[float]
) -> None:
    told(book, *events)
    model, against = models
    query = partial(scorecards.pairs, versions=[model], against=against, filter_=ScoreFilter())
    pairs = book.read(query)[model]
    assert (pairs.crps.tolist(), pairs.against_crps.tolist()) == (pytest.approx(crps), pytest.approx(against_crps))
    assert pairs.game.tolist() == sorted(pairs.game.tolist())


@pytest.mark.parametrize(
    ("models", "brier", "against_brier"),
    [(("v2", "v1"), 0.01, 0.16), (("v1", "v2"), 0.16, 0.01), (("v1", PERSISTENCE), 0.16, 1.0)],
)
def test_a_pair_has_the_scores_of_both_and_says_of_what_it_is(
    book: RecordBook, models: tuple[str, str], brier: float, against_brier: float
) -> None:
    told(book, certain(3.0), shadowed(1, point=5.0), settled(4))
    query = partial(scorecards.pairs, versions=models[:1], against=models[1], filter_=ScoreFilter())
    pairs = book.read(query)[models[0]]
    assert (pairs.game.tolist(), pairs.minute.tolist(), pairs.alpha.tolist()) == ([3], [3], [0.05])
    assert (pairs.brier.tolist(), pairs.against_brier.tolist()) == (
        pytest.approx([brier]),
        pytest.approx([against_brier]),
    )
    assert pairs.covered.tolist() == [models[0] == "v2"], "its interval has a point on both sides"


@pytest.mark.parametrize(
    ("since", "conditions", "number"),
    [
        (0, {}, 2),
        (1, {}, 1),
        (0, {"replays": True}, 3),
        (0, {"game_id": REPLAY}, 1),
        (0, {"horizon": FINAL}, 1),
        (0, {"max_minutes": 3}, 2),
        (0, {"min_minutes": 4}, 0),
        (0, {"team": "LAL"}, 0),
        (0, {"recorded_by": "token:nobody"}, 0),
    ],
)
def test_models_are_compared_on_the_forecasts_that_match(
    book: RecordBook, since: int, conditions: dict[str, Any], number: int
) -> None:
    games = [(GAME, HALF), (REPLAY, HALF), (OTHER, FINAL), (THIRD, HALF)]
    told(book, *(certain(3.0, game_id, horizon=horizon) for game_id, horizon in games))
    told(book, *(shadowed(of, version, point=5.0) for of in (1, 2, 3, 4) for version in ("v2", "v3")))
    told(book, *(reported(4, horizon, game_id) for game_id, horizon in games))
    query = partial(scorecards.pairs, versions=("v2", "v3", "v4"), against="v1", since=since)
    pairs = book.read(partial(query, filter_=ScoreFilter(**conditions)))
    assert {version: len(each) for version, each in pairs.items()} == {"v2": number, "v3": number, "v4": 0}
