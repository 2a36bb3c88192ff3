"""Ledger queries: predictions, pages of them, scorecards, completed games, and the observations models learn from."""
