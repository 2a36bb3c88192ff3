"""Checks that a market's answer follows from its odds and from the forecast that it names.

The answer's arithmetic is recomputed with its own win probabilities. These came from the model's distribution, of which
the forecast has only 50 quantiles and, of the differential, the probability that the home team leads, so they can be
bounded but not recomputed. An answer that was moved to a forecast with another distribution falls outside the bounds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from dejavu_ledger.records import IssuedForecast
from dejavu_models.betting import (
    Market,
    MarketAnswer,
    MarketKind,
    MarketSideAnswer,
    StakingPolicy,
    evaluate_market,
    is_own_market,
)
from dejavu_models.ratings import are_known
from dejavu_models.types import DISTRIBUTION_LEVELS, THRESHOLDS, Forecast, Horizon
from dejavu_models.uncertainty.normal_scores import LEVEL_SCORES, NORMAL

_SAME: Final = 1e-9
"""Relative difference up to which two numbers count as equal: a later release may add in another order."""

_TWO_WAYS: Final = 1e-6
"""Maximum difference between a forecast's home_lead_probability and its distribution at the same place. Both are right,
but they lose digits in the tails, and adapted intervals magnify the difference."""

_ROUNDED: Final = 0.0006
"""Maximum difference, in points, between a recorded quantile, which is rounded to 0.001, and the distribution's."""

_SCORE_ROUNDED: Final = 1e-3
"""Maximum error of a recorded, adapted score: rounding to 0.000001, through a map with a slope of at least 0.01."""

_FEW_GAMES: Final = 19
"""Number of calibration games to assume if none is recorded."""


def fault_of(
    issued: IssuedForecast, market: Market, answer: MarketAnswer, *, learned_since: bool = False
) -> str | None:
    """Describe how the answer to a market contradicts its odds or its forecast; None if it does not.

    Answers to forecasts without recorded quantiles are checked less closely. If the model has learned since the
    forecast, the answer was computed from a distribution that the ledger does not have, and only its arithmetic is
    checked.
    """
    for name, probability in _probabilities(market, answer):
        if not (type(probability) is float and 0.0 <= probability <= 1.0):
            return f"{name} is {probability!r}, not a probability"
    fault = _arithmetic_fault(market, answer)
    return fault if fault is not None or learned_since else _forecast_fault(issued, market, answer)


def _sides(market: Market, answer: MarketAnswer) -> list[tuple[str, MarketSideAnswer]]:
    return [(side.value, each) for side, each in zip(market.kind.sides, (answer.above, answer.below), strict=True)]


def _probabilities(market: Market, answer: MarketAnswer) -> list[tuple[str, object]]:
    named = [("lead_staked", answer.lead_staked)]
    named += [(f"{side}'s {name}", getattr(each, name)) for side, each in _sides(market, answer) for name in _SHARES]
    settings = [(name, getattr(answer.policy, name)) for name in StakingPolicy.__slots__]
    return [*named, ("push_probability", answer.push_probability), *settings]


_SHARES = (
    "win_probability",
    "fair_probability",
    "staking_probability",
    "implied_probability",
    "kelly_fraction",
    "stake_fraction",
)


def _arithmetic_fault(market: Market, answer: MarketAnswer) -> str | None:
    """Evaluate the market again with the probabilities and policy of the answer; describe a difference, if any.

    `unrated`, which rules out a stake, is taken from the answer; `_forecast_fault` checks it. So is `lead_staked`.
    """
    above, at = math.floor(market.line) + 1, math.ceil(market.line)
    # One key, not two, if the line is a half-integer.
    at_least = {at: 1.0 - answer.below.win_probability, above: answer.above.win_probability}
    expected = evaluate_market(
        market, at_least.__getitem__, answer.policy, unrated=answer.unrated, lead_staked=answer.lead_staked
    )
    for (side, again), (_, given) in zip(_sides(market, expected), _sides(market, answer), strict=True):
        if (name := _difference(again, given)) is not None:
            return f"{side}'s {name} does not follow from the odds and probabilities"
    if (name := _difference(expected, answer)) is not None:
        return f"{name} does not follow from the odds and probabilities"
    return None


