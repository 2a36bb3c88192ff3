"""CompareModels compares recorded forecasts, by version or alias, and its refusals name the field."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.model_changes import champion, shadow
from tests.support.builders.outcomes import outcome

from dejavu.v1 import forecast_pb2, model_comparison_pb2
from dejavu.v1 import model_service_pb2 as pb
from dejavu_models.comparison import GateSettings
from dejavu_models.errors import InvalidHorizon
from dejavu_models.registry.stages import NotRegistered
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_server.api.converters.errors import InvalidComparison
from dejavu_server.api.models.comparison import ModelComparisons
from dejavu_server.ledger import Ledger
from dejavu_server.records import IssuedForecast

_NOBODY: Any = None
"""The context of a call."""


def _distributed(made: IssuedForecast, point: float) -> IssuedForecast:
    return replace(made, forecast=replace(made.forecast, distribution=(point,) * len(DISTRIBUTION_LEVELS)))


async def _settled(ledger: Ledger, games: int, *, better: float = 1.0, horizon: Horizon = Horizon.HALFTIME) -> None:
    """Record games that v1 misses by 3 points, and its challenger v2 by 3 − `better`."""
    made = [_distributed(issued(game(number), point=1.0, horizon=horizon), 1.0) for number in range(1, games + 1)]
    stored = await recorded(ledger, *made)
    beside = []
    for each in stored:
        told = shadow(each, "v2", point=1.0 + better)
        quantiles = (1.0 + better,) * len(DISTRIBUTION_LEVELS)
        beside.append(replace(told, forecast=replace(told.forecast, distribution=quantiles)))
    await ledger.record_shadows(beside)
    for each in stored:
        await ledger.record_outcome(outcome(4, each.game_id, horizon=horizon))


async def _compare(
    ledger: Ledger, settings: GateSettings | None = None, **fields: Any
) -> model_comparison_pb2.ModelComparison:
    comparisons = ModelComparisons(ledger, settings or GateSettings())
    response = await comparisons.compare_models(pb.CompareModelsRequest(**fields), _NOBODY)
    return response.comparison


async def test_the_challenger_is_compared_with_the_champion(ledger: Ledger) -> None:
    await champion(ledger, "v1", "v2")
    await _settled(ledger, 12)
    found = await _compare(ledger, GateSettings(min_games=3))
    assert (found.model_version, found.against_version) == ("v2", "v1")
    assert (found.games, found.forecasts) == (12, 12)
    assert [found.crps.score, found.crps.against_score] == pytest.approx([2.0, 3.0])
    assert [found.crps.difference, found.crps.margin] == pytest.approx([-1.0, 0.02])
    assert found.crps.lower == pytest.approx(-1.0)
    assert [point.games for point in found.crps.path] == list(range(1, 13))
    assert found.crps.path[-1].not_worse_e_value == found.crps.not_worse_e_value > 20.0 > found.crps.worse_e_value
    [coverage] = found.coverage
    assert [coverage.alpha, coverage.coverage, coverage.bound] == pytest.approx([0.05, 1.0, 0.92])
    assert found.decision == model_comparison_pb2.GATE_DECISION_CONTINUE
    assert "not shown to be no worse by 0.001 in Brier score" in found.decision_reason


async def test_the_gate_looks_at_both_horizons_whichever_is_shown(ledger: Ledger) -> None:
    await champion(ledger, "v1", "v2")
    await _settled(ledger, 5, horizon=Horizon.FINAL)
    at_half = await _compare(ledger)
    assert (at_half.games, at_half.decision) == (0, model_comparison_pb2.GATE_DECISION_CONTINUE)
    assert not at_half.HasField("crps")
    assert at_half.decision_reason == "5 of at least 100 games were compared"
    at_end = await _compare(ledger, horizon=forecast_pb2.HORIZON_FINAL)
    assert (at_end.games, at_end.decision_reason) == (5, at_half.decision_reason)


async def test_a_new_outcome_makes_a_new_comparison(ledger: Ledger) -> None:
    await champion(ledger, "v1", "v2")
    comparisons = ModelComparisons(ledger, GateSettings())
    await _settled(ledger, 2)
    request = pb.CompareModelsRequest(model_version="v1", against_version="persistence")
    first, same = await asyncio.gather(*(comparisons.compare_models(request, _NOBODY) for _ in range(2)))
    assert first is same, "callers that ask for the same share one read"
    await ledger.record_outcome(outcome(7, game(1)))
    changed = await comparisons.compare_models(request, _NOBODY)
    assert changed.comparison.crps.score == pytest.approx((6.0 + 3.0) / 2)
    assert changed.comparison.crps.against_score == pytest.approx((8.0 + 5.0) / 2)


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"model_version": "v9"}, NotRegistered, "model_version"),
        ({"against_version": "v9"}, NotRegistered, "against_version"),
        ({"against_version": "previous"}, NotRegistered, "against_version"),
        ({"model_version": "persistence"}, NotRegistered, "model_version"),
        ({"model_version": "champion"}, InvalidComparison, "against_version"),
        ({"horizon": 9}, InvalidHorizon, "horizon"),
    ],
)
async def test_what_cannot_be_compared_is_refused(
    ledger: Ledger, fields: dict[str, Any], error: type[Exception], field: str
) -> None:
    await champion(ledger, "v1", "v2")
    with pytest.raises(error) as refused:
        await _compare(ledger, **fields)
    assert getattr(refused.value, "field", None) == field


async def test_a_path_has_at_most_500_points_with_the_last(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    await champion(ledger, "v1", "v2")
    await _settled(ledger, 9)
    monkeypatch.setattr("dejavu_server.api.converters.comparison.MAX_POINTS", 4)
    path = (await _compare(ledger)).crps.path
    assert [point.games for point in path] == [1, 4, 6, 9]
