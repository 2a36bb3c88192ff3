"""Metrics and logs of supervisor and workers.

This file imports nothing, so that the supervisor can load the package without gRPC.
"""
