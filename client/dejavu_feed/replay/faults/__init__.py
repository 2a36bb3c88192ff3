"""Injects the faults of the NBA's live feed into a replay: selectable by kind and reproducible by seed."""
