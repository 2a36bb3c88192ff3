"""Evaluates bets at given odds: expected value, Kelly fraction, stake and risk.

A bet at decimal odds 1 + b wins b with probability w, loses its stake with probability l, and otherwise returns it (a
push). The expected value of a stake of 1 is b·w − l. The Kelly fraction maximises the expected log growth of the
bankroll, w·ln(1 + b·f) + l·ln(1 − f): f = (b·w − l) / (b·(w + l)), or 0 if that is negative (Kelly, A new
interpretation of information rate, 1956; Thorp, The Kelly criterion in blackjack, sports betting and the stock market,
2006).

The model is not shown to be better than the market, so w lies between two probabilities: the one that the odds imply
without the bookmaker's margin, and the model's (Baker & McHale, Optimal betting under parameter uncertainty, Decision
Analysis 10, 2013). A part of the Kelly fraction at w is staked (Thorp 2006, section 7; MacLean, Ziemba & Blazenko,
Growth versus security in dynamic investment analysis, 1992), within the unused parts of the caps per game and evening.

The difference from the market is the model's probability, given that there is no push, minus the probability that the
odds imply without the bookmaker's margin. If it is implausibly large, the model is more likely wrong: there is no
stake.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from statistics import NormalDist
from typing import Final

from dejavu_feed.horizon import Horizon
from dejavu_feed.lines import PLAUSIBLE_OVERROUNDS, SPREAD_OF_RESULTS
from dejavu_models.errors import FieldErrors, InvalidMarket

MAX_LINE = 100.0
"""Bound of the line of a market, in points."""

MAX_TOTAL_LINE = 500.0
"""Bound of the line of a market of total points."""

MAX_ODDS = 1000.0
"""Maximum decimal odds."""

MIN_AMERICAN = 100
"""Minimum absolute value of American odds."""

RISK_BOUNDS: Final = (0.005, 0.01, 0.02)
"""Lower bounds of moderate, high and extreme risk of a bet: share of the bankroll, stake × P(loss)."""

OWN_LINE: Final = 1.5
"""Difference, in points, between a market's line and the result that the given line implies, up to which the two count
as one market at the same time; see `is_own_market`.

The given line may be the median over bookmakers. In one real set of odds, the main spreads of six bookmakers are within
0.75 points of it.
"""

OWN_PRICE: Final = 0.06
"""Difference between a market's fair probability and the one that the given line implies, up to which the price may be
from before tip-off; see `is_own_market`.

