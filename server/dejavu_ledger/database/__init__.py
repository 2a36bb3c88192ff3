"""Database of the ledger: schema, transactions and cross-process commit notifications."""
