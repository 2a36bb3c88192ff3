"""Comparison of two models on the same games, and the gate that decides from it."""
