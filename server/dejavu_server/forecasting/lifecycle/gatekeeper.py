"""Judges the challengers and the champion as new outcomes come in; one worker among all servers of a ledger does so.

A challenger that is shown to be no worse than the champion is promoted; a challenger that is shown to be worse is
retired. The champion is compared in the same way with the previous model and with persistence, on forecasts recorded
since its promotion. If one of the two is shown to be better, an operator is alerted, or the champion is rolled back.
Settings (`GateMode`, rollback) permit these changes; otherwise they are only advised.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple, Protocol

import structlog
from prometheus_client import Gauge

from dejavu_models.comparison import PERSISTENCE, GateDecision, Judgement
from dejavu_models.errors import DejavuError
from dejavu_models.registry.stages import PREVIOUS, ModelAction, ModelChange, ModelEvidence, Roster
from dejavu_server.forecasting.lifecycle.evidence import evidence_of
from dejavu_server.ledger import leases
from dejavu_server.ledger.access import LedgerAccess
from dejavu_server.ledger.database.backend import Connection
from dejavu_server.ledger.queries import model_changes, scorecards
from dejavu_server.observability.periodic import PeriodicTask

LEASE: Final = leases.MODEL_GATE
"""Name of the lease that the gatekeeper holds."""

LEASE_TIME: Final = timedelta(minutes=5)
"""A dead gatekeeper is replaced after at most this time."""

SECONDS: Final = 120.0
"""Pause between two evaluations; each reads the forecasts of a season."""

CALLER: Final = "gate"
"""Identity under which the gatekeeper's changes are recorded."""

_SERVES: Final = frozenset({ModelAction.PROMOTE, ModelAction.ROLLBACK})

_log = structlog.get_logger(__name__)


class GateMode(enum.Enum):
    """Permitted actions of the gate; the value is that of the setting."""

    OFF = "off"
    """Nothing is judged: promotions need no evidence."""

    ADVISE = "advise"
    """It only advises; promotions by others need its evidence."""

    AUTO = "auto"
    """It promotes and retires challengers."""


class ModelJudge(Protocol):
    """Judges models; implemented by LedgerGate."""

    async def judgement(self, version: str, against: str, *, since: int = 0, anchor: str = "") -> Judgement:
        """Return the decision about a model compared with another."""


class ModelChanger(Protocol):
    """Changes models; each method returns the version and the change, None if there was none."""

    async def promote(
        self, name: str, reason: str = "", caller: str = "", *, force: bool = False
    ) -> tuple[str, ModelChange | None]:
        """Make a model the champion, if the gate allows it."""

    async def rollback(
        self, from_version: str = "", reason: str = "", caller: str = "", *, evidence: ModelEvidence | None = None
    ) -> tuple[str, ModelChange | None]:
        """Make the previous model the champion again, if `from_version` is still the champion."""

    async def retire(
        self, name: str, reason: str = "", caller: str = "", *, evidence: ModelEvidence | None = None
    ) -> tuple[str, ModelChange | None]:
        """Retire a model."""


class GateMetrics(Protocol):
    """Findings of the gatekeeper."""

    gate_e_value: Gauge
    gate_games: Gauge
    champion_worse: Gauge


class _Standing(NamedTuple):
    """Inputs of a judgement: the outcomes and the changes of models."""

    position: scorecards.Position
    roster: Roster
    champion_since: int


