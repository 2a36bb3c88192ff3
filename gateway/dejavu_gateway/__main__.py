"""Runs `python -m dejavu_gateway`, the same as `dejavu-dashboard`."""

from __future__ import annotations

from dejavu_gateway.cli import main

if __name__ == "__main__":
    main()
