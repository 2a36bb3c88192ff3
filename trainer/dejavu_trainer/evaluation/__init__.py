"""Scores forecasts against reference forecasts, runs walk-forward backtests and gives verdicts."""
