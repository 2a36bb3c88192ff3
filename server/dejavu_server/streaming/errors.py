"""How streams end."""

from __future__ import annotations

from dejavu_models.errors import DejavuError


class SubscriberTooSlow(DejavuError):
    """More is waiting for a subscriber than may wait; it can go on with the token that it received last."""

    reason = "SUBSCRIBER_TOO_SLOW"

    def __init__(self, message: str = "the subscriber reads too slowly; go on with the last resume_token") -> None:
        super().__init__(message)


class ServerDraining(DejavuError):
    """This worker is shutting down; another goes on."""

    reason = "DRAINING"

    def __init__(self, message: str = "the server is shutting down; try again") -> None:
        super().__init__(message)


class StreamFailed(DejavuError):
    """A fault of the program, logged when it happened, keeps this worker from following the ledger."""

    reason = "STREAM_FAILED"

    def __init__(self, message: str = "this worker can't send streams at present") -> None:
        super().__init__(message)
