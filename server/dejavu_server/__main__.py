"""Runs the command `dejavu-server` as `python -m dejavu_server`."""

from __future__ import annotations

from dejavu_server.cli.main import main

main()
