"""`python -m dejavu_server` is `dejavu-server`."""

from __future__ import annotations

from dejavu_server.cli.main import main

main()
