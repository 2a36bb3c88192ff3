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
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
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


@pytest.mark.parametrize(
    ("forecasts", "rows", "counted"),
    [
        ([forecast(number) for number in (1, 2, 3)], [(1, "v2"), (2, "v2"), (3, "v2")], {"recorded": 3}),
        ([forecast(1, model_version="v2"), forecast(2)], [(1, "v1"), (2, "v2")], {"recorded": 2}),
        ([forecast(1, pattern=(1.0, 2.0)), forecast(2)], [(2, "v2")], {"recorded": 1, "unsupported": 1}),
    ],
    ids=["the challenger of the champion", "the champion of a challenger", "what it cannot forecast"],
)
async def test_every_recorded_forecast_has_a_shadow_of_each_other_model(
    setting: Setting, forecasts: list[IssuedForecast], rows: list[tuple[int, str]], counted: dict[str, int]
) -> None:
    assert await setting.make(await recorded(setting.ledger, *forecasts)) == rows
    for each in ("recorded", "refused", "failed", "unsupported"):
        assert setting.count("dejavu_shadows_total", outcome=each) == counted.get(each, 0)


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


async def test_forecasts_beyond_those_that_may_wait_are_shed_oldest_first_with_one_log_line(setting: Setting) -> None:
    first, unsupported = await recorded(setting.ledger, forecast(1), forecast(2, pattern=(1.0, 2.0)))
    with capture_logs() as logs:
        assert await setting.make([first, first, *[unsupported] * MAX_WAITING]) == []
    assert [entry["event"] for entry in logs] == ["shadows_shed"]
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
    with capture_logs() as logs:
        assert await setting.make(await recorded(setting.ledger, forecast())) == [(1, "v2")]
    assert setting.count("dejavu_shadows_total", outcome="failed") == 1
    assert "shadows_failed" in [entry["event"] for entry in logs]


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


def _issued(games: int, horizon: Horizon = Horizon.HALFTIME) -> list[IssuedForecast]:
    return [_distributed(issued(game(number), point=1.0, horizon=horizon), 1.0) for number in range(1, games + 1)]


def _shadow(of: IssuedForecast, version: str, point: float) -> ShadowForecast:
    return _distributed(shadow(of, version, point=point), point)


async def _settled(ledger: Ledger, games: int, *, better: float = 1.0, horizon: Horizon = Horizon.HALFTIME) -> None:
    """Record games that v1 misses by 3 points, and its challenger v2 by 3 − `better`."""
    stored = await recorded(ledger, *_issued(games, horizon))
    await ledger.record_shadows([_shadow(each, "v2", 1.0 + better) for each in stored])
    for each in stored:
        await ledger.record_outcome(outcome(4, each.game_id, horizon=horizon))


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
        ({"against_version": "v9"}, NotRegistered, "against_version"),
        ({"against_version": "previous"}, NotRegistered, "against_version"),
        ({"model_version": "persistence"}, NotRegistered, "model_version"),
        ({"model_version": "champion"}, InvalidComparison, "against_version"),
        ({"horizon": 9}, InvalidHorizon, "horizon"),
        ({"horizon": forecast_pb2.HORIZON_UNSPECIFIED}, InvalidHorizon, "horizon"),
    )
    for fields, error, field in rows:
        await champion(ledger, "v1", "v2")
        with pytest.raises(error) as refused:
            await _compare(ledger, **fields)
        assert getattr(refused.value, "field", None) == field


_CONTINUE = Judgement(GateDecision.CONTINUE, "too few games", games=50, crps_e_value=3.0, brier_e_value=4.0)
_BETTER = Judgement(GateDecision.PROMOTE, "not worse", games=200, crps_e_value=25.0, brier_e_value=30.0)
_WORSE = Judgement(GateDecision.RETIRE, "worse", games=300, crps_e_value=90.0, brier_e_value=2.0)


