"""gRPC server: supervisor, workers, ledger and streams."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# gRPC's core would print text of peers unescaped, such as the server name of a handshake: a way to forge log lines.
# Must be set before gRPC is imported. With the value ERROR, the log shows why handshakes fail.
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


# If rich is installed, structlog imports it for a format of tracebacks that the server does not use. The import would
# take a tenth of a worker's start.
with hidden("rich"):
    import structlog  # noqa: F401