class Gatekeeper:
    """Judges the models of a ledger while it holds the lease.

    Args:
        ledger: the ledger.
        judge: judges a model.
        models: changes models.
        metrics: metrics of the findings.
        holder: name of this worker, unique among all workers of the ledger; at most 64 characters.
        mode: its permitted actions; not OFF.
        rollback: whether it rolls back a champion that is shown to be worse.
        seconds: pause between two evaluations.
    """

    def __init__(
        self,
        ledger: LedgerAccess,
        judge: ModelJudge,
        models: ModelChanger,
        metrics: GateMetrics,
        *,
        holder: str,
        mode: GateMode = GateMode.ADVISE,
        rollback: bool = False,
        seconds: float = SECONDS,
    ) -> None:
        self._ledger = ledger
        self._judge = judge
        self._models = models
        self._metrics = metrics
        self._holder = holder
        self._mode = mode
        self._rollback = rollback
        self._judged: _Standing | None = None
        self._failed = False  # whether a change of models failed in the current evaluation
        self._said: dict[tuple[str, str], GateDecision] = {}
        self._shown: set[str] = set()
        self._task = PeriodicTask("gatekeeper", seconds, self.look)

    def start(self) -> None:
        """Start to judge at regular intervals."""
        self._task.start()

    async def close(self) -> None:
        """Stop judging, and release the lease. Safe to call more than once."""
        await self._task.close()
        try:
            await self._ledger.write(partial(leases.release, name=LEASE, holder=self._holder, caller=CALLER))
        except DejavuError as error:  # it expires
            _log.debug("lease_not_released", error=str(error))

    async def look(self) -> None:
        """Judge the models if this worker is the gatekeeper and anything has changed since.

        Raises:
            LedgerError: if the ledger cannot be read or written at present.
        """
        if not await self._holds_lease():
            self._judged = None
            self._forget()
            return
        standing = await self._ledger.read(_standing)
        if standing == self._judged or not standing.roster.champion:
            return
        self._failed = False
        await self._judge_challengers(standing.roster)
        await self._watch_champion(standing)
        if not self._failed:  # otherwise the next evaluation judges everything and tries the change again
            self._judged = standing

    async def _holds_lease(self) -> bool:
        """Return whether this worker holds the lease, after acquiring or renewing it if no other worker holds it."""
        standing = await self._ledger.read(partial(leases.standing, name=LEASE))
        if standing is not None and standing.holder != self._holder:
            return False
        acquire = partial(leases.acquire, name=LEASE, holder=self._holder, caller=CALLER, ttl=LEASE_TIME)
        held, _ = await self._ledger.write(acquire)
        return held

    async def _judge_challengers(self, roster: Roster) -> None:
        # Models that served before would be promoted again for not being worse; see `_watch_champion`.
        judgements = {
            version: await self._judge.judgement(version, roster.champion, anchor=roster.anchor)
            for version in roster.candidates
        }
        for version in self._shown - judgements.keys():
            self._show(version, Judgement(GateDecision.CONTINUE, ""))
        for version, judgement in judgements.items():
            self._show(version, judgement)
            self._say(version, roster.champion, judgement)
        if self._mode is not GateMode.AUTO:
            return
        for version, judgement in judgements.items():
            if judgement.decision is GateDecision.RETIRE:
                retire = partial(self._models.retire, evidence=evidence_of(judgement, roster.champion))
                await self._change(retire, version, judgement)
        if proven := [each for each in judgements if judgements[each].decision is GateDecision.PROMOTE]:
            best = min(proven, key=lambda version: judgements[version].crps_difference)
            await self._change(self._models.promote, best, judgements[best])

    async def _watch_champion(self, standing: _Standing) -> None:
        roster = standing.roster
        against = {PERSISTENCE: PERSISTENCE} | ({PREVIOUS: roster.previous} if roster.previous else {})
        worse: dict[str, Judgement] = {}
        for name, version in against.items():
            judgement = await self._judge.judgement(roster.champion, version, since=standing.champion_since)
            is_worse = judgement.decision is GateDecision.RETIRE
            self._metrics.champion_worse.labels(name).set(is_worse)
            if is_worse:
                worse[version] = judgement
                self._say(roster.champion, version, judgement)
        if PREVIOUS not in against:
            self._metrics.champion_worse.labels(PREVIOUS).set(0)
        if worse and roster.previous and self._rollback:
            other, judgement = next(reversed(worse.items()))
            rollback = partial(self._models.rollback, evidence=evidence_of(judgement, other))
            await self._change(rollback, roster.champion, judgement)

    async def _change(
        self, change: Callable[[str, str, str], Awaitable[object]], version: str, judgement: Judgement
    ) -> None:
        """Change models as judged. A change that is not possible at present is logged and tried again later."""
        try:
            await change(version, judgement.reason, CALLER)
        except DejavuError as error:
            self._failed = True
            _log.warning("gate_change_failed", model=version, decision=judgement.decision.value, error=str(error))

    def _say(self, version: str, against: str, judgement: Judgement) -> None:
        """Log a decision when it changes."""
        if self._said.get((version, against), GateDecision.CONTINUE) is not judgement.decision:
            _log.warning(
                "gate_decided",
                model=version,
                against=against,
                decision=judgement.decision.value,
                reason=judgement.reason,
                games=judgement.games,
                mode=self._mode.value,
            )
        self._said[version, against] = judgement.decision

    def _show(self, version: str, judgement: Judgement) -> None:
        e_values: Mapping[str, float] = {"crps": judgement.crps_e_value, "brier": judgement.brier_e_value}
        if judgement.decision is GateDecision.RETIRE:  # its e-values are evidence for the opposite
            e_values = dict.fromkeys(e_values, 0.0)
        for score, e_value in e_values.items():
            self._metrics.gate_e_value.labels(version, score).set(e_value)
        self._metrics.gate_games.labels(version).set(judgement.games)
        self._shown.add(version)

    def _forget(self) -> None:
        """Clear the metrics, because this worker is not the gatekeeper."""
        for version in self._shown:
            for score in ("crps", "brier"):
                self._metrics.gate_e_value.labels(version, score).set(0)
            self._metrics.gate_games.labels(version).set(0)
        for name in (PERSISTENCE, PREVIOUS):
            self._metrics.champion_worse.labels(name).set(0)
        self._shown.clear()
        self._said.clear()


def _standing(connection: Connection) -> _Standing:
    changes = model_changes.read_changes(connection)
    since = next((each.sequence for each in reversed(changes) if each.action in _SERVES), 0)
    return _Standing(scorecards.position(connection), model_changes.fold(Roster(), changes), since)
