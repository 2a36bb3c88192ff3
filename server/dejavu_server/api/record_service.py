"""RecordService: records outcomes and queries the ledger. The interceptor maps errors to statuses.

Queries run, aggregate and build their messages on the reader threads of the ledger, so that they do not block other
calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol, TypeVar

import grpc
from sqlalchemy import Connection

from dejavu.v1 import record_service_pb2 as pb
from dejavu_models.scorecard import leaderboard, scorecard
from dejavu_server.api.converters import record, record_requests
from dejavu_server.api.converters.record import outcome_message
from dejavu_server.api.prediction_service import Context
from dejavu_server.ledger.queries import pages, predictions, scorecards
from dejavu_server.records import Checkpoint, ReportedOutcome

RECORD_SERVICE = pb.DESCRIPTOR.services_by_name["RecordService"].full_name

_T = TypeVar("_T")


class Record(Protocol):
    """Ledger operations that the service uses."""

    async def record_outcome(self, outcome: ReportedOutcome) -> tuple[ReportedOutcome, int]:
        """Records an outcome; returns it as stored, and the number of forecasts that it settles."""

    async def read(self, function: Callable[[Connection], _T]) -> _T:
        """Runs a read-only function on a connection and returns its result."""


class RecordService:
    """Serves the track record.

    Args:
        record: the ledger.
        clock: returns the current time, aware and in UTC.
        signer: signs the ledger's head.
    """

    def __init__(
        self, record: Record, clock: Callable[[], datetime], signer: Callable[[], Awaitable[Checkpoint]]
    ) -> None:
        self._record = record
        self._clock = clock
        self._signer = signer
        # Lookups and scorecards use at most one reader thread each; the third thread stays free for streams.
        self._lookup_slot = asyncio.Semaphore(1)
        self._scorecard_slot = asyncio.Semaphore(1)

    async def report_outcome(self, request: pb.ReportOutcomeRequest, _: Context) -> pb.ReportOutcomeResponse:
        """Records an outcome and settles its forecasts."""
        outcome, settled = await self._record.record_outcome(record_requests.outcome(request, self._clock()))
        return pb.ReportOutcomeResponse(outcome=outcome_message(outcome), settled_forecasts=settled)

    async def get_prediction(self, request: pb.GetPredictionRequest, _: Context) -> pb.GetPredictionResponse:
        """Returns the latest forecast of a game."""
        query = record_requests.game_query(request)

        def read(connection: Connection) -> pb.GetPredictionResponse:
            return record.game_message(predictions.latest_forecast(connection, *query))

        return await self._read_with_slot(self._lookup_slot, read)

    async def list_predictions(self, request: pb.ListPredictionsRequest, _: Context) -> pb.ListPredictionsResponse:
        """Returns a page of recorded forecasts."""
        query = record_requests.list_query(request)

        def read(connection: Connection) -> pb.ListPredictionsResponse:
            page = pages.page(connection, *query)
            messages = [record.recorded_message(each, explanation=False) for each in page.forecasts]
            return pb.ListPredictionsResponse(predictions=messages, next_page_token=page.next_token)

        return await self._read_with_slot(self._lookup_slot, read)

    async def get_scorecard(self, request: pb.GetScorecardRequest, _: Context) -> pb.GetScorecardResponse:
        """Scores settled forecasts."""
        score_filter = record_requests.scorecard_filter(request)

        def read(connection: Connection) -> pb.GetScorecardResponse:
            card = scorecard(scorecards.settled(connection, score_filter).forecasts)
            return pb.GetScorecardResponse(scorecard=record.scorecard_message(card))

        return await self._read_with_slot(self._scorecard_slot, read)

    async def get_leaderboard(self, request: pb.GetLeaderboardRequest, _: Context) -> pb.GetLeaderboardResponse:
        """Ranks the model versions."""
        query = record_requests.leaderboard_query(request)

        def read(connection: Connection) -> pb.GetLeaderboardResponse:
            settled = scorecards.settled(connection, query.filter)
            cards = {
                version: scorecard(settled.forecasts.where(settled.model == index))
                for index, version in enumerate(settled.models)
            }
            entries = leaderboard(cards, query.metric, query.min_games)
            return record.leaderboard_message(entries, query.metric, query.min_games)

        return await self._read_with_slot(self._scorecard_slot, read)

    async def get_checkpoint(self, _: pb.GetCheckpointRequest, __: Context) -> pb.GetCheckpointResponse:
        """Returns the signed head of the ledger."""
        return pb.GetCheckpointResponse(checkpoint=record.checkpoint_message(await self._signer()))

    def handlers(self) -> grpc.GenericRpcHandler:
        """Returns the method handlers of the service, to register with a server."""
        methods: dict[str, tuple[Callable[..., Any], Any, Any]] = {
            "ReportOutcome": (self.report_outcome, pb.ReportOutcomeRequest, pb.ReportOutcomeResponse),
            "GetPrediction": (self.get_prediction, pb.GetPredictionRequest, pb.GetPredictionResponse),
            "ListPredictions": (self.list_predictions, pb.ListPredictionsRequest, pb.ListPredictionsResponse),
            "GetScorecard": (self.get_scorecard, pb.GetScorecardRequest, pb.GetScorecardResponse),
            "GetLeaderboard": (self.get_leaderboard, pb.GetLeaderboardRequest, pb.GetLeaderboardResponse),
            "GetCheckpoint": (self.get_checkpoint, pb.GetCheckpointRequest, pb.GetCheckpointResponse),
        }
        return grpc.method_handlers_generic_handler(
            RECORD_SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(method, request.FromString, response.SerializeToString)
                for name, (method, request, response) in methods.items()
            },
        )

    async def _read_with_slot(self, slot: asyncio.Semaphore, read: Callable[[Connection], _T]) -> _T:
        """Waits for the slot, reads, and holds the slot until the read ends.

        A thread cannot be cancelled: the next read waits for its end even if the caller has disconnected.
        """
        await slot.acquire()
        reading = asyncio.ensure_future(self._record.read(read))

        def release(finished: asyncio.Future[_T]) -> None:
            slot.release()
            if not finished.cancelled():
                finished.exception()  # retrieved here, or asyncio would log it if the caller disconnected

        reading.add_done_callback(release)
        return await asyncio.shield(reading)
