"""Batches of forecasts, from serialized requests to serialized results, without messages where none are needed."""
