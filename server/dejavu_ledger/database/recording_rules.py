"""Rules of recording: whether a forecast is late or beyond a limit, given the minutes and outcomes of its game."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from dejavu_common.clock import from_microseconds, game_day
from dejavu_feed.game_ids import is_replay
from dejavu_feed.pattern import period_of
from dejavu_ledger.errors import GameFull, OutcomeAlreadyRecorded
from dejavu_ledger.records import IssuedForecast, LateReason
from dejavu_models.results import Failed
from dejavu_models.types import Horizon

_HALF: Final = 60 * 24

LATE_MINUTES: Final = 2
"""Minutes of play by which a forecast may be behind the newest of its game: feeds correct recent plays."""

LATE_AFTER: Final = timedelta(minutes=10)
"""Time after which a forecast comes too late for the newest second of play of its game. It is no setting, so that all
servers and auditors derive the same from the entries."""

MARKET_WITHIN: Final = timedelta(minutes=1)
"""Time after its forecast within which a market is recorded: a later one could be chosen by how the game went on."""

MARKET_WITHIN_BREAK: Final = timedelta(minutes=10)
"""The same for a forecast at the half, when nothing is played; then the forecast itself would be late."""

CALLERS_OF_A_GAME: Final = 4
"""Callers with a token that it takes to use up the limit of a game's forecasts, so that none can keep out a poller."""

LONGEST_GAME: Final = timedelta(hours=12)
"""Time after its first forecast by which a game must be over; one with four overtimes takes less than four hours."""


class RecordingLimits(NamedTuple):
    """Limits of the recording of forecasts.

    Attributes:
        forecasts: maximum number of forecasts of one game, revisions included; one caller with a token may record its
            CALLERS_OF_A_GAME-th part.
        reserve_bytes: free space of the disk below which no new forecast is recorded, so that outcomes still are; 0: no
            limit.
    """

    forecasts: int = 5000
    reserve_bytes: int = 0


DEFAULT_LIMITS: Final = RecordingLimits()


def market_window(issued: IssuedForecast) -> timedelta:
    """Return the time after a forecast within which its market is recorded."""
    return MARKET_WITHIN_BREAK if issued.forecast.elapsed_seconds == _HALF else MARKET_WITHIN


class RecordedGames:
    """For each game: newest second of play and since when, first forecast, number of forecasts, and outcomes.

    It follows the order of the ledger.
    """

    def __init__(self) -> None:
        self._newest: dict[str, tuple[float, datetime]] = {}  # seconds since tip-off, and when it was recorded first
        self._first: dict[str, datetime] = {}  # when the first forecast was made
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)  # number of forecasts by caller
        self._outcomes: defaultdict[str, dict[Horizon, int]] = defaultdict(dict)  # that stand, with their sequences
        self._withdrawn: defaultdict[str, set[Horizon]] = defaultdict(set)

    def take(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take over the rows of `recording.statements.STATE_OF_GAMES` for games that it does not have."""
        for game_id, horizon, number, since_us, first_us, caller in rows:
            if horizon and since_us:
                self._withdrawn[game_id].add(Horizon(horizon))
            elif horizon:
                # PostgreSQL returns sequences as floats, since other rows of the query have seconds in this column.
                self._outcomes[game_id][Horizon(horizon)] = int(number)
            elif since_us:
                self._newest[game_id] = (number, from_microseconds(since_us))
                self._first[game_id] = from_microseconds(first_us)
            else:
                self._counts[game_id][caller] = int(number)

    def add(self, issued: IssuedForecast) -> None:
        """Take note of a recorded forecast."""
        self._counts[issued.game_id][issued.recorded_by] += 1
        elapsed, since = issued.forecast.elapsed_seconds, issued.generated_time
        self._first[issued.game_id] = min(since, self._first.get(issued.game_id, since))
        newest, known_since = self._newest.get(issued.game_id, (0.0, since))
        if elapsed > newest or (elapsed == newest and since < known_since):
            self._newest[issued.game_id] = (elapsed, since)

    def add_outcome(self, game_id: str, horizon: Horizon, sequence: int, *, withdrawn: bool) -> None:
        """Take note of the newest revision of an outcome, after all that is recorded before it."""
        if withdrawn:
            self._outcomes[game_id].pop(horizon, None)
            if self.has_forecasts(game_id):  # otherwise it is void: see `standing.is_void`
                self._withdrawn[game_id].add(horizon)
        else:
            self._outcomes[game_id][horizon] = sequence

    def has_forecasts(self, game_id: str) -> bool:
        """Return whether any forecast of a game is recorded."""
        return game_id in self._counts

    def known_outcome(self, game_id: str, minute: int) -> Failed | None:
        """Return a failure if an outcome at a horizon after a minute is known, otherwise None."""
        for horizon, sequence in self._outcomes.get(game_id, {}).items():
            if minute <= horizon.last_slot:
                error = OutcomeAlreadyRecorded(
                    f"the outcome of game {game_id} at {horizon.value} is recorded (ledger entry {sequence}): "
                    "forecasts of an earlier moment are no longer recorded"
                )
                return Failed(error)
        return None

    def was_withdrawn(self, game_id: str, minute: int) -> bool:
        """Return whether an outcome at a horizon after a minute was withdrawn; void withdrawals do not count."""
        return any(minute <= horizon.last_slot for horizon in self._withdrawn.get(game_id, ()))

    def full(self, game_id: str, caller: str, limits: RecordingLimits) -> Failed | None:
        """Return a failure if no further forecast of a game by a caller is recorded, otherwise None."""
        counts = self._counts.get(game_id)
        if counts is None:
            return None
        if counts.total() >= limits.forecasts:
            found = f"{limits.forecasts:,} forecasts of game {game_id} are recorded, which is the limit"
            return Failed(GameFull(found))
        most = limits.forecasts // CALLERS_OF_A_GAME
        if caller and counts[caller] >= most:
            found = f"{most:,} forecasts of game {game_id} by this caller are recorded, which is its limit"
            return Failed(GameFull(f"{found}; other callers can record more"))
        return None

    def late(self, issued: IssuedForecast) -> LateReason | None:
        """Return why a forecast that is recorded now is late; None if it is in time."""
        if self.was_withdrawn(issued.game_id, issued.forecast.elapsed_minutes):
            return LateReason.REPORTED
        if self._is_over(issued):
            return LateReason.GAME_DATE
        if issued.game_id not in self._newest:
            return None
        newest, since = self._newest[issued.game_id]
        elapsed = issued.forecast.elapsed_seconds
        if elapsed < newest - 60 * LATE_MINUTES:
            return LateReason.LATER_MINUTE
        # A play that follows soon, as the clock tells, cannot take long: only between periods is there a break.
        follows = newest < elapsed < newest + 60 and period_of(elapsed) == period_of(newest)
        if (elapsed <= newest or follows) and issued.generated_time - since > LATE_AFTER:
            return LateReason.TIME
        return None

    def _is_over(self, issued: IssuedForecast) -> bool:
        """Return whether a game was over, by the date given for it or by its first forecast; False for a replay."""
        if is_replay(issued.game_id):
            return False
        made, given = issued.generated_time, issued.game_date
        return (given is not None and game_day(made) > given) or made - self._first.get(
            issued.game_id, made
        ) > LONGEST_GAME
