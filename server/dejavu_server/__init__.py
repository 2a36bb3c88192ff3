"""The gRPC server: supervisor, workers, ledger and stream."""
