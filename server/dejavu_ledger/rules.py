"""The rules of the record: whose a game is, which forecasts are late, what is a revision, what is recorded at all.

A `GameRecord` is the state of a game after some of its entries, in the order of the ledger. The writer loads it for the
games that it writes, the auditor folds it from the first entry; both ask it the same questions. docs/record.md has the
rules as a table.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from dejavu_common.clock import game_day
from dejavu_feed.game_ids import is_replay
from dejavu_feed.pattern import period_of
from dejavu_ledger.entries.canonical_json import dumps
from dejavu_ledger.errors import GameFull, LedgerCorrupt, OutcomeAlreadyRecorded
from dejavu_ledger.records import IssuedForecast, LateReason, MarketRecording, ReportedOutcome
from dejavu_models.betting import Market
from dejavu_models.types import Horizon

_HALF: Final = Horizon.HALFTIME.seconds

BEHIND: Final = 90.0
"""Seconds of play by which a forecast may be behind the published clock, and that of another caller behind its owner's
newest: the end of a minute shows in the first play after it, which a feed may have half a minute after its clock."""

MARKET_BEHIND: Final = 120.0
"""Seconds of play by which a market may be behind the newest forecast of its game."""

LATE_AFTER: Final = timedelta(minutes=10)
"""Time after which a forecast comes too late for the newest second of play of its game."""

MARKET_WITHIN: Final = timedelta(minutes=1)
"""Time after its forecast within which a market is recorded: a later one could be chosen by how the game went on."""

MARKET_WITHIN_BREAK: Final = timedelta(minutes=10)
"""The same for a forecast at the half, when nothing is played; then the forecast itself would be late."""

CALLERS_OF_A_GAME: Final = 4
"""Callers with a token that it takes to use up the limit of a game's forecasts."""

LONGEST_GAME: Final = timedelta(hours=12)
"""Time after its owner's first forecast by which a game must be over; four overtimes take less than four hours."""


class RecordingLimits(NamedTuple):
    """Limits of the recording of forecasts.

    Attributes:
        forecasts: maximum number of forecasts of one game, revisions included; one caller with a token may record its
            CALLERS_OF_A_GAME-th part, and the owner also beyond the maximum, whatever others record.
        reserve_bytes: free space of the disk below which no new forecast is recorded, so that outcomes still are; 0: no
            limit.
    """

    forecasts: int = 5000
    reserve_bytes: int = 0


DEFAULT_LIMITS: Final = RecordingLimits()


class _Newest(NamedTuple):
    """Newest second of play of some forecasts, and when the first of them was made."""

    seconds: float
    since: datetime

    def or_later(self, other: _Newest | None) -> _Newest:
        """Return the other one if its second is later, or the same and known for longer."""
        if other is None or (self.seconds, -self.since.timestamp()) > (other.seconds, -other.since.timestamp()):
            return self
        return other

    def is_known_at(self, seconds: float, made: datetime) -> bool:
        """Return whether it was known for long when a forecast of its second, or of a play soon after, was made."""
        # A play that follows soon, as the clock tells, cannot take long: only between periods is there a break.
        follows = self.seconds < seconds < self.seconds + 60 and period_of(seconds) == period_of(self.seconds)
        return (seconds <= self.seconds or follows) and made - self.since > LATE_AFTER


class DecidingReport(NamedTuple):
    """The report that decides which forecasts of a game were made with hindsight.

    It is the first one that was not withdrawn before any forecast of the game; after the game has passed to its first
    lease also the first from then on, if none stood.

    Attributes:
        sequence: its sequence.
        observed: when it says that the outcome was observed.
    """

    sequence: int
    observed: datetime


