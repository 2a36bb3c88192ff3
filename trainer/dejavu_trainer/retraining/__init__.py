"""Retraining: decides whether a new model is due, makes it from a ledger's games, and publishes it as a challenger."""
