"""Status of the server as the gateway knows it, in words for people and as a reason for programs."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from dejavu_client import (
    DeadlineExceededError,
    DejavuClientError,
    HealthStatus,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from dejavu_client.export import has_pyarrow
from dejavu_common.clock import rfc3339, utc_now
from dejavu_gateway.messages.encode import JsonObject

STALE_SECONDS: Final = 45.0
"""Silence of the stream after which it counts as broken: three of the server's heartbeats."""


class StatusReason(enum.Enum):
    """Reason of a status, most severe first."""

    TOKEN_REJECTED = "TOKEN_REJECTED"  # noqa: S105 - no password
    SERVER_GONE = "SERVER_GONE"
    LEDGER_BROKEN = "LEDGER_BROKEN"
    STREAM_BROKEN = "STREAM_BROKEN"
    OK = "OK"


@dataclass(frozen=True, slots=True)
class ServerView:
    """State last received from the server.

    Attributes:
        server: its health, or why it is not known; None before the first request.
        ledger: health of its ledger, or why it is not known.
        stream: whether the stream is connected, or the error that ended it; None before the first connection was tried.
        heard: when the last message of the stream came, by a monotonic clock.
    """

    server: HealthStatus | DejavuClientError | None = None
    ledger: HealthStatus | DejavuClientError | None = None
    stream: bool | DejavuClientError | None = None
    heard: float = 0.0


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The status sent to browsers.

    Attributes:
        reason: the problem; OK if there is none.
        message: the problem, for people.
        serving: whether the server answers requests.
        streaming: whether new forecasts arrive.
        ledger_ok: whether the ledger is known to work.
        ledger_message: problem of the ledger; empty if it works, or the server does not answer.
        since: time since which this has been the status.
    """

    reason: StatusReason
    message: str
    serving: bool
    streaming: bool
    ledger_ok: bool
    ledger_message: str
    since: datetime

    def as_json(self, newest: datetime | None, *, demo: bool, evening: date) -> JsonObject:
        """Return the status as it is sent.

        Args:
            newest: when the newest event was recorded; None if there is none.
            demo: whether this is a demonstration.
            evening: the day that is shown as tonight.
        """
        return {
            "serving": self.serving,
            "streaming": self.streaming,
            "reason": self.reason.value,
            "message": self.message,
            "since": rfc3339(self.since),
            "ledger": {"ok": self.ledger_ok, "message": self.ledger_message},
            "newestEventTime": newest and rfc3339(newest),
            "serverTime": rfc3339(utc_now()),
            "demo": demo,
            "evening": evening.isoformat(),
            "parquet": has_pyarrow(),
        }


class StatusBoard:
    """Keeps the view and the status that follows from it.

    Args:
        target: address of the server, for messages.
        on_change: called after each change of the status.
        now: monotonic clock, in seconds.
    """

    def __init__(self, target: str, on_change: Callable[[StatusReport], None], now: Callable[[], float]) -> None:
        self._target = target
        self._on_change = on_change
        self._now = now
        self.view = ServerView()
        self.report = self._judge()

    def update(self, **changes: object) -> None:
        """Change fields of the view, and report the status if it changes."""
        self.view = replace(self.view, **changes)  # type: ignore[arg-type]
        report = self._judge()
        if replace(report, since=self.report.since) != self.report:
            self.report = report
            self._on_change(report)

    def _judge(self) -> StatusReport:
        view = self.view
        if view.stream is None and view.server is HealthStatus.SERVING:
            view = ServerView()  # the first connection of the stream is still being tried, so nothing is interrupted
        streaming = view.stream is True and self._now() - view.heard < STALE_SECONDS
        # The server went away between the two requests, which says nothing about the ledger.
        gone = isinstance(view.ledger, UnavailableError | DeadlineExceededError)
        serving = view.server is HealthStatus.SERVING and not gone
        ledger_ok = view.ledger is HealthStatus.SERVING
        ledger = "" if ledger_ok or not serving else self._ledger_message(view.ledger)
        reason, message = StatusReason.OK, "The server answers, and new forecasts arrive as they are made."
        refusal = next((each for each in (view.stream, view.server, view.ledger) if _is_refusal(each)), None)
        if refusal is not None:
            reason = StatusReason.TOKEN_REJECTED
            message = f"The server refuses the credentials of this page ({refusal}). The operator has to renew them."
        elif not serving:
            reason, message = StatusReason.SERVER_GONE, self._server_message(view.ledger if gone else view.server)
        elif ledger:
            reason, message = StatusReason.LEDGER_BROKEN, ledger
        elif not streaming:
            reason = StatusReason.STREAM_BROKEN
            message = "The server answers, but its stream of new forecasts is interrupted. What is shown may be old."
        return StatusReport(reason, message, serving, streaming, ledger_ok, ledger, utc_now())

    def _server_message(self, server: HealthStatus | DejavuClientError | None) -> str:
        match server:
            case None:
                return "The server has not been reached yet."
            case DejavuClientError():
                return "The server cannot be reached. The page shows the last known data."
            case _:
                return "The server is starting or stopping and takes no requests."

    def _ledger_message(self, ledger: HealthStatus | DejavuClientError | None) -> str:
        if isinstance(ledger, HealthStatus):
            return "The server cannot use its ledger: what-ifs are answered, but nothing is recorded or listed."
        return "The server does not say whether its ledger works."


def _is_refusal(each: object) -> bool:
    return isinstance(each, UnauthenticatedError | PermissionDeniedError)
