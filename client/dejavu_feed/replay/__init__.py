"""A stand-in for the live feed: recorded or simulated games, faster than life, with the faults of a real feed."""
