"""What is read from the ledger: predictions, pages of them, scorecards, completed games, and what models learn from."""
