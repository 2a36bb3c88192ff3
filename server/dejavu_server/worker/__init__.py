"""Worker: models, ledger, streams and services behind one gRPC server."""
