"""Challengers: shadows beside every recorded forecast, comparisons of models, and the gatekeeper's judgement."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.model_changes import champion, change_models, shadow
from tests.support.builders.outcomes import outcome
from tests.support.fakes.forecasters import PersistenceForecaster
from typing_extensions import override

from dejavu.v1 import forecast_pb2, model_comparison_pb2
from dejavu.v1 import model_service_pb2 as pb
from dejavu_feed.box_score import lineups
from dejavu_feed.live_inputs import LiveInputs
from dejavu_ledger import Ledger
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.queries.model_changes import newest_change
from dejavu_ledger.records import IssuedForecast, ShadowForecast
from dejavu_models.comparison import GateDecision, GateSettings, Judgement
from dejavu_models.errors import InvalidHorizon
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import DISTRIBUTION_LEVELS
from dejavu_server.api.converters.fields import InvalidComparison
from dejavu_server.api.model_service import ModelService, StoredModels
from dejavu_server.api.shared_reads import SharedReads
from dejavu_server.forecast_request import ForecastRequest
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.forecast_service import ForecastService
from dejavu_server.forecasting.lifecycle.evidence import LedgerGate
from dejavu_server.forecasting.lifecycle.gatekeeper import Gatekeeper
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.forecasting.lifecycle.shadow import MAX_WAITING, ShadowForecaster
from dejavu_server.limits import SERVER
from dejavu_server.observability.metrics import Metrics
from dejavu_store.stages import ModelAction, NotRegistered

PATTERN = (0.0,) * 17 + (6.0,)
"""A pattern that the models of these tests forecast."""


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


class Setting:
    """Shadows of the models v1 and v2 on a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.metrics = Metrics()
        self.batcher = Batcher(Metrics())
        self.one, self.two = (PersistenceForecaster(version) for version in ("v1", "v2"))
        self.models = [self.one, self.two]
        self.shadows = ShadowForecaster(lambda: ledger, self.batcher, lambda: self.models, self.metrics, rest=at_once)

    async def make(self, forecasts: Sequence[IssuedForecast]) -> list[tuple[int, str]]:
        """Make the shadows of forecasts; return the sequence of the forecast and the model of each recorded one."""
        for each in forecasts:
            self.shadows.put(each)
        await self.shadows.close()

        def read(connection: Connection) -> list[tuple[int, str]]:
            text = "SELECT forecast_sequence, model_version FROM shadows ORDER BY forecast_sequence"
            return [(of, version) for of, version in sql.rows(connection, text)]

        return await self.ledger.read(read)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0


@pytest.fixture
async def setting(ledger: Ledger) -> AsyncIterator[Setting]:
    made = Setting(ledger)
    yield made
    await made.shadows.close()
    await made.batcher.close()


def forecast(number: int = 1, **fields: Any) -> IssuedForecast:
    return issued(game(number), **{"pattern": PATTERN, **fields})


async def test_every_recorded_forecast_has_a_shadow_of_each_other_model(setting: Setting) -> None:
    forecasts = [forecast(1), forecast(2, model_version="v2"), forecast(3, pattern=(1.0, 2.0)), forecast(4)]
    made = await setting.make(await recorded(setting.ledger, *forecasts))
    assert made == [(1, "v2"), (2, "v1"), (4, "v2")], "none of a pattern that the challenger cannot forecast"
    counted = [setting.count("dejavu_shadows_total", outcome=each) for each in ("recorded", "unsupported", "failed")]
    assert counted == [3, 1, 0]


async def test_a_challenger_answers_the_very_query_that_the_champion_answered(setting: Setting) -> None:
    """Formerly, only the champion knew who plays, and a challenger with the same forecasts looked worse."""
    asked: dict[str, list[ForecastQuery]] = {"v1": [], "v2": []}
    for each in setting.models:
        each.before = asked[each.version].extend
    who: Any = {"home_team": "BOS", "away_team": "LAL", "game_date": date(2024, 5, 20)}
    who["lineups"] = lineups(range(1, 6), range(21, 26), range(1, 9), range(21, 29), minute=18)
    live = LiveInputs(80, neutral_site=True)
    query = ForecastQuery(ScorePattern(PATTERN), alpha=0.2, explain=True, record=True, live=live, **who)
    models = ServingModels([setting.one])
    models.switch(await champion(setting.ledger, "v1", "v2"))
    options: Any = {"lifetime": timedelta(minutes=5), "on_new": setting.shadows.put}
    service = ForecastService(models, setting.batcher, lambda: setting.ledger, Metrics(), **options)
    await service.forecast(ForecastRequest(game(1), "", query), SERVER)
    await setting.shadows.close()
    assert asked == {"v1": [query], "v2": [replace(query, explain=False)]}


