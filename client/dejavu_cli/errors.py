"""Exit codes, and errors as text or JSON."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from dejavu_client.errors import PASSING, DejavuClientError, InternalError, PermissionDeniedError, UnauthenticatedError
from dejavu_common.shown_text import visible

FAILED, NO_ANSWER, REFUSED = 1, 3, 4
"""Exit codes in addition to 0 (done), 2 (usage) and 130 (interrupted); see `dejavu --help`."""

JSON_KEY = "dejavu_client.json"
"""Key in a command's context that is set if the command's output, and so its errors, are JSON."""


def exit_code(error: DejavuClientError) -> int:
    """Return the exit code of a command that ended with an error."""
    if isinstance(error, PASSING):
        return NO_ANSWER
    return FAILED if isinstance(error, InternalError) else REFUSED


def failure(message: object) -> typer.Exit:
    """Print an error; return the exception to raise, which ends the command with `FAILED`."""
    typer.echo(f"Error: {message}", err=True)
    return typer.Exit(FAILED)


@contextmanager
def exit_on_os_error(problem: str) -> Iterator[None]:
    """Turn an OSError into a message that begins with `problem`, and an exit code.

    Raises:
        BrokenPipeError: if the reader of standard output closed the pipe.
        typer.Exit: instead of any other OSError.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise failure(f"{problem}: {error.strerror or error}") from None


def report_bug(error: Exception) -> None:
    """Report an unexpected exception on stderr, with a traceback only if DEJAVU_DEBUG is set."""
    if os.environ.get("DEJAVU_DEBUG"):
        traceback.print_exception(error)
    message = f"{type(error).__name__}: {error}"
    typer.echo(f"Error: {message}\n  This is a bug in dejavu; set DEJAVU_DEBUG=1 to see the traceback.", err=True)


_ADVICE: Final = {
    "MODEL_NOT_PROVEN": "`dejavu models compare` shows the evidence; --force promotes without it, which is recorded",
    "MODEL_NOT_REGISTERED": "`dejavu models list` shows the registered models",
    "MODEL_IN_USE": "promote another model, or roll back, first",
    "BUNDLE_NOT_FOUND": "put it into the model store of the server: dejavu-trainer publish BUNDLE --store URL",
    "BUNDLE_INCOMPLETE": "put it into the store again: dejavu-trainer publish BUNDLE --store URL",
    "BUNDLE_CORRUPT": "put it into the store again: dejavu-trainer publish BUNDLE --store URL",
}
"""Advice by reason of a refusal."""


def advice(error: DejavuClientError) -> str:
    """Return advice for refused access, or for another refusal that some command can resolve; "" otherwise."""
    match error:
        case UnauthenticatedError():
            return "name a file with a valid token by --token-file; the operator of the server makes tokens"
        case PermissionDeniedError() if error.scope:
            return f"needs scope {error.scope}: ask the operator for a token with it"
        case PermissionDeniedError():
            return "ask the operator for a token that allows this call"
    return _ADVICE.get(error.reason, "")


def as_text(error: DejavuClientError) -> str:
    """Format an error for people: message, invalid fields, and the details to quote in a bug report."""
    lines = [f"Error: {error.message}"]
    lines += (f"  {v.field}: {v.description}" for v in error.field_violations if v.description not in error.message)
    lines += [f"  {advice(error)}"] if advice(error) else []
    notes = [error.code.name if error.code else "", error.reason, error.request_id and f"request {error.request_id}"]
    lines += [f"  ({' · '.join(note for note in notes if note)})"] if any(notes) else []
    return "\n".join(visible(line, line=True) for line in lines)


def as_json(error: DejavuClientError) -> str:
    """Format an error for programs, as one JSON document."""
    fields = {
        "code": error.code.name if error.code else "",
        "reason": error.reason,
        "message": error.message,
        "fieldViolations": [{"field": v.field, "description": v.description} for v in error.field_violations],
        "requestId": error.request_id,
        **({"advice": advice(error)} if advice(error) else {}),
    }
    return json.dumps({"error": fields}, ensure_ascii=False)
