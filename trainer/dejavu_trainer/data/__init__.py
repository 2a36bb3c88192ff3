"""Reads, imports, simulates and fetches games, and splits them by date."""
