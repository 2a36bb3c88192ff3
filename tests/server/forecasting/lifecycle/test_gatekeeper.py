"""The gatekeeper judges challengers and champion on evidence, in one worker of all, and says what it finds."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from tests.support.builders.issued_forecasts import game
from tests.support.builders.model_changes import champion, change_models
from tests.support.builders.outcomes import outcome
from typing_extensions import override

from dejavu_ledger import Ledger
from dejavu_ledger.queries.model_changes import newest_change
from dejavu_models.comparison.gate import GateDecision, Judgement
from dejavu_server.forecasting.lifecycle.evidence import LedgerGate
from dejavu_server.forecasting.lifecycle.gatekeeper import Gatekeeper
from dejavu_server.observability.metrics import Metrics
from dejavu_store.stages import ModelAction

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
        del anchor  # tests/server/forecasting/lifecycle/test_comparison.py
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


async def test_it_judges_again_only_after_a_new_outcome_or_change(gate: _Gate) -> None:
    await champion(gate.ledger, "v1", "v2")
    keeper = gate.keeper()
    await keeper.look()
    asked = len(gate.judge.asked)
    await keeper.look()
    assert len(gate.judge.asked) == asked
    await gate.ledger.record_outcome(outcome(4, game(1)))
    await keeper.look()
    assert len(gate.judge.asked) == 2 * asked


async def test_only_one_worker_judges_and_another_takes_over(gate: _Gate) -> None:
    await champion(gate.ledger, "v1", "v2")
    first, second = gate.keeper(), gate.keeper("server worker-1")
    await first.look()
    asked = len(gate.judge.asked)
    await second.look()
    assert len(gate.judge.asked) == asked
    await first.close()
    await second.look()
    assert len(gate.judge.asked) == 2 * asked