class _Judge(LedgerGate):
    """Gives the judgements that a test sets; stores the questions."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Judgement] = {}
        self.asked: list[tuple[str, str, int]] = []

    @override
    async def judgement(self, version: str, against: str, *, since: int = 0, anchor: str = "") -> Judgement:
        del anchor  # tests of comparisons above
        self.asked.append((version, against, since))
        return self.answers.get((version, against), _CONTINUE)


class _Gate:
    """A gatekeeper with its dependencies."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.judge, self.metrics = _Judge(), Metrics()
        self.keepers: list[Gatekeeper] = []

    def keeper(self, holder: str = "server worker-0") -> Gatekeeper:
        made = Gatekeeper(lambda: self.ledger, self.judge, self.metrics, holder=holder)
        self.keepers.append(made)
        return made

    def worse(self, against: str) -> float:
        return self.value("champion_worse", against=against)

    def value(self, name: str, **labels: str) -> float:
        """Return the value of a metric."""
        return self.metrics.registry.get_sample_value(f"dejavu_{name}", labels) or 0


@pytest.fixture
async def gate(ledger: Ledger) -> AsyncIterator[_Gate]:
    made = _Gate(ledger)
    yield made
    for keeper in made.keepers:
        await keeper.close()


async def test_the_model_that_served_before_is_no_challenger(gate: _Gate) -> None:
    await champion(gate.ledger, "v1", "v2")
    await change_models(gate.ledger, ModelAction.PROMOTE, "v2")
    await gate.keeper().look()
    assert gate.judge.asked == [("v2", "persistence", 5), ("v2", "v1", 5)], "the champion is judged since it serves"


@pytest.mark.parametrize("better", ["v1", "persistence"])
async def test_a_champion_that_is_worse_is_an_alert_until_it_is_rolled_back(gate: _Gate, better: str) -> None:
    await champion(gate.ledger, "v1", "v2")
    await change_models(gate.ledger, ModelAction.PROMOTE, "v2")
    gate.judge.answers["v2", better] = _WORSE
    keeper = gate.keeper()
    await keeper.look()
    assert gate.worse("previous" if better == "v1" else better) == 1
    await change_models(gate.ledger, ModelAction.ROLLBACK, "v1")
    await keeper.look()
    assert (gate.worse("previous"), gate.worse("persistence")) == (0, 0), "there is no previous model any more"
    assert {against for _, against, _ in gate.judge.asked} == {"v1", "persistence"}


async def test_advice_changes_nothing_and_is_given_once(gate: _Gate) -> None:
    before = await champion(gate.ledger, "v1", "v2", "v3")
    gate.judge.answers |= {("v2", "v1"): _BETTER, ("v3", "v1"): _WORSE}
    keeper = gate.keeper()
    with capture_logs() as logs:
        await keeper.look()
        await gate.ledger.record_outcome(outcome(4, game(1)))
        await keeper.look()
    said = [(entry["model"], entry["decision"]) for entry in logs if entry["event"] == "gate_decided"]
    assert said == [("v2", "promote"), ("v3", "retire")]
    assert await gate.ledger.read(newest_change) == before.sequence
    assert gate.value("gate_e_value", model="v2", score="crps") == 25.0
    assert gate.value("gate_games", model="v3") == 300


async def test_one_worker_judges_again_after_a_new_outcome_or_change_until_another_takes_over(gate: _Gate) -> None:
    await champion(gate.ledger, "v1", "v2")
    first, second = gate.keeper(), gate.keeper("server worker-1")
    await first.look()
    asked = len(gate.judge.asked)
    await first.look()
    await second.look()
    assert len(gate.judge.asked) == asked
    await gate.ledger.record_outcome(outcome(4, game(1)))
    await second.look()
    assert len(gate.judge.asked) == asked
    await first.look()
    assert len(gate.judge.asked) == 2 * asked
    await first.close()
    await second.look()
    assert len(gate.judge.asked) == 3 * asked
