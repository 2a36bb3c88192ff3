"""Scorecards of settled forecasts, and leaderboards of model versions."""
