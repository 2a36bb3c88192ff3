"""Backup, restore, copy and pruning of a whole ledger: the only code that removes entries, or writes those of another.

Like `database` and `queries`, these modules know SQLAlchemy.
"""