class GameRecord:
    """What the record has of a game.

    Args:
        game_id: the game.

    Attributes:
        owner: the caller whose forecasts count; None before the first forecast.
        lease: name of the lease whose holder becomes the owner; empty: none.
        deciding: the newest deciding report of each outcome.
        passed: sequence of the forecast by which it passed from an owner without a lease to its first lease; 0: none.
            Nothing is learned from before: anybody could record it.
    """

    def __init__(self, game_id: str) -> None:
        self.game_id = game_id
        self.owner: str | None = None
        self.lease = ""
        self.deciding: dict[Horizon, DecidingReport] = {}
        self.passed = 0
        self._decided: list[tuple[Horizon, DecidingReport]] = []  # by earlier deciding reports
        self._first: datetime | None = None  # when the first owned forecast was made, since it passed
        self._latest = -1.0  # second of play, of all forecasts
        self._counts = Counter[str]()  # forecasts by caller
        self._owned: _Newest | None = None
        self._of_callers: dict[str, _Newest] = {}  # owned or not
        self._outcomes: dict[Horizon, int] = {}  # that stand, with the sequences of their newest revisions
        self._withdrawn: set[Horizon] = set()

    @property
    def is_forecast(self) -> bool:
        """Whether any forecast of it is recorded."""
        return self.owner is not None

    def is_latest(self, seconds: float) -> bool:
        """Return whether no forecast of a second of play, or of a later one, is recorded."""
        return self._latest < seconds

    def owns(self, caller: str, lease: str = "") -> bool:
        """Return whether a forecast by a caller counts: it is the first, its owner's, or its lease's new holder's.

        Args:
            caller: identity of the caller.
            lease: the lease that its entry names; empty: none.
        """
        return self.owner in {None, caller} or lease != ""

    def lease_of(self, caller: str, held: frozenset[str]) -> str:
        """Return the lease that the entry of a caller's forecast names, since the game follows it from then on.

        The first lease of a game is the first one that any of its callers holds, its owner or another. From then on it
        belongs to whoever holds this lease.

        Args:
            caller: identity of the caller.
            held: the leases that it holds.
        """
        if not self.lease:
            return min(held, default="")
        return self.lease if self.owner != caller and self.lease in held else ""

    def changes_owner(self, caller: str, *, owned: bool) -> bool:
        """Return whether a forecast, if it counts, makes its caller the owner in place of another one."""
        return owned and self.owner not in {None, caller}

    def check_lease(self, caller: str, lease: str) -> None:
        """Check the lease that the entry of a caller's forecast names.

        Raises:
            LedgerCorrupt: if the game does not follow it from then on.
        """
        if lease != self.lease_of(caller, frozenset([lease])):
            raise LedgerCorrupt(f"lease {lease!r} makes the caller no owner of game {self.game_id}")

    def add_forecast(
        self, sequence: int, caller: str, lease: str, seconds: float, made: datetime, late: LateReason | None
    ) -> None:
        """Take over the next recorded forecast.

        One that comes too late for its moment says nothing of when this was known: otherwise it would make those that
        follow timely.

        Args:
            sequence: its sequence.
            caller: identity of the caller.
            lease: the lease that its entry names.
            seconds: seconds of play at it.
            made: when it was made.
            late: why it is late; None: it is not.
        """
        newest, owned = _Newest(seconds, made), self.owns(caller, lease)
        passes = self._passes_to_first_lease(caller, owned=owned)
        if passes:
            excused = self._withdrawn - self._outcomes.keys()
            self._decided += [(horizon, self.deciding.pop(horizon)) for horizon in excused]
            self._withdrawn.clear()
            self.passed = sequence
        if owned:
            # Otherwise anybody could make a game late by a forecast of the morning before.
            self._first = made if self._first is None or passes else min(self._first, made)
            self.owner, self.lease = caller, lease or self.lease
        if late is not LateReason.TIME:
            self._owned = newest.or_later(self._owned) if owned else self._owned
            self._of_callers[caller] = newest.or_later(self._of_callers.get(caller))
        self._latest = max(self._latest, seconds)
        self._counts[caller] += 1

    def add_outcome(self, horizon: Horizon, sequence: int, observed: datetime, *, withdrawn: bool) -> None:
        """Take over the next recorded revision of an outcome.

        A report that is withdrawn before any forecast of its game counts as never made, and makes no forecast late:
        otherwise anybody who may report could make all forecasts of future games late. Nor does one that is withdrawn
        before the game passes to its first lease, or anybody who may record could do so, too. Such games count as
        doubtful.
        """
        if not withdrawn:
            self._outcomes[horizon] = sequence
            self.deciding.setdefault(horizon, DecidingReport(sequence, observed))
            return
        self._outcomes.pop(horizon, None)
        if self.is_forecast:
            self._withdrawn.add(horizon)
        else:
            self.deciding.pop(horizon, None)

    def _passes_to_first_lease(self, caller: str, *, owned: bool) -> bool:
        """Return whether a forecast, if it counts, makes its caller the owner in place of one who held no lease."""
        return not self.lease and self.changes_owner(caller, owned=owned)

    def known_outcome(self, minute: int) -> OutcomeAlreadyRecorded | None:
        """Return the error of a forecast after a minute if the outcome of a later horizon stands; otherwise None."""
        for horizon, sequence in self._outcomes.items():
            if minute <= horizon.last_slot:
                return OutcomeAlreadyRecorded(
                    f"the outcome of game {self.game_id} at {horizon.value} is recorded (ledger entry {sequence}): "
                    "forecasts of an earlier moment are no longer recorded"
                )
        return None

    def was_withdrawn(self, minute: int) -> bool:
        """Return whether an outcome at a horizon after a minute was withdrawn."""
        return any(minute <= horizon.last_slot for horizon in self._withdrawn)

    def hindsight(self, sequence: int, minute: int, made: datetime) -> int | None:
        """Return the sequence of the report that shows that a forecast was made with hindsight; None if none does.

        It is the first report of an outcome after the forecast's minute that was recorded after the forecast, and
        observed before it was made. No later report undoes hindsight, and only a deciding one creates it. Replays are
        exempt, since their games are over.

        Args:
            sequence: sequence of the forecast, or of a market that was sent with it later.
            minute: minute of play of the forecast.
            made: when it was made, or when the market was sent.
        """
        if is_replay(self.game_id):
            return None
        show = (
            report.sequence
            for horizon, report in (*self._decided, *self.deciding.items())
            if minute <= horizon.last_slot and report.sequence > sequence and report.observed < made
        )
        return min(show, default=None)

    def full(self, caller: str, limits: RecordingLimits, *, owned: bool) -> GameFull | None:
        """Return the error of a further forecast by a caller if there are too many; otherwise None."""
        most = limits.forecasts // CALLERS_OF_A_GAME
        if caller and self._counts[caller] >= most:
            found = f"{most:,} forecasts of game {self.game_id} by this caller are recorded, which is its limit"
            return GameFull(f"{found}; other callers can record more")
        if self._counts.total() >= limits.forecasts and not (caller and owned):
            found = f"{limits.forecasts:,} forecasts of game {self.game_id} are recorded, which is the limit"
            return GameFull(found)
        return None

    def late(
        self, issued: IssuedForecast, *, owned: bool, clock: float | None = None, behind: float = 0.0
    ) -> LateReason | None:
        """Return why a forecast that is recorded now is late; None if it is in time.

        Args:
            issued: the forecast.
            owned: whether it is of the owner.
            clock: seconds of play by the published clock; None if the owner publishes none.
            behind: seconds of play by which it may be behind the newest one.
        """
        made, seconds = issued.generated_time, issued.forecast.elapsed_seconds
        voids = self._passes_to_first_lease(issued.recorded_by, owned=owned)
        if not voids and self.was_withdrawn(issued.forecast.elapsed_minutes):
            return LateReason.REPORTED
        if self._is_over(issued, owned=owned):
            return LateReason.GAME_DATE
        own, owners = self._of_callers.get(issued.recorded_by), self._owned
        if owned and owners is not None:
            own = owners = owners.or_later(own)
        if own is not None and seconds < own.seconds - behind:
            return LateReason.LATER_SECOND
        if owners is not None and seconds < owners.seconds - max(behind, BEHIND):
            return LateReason.LATER_SECOND
        if clock is not None and seconds < clock - max(behind, BEHIND) and not is_replay(self.game_id):
            return LateReason.CLOCK
        known = any(each is not None and each.is_known_at(seconds, made) for each in (own, owners))
        return LateReason.TIME if known else None

    def _is_over(self, issued: IssuedForecast, *, owned: bool) -> bool:
        """Return whether the game was over, by its date or its first owned forecast; False for a replay."""
        if is_replay(self.game_id):
            return False
        made, given = issued.generated_time, issued.game_date
        begins = self._passes_to_first_lease(issued.recorded_by, owned=owned)
        first = made if begins or self._first is None else self._first
        return (given is not None and game_day(made) > given) or made - first > LONGEST_GAME


