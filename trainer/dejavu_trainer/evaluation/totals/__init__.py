"""Evaluation of forecasts of total points, beside their obvious rivals."""
