"""Backup, restore, copy and pruning of a whole ledger: the only code that removes or copies entries.

Like `database` and `queries`, these modules use SQLAlchemy.
"""
