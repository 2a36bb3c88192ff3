"""`python -m dejavu_client.cli`: the same as the command `dejavu`."""

from __future__ import annotations

from dejavu_client.cli.main import main

if __name__ == "__main__":
    main()
