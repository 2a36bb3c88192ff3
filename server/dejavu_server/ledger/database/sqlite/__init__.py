"""SQLite as the database of a ledger: one file, any number of processes of one machine."""
