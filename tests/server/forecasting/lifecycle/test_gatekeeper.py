"""The gatekeeper promotes, retires and rolls back models on evidence, in one worker of all, or only advises it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from tests.support.builders.issued_forecasts import game
from tests.support.builders.model_changes import champion, change_models
from tests.support.builders.outcomes import outcome

from dejavu_models.comparison import GateDecision, Judgement
from dejavu_models.registry.stages import ModelAction, ModelChange, ModelEvidence, ModelInUse
from dejavu_server.forecasting.lifecycle.gatekeeper import CALLER, Gatekeeper, GateMode
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.queries import model_changes
from dejavu_server.observability.metrics import Metrics

_CONTINUE = Judgement(GateDecision.CONTINUE, "too few games", 50, 3.0, 4.0)
_BETTER = Judgement(GateDecision.PROMOTE, "not worse", 200, 25.0, 30.0, -0.01, -0.001, 0.95)
_WORSE = Judgement(GateDecision.RETIRE, "worse", 300, 90.0, 2.0, 0.05, 0.0, 0.93)


class _Judge:
    """Gives the judgements that a test sets; stores the questions."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Judgement] = {}
        self.asked: list[tuple[str, str, int]] = []

    async def judgement(self, version: str, against: str, *, since: int = 0, anchor: str = "") -> Judgement:
        del anchor  # tests/server/forecasting/lifecycle/test_comparison.py
        self.asked.append((version, against, since))
        return self.answers.get((version, against), _CONTINUE)


class _Changer:
    """Changes models in a ledger, without workers that would have to load them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.refuses = False

    async def _make(
        self, action: ModelAction, version: str, reason: str, caller: str, **more: object
    ) -> ModelChange | None:
        if self.refuses:
            raise ModelInUse(f"model {version} answers requests")
        _, made = await change_models(self._ledger, action, version, reason=reason, by=caller, **more)
        return made

    async def promote(
        self, name: str, reason: str = "", caller: str = "", *, force: bool = False
    ) -> tuple[str, ModelChange | None]:
        assert not force
        return name, await self._make(ModelAction.PROMOTE, name, reason, caller)

    async def rollback(
        self, from_version: str = "", reason: str = "", caller: str = "", *, evidence: ModelEvidence | None = None
    ) -> tuple[str, ModelChange | None]:
        roster = await self._ledger.read(model_changes.KnownRoster().read)
        assert roster.champion == from_version
        made = await self._make(ModelAction.ROLLBACK, roster.previous, reason, caller, evidence=evidence)
        return roster.previous, made

    async def retire(
        self, name: str, reason: str = "", caller: str = "", *, evidence: ModelEvidence | None = None
    ) -> tuple[str, ModelChange | None]:
        return name, await self._make(ModelAction.RETIRE, name, reason, caller, evidence=evidence)


class _Gate:
    """A gatekeeper with its dependencies."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.judge, self.changer, self.metrics = _Judge(), _Changer(ledger), Metrics()
        self.keepers: list[Gatekeeper] = []

    def keeper(
        self, mode: GateMode = GateMode.AUTO, *, rollback: bool = False, holder: str = "server worker-0"
    ) -> Gatekeeper:
        made = Gatekeeper(
            self.ledger, self.judge, self.changer, self.metrics, holder=holder, mode=mode, rollback=rollback
        )
        self.keepers.append(made)
        return made

    async def changes(self) -> list[ModelChange]:
        """Return the changes by the gate."""
        return [each for each in await self.ledger.read(model_changes.read_changes) if each.changed_by == CALLER]

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


async def test_a_challenger_that_is_not_worse_is_promoted(gate: _Gate) -> None:
    await champion(gate.ledger, "v1", "v2")
    gate.judge.answers["v2", "v1"] = _BETTER
    await gate.keeper().look()
    [change] = await gate.changes()
    assert (change.action, change.model_version, change.from_version) == (ModelAction.PROMOTE, "v2", "v1")
    assert (change.reason, change.forced) == ("not worse", False)


