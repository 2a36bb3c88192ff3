"""The database under the ledger: schema, migrations, transactions, and what wakes the readers of other processes."""
