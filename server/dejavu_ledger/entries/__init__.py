"""Ledger entries: canonical bytes, the rows derived from them, and settlement by outcomes."""
