"""Code shared by server, client and trainer: files, addresses, backoff, processes, time, tracing.

Needs the standard library only; tracing.py loads OpenTelemetry if it is configured.
"""