async def test_forecasts_beyond_those_that_may_wait_are_shed(setting: Setting) -> None:
    first, unsupported = await recorded(setting.ledger, forecast(1), forecast(2, pattern=(1.0, 2.0)))
    with capture_logs():
        assert await setting.make([first, first, *[unsupported] * MAX_WAITING]) == [], "the oldest first"
    assert setting.count("dejavu_shadows_shed_total") == 2


async def test_a_shadow_is_not_made_with_hindsight(setting: Setting) -> None:
    stored = await recorded(setting.ledger, forecast())
    await setting.ledger.record_outcome(outcome(4, game(1)))
    assert await setting.make(stored) == []
    assert setting.count("dejavu_shadows_total", outcome="refused") == 1


async def test_a_failing_challenger_costs_only_its_own_shadows(setting: Setting) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("broken")

    setting.models.append(PersistenceForecaster("v3"))
    setting.models[-1].before = fail
    with capture_logs():
        assert await setting.make(await recorded(setting.ledger, forecast())) == [(1, "v2")]
    assert setting.count("dejavu_shadows_total", outcome="failed") == 1


async def test_calls_go_on_while_shadows_are_computed(setting: Setting) -> None:
    """A challenger that takes long holds up no call: it computes on the thread, and calls are answered on the loop."""
    computing, release = threading.Event(), threading.Event()

    def block(_: object) -> None:
        computing.set()
        assert release.wait(10)

    setting.two.before = block
    setting.shadows.start()
    [stored] = await recorded(setting.ledger, forecast())
    setting.shadows.put(stored)
    assert await asyncio.to_thread(computing.wait, 10)
    answer = await asyncio.wait_for(setting.batcher.forecast(setting.one, ForecastQuery(stored.pattern)), 10)
    assert answer.model_version == "v1"
    release.set()


ForecastT = TypeVar("ForecastT", IssuedForecast, ShadowForecast)


def _distributed(made: ForecastT, point: float) -> ForecastT:
    return replace(made, forecast=replace(made.forecast, distribution=(point,) * len(DISTRIBUTION_LEVELS)))


def _issued(games: int) -> list[IssuedForecast]:
    return [_distributed(issued(game(number), point=1.0), 1.0) for number in range(1, games + 1)]


def _shadow(of: IssuedForecast, version: str, point: float) -> ShadowForecast:
    return _distributed(shadow(of, version, point=point), point)


async def _settled(ledger: Ledger, games: int) -> None:
    """Record games that v1 misses by 3 points, and its challenger v2 by 2."""
    stored = await recorded(ledger, *_issued(games))
    await ledger.record_shadows([_shadow(each, "v2", 2.0) for each in stored])
    for each in stored:
        await ledger.record_outcome(outcome(4, each.game_id))


def _comparisons(ledger: Ledger, settings: GateSettings) -> ModelService:
    none: Any = None
    return ModelService(ServingModels(), stored=StoredModels(none, none, SharedReads(lambda: ledger), settings))


async def _compare(
    ledger: Ledger, settings: GateSettings | None = None, **fields: Any
) -> model_comparison_pb2.ModelComparison:
    comparisons = _comparisons(ledger, settings or GateSettings())
    response = await comparisons.compare_models(
        pb.CompareModelsRequest(**{"horizon": forecast_pb2.HORIZON_HALFTIME, **fields}), SERVER
    )
    return response.comparison


async def test_the_challenger_is_compared_with_the_champion_at_both_horizons(ledger: Ledger) -> None:
    await champion(ledger, "v1", "v2")
    await _settled(ledger, 12)
    found = await _compare(ledger, GateSettings(min_games=3))
    assert (found.model_version, found.against_version) == ("v2", "v1")
    assert (found.games, found.forecasts) == (12, 12)
    assert [found.crps.score, found.crps.against_score] == pytest.approx([2.0, 3.0])
    assert [found.crps.difference, found.crps.margin] == pytest.approx([-1.0, 0.003])
    assert [point.games for point in found.crps.path] == list(range(1, 13))
    assert found.crps.path[-1].not_worse_e_value == found.crps.not_worse_e_value > 20.0 > found.crps.worse_e_value
    [coverage] = found.coverage
    assert [coverage.alpha, coverage.coverage, coverage.bound] == pytest.approx([0.05, 1.0, 0.93])
    assert [found.crps.divergence, found.brier.divergence] == pytest.approx([0.98**2, 0.0])
    assert found.decision == model_comparison_pb2.GATE_DECISION_PROMOTE
    other = await _compare(ledger, GateSettings(min_games=3), horizon=forecast_pb2.HORIZON_FINAL)
    assert (other.games, other.HasField("crps"), other.decision) == (0, False, found.decision)
    assert (await _compare(ledger)).decision_reason == "12 of at least 100 games were compared"


