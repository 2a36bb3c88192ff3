"""Checks a poller's reports about its feed."""

from __future__ import annotations

import re
from typing import Final

from dejavu.ops.v1 import feed_service_pb2 as pb
from dejavu_models.errors import DejavuError, InvalidInput, quoted

MAX_AGE_SECONDS: Final = 1_000_000
"""Largest age of a feed's data that can be reported, in seconds."""

_FEED: Final = re.compile(r"[a-z0-9-]{1,32}")


class InvalidFeedReport(InvalidInput, reason="INVALID_FEED_REPORT"):
    """A report about a feed has no valid name, age or number of games."""


class TooManyFeeds(DejavuError, reason="TOO_MANY_FEEDS", category="FAILED_PRECONDITION"):
    """The worker has reports about as many feeds as it accepts."""


def checked_report(request: pb.ReportFeedRequest) -> pb.ReportFeedRequest:
    """Return a report about a feed.

    Raises:
        InvalidFeedReport: if a field is out of bounds.
    """
    if not _FEED.fullmatch(request.feed):
        raise InvalidFeedReport(quoted(request.feed), "1 to 32 of a to z, 0 to 9 and hyphen", field="feed")
    for name in ("read_age_seconds", "data_age_seconds"):
        if not 0 <= (age := getattr(request, name)) <= MAX_AGE_SECONDS:
            raise InvalidFeedReport(f"{age:g}", f"0 to {MAX_AGE_SECONDS:,} seconds", field=name)
    if request.live_games < 0:
        raise InvalidFeedReport(f"{request.live_games}", "0 games or more", field="live_games")
    return request
