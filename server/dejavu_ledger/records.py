"""Domain types: issued forecasts, reported outcomes, settlements and checkpoints."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from dejavu_common.clock import game_day
from dejavu_common.frozen import fast_frozen
from dejavu_feed.box_score import Lineups, PlayerLine
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs
from dejavu_models.betting import Market, MarketAnswer, MarketKind
from dejavu_models.forecast_query import LineupEffects, ScorePattern
from dejavu_models.types import Forecast, Horizon


class LineSource(enum.Enum):
    """Source of the margin of a request; the value is used in files."""

    CALLER = "caller"
    """The request names no source."""

    FEED = "feed"
    """The NBA's odds feed."""

    FILE = "file"
    """A file of lines."""


class LineOrigin(NamedTuple):
    """Source of the margin of a request, and time at which it was read, in whole microseconds; None if not given."""

    source: LineSource = LineSource.CALLER
    time: datetime | None = None


class LateReason(enum.Enum):
    """Why a recorded forecast is late, so it could have been made with hindsight, or else does not count."""

    LATER_SECOND = "later_second"
    """The ledger already had one of a later second of play, of the game's owners or the same caller; for another caller
    than the owner, of the owners by more than a minute and a half."""

    CLOCK = "clock"
    """The clock that its owner publishes was more than a minute and a half of play further."""

    TIME = "time"
    """The ledger had the game's newest second of play for longer than `rules.LATE_AFTER`."""

    REPORTED = "reported"
    """The ledger already had a report, withdrawn since, of an outcome at a horizon after the forecast's minute."""

    GAME_DATE = "game_date"
    """The game must have been over: by the date given for it, or half a day after its owner's first forecast."""

    OBSERVED = "observed"
    """It was made after the observed_time of the first report of its outcome. This reason is stored in no entry: it
    follows from the report, which is recorded later."""

    SIDES = "sides"
    """It is not late, but its home and away teams are those of the outcome, exchanged. Stored in no entry, too: it
    follows from the outcome."""


class MarketRecording(enum.Enum):
    """Whether the market of a request is the one that the ledger has recorded for its forecast, or why not."""

    RECORDED = "recorded"
    """It is recorded, now or by an earlier request with this line and these odds."""

    EARLIER_STANDS = "earlier_stands"
    """The forecast already has another market."""

    FORECAST_LATE = "forecast_late"
    """It came at a time when its forecast would be late, or too long after it."""

    OUTCOME_KNOWN = "outcome_known"
    """The outcome was known."""

    WHAT_IF = "what_if"
    """The request named no game."""

    ODDS_MISMATCHED = "odds_mismatched"
    """Its two prices do not belong together."""

    NO_PRICES = "no_prices"
    """It has a line alone."""


class SentMarket(NamedTuple):
    """A market of a request.

    Attributes:
        market: the market. `IssuedForecast.answer` has its evaluation.
        recording: whether the ledger recorded it; None before the ledger was asked, or if the market cannot be recorded
            with the stored forecast.
        standing: the recorded market of its kind of the forecast, if it differs from this one.
    """

    market: Market
    recording: MarketRecording | None = None
    standing: Market | None = None


