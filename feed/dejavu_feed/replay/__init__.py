"""Replays the live feed: recorded or simulated games, faster than real time, with the faults of a real feed."""
