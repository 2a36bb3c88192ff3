"""PostgreSQL as the backend of a ledger: connections, tables, notifications, errors and the check of its schema."""
