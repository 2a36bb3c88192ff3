"""What the NBA says: the live feed, the statistics service, and what their answers mean.

Programs use `NbaFeed` from here; the other modules are an implementation detail.
"""

from __future__ import annotations

from dejavu_feed.nba.live_feed import NBA_URL, Feed, NbaFeed

__all__ = ["NBA_URL", "Feed", "NbaFeed"]
