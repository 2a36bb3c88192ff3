"""Recording of forecasts: the cached state of games, and the statements of the write path."""
