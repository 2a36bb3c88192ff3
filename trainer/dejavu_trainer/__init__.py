"""Trains, calibrates and evaluates bundles from seasons of games."""
