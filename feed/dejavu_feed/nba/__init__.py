"""Clients and parsers for the NBA's live feed and statistics service.

Programs import `NbaFeed` from here; the other modules are implementation details.
"""

from __future__ import annotations

from dejavu_feed.nba.live_feed import NBA_URL, Feed, NbaFeed

__all__ = ["NBA_URL", "Feed", "NbaFeed"]
