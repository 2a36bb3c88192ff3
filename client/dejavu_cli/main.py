"""`dejavu`: the command line. Commands are imported on first use to keep start-up fast."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dejavu_cli.errors import FAILED, report_bug
from dejavu_cli.group import CommandGroup, show_connection_help
from dejavu_client.logs import log_to_stderr
from dejavu_common import build, tracing
from dejavu_common.build import install
from dejavu_common.rich_console import Console
from dejavu_common.shown_text import escape_output

LEVELS = ("debug", "info", "warning", "error")

EPILOG = (
    "Commands call the server at 127.0.0.1:50051, or at HOST:PORT: `--target HOST:PORT` after the command, or "
    "DEJAVU_TARGET in the environment.\n\n"
    "Exit codes: 0 done · 1 failed, or health is not SERVING · 2 wrong usage · 3 no answer: the server is "
    "unreachable, overloaded or timed out · 4 the server refused the request · 130 interrupted "
    "(poll and replay exit with 0)."
)

app = typer.Typer(
    rich_markup_mode=None,
    name="dejavu",
    cls=CommandGroup,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(build.described("dejavu"))
        raise typer.Exit


def _show_connection(ctx: typer.Context, requested: bool) -> None:
    if requested:
        show_connection_help(ctx)
        raise typer.Exit


def _known_level(level: str) -> str:
    if level.lower() not in LEVELS:
        raise typer.BadParameter(f"{level!r} is not one of {', '.join(LEVELS)}")
    return level.lower()


@app.callback()
def root(
    log_level: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_LOG_LEVEL", callback=_known_level, help=f"What to log on stderr: {', '.join(LEVELS)}."
        ),
    ] = "warning",
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    help_connection: Annotated[
        bool,
        typer.Option(
            "--help-connection",
            callback=_show_connection,
            is_eager=True,
            help="Show the options of commands that call a server: address, TLS, token, time-out.",
        ),
    ] = False,
) -> None:
    """Forecast NBA games in progress: query a dejavu-server, stream its forecasts, replay an evening of games."""
    log_to_stderr(log_level)
    try:
        tracing.configure("dejavu", build.release())
    except ModuleNotFoundError as error:
        Console(stderr=True).print(f"no traces: {error.name} is missing: {install('tracing')}")


def main() -> None:
    """Run the program. It ends with one of the exit codes of `dejavu --help`, never with a traceback."""
    escape_output()
    try:
        app()
    except Exception as error:  # last resort: print a message instead of a traceback
        report_bug(error)
        sys.exit(FAILED)
