"""Judges the challengers and the champion as new outcomes come in; one worker among all servers of a ledger does so.

Each challenger is compared with the champion: it may be shown to be no worse, or to be worse. The champion is compared
in the same way with the previous model and with persistence, on forecasts recorded since its promotion. The findings
are logged and exported as metrics, which alert an operator; models are changed by commands only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

import structlog

from dejavu_ledger.database.backend import Connection
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.queries import model_changes, scorecards
from dejavu_models.comparison import PERSISTENCE, GateDecision, Judgement
from dejavu_models.errors import DejavuError
from dejavu_server.coordination import leases
from dejavu_server.forecasting.lifecycle.evidence import LedgerGate
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask
from dejavu_store.stages import PREVIOUS, ModelAction, Roster

LEASE: Final = leases.MODEL_GATE
"""Name of the lease that the gatekeeper holds."""

LEASE_TIME: Final = timedelta(minutes=5)
"""A dead gatekeeper is replaced after at most this time."""

SECONDS: Final = 120.0
"""Pause between two evaluations; each reads the forecasts of a season."""

CALLER: Final = "gate"
"""Identity under which the gatekeeper holds its lease."""

_SERVES: Final = frozenset({ModelAction.PROMOTE, ModelAction.ROLLBACK})

_NOTHING: Final = Judgement(GateDecision.CONTINUE, "")
"""What is shown of a model that is not judged."""

_log = structlog.get_logger(__name__)


class _Standing(NamedTuple):
    """Inputs of a judgement: the outcomes and the changes of models."""

    position: scorecards.ScoresPosition
    roster: Roster
    champion_since: int


class Gatekeeper(PeriodicTask):
    """Judges the models of a ledger while it holds the lease.

    Args:
        ledger: the ledger.
        judge: judges a model.
        metrics: metrics of the findings.
        holder: name of this worker, unique among all workers of the ledger; at most 64 characters.
    """

    def __init__(self, ledger: CurrentLedger, judge: LedgerGate, metrics: Metrics, *, holder: str) -> None:
        super().__init__("gatekeeper", SECONDS, self.look)
        self._ledger = ledger
        self._judge = judge
        self._metrics = metrics
        self._holder = holder
        self._judged: _Standing | None = None
        self._said: dict[tuple[str, str], GateDecision] = {}
        self._shown: set[str] = set()

    async def close(self) -> None:
        """Stop judging, and release the lease. Safe to call more than once."""
        await super().close()
        try:
            await self._ledger().write(partial(leases.release, name=LEASE, holder=self._holder, caller=CALLER))
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
        standing = await self._ledger().read(_standing)
        if standing == self._judged or not standing.roster.champion:
            return
        await self._judge_challengers(standing.roster)
        await self._watch_champion(standing)
        self._judged = standing

    async def _holds_lease(self) -> bool:
        """Return whether this worker holds the lease, after acquiring or renewing it if no other worker holds it."""
        standing = await self._ledger().read(partial(leases.standing, name=LEASE))
        if standing is not None and standing.holder != self._holder:
            return False
        acquire = partial(leases.acquire, name=LEASE, holder=self._holder, caller=CALLER, ttl=LEASE_TIME)
        held, _ = await self._ledger().write(acquire)
        return held

    async def _judge_challengers(self, roster: Roster) -> None:
        for version in self._shown - set(roster.candidates):
            self._show(version, _NOTHING)
        for version in roster.candidates:
            judgement = await self._judge.judgement(version, roster.champion, anchor=roster.anchor)
            self._show(version, judgement)
            self._shown.add(version)
            self._say(version, roster.champion, judgement)

    async def _watch_champion(self, standing: _Standing) -> None:
        roster = standing.roster
        for name, version in {PERSISTENCE: PERSISTENCE, PREVIOUS: roster.previous}.items():
            if not version:
                self._metrics.champion_worse.labels(name).set(0)
                continue
            judgement = await self._judge.judgement(roster.champion, version, since=standing.champion_since)
            is_worse = judgement.decision is GateDecision.RETIRE
            self._metrics.champion_worse.labels(name).set(is_worse)
            if is_worse:
                self._say(roster.champion, version, judgement)

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
            )
        self._said[version, against] = judgement.decision

    def _show(self, version: str, judgement: Judgement) -> None:
        e_values: Mapping[str, float] = {"crps": judgement.crps_e_value, "brier": judgement.brier_e_value}
        if judgement.decision is GateDecision.RETIRE:  # its e-values are evidence for the opposite
            e_values = dict.fromkeys(e_values, 0.0)
        for score, e_value in e_values.items():
            self._metrics.gate_e_value.labels(version, score).set(e_value)
        self._metrics.gate_games.labels(version).set(judgement.games)

    def _forget(self) -> None:
        """Clear the metrics, because this worker is not the gatekeeper."""
        for version in self._shown:
            self._show(version, _NOTHING)
        for name in (PERSISTENCE, PREVIOUS):
            self._metrics.champion_worse.labels(name).set(0)
        self._shown.clear()
        self._said.clear()


def _standing(connection: Connection) -> _Standing:
    changes = model_changes.read_changes(connection)
    since = next((each.sequence for each in reversed(changes) if each.action in _SERVES), 0)
    return _Standing(scorecards.position(connection), model_changes.fold(Roster(), changes), since)