def _difference(expected: MarketAnswer | MarketSideAnswer, given: MarketAnswer | MarketSideAnswer) -> str | None:
    """Return the name of the first field that differs, apart from the two sides."""
    for name in expected.__slots__:
        one, other = getattr(expected, name), getattr(given, name)
        if isinstance(one, MarketSideAnswer):
            continue
        if isinstance(one, StakingPolicy):
            same = one == other
        elif isinstance(one, float):
            same = type(other) is float and math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME)
        else:
            same = one is other
        if not same:
            return str(name)
    return None


def _forecast_fault(issued: IssuedForecast, market: Market, answer: MarketAnswer) -> str | None:
    forecast, on_total = issued.forecast, market.kind is MarketKind.TOTAL
    if on_total and forecast.total is None:
        return "the forecast has no total"
    if (fault := _staking_fault(issued, market, answer)) is not None:
        return fault
    if on_total:
        return _total_fault(forecast.total.distribution if forecast.total else (), market, answer)
    bounds = _Bounds.of(forecast)
    above, at = math.floor(market.line) + 1, math.ceil(market.line)
    for name, differential, probability in (
        ("home's win_probability", above, answer.above.win_probability),
        ("away's win_probability", at, 1.0 - answer.below.win_probability),
    ):
        # No game ends in a tie: P(final ≥ 0) = P(final ≥ 1).
        tie = forecast.horizon is Horizon.FINAL and differential in {0, 1}
        lower, upper = bounds.above(0.0 if tie else differential - 0.5)
        if not lower - _SAME <= probability <= upper + _SAME:
            return (
                f"{name} does not follow from the forecast: P(differential ≥ {differential}) is {probability:.6f}, "
                + (f"expected {lower:.6f}" if lower == upper else f"expected {lower:.4f} to {upper:.4f}")
            )
    return None


def _staking_fault(issued: IssuedForecast, market: Market, answer: MarketAnswer) -> str | None:
    """Describe how `unrated`, which rules out a stake, contradicts the forecast; None if it does not."""
    forecast, on_total = issued.forecast, market.kind is MarketKind.TOTAL
    if on_total:
        given_line, expected_before = issued.live.pregame_total, forecast.total and forecast.total.expected_total
        rated = given_line is None and bool(forecast.teams_known)
    else:
        given_line, expected_before = issued.pregame_margin, forecast.expected_margin
        rated = forecast.ratings_date is not None  # otherwise the margin, if there is one, is not from ratings
    if not on_total and forecast.moment is not None and forecast.moment.is_late(forecast.horizon):
        late = "it would stake at a late moment, whose price knows of fouls that the forecast does not"
        return None if answer.unrated else late
    if is_own_market(market, given_line, final=forecast.horizon is Horizon.FINAL):
        of = "total" if on_total else "margin"
        only = "the forecast's only information about the teams"
        own = f"it would stake at about the line or price of the given {of}, {only}"
        return None if answer.unrated else own
    known = expected_before is not None and (not rated or are_known(forecast.teams_known))
    if answer.unrated is known:
        found, expected = ("known too little", "known") if answer.unrated else ("known", "known too little")
        return f"it treats the teams as {found}, but by the forecast they are {expected}"
    return None


def _total_fault(quantiles: Sequence[float], market: Market, answer: MarketAnswer) -> str | None:
    """Compare the probabilities of over and under with the quantiles, each the least total of its level."""
    for name, total, probability in (
        ("over's win_probability", math.floor(market.line) + 1, answer.above.win_probability),
        ("under's win_probability", math.ceil(market.line), 1.0 - answer.below.win_probability),
    ):
        below = bisect_left(quantiles, total - _ROUNDED)  # quantiles that are certainly below the total
        levels = (0.0, *DISTRIBUTION_LEVELS, 1.0) if quantiles else (0.0, 1.0)
        lower, upper = 1.0 - levels[below + 1], 1.0 - levels[below]
        if not lower - _SAME <= probability <= upper + _SAME:
            return (
                f"{name} does not follow from the forecast: P(total ≥ {total}) is {probability:.6f}, "
                f"expected {lower:.4f} to {upper:.4f}"
            )
    return None


