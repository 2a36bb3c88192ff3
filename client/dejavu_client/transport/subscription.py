"""State of a stream across connections: its position, which events to deliver, and when to reconnect.

A stream of forecasts resumes after the last one; a stream of games starts again with the newest state of each.

This module does no I/O: a caller gets a `request`, passes each response to `accept` and the error that ended the
connection to `connection_lost`, and waits the returned time before it reconnects.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Generic, TypeVar

from google.protobuf.message import Message

from dejavu.v1.game_service_pb2 import StreamGamesRequest, StreamGamesResponse
from dejavu.v1.prediction_service_pb2 import StreamPredictionsRequest, StreamPredictionsResponse
from dejavu_client.errors import PASSING, SUBSCRIBER_TOO_SLOW, DejavuClientError, InternalError, ResourceExhaustedError
from dejavu_client.logs import get_logger
from dejavu_common.clock import Backoff

FIRST_ATTEMPTS = 3
"""Connection attempts before the first message. Once a message has arrived, the stream retries without limit."""

FIRST_DELAY = 0.25
LONGEST_DELAY = 10.0

LONGEST_PUSHBACK = 60.0
"""Longest pause, in seconds, that a server may ask for when it refuses a stream. A longer pause is reported as an
error."""

log = get_logger()


ResponseT = TypeVar("ResponseT", bound=Message)


class StreamState(Generic[ResponseT]):
    """State of one reader's stream across reconnections.

    Args:
        jitter: random numbers in [0, 1), so that the clients of one server do not all reconnect at once.
    """

    def __init__(self, jitter: random.Random | None = None) -> None:
        chance = jitter or random.Random()  # noqa: S311 - spreads out clients, not for security
        self._backoff = Backoff(FIRST_DELAY, LONGEST_DELAY, chance=chance.random)
        self._failures = 0
        self._connected = False

    def request(self) -> Message:
        """Return the request for the next connection."""
        raise NotImplementedError

    def accept(self, response: ResponseT) -> bool:
        """Record a response and return whether to deliver it to the reader."""
        raise NotImplementedError

    def connected(self) -> None:
        """Note that a message has arrived."""
        if self._failures:
            log.warning("stream_resumed", attempts=self._failures)
        self._connected = True
        self._failures = 0
        self._backoff.reset()

    def connection_lost(self, error: DejavuClientError) -> float:
        """Return the seconds to wait before reconnecting, after a connection ended with `error`.

        The wait is at least as long as the server asked for.

        Raises:
            DejavuClientError: `error` itself, if reconnecting would not help, or if no message ever arrived and the
                first attempts are used up.
        """
        self._failures += 1
        if not _is_transient(error) or (not self._connected and self._failures >= FIRST_ATTEMPTS):
            raise error
        delay = max(self._backoff.next(), error.retry_after or 0.0)
        log.warning("stream_lost", error=str(error), attempt=self._failures, seconds_to_next=round(delay, 2))
        return delay


class GameUpdates(StreamState[StreamGamesResponse]):
    """State of one reader's stream of games across reconnections.

    Args:
        heartbeats: whether to deliver heartbeats to the reader.
    """

    def __init__(self, *, heartbeats: bool = False) -> None:
        super().__init__()
        self._heartbeats = heartbeats

    def request(self) -> StreamGamesRequest:
        """Return the request for the next connection."""
        return StreamGamesRequest()

    def accept(self, response: StreamGamesResponse) -> bool:
        """Record a response and return whether to deliver it to the reader."""
        self.connected()
        return response.HasField("game") or (self._heartbeats and response.HasField("heartbeat"))


class StreamResumption(StreamState[StreamPredictionsResponse]):
    """State of one reader's stream of forecasts and outcomes across reconnections.

    Args:
        game_ids: games to subscribe to, or a single game id; empty for all.
        resume_token: position to resume after; empty to start now.
        include_current: whether to start with the newest forecasts of the last 12 hours.
        heartbeats: whether to deliver heartbeats to the reader.
        jitter: see `StreamState`.
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
        super().__init__(jitter)
        self._game_ids = (game_ids,) if isinstance(game_ids, str) else tuple(game_ids)
        self._token = resume_token
        self._include_current = include_current
        self._heartbeats = heartbeats
        self._newest = 0

    def request(self) -> StreamPredictionsRequest:
        """Return the request for the next connection, which resumes right after the last response."""
        return StreamPredictionsRequest(
            game_ids=self._game_ids, resume_token=self._token, include_current=self._include_current
        )

    def accept(self, response: StreamPredictionsResponse) -> bool:
        """Record a response and return whether to deliver it to the reader.

        Forecasts and outcomes share one sequence. An event at or before the newest sequence seen is not delivered
        again, whatever the server sends. An event of an unknown kind only updates the resume token.
        """
        self.connected()
        self._token = response.resume_token or self._token
        kind = response.WhichOneof("event")
        if kind == "heartbeat":
            return self._heartbeats
        before = self._newest
        if kind in {"forecast", "outcome"}:
            self._newest = max(before, getattr(response, kind).sequence)
        return self._newest > before


def _is_transient(error: DejavuClientError) -> bool:
    """Return whether the error that ended a stream is transient, not caused by the request."""
    match error:
        case ResourceExhaustedError():
            return error.reason == SUBSCRIBER_TOO_SLOW or (
                error.retry_after is not None and error.retry_after <= LONGEST_PUSHBACK
            )
        case InternalError():
            # The server's errors have a reason. This one is of what lies between: a frame was cut in its middle, or a
            # proxy ended the stream without a status, as HAProxy does when its server is gone.
            return not error.reason
        case _:
            return isinstance(error, PASSING)
