"""Scores of every forecaster and reference on the games of a fold."""
