"""The record's service: outcomes go in, and what the ledger knows comes out. Errors leave through the interceptor.

What is read is read, added up and made into messages in the ledger's reading threads, so that other calls have their
turn meanwhile.
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
    """What the service needs of the ledger."""

    async def record_outcome(self, outcome: ReportedOutcome) -> tuple[ReportedOutcome, int]:
        """Records an outcome; returns it as it stands, and how many forecasts it settles."""

    async def read(self, function: Callable[[Connection], _T]) -> _T:
        """What a function returns that reads."""


class RecordService:
    """The track record.

    Args:
        record: the ledger.
        clock: tells the time.
        signer: signs the ledger's head.
    """

    def __init__(
        self, record: Record, clock: Callable[[], datetime], signer: Callable[[], Awaitable[Checkpoint]]
    ) -> None:
        self._record = record
        self._clock = clock
        self._signer = signer
        # One thread each, at most: the third is left to streams, whoever asks how often for whatever.
        self._lookup_slot = asyncio.Semaphore(1)
        self._scorecard_slot = asyncio.Semaphore(1)

    async def report_outcome(self, request: pb.ReportOutcomeRequest, _: Context) -> pb.ReportOutcomeResponse:
        """Records an outcome and settles what was forecast."""
        outcome, settled = await self._record.record_outcome(record_requests.outcome(request, self._clock()))
        return pb.ReportOutcomeResponse(outcome=outcome_message(outcome), settled_forecasts=settled)

    async def get_prediction(self, request: pb.GetPredictionRequest, _: Context) -> pb.GetPredictionResponse:
        """The latest forecast of a game."""
        asked = record_requests.game_query(request)

        def read(connection: Connection) -> pb.GetPredictionResponse:
            return record.game_message(predictions.latest(connection, *asked))

        return await self._read_in_turn(self._lookup_slot, read)

    async def list_predictions(self, request: pb.ListPredictionsRequest, _: Context) -> pb.ListPredictionsResponse:
        """A page of recorded forecasts."""
        asked = record_requests.list_query(request)

        def read(connection: Connection) -> pb.ListPredictionsResponse:
            page = pages.page(connection, *asked)
            told = [record.recorded_message(each, explanation=False) for each in page.forecasts]
            return pb.ListPredictionsResponse(predictions=told, next_page_token=page.next_token)

        return await self._read_in_turn(self._lookup_slot, read)

    async def get_scorecard(self, request: pb.GetScorecardRequest, _: Context) -> pb.GetScorecardResponse:
        """How settled forecasts fared."""
        wanted = record_requests.scorecard_filter(request)

        def read(connection: Connection) -> pb.GetScorecardResponse:
            card = scorecard(scorecards.settled(connection, wanted).forecasts)
            return pb.GetScorecardResponse(scorecard=record.scorecard_message(card))

        return await self._read_in_turn(self._scorecard_slot, read)

    async def get_leaderboard(self, request: pb.GetLeaderboardRequest, _: Context) -> pb.GetLeaderboardResponse:
        """The model versions in order."""
        asked = record_requests.leaderboard_query(request)

        def read(connection: Connection) -> pb.GetLeaderboardResponse:
            found = scorecards.settled(connection, asked.filter)
            cards = {
                version: scorecard(found.forecasts.where(found.model == place))
                for place, version in enumerate(found.models)
            }
            standings = leaderboard(cards, asked.metric, asked.min_games)
            return record.leaderboard_message(standings, asked.metric, asked.min_games)

        return await self._read_in_turn(self._scorecard_slot, read)

    async def get_checkpoint(self, _: pb.GetCheckpointRequest, __: Context) -> pb.GetCheckpointResponse:
        """The signed head of the ledger."""
        return pb.GetCheckpointResponse(checkpoint=record.checkpoint_message(await self._signer()))

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service's methods, for a server to be given."""
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

    async def _read_in_turn(self, turn: asyncio.Semaphore, read: Callable[[Connection], _T]) -> _T:
        """Reads when its turn has come, and keeps it until the reading is over.

        A thread can't be stopped: the next one waits for its end, also if its caller has gone.
        """
        await turn.acquire()
        reading_now = asyncio.ensure_future(self._record.read(read))

        def over(finished: asyncio.Future[_T]) -> None:
            turn.release()
            if not finished.cancelled():
                finished.exception()  # which the caller was told, unless it has gone

        reading_now.add_done_callback(over)
        return await asyncio.shield(reading_now)
