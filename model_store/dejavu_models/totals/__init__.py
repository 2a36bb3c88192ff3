"""Total points of both teams at both horizons: what is expected before tip-off, and the distribution during a game."""
