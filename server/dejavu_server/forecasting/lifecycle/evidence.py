"""Evidence about models from the ledger: comparisons of two models by horizon, and the decision of the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from typing import NamedTuple

from dejavu_ledger.database.backend import Connection
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.queries import scorecards
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_models.comparison import Comparison, GateDecision, GateFigures, GateSettings, Judgement, judge
from dejavu_models.types import HORIZONS, Horizon
from dejavu_store.stages import ModelEvidence


class ModelPair(NamedTuple):
    """Two models to compare, and the games on which they are compared.

    Attributes:
        model_version: the model.
        against_version: the other one, or "persistence".
        horizon: the horizon whose comparison is shown.
        replays: include games of replays and simulated seasons.
        since: sequence of the ledger after which forecasts count.
    """

    model_version: str
    against_version: str
    horizon: Horizon = Horizon.HALFTIME
    replays: bool = False
    since: int = 0


def judged(
    connection: Connection, pair: ModelPair, settings: GateSettings, anchor: str = ""
) -> tuple[Judgement, Mapping[Horizon, Comparison | None]]:
    """Compare two models at each horizon; return the gate's judgement, and the comparisons.

    Args:
        connection: a read connection.
        pair: the model, and the one that it would replace; at any horizon.
        settings: requirements of the gate.
        anchor: the model that it may not fall behind either, so that small losses do not add up over promotions; empty:
            none.

    Raises:
        LedgerCorrupt: if a forecast cannot be read back.
    """
    version, against = pair.model_version, pair.against_version
    filters = {horizon: ScoreFilter(horizon=horizon, replays=pair.replays) for horizon in HORIZONS}
    compared = {
        horizon: settings.compare(scorecards.pairs(connection, [version], against, filter_, pair.since)[version])
        for horizon, filter_ in filters.items()
    }
    found = judge(compared, settings)
    if found.decision is GateDecision.PROMOTE and anchor not in {"", pair.model_version, pair.against_version}:
        other, _ = judged(connection, pair._replace(against_version=anchor), settings)
        if other.decision is not GateDecision.PROMOTE:
            reason = f"against {anchor}, the season's first champion: {other.reason}"
            found = replace(found, decision=GateDecision.CONTINUE, reason=reason)
    return found, compared


def evidence_of(judgement: Judgement, against_version: str) -> ModelEvidence | None:
    """Return the evidence of a promotion, as recorded; None if no game was compared."""
    if not judgement.games:
        return None
    figures = {field.name: getattr(judgement, field.name) for field in fields(GateFigures)}
    return ModelEvidence(against_version, **figures)


class LedgerGate:
    """Judges models by their forecasts in the ledger.

    Args:
        ledger: the ledger.
        settings: requirements of the gate.
    """

    def __init__(self, ledger: CurrentLedger, settings: GateSettings) -> None:
        self._ledger = ledger
        self._settings = settings

    async def judgement(self, version: str, against: str, *, since: int = 0, anchor: str = "") -> Judgement:
        """Return the gate's decision about a model, compared with another one or with "persistence".

        Args:
            version: the model.
            against: the other one.
            since: sequence of the ledger after which forecasts count.
            anchor: see `judged`.

        Raises:
            LedgerError: if the ledger cannot be read.
        """
        pair = ModelPair(version, against, since=since)
        found, _ = await self._ledger().read(partial(judged, pair=pair, settings=self._settings, anchor=anchor))
        return found
