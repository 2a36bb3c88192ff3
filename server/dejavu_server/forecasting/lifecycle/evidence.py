"""Evidence about models from the ledger: comparisons of two models by horizon, and the decision of the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial

from dejavu_ledger.database.backend import Connection
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.queries import scorecards
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_models.comparison.gate import GateDecision, GateFigures, GateSettings, Judgement, judge
from dejavu_models.comparison.scores import Comparison
from dejavu_models.types import HORIZONS, Horizon
from dejavu_store.stages import ModelEvidence


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Two models to compare, and the games on which they are compared.

    Attributes:
        model_version: the model.
        against_version: the other one, or "persistence".
        replays: include games of replays and simulated seasons.
        since: sequence of the ledger after which forecasts count.
    """

    model_version: str
    against_version: str
    replays: bool = False
    since: int = 0


def compare_models(
    connection: Connection, pair: ModelPair, settings: GateSettings
) -> Mapping[Horizon, Comparison | None]:
    """Compare two models at each horizon.

    Raises:
        LedgerCorrupt: if a forecast cannot be read back.
    """
    version, against = pair.model_version, pair.against_version
    filters = {horizon: ScoreFilter(horizon=horizon, replays=pair.replays) for horizon in HORIZONS}
    return {
        horizon: settings.compare(scorecards.pairs(connection, [version], against, filter_, pair.since)[version])
        for horizon, filter_ in filters.items()
    }


def anchored(
    connection: Connection, pair: ModelPair, settings: GateSettings, found: Judgement, anchor: str
) -> Judgement:
    """Return a judgement, which is no promotion while the model is not proven against the anchor, too.

    Args:
        connection: a read connection.
        pair: the model, and the one that it would replace.
        settings: requirements of the gate.
        found: the judgement of the pair.
        anchor: the model that it may not fall behind either, so that small losses do not add up over promotions; empty:
            none.

    Raises:
        LedgerCorrupt: if a forecast cannot be read back.
    """
    if found.decision is not GateDecision.PROMOTE or anchor in {"", pair.model_version, pair.against_version}:
        return found
    other = judge(compare_models(connection, replace(pair, against_version=anchor), settings), settings)
    if other.decision is GateDecision.PROMOTE:
        return found
    reason = f"against {anchor}, the season's first champion: {other.reason}"
    return replace(found, decision=GateDecision.CONTINUE, reason=reason)


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
        replays: whether games of replays and simulated seasons count.
    """

    def __init__(self, ledger: CurrentLedger, settings: GateSettings, *, replays: bool = False) -> None:
        self._ledger = ledger
        self._settings = settings
        self._replays = replays

    async def judgement(self, version: str, against: str, *, since: int = 0, anchor: str = "") -> Judgement:
        """Return the gate's decision about a model, compared with another one or with "persistence".

        Args:
            version: the model.
            against: the other one.
            since: sequence of the ledger after which forecasts count.
            anchor: see `anchored`.

        Raises:
            LedgerError: if the ledger cannot be read.
        """
        pair = ModelPair(version, against, self._replays, since)
        return await self._ledger().read(partial(_judged, pair=pair, settings=self._settings, anchor=anchor))


def _judged(connection: Connection, pair: ModelPair, settings: GateSettings, anchor: str) -> Judgement:
    found = judge(compare_models(connection, pair, settings), settings)
    return anchored(connection, pair, settings, found, anchor)
