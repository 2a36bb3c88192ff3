"""Metrics and logs of supervisor and workers. Imports nothing here: the supervisor must load it without gRPC."""