@fast_frozen
class IssuedForecast:
    """An issued forecast with the request that it answers.

    Attributes:
        game_id: the NBA's id, ten digits; empty for a what-if.
        home_team, away_team: NBA codes; empty where not given.
        pattern: score pattern of the request.
        pregame_margin: expected final differential of the request, in points; None if it had none.
        forecast: the forecast; includes its explanation for a named game. Its quantiles are not recorded.
        generated_time, expires_time: aware, UTC, whole microseconds.
        sequence: sequence number in the ledger; 0 if not recorded yet.
        revision: 0, 1, … per game, horizon and second of play, and per caller who is not the game's owner: how often
            its input, alpha or model changed.
        markets: the markets of the request, in its order. Not recorded with the forecast, but in entries of their own.
        late: why the forecast was recorded too late to count; None if it was in time, or is not recorded.
        game_date: local date of the game as given in the request; None if it had none.
        recorded_by: identity of the caller whose request recorded it; empty if it is not known.
        rated_for: the date at which the age of the ratings was determined; None: `day`. Not recorded.
        lineups: the line-ups of the query, or their effects; None if it had none. Only the effects are recorded, with
            the forecast.
        recomputed: the forecast from which the quantiles of the differential and the evaluation of its market were
            computed, if it differs from `forecast`, usually because the model has learned since that was recorded. Not
            recorded.
        recomputed_total: the same of the total points.
        roster_sequence: sequence of the newest change of models known when the roster chose the model; None if the
            request named a version, or there is no model store.
        live: the live inputs of the request.
        line_origin: source of the request's margin; None if the request did not give it.
        lease: the lease that makes the caller the owner of the game (`rules.GameRecord`); empty: none.
        clock: seconds of play by the clock that the owner of the game publishes; None if it publishes none.
        publisher: identity of the caller who publishes `clock`. Not recorded.
        created: whether the commit that returned it recorded it. Not recorded.
        hash: hash of its entry in the chain; empty if it is not recorded, or was not read in the chain's order.
    """

    game_id: str
    home_team: str
    away_team: str
    pattern: ScorePattern
    pregame_margin: float | None
    forecast: Forecast
    generated_time: datetime
    expires_time: datetime
    sequence: int = 0
    revision: int = 0
    markets: tuple[SentMarket, ...] = ()
    late: LateReason | None = None
    game_date: date | None = None
    recorded_by: str = ""
    rated_for: date | None = field(default=None, compare=False)
    lineups: Lineups | LineupEffects | None = field(default=None, compare=False)
    recomputed: Forecast | None = None
    recomputed_total: Forecast | None = None
    roster_sequence: int | None = field(default=None, compare=False)
    live: LiveInputs = NO_LIVE_INPUTS
    line_origin: LineOrigin | None = None
    lease: str = ""
    clock: float | None = field(default=None, compare=False)
    publisher: str = field(default="", compare=False)
    created: bool = field(default=False, compare=False)
    hash: bytes = field(default=b"", compare=False, repr=False)

    def market(self, kind: MarketKind) -> SentMarket | None:
        """Return the market of a kind that the request had; None without one."""
        return next((each for each in self.markets if each.market.kind is kind), None)

    def answer(self, kind: MarketKind) -> MarketAnswer | None:
        """Return the evaluation of the market of a kind; None without one."""
        if kind is MarketKind.LEAD:
            return self.forecast.market
        return None if self.forecast.total is None else self.forecast.total.market

    @property
    def last_known(self) -> float:
        """Differential from which it was forecast, in points."""
        moment = self.forecast.moment
        return self.pattern.last if moment is None else float(moment.differential)

    @property
    def day(self) -> date:
        """Local date of the game: as given, or the day on which the forecast was made."""
        return game_day(self.generated_time) if self.game_date is None else self.game_date

    @property
    def listed_day(self) -> date:
        """Day under which lists and scorecards show the game: `day`, but no later than the day of the forecast."""
        return min(self.day, game_day(self.generated_time))

    @property
    def rated_day(self) -> date:
        """Local date at which the age of the ratings was determined."""
        return self.day if self.rated_for is None else self.rated_for

    @property
    def lineup_effects(self) -> LineupEffects:
        """Effects of the line-ups on the expected margin."""
        given = self.lineups
        return given if isinstance(given, LineupEffects) else LineupEffects.of(self.forecast.expected_margin_terms)

    @property
    def optional_inputs(self) -> tuple[date, LiveInputs, LineupEffects]:
        """Optional inputs of a request on which the forecast may depend."""
        return self.rated_day, self.live, self.lineup_effects


