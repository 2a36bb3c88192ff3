"""Metrics and logs, of supervisor and workers. No import in this file: the supervisor loads it without gRPC."""
