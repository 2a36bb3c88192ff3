"""SQLite as the database of a ledger: one file, any number of processes on one machine."""
