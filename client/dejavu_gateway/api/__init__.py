"""What the gateway answers: RPCs as JSON, games, live streams, its own state, and the page."""
