"""Total points of both teams at both horizons: expected before tip-off, and their distribution during a game."""
