"""Code shared by server, client and trainer: files, addresses, processes, tasks, slots, time, tracing.

Needs the standard library only; tracing.py loads OpenTelemetry if it is configured.
"""
