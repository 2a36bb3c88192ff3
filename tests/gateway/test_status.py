"""The status in words: a text for every problem, and one report of each change."""

from __future__ import annotations

from datetime import date

import grpc
import pytest

from dejavu_client import DejavuClientError, HealthStatus, PermissionDeniedError, UnauthenticatedError, UnavailableError
from dejavu_gateway.live.status import STALE_SECONDS, StatusBoard, StatusReason, StatusReport

GONE = UnavailableError("no", code=grpc.StatusCode.UNAVAILABLE)
REFUSED = UnauthenticatedError("no token", code=grpc.StatusCode.UNAUTHENTICATED)
DENIED = PermissionDeniedError("no scope", code=grpc.StatusCode.PERMISSION_DENIED)
UP, DOWN = HealthStatus.SERVING, HealthStatus.NOT_SERVING


def board_of(changes: list[StatusReport] | None = None, now: float = 100.0) -> StatusBoard:
    return StatusBoard("127.0.0.1:1", (changes if changes is not None else []).append, lambda: now)


@pytest.mark.parametrize(
    ("server", "ledger", "stream", "reason", "serving", "streaming"),
    [
        (UP, UP, True, StatusReason.OK, True, True),
        (None, None, None, StatusReason.SERVER_GONE, False, False),
        (GONE, GONE, GONE, StatusReason.SERVER_GONE, False, False),
        (UP, DOWN, GONE, StatusReason.LEDGER_BROKEN, True, False),
        (UP, GONE, True, StatusReason.SERVER_GONE, False, True),
        (UP, UP, GONE, StatusReason.STREAM_BROKEN, True, False),
        (UP, UP, False, StatusReason.STREAM_BROKEN, True, False),
        (UP, UP, REFUSED, StatusReason.TOKEN_REJECTED, True, False),
        (UP, UP, DENIED, StatusReason.TOKEN_REJECTED, True, False),
        (REFUSED, REFUSED, GONE, StatusReason.TOKEN_REJECTED, False, False),
    ],
)
def test_a_status_says_what_is_wrong(
    server: HealthStatus | DejavuClientError | None,
    ledger: HealthStatus | DejavuClientError | None,
    stream: bool | DejavuClientError | None,
    reason: StatusReason,
    serving: bool,
    streaming: bool,
) -> None:
    board = board_of()
    board.update(server=server, ledger=ledger, stream=stream, heard=100.0)
    report = board.report
    assert (report.reason, report.serving, report.streaming) == (reason, serving, streaming)
    assert report.message.endswith(".")
    told = report.as_json(None, demo=False, evening=date(2026, 1, 2))
    assert told["ledger"]["ok"] is (ledger is UP)
    assert bool(told["ledger"]["message"]) is (serving and ledger is not UP)
    assert told["newestEventTime"] is None


def test_a_stream_that_is_silent_for_long_is_broken() -> None:
    board = board_of(now=100.0 + STALE_SECONDS)
    board.update(server=UP, ledger=UP, stream=True, heard=100.0)
    assert board.report.reason is StatusReason.STREAM_BROKEN


def test_each_change_is_reported_once() -> None:
    changes = list[StatusReport]()
    board = board_of(changes)
    for heard in (100.0, 100.0, 100.0):
        board.update(server=UP, ledger=UP, stream=True, heard=heard)
    board.update(stream=GONE)
    board.update(stream=GONE)
    board.update(stream=True, heard=100.0)
    assert [each.reason.value for each in changes] == ["OK", "STREAM_BROKEN", "OK"]
    assert changes[0].since < changes[2].since
