"""Forecasting models and domain types. Does not import gRPC, HTTP or torch."""
