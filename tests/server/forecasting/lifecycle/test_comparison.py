"""CompareModels compares recorded forecasts, by version or alias, and its refusals name the field."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.model_changes import champion, change_models, shadow
from tests.support.builders.outcomes import outcome

from dejavu.v1 import forecast_pb2, model_comparison_pb2
from dejavu.v1 import model_service_pb2 as pb
from dejavu_ledger import Ledger
from dejavu_ledger.records import IssuedForecast, ShadowForecast
from dejavu_models.comparison.gate import GateDecision, GateSettings
from dejavu_models.errors import InvalidHorizon
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_server.api.converters.field_errors import InvalidComparison
from dejavu_server.api.models.comparison import ModelComparisons
from dejavu_server.api.shared_reads import SharedReads
from dejavu_server.forecasting.lifecycle.evidence import LedgerGate
from dejavu_server.limits import SERVER
from dejavu_store.stages import ModelAction, NotRegistered


def _distributed(made: IssuedForecast, point: float) -> IssuedForecast:
    return replace(made, forecast=replace(made.forecast, distribution=(point,) * len(DISTRIBUTION_LEVELS)))


def _issued(games: int, horizon: Horizon = Horizon.HALFTIME) -> list[IssuedForecast]:
    return [_distributed(issued(game(number), point=1.0, horizon=horizon), 1.0) for number in range(1, games + 1)]


def _shadow(of: IssuedForecast, version: str, point: float) -> ShadowForecast:
    told = shadow(of, version, point=point)
    return replace(told, forecast=replace(told.forecast, distribution=(point,) * len(DISTRIBUTION_LEVELS)))


async def _settled(ledger: Ledger, games: int, *, better: float = 1.0, horizon: Horizon = Horizon.HALFTIME) -> None:
    """Record games that v1 misses by 3 points, and its challenger v2 by 3 − `better`."""
    stored = await recorded(ledger, *_issued(games, horizon))
    await ledger.record_shadows([_shadow(each, "v2", 1.0 + better) for each in stored])
    for each in stored:
        await ledger.record_outcome(outcome(4, each.game_id, horizon=horizon))


async def _compare(
    ledger: Ledger, settings: GateSettings | None = None, **fields: Any
) -> model_comparison_pb2.ModelComparison:
    comparisons = ModelComparisons(SharedReads(lambda: ledger), settings or GateSettings())
    response = await comparisons.compare_models(
        pb.CompareModelsRequest(**{"horizon": forecast_pb2.HORIZON_HALFTIME, **fields}), SERVER
    )
    return response.comparison


async def test_the_challenger_is_compared_with_the_champion(ledger: Ledger) -> None:
    await champion(ledger, "v1", "v2")
    await _settled(ledger, 12)
    found = await _compare(ledger, GateSettings(min_games=3))
    assert (found.model_version, found.against_version) == ("v2", "v1")
    assert (found.games, found.forecasts) == (12, 12)
    assert [found.crps.score, found.crps.against_score] == pytest.approx([2.0, 3.0])
    assert [found.crps.difference, found.crps.margin] == pytest.approx([-1.0, 0.003])
    assert found.crps.lower == pytest.approx(-1.0)
    assert [point.games for point in found.crps.path] == list(range(1, 13))
    assert found.crps.path[-1].not_worse_e_value == found.crps.not_worse_e_value > 20.0 > found.crps.worse_e_value
    [coverage] = found.coverage
    assert [coverage.alpha, coverage.coverage, coverage.bound] == pytest.approx([0.05, 1.0, 0.93])
    assert [found.crps.divergence, found.brier.divergence] == pytest.approx([0.98**2, 0.0])
    assert found.decision == model_comparison_pb2.GATE_DECISION_PROMOTE


async def test_the_gate_looks_at_both_horizons_whichever_is_shown(ledger: Ledger) -> None:
    await champion(ledger, "v1", "v2")
    await _settled(ledger, 5, horizon=Horizon.FINAL)
    at_half = await _compare(ledger)
    assert (at_half.games, at_half.decision) == (0, model_comparison_pb2.GATE_DECISION_CONTINUE)
    assert not at_half.HasField("crps")
    assert at_half.decision_reason == "5 of at least 100 games were compared"
    at_end = await _compare(ledger, horizon=forecast_pb2.HORIZON_FINAL)
    assert (at_end.games, at_end.decision_reason) == (5, at_half.decision_reason)


@pytest.mark.parametrize(("lost", "promoted"), [(0.2, True), (2.0, False)])
async def test_a_challenger_may_not_fall_behind_the_first_champion_of_the_season(
    ledger: Ledger, lost: float, promoted: bool
) -> None:
    """Formerly, a chain of challengers that each lost less than the margin lost twice the margin in a season."""
    settings = GateSettings(margin=0.5, min_games=3)
    await champion(ledger, "v1", "v2", "v3")
    roster, _ = await change_models(ledger, ModelAction.PROMOTE, "v2")
    assert (roster.champion, roster.anchor) == ("v2", "v1")
    made = [replace(each, forecast=replace(each.forecast, model_version="v2")) for each in _issued(160)]
    stored = await recorded(ledger, *made)
    await ledger.record_shadows(
        [_shadow(each, version, 1.0 + better) for each in stored for version, better in (("v3", 0.0), ("v1", lost))]
    )
    for each in stored:
        await ledger.record_outcome(outcome(4, each.game_id))
    found = await _compare(ledger, settings)
    judgement = await LedgerGate(lambda: ledger, settings).judgement("v3", "v2", anchor=roster.anchor)
    assert (judgement.decision is GateDecision.PROMOTE) is promoted
    assert (found.decision == model_comparison_pb2.GATE_DECISION_PROMOTE) is promoted
    assert found.decision_reason == judgement.reason
    assert promoted or "against v1, the season's first champion: " in judgement.reason


async def test_a_new_outcome_makes_a_new_comparison(ledger: Ledger) -> None:
    await champion(ledger, "v1", "v2")
    comparisons = ModelComparisons(SharedReads(lambda: ledger), GateSettings())
    await _settled(ledger, 2)
    request = pb.CompareModelsRequest(
        model_version="v1", against_version="persistence", horizon=forecast_pb2.HORIZON_HALFTIME
    )
    first, same = await asyncio.gather(*(comparisons.compare_models(request, SERVER) for _ in range(2)))
    assert first is same, "callers that ask for the same share one read"
    await ledger.record_outcome(outcome(7, game(1)))
    changed = await comparisons.compare_models(request, SERVER)
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
        ({"horizon": forecast_pb2.HORIZON_UNSPECIFIED}, InvalidHorizon, "horizon"),
    ],
)
async def test_what_cannot_be_compared_is_refused(
    ledger: Ledger, fields: dict[str, Any], error: type[Exception], field: str
) -> None:
    await champion(ledger, "v1", "v2")
    with pytest.raises(error) as refused:
        await _compare(ledger, **fields)
    assert getattr(refused.value, "field", None) == field