class _Range(NamedTuple):
    lower: float
    upper: float


class _Bounds(NamedTuple):
    """Bounds of P(differential > value) from a recorded forecast; see `LatticeGame.probability_above`.

    Attributes:
        quantiles: the recorded quantiles, in points, except those from extrapolated tails.
        scores: their standard-normal scores in the model's own distribution, ascending.
        nominal: their scores at the issued levels; equal to `scores` unless intervals were adapted.
        slack: maximum difference between the share of residuals below a quantile and its level.
        threshold: differential, in points, above which the home team leads.
        home_leads: P(differential > threshold).
    """

    quantiles: Sequence[float]
    scores: Sequence[float]
    nominal: Sequence[float]
    slack: float
    threshold: float
    home_leads: float

    @classmethod
    def of(cls, forecast: Forecast) -> _Bounds:
        """Return the bounds of a forecast; those of its quantiles are empty if it has none."""
        games = forecast.explanation.calibration_games if forecast.explanation is not None else 0
        games = games or _FEW_GAMES
        tail = max(DISTRIBUTION_LEVELS[0], 1.0 / (games + 1))
        reach = -NORMAL.inv_cdf(tail) + _SAME if tail < 0.5 else 0.0
        widening = 1.0 + forecast.widened_by
        scores = [widening * score for score in forecast.static_scores or LEVEL_SCORES]
        usable = [
            (quantile, score, level)
            for quantile, score, level in zip(forecast.distribution, scores, LEVEL_SCORES, strict=False)
            if abs(score) <= reach
        ]
        return cls(
            quantiles=[quantile for quantile, _, _ in usable],
            scores=[score for _, score, _ in usable],
            nominal=[level for _, _, level in usable],
            slack=0.5 / (games + 1) + _SAME,
            threshold=THRESHOLDS[forecast.horizon],
            home_leads=forecast.home_lead_probability,
        )

    def above(self, value: float) -> _Range:
        """Return bounds of P(differential > value)."""
        if value == self.threshold:
            return _Range(self.home_leads - _TWO_WAYS, self.home_leads + _TWO_WAYS)
        lower, upper = self._own(value)
        nominal = _Range(_cdf(self._as_issued(lower).lower), _cdf(self._as_issued(upper).upper))
        # The probability does not increase with the value.
        if value > self.threshold:
            return _Range(nominal.lower, min(nominal.upper, self.home_leads))
        return _Range(max(nominal.lower, self.home_leads), nominal.upper)

    def _own(self, value: float) -> _Range:
        """Return bounds of the score of P(differential > value) in the model's own distribution."""
        below = bisect_left(self.quantiles, value - _ROUNDED)  # quantiles that are certainly below the value
        past = bisect_right(self.quantiles, value + _ROUNDED)  # index of the first that is certainly above it
        upper = math.inf if below == 0 else -self._moved(self.scores[below - 1], -self.slack)
        lower = -math.inf if past == len(self.quantiles) else -self._moved(self.scores[past], self.slack)
        return _Range(lower, upper)

    def _moved(self, score: float, share: float) -> float:
        """Add a share to the level of a score; return the new score, moved the same way by its rounding error."""
        level = NORMAL.cdf(score) + share
        if not 0.0 < level < 1.0:
            return math.copysign(math.inf, share)
        return NORMAL.inv_cdf(level) + math.copysign(_SCORE_ROUNDED, share)

    def _as_issued(self, score: float) -> _Range:
        """Return bounds of the issued score that corresponds to a score in the model's own distribution."""
        if self.scores == self.nominal or math.isinf(score):
            return _Range(score, score)
        return _between(score, self.scores, self.nominal)


def _between(value: float, start: Sequence[float], end: Sequence[float]) -> _Range:
    """Return bounds, at a value, of an increasing odd function that is known only at ascending points."""
    below = bisect_right(start, value - _SCORE_ROUNDED) - 1
    past = bisect_left(start, value + _SCORE_ROUNDED)
    return _Range(end[below] if below >= 0 else -math.inf, end[past] if past < len(start) else math.inf)


def _cdf(score: float) -> float:
    return NORMAL.cdf(score) if math.isfinite(score) else float(score > 0)
