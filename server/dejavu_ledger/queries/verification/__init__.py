"""Reads the chain of entries, and rows as they are stored: to verify the ledger, and to export its entries."""