For 99.5 % of the 12,176 closing moneylines of 2014 to 2024, the difference from the probability that the closing spread
of the same game implies is at most this.
"""

MAX_DIFFERENCE: Final = 0.15
"""Largest plausible difference between the model's probability and the market's, unless a policy has another; track
records always use this one."""

_ROUNDING: Final = 1e-9


class MarketKind(enum.Enum):
    """What a market is on; the value is the name used in files."""

    LEAD = "lead"
    """The differential (home − away) at the horizon."""

    TOTAL = "total"
    """The points of both teams at the horizon."""

    @property
    def sides(self) -> tuple[MarketSide, MarketSide]:
        """The sides that win above and below the line."""
        return _SIDES[self]


class MarketSide(enum.Enum):
    """Side of a bet; the value is the name used in files."""

    HOME = "home"
    AWAY = "away"
    OVER = "over"
    UNDER = "under"

    @property
    def is_above(self) -> bool:
        """Whether the side wins above the line."""
        return self in {MarketSide.HOME, MarketSide.OVER}


_SIDES: Final = {
    MarketKind.LEAD: (MarketSide.HOME, MarketSide.AWAY),
    MarketKind.TOTAL: (MarketSide.OVER, MarketSide.UNDER),
}
_LINES: Final = {MarketKind.LEAD: (-MAX_LINE, MAX_LINE), MarketKind.TOTAL: (0.0, MAX_TOTAL_LINE)}
_RESULTS: Final = {
    (MarketKind.LEAD, Horizon.HALFTIME): (0.57, 10.4),
    (MarketKind.LEAD, Horizon.FINAL): (1.0, SPREAD_OF_RESULTS),
    (MarketKind.TOTAL, Horizon.HALFTIME): (0.5, 11.7),
    (MarketKind.TOTAL, Horizon.FINAL): (1.0, 17.9),
}
"""The mean result as a share of the closing line, which is on the end, and the standard deviation around it in points.
From the 14,152 games of 2014 to 2024 with closing lines."""


class RiskLevel(enum.Enum):
    """Risk level of a bet or of a game."""

    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"
    EXTREME = "extreme"


@dataclass(frozen=True, slots=True, kw_only=True)
class StakingPolicy:
    """Rules that turn probabilities into stakes.

    Attributes:
        model_share: weight of the model's probability relative to the market's, in [0, 1]; with 0, only the market's
            counts.
        kelly_fraction: multiplier of the Kelly fraction at the weighted probability, in [0, 1].
        game_cap: maximum share of the bankroll staked on one game, in [0, 1].
        evening_cap: maximum share of the bankroll staked on the games of one evening, in [0, 1].
        confidence_threshold: minimum win probability of a bet worth considering, in [0, 1].
        max_difference: largest plausible difference between the model's probability and the market's, in [0, 1].

    Raises:
        InvalidMarket: if a value is out of bounds, with the field names of the contract's message, such as
            `staking.game_cap`; `others` has the errors of further fields.
    """

    model_share: float = 0.5
    kelly_fraction: float = 0.25
    game_cap: float = 0.02
    evening_cap: float = 0.05
    confidence_threshold: float = 0.55
    max_difference: float = MAX_DIFFERENCE

    def __post_init__(self) -> None:
        faults = FieldErrors()
        for name, value in asdict(self).items():
            if not 0.0 <= value <= 1.0:
                faults.add(InvalidMarket(f"{value}", "a number from 0 to 1", field=f"staking.{name}"))
        faults.raise_first()


DEFAULT_POLICY: Final = StakingPolicy()


@dataclass(frozen=True, slots=True)
class Market:
    """Market at a horizon: line and odds of both sides, or of none to ask for the probability of the line.

    Attributes:
        line: points at which the bet is a push, a multiple of 0.5: of a lead the differential (home − away) within
            ±MAX_LINE, of a total 0 to MAX_TOTAL_LINE. Home, or over, wins above it; away, or under, below.
        above_odds, below_odds: decimal odds, above 1 and at most 1000; None: a market without prices.
        bankroll: amount available for staking, open stakes included, above 0 and finite; 1 gives stakes as shares.
        game_staked, evening_staked: amounts of the bankroll that are staked already: on any market of this game, and on
            all games of the evening including this one; 0 ≤ game_staked ≤ evening_staked ≤ bankroll.
        policy: rules of its stakes.
        above_american, below_american: the American odds, if the odds were given in this form; else None. They are kept
            only to return the market as it was given, and must equal the decimal odds.
        kind: what it is on.
        traded_time: when an exchange's last trade was made at these odds, aware, in UTC; such a market has no stake,
            since nobody offers them. None: they are on offer.

    Raises:
        InvalidMarket: if a value is out of bounds, or American and decimal odds differ, with the field names of the
            contract's message, such as `above.decimal`; `others` has the errors of further fields.
    """

    line: float
    above_odds: float | None = None
    below_odds: float | None = None
    bankroll: float = 1.0
    policy: StakingPolicy = field(default=DEFAULT_POLICY, kw_only=True)
    game_staked: float = field(default=0.0, kw_only=True)
    evening_staked: float = field(default=0.0, kw_only=True)
    above_american: int | None = field(default=None, kw_only=True)
    below_american: int | None = field(default=None, kw_only=True)
    kind: MarketKind = field(default=MarketKind.LEAD, kw_only=True)
    traded_time: datetime | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        faults, (least, most) = FieldErrors(), _LINES[self.kind]
        # Each comparison also rejects NaN.
        if not (least <= self.line <= most and float(2 * self.line).is_integer()):
            bounds = f"within ±{most:g}" if least == -most else f"from {least:g} to {most:g}"
            faults.add(InvalidMarket(f"{self.line}", f"a multiple of 0.5 {bounds}", field="line"))
        sides = (("above", self.above_odds, self.above_american), ("below", self.below_odds, self.below_american))
        priced = self.above_odds is not None or self.below_odds is not None
        for side, odds, _ in sides:
            if odds is None:
                if priced:
                    faults.add(InvalidMarket("no price", "one, as the other side has", field=side))
            elif not 1.0 < odds <= MAX_ODDS:
                expected = f"a number above 1, at most {MAX_ODDS:g}"
                faults.add(InvalidMarket(f"{odds}", expected, field=f"{side}.decimal"))
        for side, odds, american in sides:
            if american is not None and (odds is None or not _same_odds(american, odds)):
                expected = f"the American form of decimal {odds}"
                faults.add(InvalidMarket(f"{american}", expected, field=f"{side}.american"))
        _check_stakes(self, faults)
        faults.raise_first()

    @property
    def least_results(self) -> tuple[int, int]:
        """The least result above the line, and the least that is not below it: the same if the line is no integer."""
        return math.floor(self.line) + 1, math.ceil(self.line)

    @property
    def prices(self) -> tuple[float, float] | None:
        """Odds above and below the line; None without prices."""
        return None if self.above_odds is None or self.below_odds is None else (self.above_odds, self.below_odds)


def _check_stakes(market: Market, faults: FieldErrors) -> None:
    if not 0.0 < market.bankroll < math.inf:
        faults.add(InvalidMarket(f"{market.bankroll}", "a finite number above 0", field="bankroll"))
    elif not 0.0 <= market.game_staked <= market.bankroll:
        expected = f"a number from 0 to the bankroll, {market.bankroll:g}"
        faults.add(InvalidMarket(f"{market.game_staked}", expected, field="game_staked"))
    elif not market.game_staked <= market.evening_staked <= market.bankroll:
        expected = f"a number from game_staked, {market.game_staked:g}, to the bankroll, {market.bankroll:g}"
        faults.add(InvalidMarket(f"{market.evening_staked}", expected, field="evening_staked"))


@dataclass(frozen=True, slots=True)
class MarketSideAnswer:
    """Evaluation of one side of a market.

    Attributes:
        win_probability: P(the side wins), by the model.
        staking_probability: P(the side wins) that determines the stake: between this and `fair_probability`, and the
            model's alone without prices.
        decimal_odds: its price; None without prices, like the next three.
        fair_probability: P(the side wins), by the market: implied by both odds, without the bookmaker's margin, times
            the model's probability that the bet is no push.
        implied_probability: 1 / decimal_odds, including the bookmaker's margin.
        expected_value: expected profit for a stake of 1, at the staking probability.
        kelly_fraction: full Kelly share of the bankroll at the staking probability, not capped; 0 if no stake is
            allowed.
        stake_fraction: share of the bankroll to stake, after the policy's fraction and caps.
        stake: stake_fraction × bankroll.
    """

    win_probability: float
    staking_probability: float
    decimal_odds: float | None = None
    fair_probability: float | None = None
    implied_probability: float | None = None
    expected_value: float | None = None
    kelly_fraction: float = 0.0
    stake_fraction: float = 0.0
    stake: float = 0.0


@dataclass(frozen=True, slots=True)
class MarketAnswer:
    """Evaluation of a market.

    Attributes:
        above, below: evaluations of the sides that win above and below the line; see `MarketKind.sides`.
        push_probability: P(differential = line), or P(total = line).
        overround: sum of the implied probabilities − 1; None without prices.
        side: the side to bet on: the one with the higher expected value, if its stake is above 0; else None. Both
            sides may have a stake if the overround is negative.
        stake: stake on that side, in the currency of the bankroll; 0 without a side.
        confidence_met: whether the win probability of `side`, or of the likelier side if `side` is None, reaches the
            threshold.
        implausible: whether the model differs from the market by more than is plausible, so that there is no stake.
        mismatched: whether the two prices cannot belong to the same market (PLAUSIBLE_OVERROUNDS), so that there is no
            stake and no difference to judge.
        unrated: whether there is no stake for one of four reasons: the forecast uses the score alone (no margin given,
            no usable ratings); the ratings know a team less well than in a usual December; the market's line or price
            is about the one given to the forecast (`is_own_market`); or the forecast is at a late moment
            (`Moment.is_late`).
        lead_staked: share of the bankroll that the same request staked on the lead; a stake on the total has the rest
            of the caps.
    """

    above: MarketSideAnswer
    below: MarketSideAnswer
    push_probability: float
    overround: float | None
    side: MarketSide | None
    stake: float
    risk_level: RiskLevel
    confidence_met: bool
    implausible: bool = False
    mismatched: bool = False
    unrated: bool = False
    lead_staked: float = 0.0

    @property
    def chosen(self) -> MarketSideAnswer | None:
        """The evaluation of the side to bet on; None without one."""
        return None if self.side is None else self.above if self.side.is_above else self.below

    def minimum_odds(self, side: MarketSideAnswer) -> float | None:
        """Return the decimal odds above which a side has a positive expected value at its staking probability.

        Returns:
            The odds; None if no stake is allowed, or if they exceed MAX_ODDS.
        """
        decided, wins = 1.0 - self.push_probability, side.staking_probability
        if self.implausible or self.mismatched or self.unrated or not 0.0 < decided <= wins * MAX_ODDS:
            return None
        return decided / wins


def is_own_market(market: Market, given: float | None, horizon: Horizon) -> bool:
    """Return whether a market repeats the line that was given to a forecast, or follows from that line.

    The price of such a market may also be from before tip-off, so a forecast from a later minute would always differ
    from it. A market counts as such if its line is within OWN_LINE of the result that the given line implies, or the
    fair probability of home, or over, is within OWN_PRICE of the implied one. A line of 0 is not compared, only its
    price: every bet on the winner has this line.

    Args:
        market: the market.
        given: pregame margin, or total, of the request, in points; None without one. It is always on the end.
        horizon: horizon of the market.
    """
    if given is None:
        return False
    share, spread = _RESULTS[market.kind, horizon]
    implied = 1 - NormalDist(share * given, spread).cdf(market.line)
    if market.prices is not None and abs(fair_probability(*market.prices) - implied) <= OWN_PRICE:
        return True
    return market.line != 0 and abs(market.line - share * given) <= OWN_LINE


def spread_to_come(minutes: float, kind: MarketKind, horizon: Horizon) -> float:
    """Return the standard deviation of an outcome around a fair line at some time before it, in points.

    The lead, and the points, move with a variance in proportion to the time (Stern, A Brownian motion model for the
    progress of sports scores, Journal of the American Statistical Association 89, 1994); over the whole time it is that
    around the closing line.

    Args:
        minutes: minutes of play up to the horizon; less than one, and overtime, count as one.
        kind: what the outcome is of.
        horizon: the horizon.
    """
    _, spread = _RESULTS[kind, horizon]
    return spread * math.sqrt(max(minutes, 1.0) / horizon.minutes)


def american_to_decimal(american: int) -> float:
    """Convert American to decimal odds: +150 is 2.5, −200 is 1.5.

    Raises:
        ValueError: if they are between −100 and +100.
    """
    if abs(american) < MIN_AMERICAN:
        raise ValueError(f"{american}; expected at least {MIN_AMERICAN}, or at most −{MIN_AMERICAN}")
    return 1.0 + (american / 100 if american > 0 else 100 / -american)


def _same_odds(american: int, decimal: float) -> bool:
    # A later release may compute the last digit of the decimal odds differently.
    return abs(american) >= MIN_AMERICAN and math.isclose(american_to_decimal(american), decimal, rel_tol=1e-9)


def evaluate_market(
    market: Market, at_least: Callable[[int], float], *, unrated: bool = False, lead_staked: float = 0.0
) -> MarketAnswer:
    """Evaluate both sides of a market and choose the side to bet on.

    No side is chosen if the market has no prices on offer, if the difference from the market is implausible, if the two
    prices cannot belong to the same market, or if `unrated`. The stake does not depend on the confidence threshold;
    `confidence_met` reports whether it is reached.

    Args:
        market: line, odds and staking policy.
        at_least: k → P(differential ≥ k), or P(total ≥ k), at the market's horizon; non-increasing in k.
        unrated: whether no side may be chosen because the forecast knows too little; see `MarketAnswer`.
        lead_staked: share of the bankroll that the same request staked on the lead, added to the amounts that `market`
            states.
    """
    policy, prices = market.policy, market.prices
    above_wins, at_or_above = (float(at_least(result)) for result in market.least_results)
    push = max(0.0, at_or_above - above_wins)
    below_wins = 1.0 - at_or_above
    decided = above_wins + below_wins
    overround, mismatched, implausible = None, False, False
    if prices is not None:
        difference = above_wins / decided - fair_probability(*prices) if decided > 0.0 else 0.0
        overround = sum(1.0 / odds for odds in prices) - 1.0
        lowest, highest = PLAUSIBLE_OVERROUNDS
        mismatched = not lowest - _ROUNDING <= overround <= highest + _ROUNDING
        implausible = not mismatched and is_implausible(difference, policy.max_difference)
    most = 0.0 if implausible or mismatched or unrated or market.traded_time is not None else 1.0
    on_game, on_evening = (
        amount / market.bankroll + lead_staked for amount in (market.game_staked, market.evening_staked)
    )
    room = min(policy.game_cap - on_game, policy.evening_cap - on_evening)
    room = room if room > _ROUNDING else 0.0

    def weighed(odds: float, other: float, wins: float) -> MarketSideAnswer:
        profit, fair = odds - 1.0, decided * fair_probability(odds, other)
        staking = fair + policy.model_share * (wins - fair)
        expected = profit * staking - (decided - staking)
        # An expected value above _ROUNDING, which rounding alone does not reach, implies decided > 0. Rounding could
        # still make the fraction exceed 1: hence the minimum.
        kelly = min(most, expected / (profit * decided)) if expected > _ROUNDING else 0.0
        fraction = min(room, policy.kelly_fraction * kelly)
        stake = fraction * market.bankroll
        return MarketSideAnswer(wins, staking, odds, fair, 1.0 / odds, expected, kelly, fraction, stake)

    if prices is None:
        above, below = (MarketSideAnswer(wins, wins) for wins in (above_wins, below_wins))
    else:
        of_above, of_below = prices
        above, below = weighed(of_above, of_below, above_wins), weighed(of_below, of_above, below_wins)
    sides = zip(market.kind.sides, (above, below), strict=True)
    side, chosen = max(sides, key=lambda each: each[1].expected_value or 0.0)
    bet = chosen.stake_fraction > 0.0
    confidence = chosen.win_probability if bet else max(above_wins, below_wins)
    return MarketAnswer(
        above=above,
        below=below,
        push_probability=push,
        overround=overround,
        side=side if bet else None,
        stake=chosen.stake if bet else 0.0,
        risk_level=risk_of(chosen.stake_fraction, decided - chosen.staking_probability) if bet else RiskLevel.LOW,
        confidence_met=confidence >= policy.confidence_threshold,
        implausible=implausible,
        mismatched=mismatched,
        unrated=unrated,
        lead_staked=lead_staked,
    )


def is_implausible(difference: float, most: float = MAX_DIFFERENCE) -> bool:
    """Return whether a model's probability is further from the market's than is plausible, given the difference."""
    return abs(difference) > most + _ROUNDING


def fair_probability(odds: float, other_odds: float) -> float:
    """Return the probability that decimal odds of a side imply, without the bookmaker's margin.

    The margin is removed in proportion: the implied probabilities of both sides are divided by their sum.
    """
    return other_odds / (odds + other_odds)


def risk_of(stake_fraction: float, loss_probability: float) -> RiskLevel:
    """Return the risk level of a bet, by stake fraction × loss probability."""
    at_risk = stake_fraction * loss_probability
    return list(RiskLevel)[sum(at_risk >= bound for bound in RISK_BOUNDS)]
