"""One worker: models, ledger, stream and services behind one gRPC server."""
