"""Conformal predictive distributions: fitting, storage and online adaptation."""
