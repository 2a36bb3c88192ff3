"""What a stream knows beyond its connections: where it stands, what may be handed on, and when to try again.

Without any input or output of its own: the synchronous and the asynchronous client drive it in the same way. They ask
it for a `request`, show it every response (`accept`), tell it what ended the connection (`lost`), and wait as long as
it says before they connect again.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from dejavu.v1.prediction_service_pb2 import StreamPredictionsRequest, StreamPredictionsResponse
from dejavu_client.errors import (
    PASSING,
    SUBSCRIBER_TOO_SLOW,
    DejavuClientError,
    InternalError,
    ResourceExhaustedError,
)
from dejavu_client.logs import get_logger

FIRST_ATTEMPTS = 3
"""How often a stream tries to connect before it ever stood; afterwards it goes on for as long as its reader does."""

FIRST_DELAY = 0.25
LONGEST_DELAY = 10.0

log = get_logger()


class StreamResumption:
    """One reader's stream of forecasts and outcomes, across as many connections as it takes.

    Args:
        game_ids: the games wanted, or the one; none: all.
        resume_token: where to go on; empty: now.
        include_current: whether to begin with the newest forecasts of the last 12 hours.
        heartbeats: whether the reader wants to see them.
        jitter: gives numbers in [0, 1), so that the clients of one server do not come back all at once.
    """

    def __init__(
        self,
        game_ids: Iterable[str] = (),
        *,
        resume_token: str = "",
        include_current: bool = False,
        heartbeats: bool = False,
        jitter: random.Random | None = None,
    ) -> None:
        self._game_ids = (game_ids,) if isinstance(game_ids, str) else tuple(game_ids)
        self._token = resume_token
        self._include_current = include_current
        self._heartbeats = heartbeats
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads clients, guards nothing
        self._newest = 0
        self._failures = 0
        self._stood = False

    def request(self) -> StreamPredictionsRequest:
        """What to ask for on the next connection: to go on right after the last response seen."""
        return StreamPredictionsRequest(
            game_ids=self._game_ids, resume_token=self._token, include_current=self._include_current
        )

    def accept(self, response: StreamPredictionsResponse) -> bool:
        """Takes note of a response; says whether to hand it to the reader.

        A forecast or an outcome, which share one order, is not handed on again at or before the newest one seen,
        whatever the server sends. An event of a kind that is not known moves the token along and nothing else.
        """
        if self._failures:
            log.info("stream_resumed", attempts=self._failures)
        self._stood = True
        self._failures = 0
        self._token = response.resume_token or self._token
        match response.WhichOneof("event"):
            case "heartbeat":
                return self._heartbeats
            case "forecast":
                sequence = response.forecast.sequence
            case "outcome":
                sequence = response.outcome.sequence
            case _:
                return False
        if sequence <= self._newest:
            return False
        self._newest = sequence
        return True

    def lost(self, error: DejavuClientError) -> float:
        """Seconds to wait before connecting again, after a connection ended with `error`.

        Raises:
            DejavuClientError: `error` itself, if another connection would not help, or if the stream never stood and
                has been tried often enough.
        """
        self._failures += 1
        if not _passes(error) or (not self._stood and self._failures >= FIRST_ATTEMPTS):
            raise error
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures - 1, 10))
        delay *= 1.0 - 0.5 * self._jitter.random()
        log.warning("stream_lost", error=str(error), attempt=self._failures, seconds_to_next=round(delay, 2))
        return delay


def _passes(error: DejavuClientError) -> bool:
    """Whether what ended a stream is a matter of the connection or the moment, not of the request."""
    match error:
        case ResourceExhaustedError():
            return error.reason == SUBSCRIBER_TOO_SLOW
        case InternalError():
            # A connection that breaks in mid-frame: written by gRPC's transport, not by a server's handler.
            return not error.reason and ("RST_STREAM" in error.message or "HTTP2" in error.message.upper())
        case _:
            return isinstance(error, PASSING)
