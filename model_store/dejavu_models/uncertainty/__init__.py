"""Conformal predictive distributions: how they are fitted, kept and adapted."""
