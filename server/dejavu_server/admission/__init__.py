"""Admission: which calls a worker takes on, and which it refuses before they cost anything."""