def key_of(issued: IssuedForecast, *, owned: bool) -> str:
    """Return the identity of a forecast: game, horizon and second of play, and the caller if it is not the owner.

    Of the forecasts with one key only the newest in time counts. Nobody can correct the forecasts of another caller.
    """
    of = [issued.game_id, issued.forecast.horizon.value, float(issued.forecast.elapsed_seconds)]
    return dumps(of if owned else [*of, issued.recorded_by])


def repeats(stored: IssuedForecast, new: IssuedForecast) -> bool:
    """Return whether a forecast has the input of a stored one with the same key, and nothing else that is new.

    One without a date agrees with every stored one: a retry after midnight is not a correction. A stored one without a
    date is of the day on which it was made, so another date corrects it. Likewise, a forecast without a live input
    agrees, and one with a live input that the stored one lacks corrects it.
    """
    one, other = stored.forecast, new.forecast
    same = (
        (one.alpha, one.model_version, one.moment) == (other.alpha, other.model_version, other.moment)
        and (stored.home_team, stored.away_team) == (new.home_team, new.away_team)
        and stored.pregame_margin == new.pregame_margin
        and stored.pattern.differentials == new.pattern.differentials
    )
    if other.moment is not None:  # after a play that could not be read, possession is not known
        same = same and stored.live.possession == new.live.possession
    same_date = new.game_date is None or new.game_date == stored.day
    return same and same_date and new.live.agrees_with(stored.live)


