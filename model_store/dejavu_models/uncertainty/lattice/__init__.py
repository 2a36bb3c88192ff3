"""Predictive distributions on whole numbers: margins are integers, and at the end never 0."""
