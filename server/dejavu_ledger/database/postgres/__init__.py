"""PostgreSQL as the backend of a ledger: connections, migrations, notifications, errors and the check of its schema."""