class Revisions(NamedTuple):
    """The revisions of a key that decide what becomes of the next forecast.

    Attributes:
        newest: the newest one; None if there is none.
        in_time: the newest one that is not late; None if there is none.
    """

    newest: IssuedForecast | None = None
    in_time: IssuedForecast | None = None

    def find(self, new: IssuedForecast) -> IssuedForecast | None:
        """Return the revision of the same caller that a forecast repeats; None if it is another revision.

        An owner that got the forecast of the one before would also place its bet on it.
        """
        known = (each for each in (self.in_time, self.newest) if each is not None)
        return next((each for each in known if each.recorded_by == new.recorded_by and repeats(each, new)), None)

    @property
    def next_number(self) -> int:
        """The number of the next revision."""
        return 0 if self.newest is None else self.newest.revision + 1

    def after(self, recorded: IssuedForecast) -> Revisions:
        """Return the revisions with the next one."""
        return Revisions(recorded, self.in_time if recorded.late else recorded)


def market_recording(
    market: Market, standing: Market | None, closed: MarketRecording | None, *, mismatched: bool
) -> MarketRecording:
    """Return whether a market is recorded, or is to be recorded, for its forecast, and otherwise why not.

    Args:
        market: the market.
        standing: the recorded market of its kind of the forecast; None if it has none.
        closed: why the forecast takes no further market; None if it does (`closed_to_markets`).
        mismatched: whether the two prices do not belong together.
    """
    if market.prices is None:
        return MarketRecording.NO_PRICES
    if standing is not None:
        # Bankroll and policy are no part of a price: in the record, stakes are shares.
        same = all(getattr(standing, name) == getattr(market, name) for name in ("line", "above_odds", "below_odds"))
        return MarketRecording.RECORDED if same else MarketRecording.EARLIER_STANDS
    # A mistyped price must not keep the right one out of the record.
    return closed or (MarketRecording.ODDS_MISMATCHED if mismatched else MarketRecording.RECORDED)


