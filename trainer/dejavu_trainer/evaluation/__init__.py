"""Forecasts beside simpler ones on the same games: scores, walk-forward, verdicts."""
