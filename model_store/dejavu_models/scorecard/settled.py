"""Settled forecasts as columns, from which scorecards are computed."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats


class Exclusion(enum.IntEnum):
    """Why a settled forecast does not count; the bet on a superseded one still does."""

    NONE = 0
    SUPERSEDED = 1
    """A later revision in time replaces it."""
    LATER_SECOND = 2
    """It was recorded when a forecast from a later second of play was known."""
    LATE_TIME = 3
    """It was recorded long after the newest minute of its game."""
    REPORTED = 4
    """It was made after the report of an outcome at a later minute; the report has been withdrawn since."""
    GAME_DATE = 5
    """It was made when the game must have been over."""
    OBSERVED = 6
    """It was made after its outcome was observed."""
    WITHDRAWN = 7
    """Its outcome was withdrawn: its scores are no longer valid."""
    CLOCK = 8
    """It was recorded when the published clock was more than a minute and a half of play further."""
    OTHERS = 9
    """It was recorded by a caller who does not own its game."""
    SIDES = 10
    """It took the home team of its outcome for the away team, and the away team for the home team."""


class SettledMarket(NamedTuple):
    """A recorded market with its outcome, and the bet on it.

    Attributes:
        on_total: whether it is on the total points, where home is over; otherwise it is on the lead.
        line: its line, in points.
        spread: standard deviation of the outcome around a fair line at the time of the market, in points.
        model_probability, fair_probability: P(home wins) without a push, by the model and by the market; NaN if a push
            is certain.
        home_won: 1 or 0; NaN on a push, and without an outcome.
        side: side of the bet: 1 home, −1 away, 0 no bet.
        odds: decimal odds of that side; 0 without a bet.
        stake: stake on it, as a share of the bankroll. See `MarketRecord` for the caps of a game and of an evening.
        profit: profit of that stake, as a share of the bankroll; NaN without an outcome.
        expected_profit: expected profit of that stake as recorded, as a share of the bankroll.
        game_cap, evening_cap: caps of the stakes on one game and on one evening in the answer.
        sequence: position in the ledger, the order in which stakes use the caps.
        late: whether it was sent after the outcome was observed; it does not count then.
        implausible: whether the model differed from the market by more than is plausible.
    """

    on_total: bool
    line: float
    spread: float
    model_probability: float
    fair_probability: float
    home_won: float
    side: int
    odds: float
    stake: float
    profit: float
    expected_profit: float
    game_cap: float
    evening_cap: float
    sequence: int = 0
    late: bool = False
    implausible: bool = False

    @property
    def settled(self) -> bool:
        """Whether it counts, with an outcome."""
        return not self.late and not math.isnan(self.profit)


@dataclass(frozen=True, slots=True, eq=False)
class SettledForecasts:
    """Forecasts with their outcomes, as columns: arrays of equal length, one value per forecast.

    Attributes:
        game: integer id of the game; equal exactly for forecasts of one game.
        minute: complete minutes at the forecast, of overtimes too: the forecasts of a minute share its weight.
        elapsed_s: seconds of play since tip-off at the forecast.
        error: point forecast − differential, in points.
        lead: last known differential, in points.
        differential: the outcome, in points.
        covered: whether the outcome lay in the interval.
        alpha: miscoverage rate of the interval.
        width: width of the interval, in points.
        probability: forecast probability that the home team leads at the horizon.
        crps: in points; NaN if not available.
        markets: a tuple of the `SettledMarket`s recorded with the forecast, of the lead and of the total points; None
            without one.
        day: ordinal of the local date of the game: its evening.
        order: a number that ascends in the order of outcomes; orders the bets.
        exclusion: an Exclusion; only forecasts with NONE count, and bets on these and on superseded ones.
        home, away: integer ids of the teams, equal exactly for one team; 0 if the request named none.
        other_teams: whether the outcome names another team than the forecast, or the same ones with swapped sides.
        in_league: whether the game's id is of a form that the NBA assigns.
        in_time: whether the forecast was made in time, even if its outcome has been withdrawn since.
        caller: integer id of the caller who recorded it.
        revised: whether it is a revision of another forecast of its second of play.
        replay: whether the game is of a replay or a simulated season.
        margin, pregame_total, neutral_site: inputs of the request, neutral_site as 1 or 0; NaN for each one not given.
        missing_players: effect of missing players on the expected margin, in points; NaN if 0 or unknown.
        made_us: when the forecast was made, in microseconds since 1970.
        outcome_doubtful: whether the outcome was observed sooner after the forecast, or is further from its lead, than
            the play in between allows; or has fewer total points than the forecast; or the forecast is of an
            overtime that the game did not have; or an outcome of the game was reported and withdrawn before the game's
            first forecast, or first lease.
        corrected: whether another report of the outcome had another differential or total.
        total_points: points of both teams with which the total was forecast; NaN without a total.
        total_open: whether there is a forecast of the total, but the outcome has no total.
        total_error: point forecast of the total − total, in points; NaN, like the following figures, without a settled
            total.
        total_pace_error: pace × time − total, in points.
        total_covered: whether the total lay in its interval; False without a settled total.
        total_width: width of that interval, in points.
        total_crps: CRPS of the total, in points.
    """

    game: NDArray[np.int64]
    minute: NDArray[np.int64]
    elapsed_s: Floats
    error: Floats
    lead: Floats
    differential: Floats
    covered: NDArray[np.bool_]
    alpha: Floats
    width: Floats
    probability: Floats
    crps: Floats
    markets: NDArray[np.object_]
    day: NDArray[np.int32]
    order: NDArray[np.int64]
    exclusion: NDArray[np.int64]
    home: NDArray[np.int32]
    away: NDArray[np.int32]
    other_teams: NDArray[np.bool_]
    in_league: NDArray[np.bool_]
    in_time: NDArray[np.bool_]
    caller: NDArray[np.int32]
    revised: NDArray[np.bool_]
    replay: NDArray[np.bool_]
    margin: Floats
    pregame_total: Floats
    neutral_site: Floats
    missing_players: Floats
    made_us: NDArray[np.int64]
    outcome_doubtful: NDArray[np.bool_]
    corrected: NDArray[np.bool_]
    total_points: Floats
    total_open: NDArray[np.bool_]
    total_error: Floats
    total_pace_error: Floats
    total_covered: NDArray[np.bool_]
    total_width: Floats
    total_crps: Floats

    def __len__(self) -> int:
        return len(self.game)

    @property
    def persistence_error(self) -> Floats:
        """Last known differential − differential, in points."""
        return self.lead - self.differential

    @property
    def home_led(self) -> NDArray[np.bool_]:
        """Whether the home team led."""
        return self.differential > 0.0

    def newest(self, games: int) -> SettledForecasts:
        """Select the forecasts from the outcome on that leaves at most this many games that count."""
        counted = np.unique(self.order[self.exclusion == Exclusion.NONE])
        return self if len(counted) <= games else self.where(self.order >= counted[-games])

    def where(self, chosen: NDArray[np.bool_]) -> SettledForecasts:
        """Select forecasts by a mask."""
        return SettledForecasts(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})
