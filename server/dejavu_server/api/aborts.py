"""Frees what the exceptions of aborted calls keep.

gRPC raises the exception of an aborted call and keeps it with the state of the call. Its traceback leads through the
frames of the call back to that state, and to the request: up to 1.5 MiB that only garbage collection would free, after
hundreds of such calls, for anyone who sends large requests that are invalid.
"""

from __future__ import annotations

import traceback


def clear_frames(error: BaseException) -> None:
    """Clears the variables of all frames in the tracebacks of an error and of those that led to it.

    Frames that are executed at the moment are left as they are. Coroutines that only wait are ended (up to Python
    3.12): so a coroutine that goes on must not hand out an error that it has caught itself.
    """
    each: BaseException | None = error
    while each is not None:
        traceback.clear_frames(each.__traceback__)
        each = each.__context__
