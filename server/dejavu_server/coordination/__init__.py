"""What servers of a ledger agree on through its database, beside the record: none of it is an entry.

Leases, published states of games, notifications, and the models that workers have loaded. The database's clock alone
decides what has expired, so that any server can be asked.
"""
