"""Checks that a market's answer follows from its odds and from the forecast that it names.

The answer's arithmetic is recomputed with its own win probabilities. These came from the model's distribution, of which
the forecast has only 50 quantiles and, of the differential, the probability that the home team leads, so they can be
bounded but not recomputed. An answer that was moved to a forecast with another distribution falls outside the bounds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from dejavu_ledger.records import IssuedForecast
from dejavu_models.betting import Market, MarketAnswer, MarketKind, evaluate_market, is_own_market
from dejavu_models.ratings import are_known
from dejavu_models.types import DISTRIBUTION_LEVELS, THRESHOLDS, Forecast, Horizon
from dejavu_models.uncertainty.adaptive import LEVEL_SCORES, NORMAL

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
    fault = "it has no prices" if market.prices is None else _arithmetic_fault(market, answer)
    return fault if fault is not None or learned_since else _forecast_fault(issued, market, answer)


def _arithmetic_fault(market: Market, answer: MarketAnswer) -> str | None:
    """Evaluate the market again with the probabilities of the answer; describe a difference, if any.

    `unrated`, which rules out a stake, is taken from the answer; `_forecast_fault` checks it. So is `lead_staked`.
    """
    given = _values(market, answer)
    for name in (*(f"{side.value}'s win_probability" for side in market.kind.sides), "lead_staked"):
        if not 0.0 <= given[name] <= 1.0:
            return f"{name} is {given[name]!r}, not a probability"
    # One key, not two, if the line is a half-integer: then the probability of the side above counts.
    at_least = dict(reversed(_at_least(market, answer)))
    again = evaluate_market(market, at_least.__getitem__, unrated=answer.unrated, lead_staked=answer.lead_staked)
    for name, value in _values(market, again).items():
        found = given[name]
        if found != value and not (
            isinstance(value, float) and math.isclose(found, value, rel_tol=_SAME, abs_tol=_SAME)
        ):
            return f"{name} does not follow from the odds and probabilities"
    return None


def _at_least(market: Market, answer: MarketAnswer) -> list[tuple[int, float]]:
    """Return the probabilities of a result or more by which each side of a market wins, or does not lose."""
    probabilities = (answer.above.win_probability, 1.0 - answer.below.win_probability)
    return list(zip(market.least_results, probabilities, strict=True))


def _values(market: Market, answer: MarketAnswer) -> dict[str, Any]:
    """Return the values of an answer by name; those of a side are prefixed with its name."""
    values = asdict(answer)
    sides = zip(market.kind.sides, (values.pop("above"), values.pop("below")), strict=True)
    return {f"{side.value}'s {name}": value for side, of in sides for name, value in of.items()} | values


def _forecast_fault(issued: IssuedForecast, market: Market, answer: MarketAnswer) -> str | None:
    forecast, on_total = issued.forecast, market.kind is MarketKind.TOTAL
    if on_total and forecast.total is None:
        return "the forecast has no total"
    if (fault := _staking_fault(issued, market, answer)) is not None:
        return fault
    what = "total" if on_total else "differential"
    for side, (least, probability) in zip(market.kind.sides, _at_least(market, answer), strict=True):
        if forecast.total is not None and on_total:
            lower, upper = _total_bounds(forecast.total.distribution, least)
        else:
            # No game ends in a tie: P(final ≥ 0) = P(final ≥ 1).
            tie = forecast.horizon is Horizon.FINAL and least in {0, 1}
            lower, upper = _lead_bounds(forecast, 0.0 if tie else least - 0.5)
        if not lower - _SAME <= probability <= upper + _SAME:
            return (
                f"{side.value}'s win_probability does not follow from the forecast: P({what} ≥ {least}) is "
                f"{probability:.6f}, expected {lower:.6f} to {upper:.6f}"
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
    late = not on_total and forecast.moment is not None and forecast.moment.is_late(forecast.horizon)
    known = expected_before is not None and (not rated or are_known(forecast.teams_known))
    why = None
    if late:
        why = "it would stake at a late moment, whose price knows of fouls that the forecast does not"
    elif is_own_market(market, given_line, forecast.horizon):
        of, only = "total" if on_total else "margin", "the forecast's only information about the teams"
        why = f"it would stake at about the line or price of the given {of}, {only}"
    elif not known:
        why = "it treats the teams as known, but by the forecast they are known too little"
    if answer.unrated:
        return None if why else "it treats the teams as known too little, but by the forecast they are known"
    return why


def _total_bounds(quantiles: Sequence[float], least: int) -> tuple[float, float]:
    """Return bounds of P(total ≥ least) from the recorded quantiles, each the least total of its level."""
    below = bisect_left(quantiles, least - _ROUNDED)  # quantiles that are certainly below the total
    levels = (0.0, *DISTRIBUTION_LEVELS, 1.0) if quantiles else (0.0, 1.0)
    return 1.0 - levels[below + 1], 1.0 - levels[below]


def _lead_bounds(forecast: Forecast, value: float) -> tuple[float, float]:
    """Return bounds of P(differential > value) from a recorded forecast; see `LatticeGame.probability_above`."""
    threshold, leads = THRESHOLDS[forecast.horizon], forecast.home_lead_probability
    if value == threshold:
        return leads - _TWO_WAYS, leads + _TWO_WAYS
    games = forecast.explanation.calibration_games if forecast.explanation is not None else 0
    games = games or _FEW_GAMES
    # Quantiles from extrapolated tails say nothing.
    tail = max(DISTRIBUTION_LEVELS[0], 1.0 / (games + 1))
    reach = -NORMAL.inv_cdf(tail) + _SAME if tail < 0.5 else 0.0
    # Standard-normal scores in the model's own distribution; equal to those of the levels unless intervals were
    # adapted.
    own = [(1.0 + forecast.widened_by) * score for score in forecast.static_scores or LEVEL_SCORES]
    usable = [each for each in zip(forecast.distribution, own, LEVEL_SCORES, strict=False) if abs(each[1]) <= reach]
    quantiles, scores, of_levels = zip(*usable, strict=True) if usable else ((), (), ())
    # Maximum difference between the share of residuals below a quantile and its level.
    slack = 0.5 / (games + 1) + _SAME
    below = bisect_left(quantiles, value - _ROUNDED)  # quantiles that are certainly below the value
    past = bisect_right(quantiles, value + _ROUNDED)  # index of the first that is certainly above it
    least = _moved(scores[below - 1], -slack) if below else -math.inf
    most = _moved(scores[past], slack) if past < len(scores) else math.inf
    if scores != of_levels:  # the map from one to the other increases, and is known at these points alone
        below = bisect_right(scores, least - _SCORE_ROUNDED)
        past = bisect_left(scores, most + _SCORE_ROUNDED)
        least = of_levels[below - 1] if below else -math.inf
        most = of_levels[past] if past < len(of_levels) else math.inf
    lower, upper = 1.0 - NORMAL.cdf(most), 1.0 - NORMAL.cdf(least)
    # The probability does not increase with the value.
    return (lower, min(upper, leads)) if value > threshold else (max(lower, leads), upper)


def _moved(score: float, share: float) -> float:
    """Add a share to the level of a score; return the new score, moved the same way by its rounding error."""
    level = NORMAL.cdf(score) + share
    if not 0.0 < level < 1.0:
        return math.copysign(math.inf, share)
    return NORMAL.inv_cdf(level) + math.copysign(_SCORE_ROUNDED, share)