async def test_the_best_of_several_is_promoted(gate: _Gate) -> None:
    await champion(gate.ledger, "v1", "v2", "v3", "v4")
    gate.judge.answers["v2", "v1"] = _BETTER
    gate.judge.answers["v3", "v1"] = Judgement(GateDecision.PROMOTE, "better", 200, 25.0, 30.0, -0.05)
    await gate.keeper().look()
    assert [each.model_version for each in await gate.changes()] == ["v3"]


async def test_a_challenger_that_is_worse_is_retired_with_its_evidence(gate: _Gate) -> None:
    await champion(gate.ledger, "v1", "v2")
    gate.judge.answers["v2", "v1"] = _WORSE
    await gate.keeper().look()
    [change] = await gate.changes()
    assert (change.action, change.model_version) == (ModelAction.RETIRE, "v2")
    assert change.evidence == ModelEvidence("v1", 300, 90.0, 2.0, 0.05, 0.0, 0.93)


async def test_the_model_that_served_before_is_not_promoted_again_for_not_being_worse(gate: _Gate) -> None:
    await champion(gate.ledger, "v1", "v2")
    await change_models(gate.ledger, ModelAction.PROMOTE, "v2")
    gate.judge.answers["v1", "v2"] = _BETTER
    await gate.keeper().look()
    assert await gate.changes() == []
    assert gate.judge.asked == [("v2", "persistence", 5), ("v2", "v1", 5)], "the champion is judged since it serves"


@pytest.mark.parametrize("better", ["v1", "persistence"])
async def test_a_champion_that_is_worse_is_an_alert_and_by_setting_rolled_back(gate: _Gate, better: str) -> None:
    await champion(gate.ledger, "v1", "v2")
    await change_models(gate.ledger, ModelAction.PROMOTE, "v2")
    gate.judge.answers["v2", better] = _WORSE
    advising = gate.keeper(GateMode.AUTO)
    await advising.look()
    assert gate.worse("previous" if better == "v1" else better) == 1
    assert await gate.changes() == []
    await advising.close()
    acting = gate.keeper(GateMode.ADVISE, rollback=True)
    await acting.look()
    [change] = await gate.changes()
    assert (change.action, change.model_version, change.from_version) == (ModelAction.ROLLBACK, "v1", "v2")
    assert change.evidence is not None
    assert change.evidence.against == better
    await acting.look()
    assert gate.worse("previous") == 0, "there is none any more"


async def test_advice_changes_nothing_and_is_given_once(gate: _Gate) -> None:
    await champion(gate.ledger, "v1", "v2", "v3")
    gate.judge.answers |= {("v2", "v1"): _BETTER, ("v3", "v1"): _WORSE}
    keeper = gate.keeper(GateMode.ADVISE)
    with capture_logs() as logs:
        await keeper.look()
        await gate.ledger.record_outcome(outcome(4, game(1)))
        await keeper.look()
    said = [(entry["model"], entry["decision"]) for entry in logs if entry["event"] == "gate_decided"]
    assert said == [("v2", "promote"), ("v3", "retire")]
    assert await gate.changes() == []
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
    first, second = gate.keeper(), gate.keeper(holder="server worker-1")
    await first.look()
    asked = len(gate.judge.asked)
    await second.look()
    assert len(gate.judge.asked) == asked
    await first.close()
    await second.look()
    assert len(gate.judge.asked) == 2 * asked


async def test_a_change_that_is_refused_is_logged_and_tried_again(gate: _Gate) -> None:
    await champion(gate.ledger, "v1", "v2")
    gate.judge.answers["v2", "v1"] = _WORSE
    gate.changer.refuses = True
    keeper = gate.keeper()
    with capture_logs() as logs:
        await keeper.look()
    assert "gate_change_failed" in [entry["event"] for entry in logs]
    gate.changer.refuses = False
    await keeper.look()  # although no outcome came since
    assert [each.action for each in await gate.changes()] == [ModelAction.RETIRE]
