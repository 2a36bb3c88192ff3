"""How the command line finds its commands, and what a user sees when one fails."""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
import typer.core

from dejavu_client.errors import (
    CallCancelledError,
    DeadlineExceededError,
    DejavuClientError,
    InternalError,
    ResourceExhaustedError,
    UnavailableError,
)

FAILED, NO_ANSWER, REFUSED = 1, 3, 4
"""Exit codes beside 0 (done), 2 (usage) and 130 (interrupted); see `dejavu --help`."""

JSON_KEY = "dejavu_client.json"
"""Where a command's context notes that its output is JSON; its errors are then JSON too."""


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command's function lies, and the extra that it needs."""

    module: str
    function: str
    extra: str = ""
    context_settings: dict[str, Any] = field(default_factory=dict)


COMMANDS: dict[str, Command] = {
    # A negative differential looks like an option: the command sorts them out itself.
    "predict": Command("cli_predict", "predict", context_settings={"ignore_unknown_options": True}),
    "stream": Command("cli_stream", "stream"),
    "models": Command("cli_server", "models"),
    "health": Command("cli_server", "health"),
    "poll": Command("poll_command", "poll", extra="live"),
    "replay": Command("replay_command", "replay", extra="live"),
    "demo": Command("demo", "demo", extra="live,server"),
}


class CommandGroup(typer.core.TyperGroup):
    """The commands of `COMMANDS`; each is imported when it, or the list of all, is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, or None; then all are loaded, so that a near miss can be suggested."""
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return self.commands.get(cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """Runs a command and turns what goes wrong into a message and an exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has what it wanted (`dejavu stream | head`): that is no failure. Python would complain once
            # more when it flushes at exit, so what is left goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except DejavuClientError as error:
            typer.echo(_as_json(error) if ctx.meta.get(JSON_KEY) else _as_text(error), err=True)
            raise typer.Exit(exit_code(error)) from None
        return result


def exit_code(error: DejavuClientError) -> int:
    """The exit code of a command that ended with an error."""
    match error:
        case UnavailableError() | DeadlineExceededError() | ResourceExhaustedError() | CallCancelledError():
            return NO_ANSWER
        case InternalError():
            return FAILED
        case _:
            return REFUSED


def report_bug(error: Exception) -> None:
    """Tells of an exception that nobody foresaw; the traceback only where DEJAVU_DEBUG asks for it."""
    if os.environ.get("DEJAVU_DEBUG"):
        traceback.print_exception(error)
    message = f"{type(error).__name__}: {error}"
    typer.echo(f"Error: {message}\n  This is a fault of dejavu's; DEJAVU_DEBUG=1 shows where.", err=True)


def _load(name: str) -> Any:
    command = COMMANDS[name]
    try:
        function = getattr(import_module(f"dejavu_client.{command.module}"), command.function)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not command.extra or package.startswith("dejavu"):
            raise
        function = _missing(name, package, command.extra)
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name, context_settings={"help_option_names": ["-h", "--help"], **command.context_settings})(function)
    return typer.main.get_command(single)


def _missing(name: str, package: str, extra: str) -> Any:
    """Stands in for a command whose extra is not installed."""
    needs = f"{name} needs {package}, which is not installed: pip install 'dejavu-forecast[{extra}]'"

    def stand_in() -> None:
        typer.echo(f"Error: {needs}", err=True)
        raise typer.Exit(FAILED)

    stand_in.__doc__ = f"Not installed: pip install 'dejavu-forecast\\[{extra}]'."
    return stand_in


def _as_text(error: DejavuClientError) -> str:
    lines = [f"Error: {error.message}"]
    lines += (f"  {v.field}: {v.description}" for v in error.field_violations if v.description not in error.message)
    notes = [error.code.name if error.code else "", error.reason, error.request_id and f"request {error.request_id}"]
    lines += [f"  ({' · '.join(note for note in notes if note)})"] if any(notes) else []
    return "\n".join(lines)


def _as_json(error: DejavuClientError) -> str:
    fields = {
        "code": error.code.name if error.code else "",
        "reason": error.reason,
        "message": error.message,
        "fieldViolations": [{"field": v.field, "description": v.description} for v in error.field_violations],
        "requestId": error.request_id,
    }
    return json.dumps({"error": fields}, ensure_ascii=False)
