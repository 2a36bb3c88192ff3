"""Endpoints of the gateway: RPCs as JSON, games, live streams, its own state, and the page."""
