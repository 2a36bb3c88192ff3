"""Backup, restore and copy of a whole ledger: the only code that copies entries."""
