"""The projection of the ledger from which scorecards, comparisons and learning read: one row a game and horizon."""