@dataclass(frozen=True, slots=True)
class ShadowForecast:
    """A shadow forecast: made by another model from the input of a recorded forecast, and never given as an answer.

    Attributes:
        forecast_sequence: sequence number of the recorded forecast.
        forecast: the forecast; it has the recorded one's horizon, alpha and minute. Neither its explanation nor its
            quantiles are recorded.
        generated_time, expires_time: aware, UTC, whole microseconds.
        sequence: sequence number in the ledger; 0 if not recorded yet.
    """

    forecast_sequence: int
    forecast: Forecast
    generated_time: datetime
    expires_time: datetime
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class ReportedOutcome:
    """The reported outcome of a horizon of a game.

    Attributes:
        game_id: the NBA's id, ten digits.
        differential: home − away at the horizon, in points; never 0 for the final.
        home_team, away_team: NBA codes; both empty if not reported.
        observed_time: when the reporter observed it; aware, UTC, whole microseconds.
        recorded_time: when the ledger recorded it; aware, UTC, whole microseconds. Equals `observed_time` until then.
        sequence: sequence number in the ledger; 0 if not recorded yet.
        revision: 0, 1, … per game and horizon: how often it was corrected or withdrawn.
        withdrawn: whether this revision withdraws the outcome; differential and teams are then those of the withdrawn
            one.
        recorded_by: identity of the caller who reported or withdrew it; empty if it is not known.
        total_points: points of both teams at the horizon; None if they were not reported.
        overtimes: number of overtimes of the game; None at the half, or if not reported.
        players: the box score, by the ids of the players; empty at the half, or if not reported.
        created: whether the commit that returned it recorded it. Not recorded.
        hash: as of an `IssuedForecast`.
    """

    game_id: str
    horizon: Horizon
    differential: int
    home_team: str
    away_team: str
    observed_time: datetime
    recorded_time: datetime
    sequence: int = 0
    revision: int = 0
    withdrawn: bool = False
    recorded_by: str = ""
    total_points: int | None = None
    overtimes: int | None = None
    players: tuple[PlayerLine, ...] = ()
    created: bool = field(default=False, compare=False)
    hash: bytes = field(default=b"", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TotalSettlement:
    """Scores of a forecast of total points against the current outcome.

    Attributes:
        error: point − total, in points.
        pace_error: pace × time − total, in points: error of the total at the rate so far.
        covered: whether the interval contains the total, bounds included.
        crps: in points, from the recorded distribution.
        market_profit, market_result: the same for the market of the total as those of `Settlement`.
    """

    error: float
    pace_error: float
    covered: bool
    crps: float
    market_profit: float | None = None
    market_result: MarketResult | None = None


class MarketResult(enum.Enum):
    """Result of a bet."""

    WON = "won"
    LOST = "lost"
    PUSH = "push"


@dataclass(frozen=True, slots=True)
class Settlement:
    """Scores of a forecast against the current outcome.

    Attributes:
        outcome_sequence: sequence number of that outcome.
        error: point − differential, in points.
        persistence_error: last known differential − differential, in points.
        covered: whether the interval contains the outcome, bounds included.
        brier: (home_lead_probability − 1{home led})².
        crps: in points, from the recorded distribution; None without a distribution.
        score: standard-normal score of the outcome under the calibrated model, the input of interval adaptation; None
            without a distribution.
        market_profit: profit of the stake on the lead, as a share of the bankroll; None without a bet.
        market_result: result of that bet; None without one.
        total: scores of the forecast of total points; None without one, or if the total was not reported.
    """

    outcome_sequence: int
    error: float
    persistence_error: float
    covered: bool
    brier: float
    crps: float | None
    score: float | None
    market_profit: float | None = None
    market_result: MarketResult | None = None
    total: TotalSettlement | None = None


@dataclass(frozen=True, slots=True)
class MarketEntry:
    """A market of a recorded forecast, as an entry of its own.

    Attributes:
        forecast_sequence: sequence of the forecast that it was sent with.
        market: the market.
        answer: its evaluation.
        calibration_sequence: the newest outcome that the evaluation had learned from; None if it is the forecast's.
        requested_time: when it was sent; aware, UTC, whole microseconds; None if it came with the request for the
            forecast.
        sequence: sequence number in the ledger; 0 if not recorded yet.
        recorded_by: identity of the caller who sent it; empty if it is not known.
    """

    forecast_sequence: int
    market: Market
    answer: MarketAnswer
    calibration_sequence: int | None = None
    requested_time: datetime | None = None
    sequence: int = 0
    recorded_by: str = ""


class RecordedMarket(NamedTuple):
    """A recorded market.

    Attributes:
        market: the market.
        answer: its evaluation.
        sequence: its sequence.
        sent_after: whether it was sent after the outcome was observed, so that it is no bet.
    """

    market: Market
    answer: MarketAnswer
    sequence: int
    sent_after: bool = False


@dataclass(frozen=True, slots=True)
class RecordedForecast:
    """A recorded forecast with its outcome and settlement.

    Attributes:
        superseded: whether a later revision that was recorded in time replaced it.
        of_others: whether its caller was not the owner of its game.
        outcome, settlement: None without a current outcome.
        first_outcome_sequence: sequence of the outcome's first report, regardless of later corrections and withdrawals;
            0 without an outcome.
        markets: the first market of each kind requested with the forecast, that of the lead first.
    """

    issued: IssuedForecast
    superseded: bool = False
    of_others: bool = False
    outcome: ReportedOutcome | None = None
    settlement: Settlement | None = None
    first_outcome_sequence: int = 0
    markets: tuple[RecordedMarket, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Signed head of a ledger.

    Attributes:
        ledger_id: 32 hexadecimal digits.
        epoch: 16 hexadecimal digits.
        sequence: sequence number of the newest entry; 0 if the ledger is empty.
        hash: hash of that entry, 32 bytes.
        signed_time: aware, UTC, whole microseconds.
        public_key: ed25519, 32 bytes.
        signature: ed25519 over `checkpoints.signed_text`, 64 bytes.
    """

    ledger_id: str
    epoch: str
    sequence: int
    hash: bytes
    signed_time: datetime
    public_key: bytes
    signature: bytes
