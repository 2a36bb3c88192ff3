"""What goes wrong with the NBA's live feed, laid over a replay: at will, and the same again by a seed."""
