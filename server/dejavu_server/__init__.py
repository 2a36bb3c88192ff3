"""gRPC server: supervisor, workers, ledger and streams."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# gRPC's core would print what a peer sends as it is, such as the server name of a handshake: forged lines of the log.
# To be set before gRPC is imported; ERROR shows why handshakes fail.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Make imports in the block treat a package as not installed, unless it has been imported before."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


# structlog loads rich if it is installed: a tenth of a worker's start, for tracebacks that the server does not log.
with hidden("rich"):
    import structlog  # noqa: F401
