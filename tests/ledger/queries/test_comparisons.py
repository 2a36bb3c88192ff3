"""Pairs of settled forecasts for exactly the same request, in the order in which their games were settled."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.outcomes import outcome

from dejavu_ledger import Ledger
from dejavu_ledger.queries import scorecards
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.records import IssuedForecast, ShadowForecast
from dejavu_models.comparison.gate import PERSISTENCE
from dejavu_models.comparison.scores import PairedForecasts
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon, Interval

_PATTERN = (0.0, 2.0, -1.0)
_REPLAY = "9900000007"


def _forecast(
    game_id: str, point: float, version: str = "v1", *, certain: bool = True, **fields: object
) -> IssuedForecast:
    """Return a forecast whose distribution is its point, so that its CRPS is its absolute error."""
    made = issued(game_id, **{"pattern": _PATTERN, "model_version": version, "point": point, **fields})  # type: ignore[arg-type]
    distribution = (point,) * len(DISTRIBUTION_LEVELS) if certain else ()
    return replace(made, forecast=replace(made.forecast, distribution=distribution))


def _beside(of: IssuedForecast, point: float, version: str = "v2") -> ShadowForecast:
    forecast = replace(
        of.forecast,
        model_version=version,
        point=point,
        distribution=(point,) * len(DISTRIBUTION_LEVELS),
        interval=Interval(point - 1.0, point + 1.0),
        home_lead_probability=0.9,
    )
    return ShadowForecast(of.sequence, forecast, of.generated_time, of.expires_time)


async def _pairs(ledger: Ledger, model: str, against: str) -> PairedForecasts:
    query = partial(scorecards.pairs, versions=[model], against=against, filter_=ScoreFilter())
    return (await ledger.read(query))[model]


async def test_a_shadow_is_compared_with_the_forecast_that_it_was_made_beside(ledger: Ledger) -> None:
    [first] = await recorded(ledger, _forecast(game(1), 3.0))
    await ledger.record_shadows([_beside(first, 5.0)])
    assert len(await _pairs(ledger, "v2", "v1")) == 0, "not settled yet"
    stored, _ = await ledger.record_outcome(outcome(4, game(1)))
    pairs = await _pairs(ledger, "v2", "v1")
    assert (pairs.game.tolist(), pairs.minute.tolist(), pairs.alpha.tolist()) == ([stored.sequence], [3], [0.05])
    assert pairs.crps == pytest.approx([1.0])
    assert pairs.against_crps == pytest.approx([1.0])
    assert pairs.brier == pytest.approx([0.01])
    assert pairs.against_brier == pytest.approx([0.16])
    assert pairs.covered.tolist() == [True]
    turned = await _pairs(ledger, "v1", "v2")
    assert turned.brier == pytest.approx([0.16])


async def test_shadows_of_one_forecast_are_a_pair_and_forecasts_of_others_are_not(ledger: Ledger) -> None:
    first, other = await recorded(
        ledger, _forecast(game(1), 3.0), _forecast(game(1), 6.0, "v2", pattern=(*_PATTERN, 0.0))
    )
    await ledger.record_shadows([_beside(first, 5.0), _beside(first, 2.0, "v3"), _beside(other, 3.5, "v1")])
    await ledger.record_outcome(outcome(4, game(1)))
    pairs = await _pairs(ledger, "v2", "v3")
    assert [*pairs.crps, *pairs.against_crps] == pytest.approx([1.0, 2.0])
    pairs = await _pairs(ledger, "v2", "v1")
    assert [*pairs.crps, *pairs.against_crps] == pytest.approx([1.0, 2.0, 1.0, 0.5])


async def test_games_are_in_the_order_in_which_they_were_settled(ledger: Ledger) -> None:
    stored = await recorded(ledger, *(_forecast(game(number), 3.0) for number in range(1, 4)))
    await ledger.record_shadows([_beside(each, float(index)) for index, each in enumerate(stored)])
    for number in (3, 1, 2):
        await ledger.record_outcome(outcome(number, game(number)))
    await ledger.record_outcome(outcome(30, game(3)))
    await ledger.withdraw_outcome(game(1), Horizon.HALFTIME)
    await ledger.record_outcome(outcome(5, game(1)))
    pairs = await _pairs(ledger, "v2", "v1")
    assert pairs.crps == pytest.approx([28.0, 5.0, 1.0]), "neither a correction nor a withdrawal moves a game"
    assert pairs.game.tolist() == sorted(pairs.game.tolist())


async def test_a_superseded_forecast_and_its_shadow_do_not_count(ledger: Ledger) -> None:
    [wrong] = await recorded(ledger, _forecast(game(1), 3.0, pattern=(0.0, 2.0, 9.0)))
    await ledger.record_shadows([_beside(wrong, 5.0)])
    await recorded(ledger, _forecast(game(1), 7.0))
    await ledger.record_outcome(outcome(4, game(1)))
    assert len(await _pairs(ledger, "v2", "v1")) == 0


async def test_persistence_is_a_certain_forecast_of_the_lead(ledger: Ledger) -> None:
    await recorded(ledger, _forecast(game(1), 3.0))
    await ledger.record_outcome(outcome(4, game(1)))
    pairs = await _pairs(ledger, "v1", PERSISTENCE)
    assert pairs.against_crps == pytest.approx([5.0]), "the lead was -1"
    assert pairs.against_brier == pytest.approx([1.0])


async def test_models_are_compared_on_the_forecasts_that_match(ledger: Ledger) -> None:
    stored = await recorded(
        ledger,
        _forecast(game(1), 3.0),
        _forecast(_REPLAY, 3.0),
        _forecast(game(2), 3.0, horizon=Horizon.FINAL),
        _forecast(game(3), 3.0),
    )
    await ledger.record_shadows([_beside(each, 5.0, version) for each in stored for version in ("v2", "v3")])
    for each in stored:
        await ledger.record_outcome(outcome(4, each.game_id, horizon=each.forecast.horizon))
    expected: list[tuple[int, dict[str, Any], int]] = [
        (0, {}, 2),
        (stored[0].sequence, {}, 1),
        (0, {"replays": True}, 3),
        (0, {"game_id": _REPLAY}, 1),
        (0, {"horizon": Horizon.FINAL}, 1),
        (0, {"max_minutes": 3}, 2),
        (0, {"min_minutes": 4}, 0),
        (0, {"team": "LAL"}, 0),
        (0, {"recorded_by": "token:nobody"}, 0),
        (0, {"first_day": 800_000}, 0),
    ]
    for since, conditions, number in expected:
        query = partial(scorecards.pairs, versions=("v2", "v3", "v4"), against="v1", since=since)
        pairs = await ledger.read(partial(query, filter_=ScoreFilter(**conditions)))
        assert {version: len(each) for version, each in pairs.items()} == {"v2": number, "v3": number, "v4": 0}


async def test_a_forecast_without_a_distribution_is_left_out(ledger: Ledger) -> None:
    [first] = await recorded(ledger, _forecast(game(1), 3.0, certain=False))
    await ledger.record_shadows([_beside(first, 5.0)])
    await ledger.record_outcome(outcome(4, game(1)))
    assert len(await _pairs(ledger, "v2", "v1")) == 0
