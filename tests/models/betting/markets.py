"""Markets, and distributions that weigh them, for tests of bets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st

from dejavu_models.betting import Market, StakingPolicy

LINES = st.integers(-200, 200).map(lambda halves: halves / 2)
ODDS = st.floats(1.01, 1000)
SHARES = st.floats(0, 1)
POLICIES = st.builds(
    StakingPolicy,
    model_share=SHARES,
    kelly_fraction=SHARES,
    game_cap=SHARES,
    evening_cap=SHARES,
    confidence_threshold=st.floats(0, 1, exclude_max=True),
    max_edge=st.sampled_from([0.15, 1.0]),
)
MODEL_ALONE = StakingPolicy(model_share=1.0, game_cap=0.05, evening_cap=1.0)
ANY_EDGE = replace(MODEL_ALONE, max_edge=1.0)
AtLeast = Callable[[int], float]


def steps(weights: dict[int, int]) -> AtLeast:
    """Returns k → P(differential ≥ k) for a discrete distribution with these weights."""
    whole = sum(weights.values())
    return lambda k: sum(weight for value, weight in weights.items() if value >= k) / whole


DISTRIBUTIONS = st.dictionaries(st.integers(-60, 60), st.integers(1, 100), min_size=1, max_size=12).map(steps)


def three(home: float, push: float) -> AtLeast:
    """Returns k → P(differential ≥ k) with these probabilities of a home win and of a push at line 0."""
    return lambda k: home if k >= 1 else home + push if k == 0 else 1.0


@st.composite
def triples(draw: st.DrawFn) -> tuple[float, float]:
    """Draws probabilities of a home win and of a push, in thousandths to limit rounding errors of sums."""
    home = draw(st.integers(0, 1000))
    return home / 1000, draw(st.integers(0, 1000 - home)) / 1000


def fair(odds: float) -> Market:
    """Returns a market at line 0 whose prices have no margin."""
    return Market(0.0, odds, odds / (odds - 1))


def mirrored(market: Market) -> Market:
    return replace(market, line=-market.line, home_odds=market.away_odds, away_odds=market.home_odds)
