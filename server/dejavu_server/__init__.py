"""gRPC server: supervisor, workers, ledger and streams."""

from dejavu_common.imports import hidden

# structlog loads rich if it is installed: a tenth of a worker's start, for tracebacks that the server does not log.
with hidden("rich"):
    import structlog  # noqa: F401
