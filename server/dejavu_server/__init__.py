"""gRPC server: supervisor, workers, ledger and streams."""

import os
import sys

# gRPC's core would print text of peers unescaped, such as the server name of a handshake: a way to forge log lines.
# Must be set before gRPC is imported. With the value ERROR, the log shows why handshakes fail.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# If rich is installed, structlog imports it for a format of tracebacks that the server does not use. The import would
# take a tenth of a worker's start.
if "rich" in sys.modules:
    import structlog
else:
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]