def closed_to_markets(
    game: GameRecord, stored: IssuedForecast, sent: datetime, *, owned: bool
) -> MarketRecording | None:
    """Return why a recorded forecast takes no further market; None if it does: see `market_is_late`."""
    if game.known_outcome(stored.forecast.elapsed_minutes) is not None:
        return MarketRecording.OUTCOME_KNOWN
    return MarketRecording.FORECAST_LATE if market_is_late(game, stored, sent, owned=owned) else None


def market_is_late(game: GameRecord, stored: IssuedForecast, sent: datetime, *, owned: bool) -> bool:
    """Return whether a market comes too late for its forecast: that would be late by now, or was made too long ago.

    Args:
        game: the game.
        stored: the recorded forecast.
        sent: when the market was sent.
        owned: whether the forecast counts for its game.
    """
    within = MARKET_WITHIN_BREAK if stored.forecast.elapsed_seconds == _HALF else MARKET_WITHIN
    now = replace(stored, generated_time=sent, game_date=None)  # its request may have had no date
    late = stored.late or game.late(now, owned=owned, behind=MARKET_BEHIND)
    return late is not None or sent - stored.generated_time > within


class OutcomeRevisions(NamedTuple):
    """The revisions of an outcome, as far as they decide what becomes of the next one.

    Attributes:
        newest: the newest one; None if there is none.
        first_sequence: sequence of the first report since the last withdrawal.
    """

    newest: ReportedOutcome | None = None
    first_sequence: int = 0

    @property
    def standing(self) -> ReportedOutcome | None:
        """The current outcome; None if there is none, or it was withdrawn."""
        return None if self.newest is None or self.newest.withdrawn else self.newest

    @property
    def next_number(self) -> int:
        """The number of the next revision."""
        return 0 if self.newest is None else self.newest.revision + 1

    def after(self, recorded: ReportedOutcome) -> OutcomeRevisions:
        """Return the revisions with the next one.

        Raises:
            LedgerCorrupt: if it does not follow from them, or changes nothing.
        """
        entry, number = f"entry {recorded.sequence}:", recorded.revision
        if number != self.next_number:
            raise LedgerCorrupt(f"{entry} revision {number} of an outcome does not follow: revisions count from 0")
        if recorded.withdrawn:
            if self.standing is None:
                raise LedgerCorrupt(f"{entry} it withdraws an outcome that does not stand")
            if values_of(recorded) != values_of(self.standing):
                raise LedgerCorrupt(f"{entry} it withdraws another outcome than that before it")
        elif self.standing is not None and agree(self.standing, recorded):
            raise LedgerCorrupt(f"{entry} it changes nothing: it has the values and teams of the revision before it")
        return OutcomeRevisions(recorded, recorded.sequence if self.standing is None else self.first_sequence)


def completed(reported: ReportedOutcome, stored: ReportedOutcome) -> ReportedOutcome:
    """Return a report with what it leaves out of an outcome that it may revise.

    It has the teams of the outcome; with the same differential also its total points and overtimes, and its box score
    unless that is of other teams.
    """
    if not reported.home_team:
        reported = replace(reported, home_team=stored.home_team, away_team=stored.away_team)
    if reported.differential != stored.differential:
        return reported
    same_teams = stored.home_team in {"", reported.home_team} and stored.away_team in {"", reported.away_team}
    return replace(
        reported,
        total_points=stored.total_points if reported.total_points is None else reported.total_points,
        overtimes=stored.overtimes if reported.overtimes is None else reported.overtimes,
        players=reported.players or (stored.players if same_teams else ()),
    )


def agree(stored: ReportedOutcome, reported: ReportedOutcome) -> bool:
    """Return whether a report has the differential of an outcome, and its teams, points and box score, or none."""
    return values_of(completed(reported, stored)) == values_of(stored)


def values_of(outcome: ReportedOutcome) -> tuple[object, ...]:
    """Return the values of an outcome in which a revision differs from the one before."""
    teams = outcome.home_team, outcome.away_team
    return outcome.differential, teams, outcome.total_points, outcome.players
