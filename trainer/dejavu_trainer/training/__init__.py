"""Trains the models, and calibrates their predictive distributions."""
