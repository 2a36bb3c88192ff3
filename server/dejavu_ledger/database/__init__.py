"""Database of the ledger: schema, migrations, transactions and cross-process commit notifications."""
