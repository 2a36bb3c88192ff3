"""Markets of any prices, stakes so far and policies."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from dejavu_models.betting import Market, StakingPolicy

SHARES = st.floats(0, 1)
POLICIES = st.builds(
    StakingPolicy,
    model_share=SHARES,
    kelly_fraction=SHARES,
    game_cap=SHARES,
    evening_cap=SHARES,
    confidence_threshold=SHARES,
    max_difference=st.sampled_from([0.15, 1.0]),
)


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Draw a market on offer, often of prices that belong together, with what is staked already."""
    home = draw(st.floats(1.05, 20))
    away = draw(st.floats(1.01, 1000) | st.floats(-0.01, 0.15).map(lambda margin: 1 / (1 + margin - 1 / home)))
    assume(1 < away <= 1000)
    bankroll = draw(st.floats(0.01, 1e9))
    on_game, on_evening = sorted((draw(SHARES) * bankroll, draw(SHARES) * bankroll))
    line, policy = draw(st.integers(-200, 200)) / 2, draw(POLICIES)
    return Market(line, home, away, bankroll, policy=policy, game_staked=on_game, evening_staked=on_evening)
