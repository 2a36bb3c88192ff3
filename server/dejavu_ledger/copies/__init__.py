"""Backup, restore and copy of a whole ledger: the only code that copies entries.

Like `database` and `queries`, these modules use SQLAlchemy.
"""
