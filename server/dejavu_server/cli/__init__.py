"""Command `dejavu-server`: the server, and commands that read ledger files."""