@pytest.mark.parametrize(("lost", "promoted"), [(0.2, True), (2.0, False)])
async def test_a_challenger_may_not_fall_behind_the_season_s_anchor(
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
    comparisons = _comparisons(ledger, GateSettings())
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


async def test_what_cannot_be_compared_is_refused(ledger: Ledger) -> None:
    rows: Any = (
        ({"model_version": "v9"}, NotRegistered, "model_version"),
        ({"against_version": "previous"}, NotRegistered, "against_version"),
        ({"model_version": "champion"}, InvalidComparison, "against_version"),
        ({"horizon": forecast_pb2.HORIZON_UNSPECIFIED}, InvalidHorizon, "horizon"),
    )
    await champion(ledger, "v1", "v2")
    for fields, error, field in rows:
        with pytest.raises(error) as refused:
            await _compare(ledger, **fields)
        assert getattr(refused.value, "field", None) == field


class _Judge(LedgerGate):
    """Gives the judgements that a test sets; stores the questions."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Judgement] = {}
        self.asked: list[tuple[str, str, int]] = []

    @override
    async def judgement(self, version: str, against: str, *, since: int = 0, anchor: str = "") -> Judgement:
        del anchor  # tests of comparisons above
        self.asked.append((version, against, since))
        return self.answers.get((version, against), Judgement(GateDecision.CONTINUE, "too few games"))


@pytest.mark.parametrize("better", ["v1", "persistence"])
async def test_a_champion_that_is_worse_is_an_alert_until_it_is_rolled_back(ledger: Ledger, better: str) -> None:
    judge, metrics = _Judge(), Metrics()
    keeper = Gatekeeper(lambda: ledger, judge, metrics, holder="server worker-0")

    def worse(against: str) -> float:
        return metrics.registry.get_sample_value("dejavu_champion_worse", {"against": against}) or 0

    await champion(ledger, "v1", "v2")
    await change_models(ledger, ModelAction.PROMOTE, "v2")
    judge.answers["v2", better] = Judgement(GateDecision.RETIRE, "worse")
    await keeper.look()
    assert judge.asked == [("v2", "persistence", 5), ("v2", "v1", 5)], "the champion is judged since it serves"
    assert worse("previous" if better == "v1" else better) == 1
    await change_models(ledger, ModelAction.ROLLBACK, "v1")
    await keeper.look()
    assert (worse("previous"), worse("persistence")) == (0, 0), "there is no previous model any more"
    await keeper.close()


async def test_advice_changes_nothing_and_is_given_once(ledger: Ledger) -> None:
    judge, metrics = _Judge(), Metrics()
    keeper = Gatekeeper(lambda: ledger, judge, metrics, holder="server worker-0")
    before = await champion(ledger, "v1", "v2", "v3")
    judge.answers["v2", "v1"] = Judgement(GateDecision.PROMOTE, "not worse", games=200, crps_e_value=25.0)
    judge.answers["v3", "v1"] = Judgement(GateDecision.RETIRE, "worse", games=300)
    with capture_logs() as logs:
        await keeper.look()
        await ledger.record_outcome(outcome(4, game(1)))
        await keeper.look()
    said = [(entry["model"], entry["decision"]) for entry in logs if entry["event"] == "gate_decided"]
    assert said == [("v2", "promote"), ("v3", "retire")]
    assert await ledger.read(newest_change) == before.sequence
    value = metrics.registry.get_sample_value
    assert value("dejavu_gate_e_value", {"model": "v2", "score": "crps"}) == 25.0
    assert value("dejavu_gate_games", {"model": "v3"}) == 300
    await keeper.close()


async def test_one_worker_judges_again_after_a_new_outcome_or_change_until_another_takes_over(ledger: Ledger) -> None:
    judge = _Judge()
    first, second = (Gatekeeper(lambda: ledger, judge, Metrics(), holder=f"server worker-{n}") for n in range(2))
    await champion(ledger, "v1", "v2")
    await first.look()
    asked = len(judge.asked)
    await first.look()
    await ledger.record_outcome(outcome(4, game(1)))
    await second.look()
    assert len(judge.asked) == asked
    await first.look()
    assert len(judge.asked) == 2 * asked
    await first.close()
    await second.look()
    assert len(judge.asked) == 3 * asked
    await second.close()
