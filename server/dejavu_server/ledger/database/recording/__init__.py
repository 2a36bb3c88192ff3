"""Recording of forecasts: what is known of a game, and the statements of the write path."""
