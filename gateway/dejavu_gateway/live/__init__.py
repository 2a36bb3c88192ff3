"""Live events: one subscription to the server, fanned out to all browsers."""
