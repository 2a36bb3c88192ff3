"""Runs the command `dejavu` as `python -m dejavu_client.cli`."""

from __future__ import annotations

from dejavu_client.cli.main import main

if __name__ == "__main__":
    main()
