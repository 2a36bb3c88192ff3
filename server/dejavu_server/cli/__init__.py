"""The command `dejavu-server`: serve, and the commands that read a ledger's files."""
