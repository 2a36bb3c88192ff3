"""Starts `dejavu`. Ctrl-C ends it quietly even while its modules load, which takes more than half a second."""

from __future__ import annotations

import os

from dejavu_common.interrupts import exit_on_interrupt


def main() -> None:
    """Run `dejavu`."""
    exit_on_interrupt()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # otherwise gRPC also prints every failed handshake
    from dejavu_cli.main import main as run  # noqa: PLC0415 - with Ctrl-C handled

    run()


if __name__ == "__main__":
    main()
