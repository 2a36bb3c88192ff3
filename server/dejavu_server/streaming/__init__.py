"""Streams ledger entries to subscribers; reopens the ledger and restarts the streams after a failure."""
