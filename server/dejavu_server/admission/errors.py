"""Errors of calls that are refused before they are computed."""

from __future__ import annotations

from dejavu_models.errors import DejavuError


class Overloaded(DejavuError):
    """The worker has as much work as it can finish in time."""

    reason = "OVERLOADED"


class DeadlineExceeded(DejavuError):
    """A call arrived after its deadline, or had no deadline and exceeded that of the server."""

    reason = "DEADLINE_PASSED"
