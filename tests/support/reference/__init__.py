"""Vectorised NumPy models that the compiled ones are compared with."""
