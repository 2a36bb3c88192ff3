"""Evaluation of forecasts of total points against simple references."""
