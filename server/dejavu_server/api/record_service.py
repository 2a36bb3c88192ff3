"""RecordService: records outcomes and queries the ledger. The interceptor maps errors to statuses.

Queries run, aggregate and build their messages on the reader threads of the ledger, so that they do not block other
calls. Scorecards and leaderboards are shared and kept (`shared_reads.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar

from google.protobuf.message import Message

from dejavu.v1 import record_service_pb2 as pb
from dejavu_common.clock import day_bounds
from dejavu_ledger.database.backend import Connection, Query
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.queries import pages, scorecards
from dejavu_ledger.queries.model_changes import KnownRoster
from dejavu_ledger.queries.scorecards import KnownScores, ScoreFilter, SettledByModel, UnsettledGame
from dejavu_ledger.records import Checkpoint
from dejavu_models.comparison import GateSettings
from dejavu_models.scorecard.cards import LeaderboardMetric, leaderboard, ranked, scorecard
from dejavu_server.api.converters import record, record_requests
from dejavu_server.api.converters.forecast import CourseOf
from dejavu_server.api.converters.record import outcome_message
from dejavu_server.api.shared_reads import SharedReads
from dejavu_server.limits import Caller

RECORD_SERVICE = pb.DESCRIPTOR.services_by_name["RecordService"]

_M = TypeVar("_M", bound=Message)
_R = TypeVar("_R")
_T = TypeVar("_T")


class _Scored(NamedTuple):
    """Data from which a scorecard or leaderboard is made.

    Attributes:
        settled: the settled forecasts that match its filter.
        unsettled: the games of past evenings that nobody settled, with the models of their forecasts.
    """

    settled: SettledByModel
    unsettled: list[UnsettledGame]


class RecordService:
    """Serves the track record.

    Args:
        ledger: the ledger.
        clock: returns the current time, aware and in UTC.
        signer: signs the ledger's head.
        reads: reads the ledger, for all services of the worker.
        course_of: returns courses of similar games; None: predictions have none.
    """

    def __init__(
        self,
        ledger: CurrentLedger,
        clock: Callable[[], datetime],
        signer: Callable[[], Awaitable[Checkpoint]],
        reads: SharedReads,
        course_of: CourseOf | None = None,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._signer = signer
        self._game_message = partial(record.game_message, course_of=course_of)
        self._reads = reads
        self._roster = KnownRoster()
        self._settled = KnownScores()

    async def report_outcome(self, request: pb.ReportOutcomeRequest, caller: Caller) -> pb.ReportOutcomeResponse:
        """Record an outcome and settle its forecasts."""
        reported = record_requests.outcome(request, self._clock(), caller.identity)
        outcome, settled = await self._ledger().record_outcome(reported, caller, correct=not request.refuse_correction)
        return pb.ReportOutcomeResponse(outcome=outcome_message(outcome), settled_forecasts=settled)

    async def withdraw_outcome(self, request: pb.WithdrawOutcomeRequest, caller: Caller) -> pb.WithdrawOutcomeResponse:
        """Withdraw an outcome."""
        game_id, horizon = record_requests.withdrawal(request)
        outcome, settled = await self._ledger().withdraw_outcome(game_id, horizon, caller.identity, caller)
        return pb.WithdrawOutcomeResponse(outcome=outcome_message(outcome), unsettled_forecasts=settled)

    async def get_prediction(self, request: pb.GetPredictionRequest, caller: Caller) -> pb.GetPredictionResponse:
        """Return the latest forecast of a game."""
        return await self._look_up(caller, record_requests.game_query(request), self._game_message)

    async def list_predictions(self, request: pb.ListPredictionsRequest, caller: Caller) -> pb.ListPredictionsResponse:
        """Return a page of recorded forecasts."""

        def response(page: pages.Page) -> pb.ListPredictionsResponse:
            messages = [record.recorded_message(each) for each in page.forecasts]
            return pb.ListPredictionsResponse(predictions=messages, next_page_token=page.next_token)

        return await self._look_up(caller, record_requests.list_query(request), response)

    async def get_scorecard(self, request: pb.GetScorecardRequest, caller: Caller) -> pb.GetScorecardResponse:
        """Score settled forecasts."""
        asked = record_requests.scorecard_query(request)

        def response(connection: Connection, scored: _Scored) -> pb.GetScorecardResponse:
            forecasts = scored.settled.forecasts.newest(asked.limit) if asked.limit else scored.settled.forecasts
            unsettled = len({each.game_id for each in scored.unsettled})
            card = scorecard(forecasts, unsettled, asked.filter.min_difference, asked.max_bets)
            orders = {each.order for each in card.market.placed} if card.market else set()
            games = scorecards.game_ids(connection, asked.filter.horizon, sorted(orders)) if orders else {}
            return pb.GetScorecardResponse(scorecard=record.scorecard_message(card, games))

        return await self._share(caller, asked, asked.filter, response)

    async def get_leaderboard(self, request: pb.GetLeaderboardRequest, caller: Caller) -> pb.GetLeaderboardResponse:
        """Rank the model versions, and compare the staged models with the champion."""
        asked = record_requests.leaderboard_query(request)
        roster = await self._reads.look_up(self._roster.read, caller.turn)

        def response(connection: Connection, scored: _Scored) -> pb.GetLeaderboardResponse:
            settled, unsettled = scored.settled, Counter(each.model_version for each in scored.unsettled)
            cards = {
                version: scorecard(
                    settled.forecasts.where(settled.model == index), unsettled[version], asked.filter.min_difference
                )
                for index, version in enumerate(settled.models)
            }
            entries = leaderboard(cards, asked.metric, asked.min_games, asked.limit)
            challengers = roster.challengers
            pairs = scorecards.pairs(connection, challengers, roster.champion, asked.filter) if challengers else {}
            compared = {version: each for version, of in pairs.items() if (each := GateSettings().compare(of))}
            score = "brier" if asked.metric is LeaderboardMetric.BRIER else "crps"
            differences = {
                version: getattr(each, score).difference.value
                for version, each in compared.items()
                if each.games >= asked.min_games
            }
            shadows = [
                record.shadow_message(rank, version, roster.champion, compared[version])
                for rank, version in ranked(differences, asked.limit)
            ]
            return record.leaderboard_message(entries, asked.metric, asked.min_games, shadows)

        # Settled pairs change only with the outcomes, since no shadow is recorded once the outcome is.
        compares = bool(roster.challengers)
        return await self._share(caller, (asked, roster.sequence), asked.filter, response, compares=compares)

    async def get_checkpoint(self, _: pb.GetCheckpointRequest, __: Caller) -> pb.GetCheckpointResponse:
        """Return the signed head of the ledger."""
        return pb.GetCheckpointResponse(checkpoint=record.checkpoint_message(await self._signer()))

    async def _share(
        self,
        caller: Caller,
        query: Hashable,
        filter_: ScoreFilter,
        response: Callable[[Connection, _Scored], _M],
        *,
        compares: bool = False,
    ) -> _M:
        """Return the response to a query, computed from the current settled forecasts that match a filter.

        The unsettled games are those of past evenings, so the response also changes with the evening.
        """
        evening, _ = day_bounds(self._clock())

        def build(connection: Connection) -> _M:
            settled = self._settled.settled(connection, filter_)
            unsettled = self._settled.unsettled(connection, filter_, evening)
            return response(connection, _Scored(settled, unsettled))

        return await self._reads.get((query, evening), build, caller.turn, compares=compares)

    async def _look_up(self, caller: Caller, query: Query[_R], response: Callable[[_R], _T]) -> _T:
        """Look something up, and build the response on the reader thread."""
        return await self._reads.look_up(lambda connection: response(query(connection)), caller.turn)
