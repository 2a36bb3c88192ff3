"""Thread pool and progress reporting."""
