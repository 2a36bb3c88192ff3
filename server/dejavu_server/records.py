"""What the ledger holds, as the server's types: forecasts as they were issued, outcomes, and how the ones fared."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dejavu_models.betting import Market, MarketAnswer
from dejavu_models.types import Forecast, Horizon, ScorePattern

_DAY_BEGINS = timedelta(hours=11)
"""A game's day begins at 11:00 UTC: 6 or 7 in the morning in New York, when no game is played anywhere."""


def game_day(moment: datetime) -> date:
    """The local date, as people know it, of a game that is played at a moment (aware, UTC)."""
    return (moment - _DAY_BEGINS).date()


@dataclass(frozen=True, slots=True)
class IssuedForecast:
    """A forecast, with the request that it answers.

    Attributes:
        game_id: the NBA's id, ten digits; empty for a what-if.
        home_team, away_team: NBA codes; empty where not given. Releases before 0.2.0 recorded whatever text was given.
        pattern: the pattern asked about.
        pregame_margin: expected final differential, in points, if it was given.
        forecast: the answer; for a named game with its explanation. Of its quantiles nothing is recorded.
        generated_time, expires_time: aware, UTC, whole microseconds.
        sequence: place in the ledger; 0 while it is not recorded.
        revision: 0, 1, … of the same game, horizon, minute, alpha, model version and pregame_margin: how often the
            pattern, or the teams, were corrected.
        market: the odds asked about with; None without any. What the forecast says of them is `forecast.market`.
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
    market: Market | None = None


@dataclass(frozen=True, slots=True)
class ReportedOutcome:
    """How a horizon of a game came out.

    Attributes:
        game_id: the NBA's id, ten digits.
        differential: home − away then, in points; not 0 at the end.
        home_team, away_team: NBA codes; both empty where not told.
        observed_time: when it was seen, as the reporter says; aware, UTC, whole microseconds.
        recorded_time: when the ledger took it; likewise. As `observed_time` until it is recorded.
        sequence: place in the ledger; 0 while it is not recorded.
        revision: 0, 1, … of the same game and horizon: how often it was corrected.
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


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a forecast fared against the newest revision of its outcome.

    Attributes:
        outcome_sequence: place of that outcome.
        error: point − differential, in points.
        persistence_error: last known differential − differential, in points.
        covered: whether the outcome lay in the interval, ends included.
        brier: (home_lead_probability − 1{home led})².
        crps: in points, from the recorded distribution; None for records of 0.1.0, which have none.
        score: the outcome's standard-normal score under the model as it was calibrated, by which intervals adapt; None
            likewise.
        market_profit: what the stake brought, as a share of the bankroll; None without a market.
    """

    outcome_sequence: int
    error: float
    persistence_error: float
    covered: bool
    brier: float
    crps: float | None
    score: float | None
    market_profit: float | None = None


@dataclass(frozen=True, slots=True)
class RecordedForecast:
    """A forecast of the ledger and what became of it.

    Attributes:
        superseded: whether a later revision took its place.
        outcome, settlement: None while there is no outcome.
        market, market_answer: the first market that it was asked about with.
    """

    issued: IssuedForecast
    superseded: bool = False
    outcome: ReportedOutcome | None = None
    settlement: Settlement | None = None
    market: Market | None = None
    market_answer: MarketAnswer | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The signed head of a ledger.

    Attributes:
        ledger_id: 32 hexadecimal digits.
        epoch: 16 hexadecimal digits.
        sequence: place of the newest entry; 0 while there is none.
        hash: its hash, 32 bytes.
        signed_time: aware, UTC, whole microseconds.
        public_key: ed25519, 32 bytes.
        signature: ed25519 over `text`, 64 bytes.
    """

    ledger_id: str
    epoch: str
    sequence: int
    hash: bytes
    signed_time: datetime
    public_key: bytes
    signature: bytes
