"""`dejavu`: the command line. Commands are loaded when they are asked for, so that one does not pay for the others."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from dejavu_client.cli.errors import FAILED, report_bug
from dejavu_client.cli.group import CommandGroup
from dejavu_client.logs import log_to_stderr

LEVELS = ("debug", "info", "warning", "error")

EPILOG = (
    "Exit codes: 0 done · 1 failed, or health is not SERVING · 2 wrong usage · 3 no answer: the server can't be "
    "reached, has too much to do, or took too long · 4 the server refused the request · 130 interrupted "
    "(poll and replay: 0, for that is how they end)."
)

app = typer.Typer(
    name="dejavu",
    cls=CommandGroup,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dejavu {version('dejavu-forecast')}")
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
) -> None:
    """Forecasts of NBA games while they are played: ask a dejavu-server, follow it, replay an evening."""
    log_to_stderr(log_level)


def main() -> None:
    """The program: ends with one of the exit codes above, and never with a traceback."""
    try:
        app()
    except Exception as error:  # the last resort: a user gets a sentence, not a traceback
        report_bug(error)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
