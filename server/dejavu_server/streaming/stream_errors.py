"""Errors that end a stream."""

from __future__ import annotations

from dejavu_models.errors import DejavuError


class SubscriberTooSlow(DejavuError, reason="SUBSCRIBER_TOO_SLOW", category="RESOURCE_EXHAUSTED"):
    """The subscriber's queue overflowed; it can resume with the last token that it received."""

    def __init__(self) -> None:
        super().__init__("the subscriber reads too slowly; resume with the last resume_token")


class ServerDraining(DejavuError, reason="DRAINING", category="UNAVAILABLE"):
    """This worker is shutting down; another worker can continue the stream."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down; try again")


class StreamFailed(DejavuError, reason="STREAM_FAILED", category="INTERNAL"):
    """An internal error, logged when it occurred, stops this worker from following the ledger."""

    def __init__(self) -> None:
        super().__init__("this worker cannot serve streams at the moment")
