"""Supervisor: signals, worker processes and their shared port. Imports no gRPC; this file imports nothing at all."""
