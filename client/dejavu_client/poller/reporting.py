"""What a poller reports: how each half and each game came out, once, and again when a correction changes it.

The record takes no forecast any more of what it has an outcome of (docs/decisions/0022), so nothing is reported before
plays and scoreboard agree that it came, and every forecast that could still be made was answered or given up. A report
without an answer is tried again at later turns until it is through; one that the server refuses is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.record_service_pb2 import ReportOutcomeResponse
from dejavu_client.errors import (
    PASSING,
    DejavuClientError,
    InternalError,
    InvalidArgumentError,
    UnimplementedError,
)
from dejavu_client.formatting import horizon_label
from dejavu_client.poller.events import Event, Fault, FaultKind, OutcomeReported
from dejavu_client.poller.horizons import HORIZON_RULES, at_horizon
from dejavu_client.poller.predictor import PredictionClient, team_codes
from dejavu_client.poller.watched_game import PendingOutcome, WatchedGame
from dejavu_client.requests import FINAL
from dejavu_feed.nba.live import GameState, GameStatus, Play
from dejavu_feed.nba.progress import ended_at

_OLDEST: Final = timedelta(days=2)
"""How old the end of a horizon may be, by the feed's wall clock, and be believed."""


class OutcomeReporter:
    """Reports the outcomes of an evening's games.

    Args:
        client: who takes them.
        tell: what to do with an event.
        now: the wall clock, aware.

    Attributes:
        off: whether the server keeps no record: nothing is reported to it any more.
    """

    def __init__(
        self, client: PredictionClient, tell: Callable[[Event], Awaitable[None]], now: Callable[[], datetime]
    ) -> None:
        self.off = False
        self._client = client
        self._emit = tell
        self._now = now

    def note(self, game: WatchedGame, plays: Sequence[Play]) -> None:
        """Notes what a game's plays say of its outcomes."""
        if not game.to_report:
            return
        for horizon, course in HORIZON_RULES.items():
            known, score = game.reports.get(horizon), course.score(plays)
            if score is None:
                if known is not None and not known.done:  # its end was shown too early
                    del game.reports[horizon]
            elif known is None or known.differential != score.home - score.away:
                state = at_horizon(game.state, horizon, score, plays)
                observed = ended_at(plays, state.period)
                game.reports[horizon] = PendingOutcome(state, score.home - score.away, self._plausible(observed))
                game.report_backoff.skip = 0

    def give_up(self, game: WatchedGame) -> None:
        """Leaves what plays and scoreboard do not agree on unreported: the plays are not read any more."""
        for horizon, report in game.reports.items():
            report.done = report.done or not _confirmed(horizon, report, game.state)

    def pending(self, game: WatchedGame) -> bool:
        """Whether something is still to be reported of a game."""
        return not self.off and any(not report.done for report in game.reports.values())

    def due(self, game: WatchedGame) -> bool:
        """Whether to report something in this turn; call it once a turn."""
        return self.pending(game) and any(self._ready(game)) and game.report_backoff.due()

    async def report(self, game: WatchedGame) -> None:
        """Reports what came of a game and can be reported."""
        for horizon in self._ready(game):
            report = game.reports[horizon]
            try:
                answer = await self._send(horizon, report)
            except UnimplementedError as error:
                if not self.off:
                    self.off = True
                    await self._fault(
                        game, f"the server keeps no record, no outcome is reported: {error}", 1, refused=True
                    )
                return
            except (*PASSING, InternalError) as error:
                game.failure = f"server: {error}"
                again = f"the {horizon_label(horizon)} is not reported, trying again: {error}"
                await self._fault(game, again, game.report_backoff.failed(), refused=False)
                return
            except DejavuClientError as error:
                report.done = True
                await self._fault(
                    game, f"the server refuses how the {horizon_label(horizon)} came out: {error}", 1, refused=True
                )
            else:
                report.done = True
                game.report_backoff.succeeded()
                settled = answer.settled_forecasts
                await self._emit(OutcomeReported(report.game, horizon, report.differential, answer.outcome, settled))

    def _ready(self, game: WatchedGame) -> list[Horizon.ValueType]:
        """Which horizons of a game can be reported now, the half before the end."""
        if self.off:
            return []
        return [
            horizon
            for horizon, report in sorted(game.reports.items())
            if not report.done
            and _confirmed(horizon, report, game.state)
            and not any(minute < HORIZON_RULES[horizon].minutes for minute in game.unanswered_minutes)
        ]

    async def _send(self, horizon: Horizon.ValueType, report: PendingOutcome) -> ReportOutcomeResponse:
        home, away = team_codes(report.game)
        for observed in (report.observed, None):
            try:
                return await self._client.report_outcome(
                    report.game.game_id,
                    report.differential,
                    horizon=horizon,
                    home_team=home,
                    away_team=away,
                    observed_time=observed,
                )
            except InvalidArgumentError as error:
                # The feed's clock, or ours, may be ahead of the server's: then it is observed as the server takes it.
                if observed is None or [each.field for each in error.field_violations] != ["observed_time"]:
                    raise
        raise AssertionError("unreachable")

    async def _fault(self, game: WatchedGame, reason: str, failures: int, *, refused: bool) -> None:
        kind = FaultKind.REFUSED if refused else FaultKind.SERVER
        await self._emit(Fault(game.state.game_id, reason, failures, kind=kind))

    def _plausible(self, observed: datetime | None) -> datetime | None:
        now = self._now()
        return observed if observed is not None and now - _OLDEST <= observed <= now else None


def _confirmed(horizon: Horizon.ValueType, report: PendingOutcome, shown: GameState) -> bool:
    """Whether the scoreboard says as well that a horizon came; of the end, with the same score."""
    if horizon == FINAL:
        score = (report.game.home_score, report.game.away_score)
        return shown.status is GameStatus.FINAL and score == (shown.home_score, shown.away_score)
    period = HORIZON_RULES[horizon].period
    return shown.status is GameStatus.FINAL or shown.period > period or (shown.period == period and shown.clock == 0.0)
