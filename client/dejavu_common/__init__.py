"""Shared by server, client and trainer: files, addresses, backoff, processes, time. Standard library only."""
