"""CompareModels: compares two models on the games that both forecast.

A comparison reads the forecasts of a season. It therefore runs on a reader thread of the ledger, and is shared and kept
like a scorecard (`api/shared_reads.py`).
"""

from __future__ import annotations

from dejavu.v1 import model_service_pb2 as pb
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.queries.model_changes import KnownRoster
from dejavu_models.comparison import PERSISTENCE, GateSettings
from dejavu_server.api.converters.comparison import comparison_message
from dejavu_server.api.converters.field_errors import InvalidComparison
from dejavu_server.api.converters.fields import horizon_of
from dejavu_server.api.shared_reads import SharedReads
from dejavu_server.forecasting.lifecycle.evidence import ModelPair, judged
from dejavu_server.limits import Caller
from dejavu_store.stages import CHALLENGER, CHAMPION, NotRegistered, Roster


class ModelComparisons:
    """Serves CompareModels.

    Args:
        reads: reads the ledger, for all services of the worker.
        settings: the requirements of the gate; their margins are used in comparisons.
    """

    def __init__(self, reads: SharedReads, settings: GateSettings) -> None:
        self._settings = settings
        self._reads = reads
        self._roster = KnownRoster()

    async def compare_models(self, request: pb.CompareModelsRequest, caller: Caller) -> pb.CompareModelsResponse:
        """Compare two models.

        Raises:
            InvalidInput: if the horizon is unspecified or unknown, or a model would be compared with itself.
            NotRegistered: if there is no such model.
            Overloaded: if too many reads wait.
            LedgerError: if the ledger cannot be read.
        """
        roster = await self._reads.look_up(self._roster.read, caller.turn)
        pair = _pair(request, roster)
        anchor = roster.anchor if pair.against_version == roster.champion else ""

        def build(connection: Connection) -> pb.CompareModelsResponse:
            found, compared = judged(connection, pair, self._settings, anchor)
            message = comparison_message(pair, compared[pair.horizon], found, self._settings)
            return pb.CompareModelsResponse(comparison=message)

        # Settled pairs change only with the outcomes, since no shadow is recorded once the outcome is.
        return await self._reads.get((pair, anchor), build, caller.turn, compares=True)


def _pair(request: pb.CompareModelsRequest, roster: Roster) -> ModelPair:
    """Return the models of a request by their versions, and its horizon."""
    horizon = horizon_of(request.horizon)
    model = _version(request.model_version or CHALLENGER, roster, "model_version")
    against = request.against_version or CHAMPION
    if against != PERSISTENCE:
        against = _version(against, roster, "against_version")
    if model == against:
        raise InvalidComparison(f"{model}, the same model", "another one", field="against_version")
    return ModelPair(model, against, horizon, request.include_replays)


def _version(name: str, roster: Roster, field: str) -> str:
    """Return the version of a registered model.

    Raises:
        NotRegistered: if there is no such model; names the field.
    """
    try:
        version = roster.version_of(name)
        roster.stage_of(version)
    except NotRegistered as error:
        raise NotRegistered(error.found, error.expected, field=field) from None
    return version
