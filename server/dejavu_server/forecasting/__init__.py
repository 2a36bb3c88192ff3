"""Forecasting: batches and records forecasts, and updates the models from outcomes."""
