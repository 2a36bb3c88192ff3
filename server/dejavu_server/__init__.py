"""gRPC server: supervisor, workers, ledger and streams."""
