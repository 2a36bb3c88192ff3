"""`dejavu`: the command line. Finds its commands, which are imported on first use, and reports their failures."""

from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Final

import typer
import typer.core

from dejavu_cli.errors import FAILED, JSON_KEY, as_json, as_text, exit_code, failure, report_bug
from dejavu_client.errors import DejavuClientError
from dejavu_client.logs import LogLevel, log_to_stderr
from dejavu_client.option_groups import with_options
from dejavu_common import build, tracing
from dejavu_common.interrupts import raise_on_interrupt
from dejavu_common.rich_console import Console
from dejavu_common.shown_text import escape_output

WATCH, ASK, RECORD, OPERATE = "Watch", "Ask", "Record", "Operate"
"""Headings of `dejavu --help`."""

CONNECTION: Final = ("target", "tls", "ca", "cert", "key", "token_file", "allow_plaintext_token", "timeout")
"""Options of all commands that call a server: `dejavu --help-connection` explains them, the other pages name them."""


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is, its requirements, and its handling of signals and arguments.

    Attributes:
        heading: under which it is listed.
        module: its module in `dejavu_cli.commands`; by default, the one with its name.
        needs: modules that the command requires, by the extra that installs them.
        unless: option with which it requires none of them.
        handles_signals: whether it handles Ctrl-C itself, in an event loop, which a KeyboardInterrupt must not
            interrupt.
        negative_numbers: whether it parses unknown options itself, because a negative differential looks like one.
    """

    heading: str
    module: str = ""
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unless: str = ""
    handles_signals: bool = False
    negative_numbers: bool = False

    def missing(self) -> dict[str, list[str]]:
        """Return the modules that are not installed, by extra, without importing any, which would be slow."""
        absent = {extra: [name for name in names if find_spec(name) is None] for extra, names in self.needs.items()}
        return {extra: names for extra, names in absent.items() if names}


_LIVE = ("nba_api",)
_NOTIFY = ("httpx2", "pydantic", "standardwebhooks")
_SERVER = ("grpc_reflection", "numpy", "prometheus_client", "pydantic", "uvloop")


COMMANDS: dict[str, Command] = {
    "poll": Command(WATCH, needs={"live": _LIVE}, handles_signals=True),
    "games": Command(WATCH),
    "stream": Command(WATCH),
    "notify": Command(WATCH, needs={"notify": _NOTIFY}, unless="listed", handles_signals=True),
    "replay": Command(WATCH, handles_signals=True),
    "demo": Command(WATCH, needs={"live": _LIVE, "server": _SERVER}, handles_signals=True),
    "mcp": Command(WATCH, needs={"mcp": ("mcp",)}),
    "predict": Command(ASK, negative_numbers=True),
    "bets": Command(ASK),
    "risk": Command(ASK, "predict", negative_numbers=True),
    "swings": Command(ASK),
    "predictions": Command(RECORD, "record"),
    "scorecard": Command(RECORD, "record"),
    "report": Command(RECORD, "record", negative_numbers=True),
    "checkpoint": Command(RECORD, "record"),
    "health": Command(OPERATE, "server"),
    "doctor": Command(OPERATE),
    "stats": Command(OPERATE, "server"),
    "models": Command(OPERATE),
}


@contextmanager
def _exit_without_reader() -> Iterator[None]:
    """End the program without failure once the reader of its output has closed the pipe (`dejavu stream | head`)."""
    try:
        yield
    except BrokenPipeError:
        # Discard the remaining output, or Python would report the broken pipe again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


class CommandGroup(typer.core.TyperGroup):
    """The commands of `COMMANDS`. Each is imported when it is run, or when all are listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the command names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None if it is unknown.

        If it is unknown, all commands are loaded, so that a similar name can be suggested.
        """
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under their headings."""
        for heading, names in itertools.groupby(COMMANDS, lambda name: COMMANDS[name].heading):
            _write_commands(formatter, heading, {name: self.get_command(ctx, name) for name in names})

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the arguments, and print the help if they ask for it."""
        with _exit_without_reader():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run a command and turn errors into a message and an exit code."""
        try:
            with _exit_without_reader():
                result = super().invoke(ctx)
                sys.stdout.flush()
        except DejavuClientError as error:
            typer.echo(as_json(error) if ctx.meta.get(JSON_KEY) else as_text(error), err=True)
            raise typer.Exit(exit_code(error)) from None
        return result


class _Command(typer.core.TyperCommand):
    """A command that names the extra to install if one is missing. Its help works without the extra."""

    entry: Command

    def invoke(self, ctx: Any) -> Any:
        """Run the command if its modules are installed."""
        missing = {} if ctx.params.get(self.entry.unless) else self.entry.missing()
        if missing:
            modules = list(itertools.chain(*missing.values()))
            are = "is" if len(modules) == 1 else "are"
            needs = f"{self.name} needs {', '.join(modules)}, which {are} not installed"
            raise failure(f"{needs}: {build.install(','.join(missing))}")
        if not self.entry.handles_signals:
            raise_on_interrupt()
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options; those of the connection as one line."""
        own, connection = copy(self), _connection_options(self)
        own.params = [each for each in self.params if each not in connection]
        super(_Command, own).format_options(ctx, formatter)
        if connection:
            with formatter.section("Connection (dejavu --help-connection)"):
                formatter.write_text(", ".join(each.opts[0] for each in connection))


class _Family(typer.core.TyperGroup):
    """A command with commands of its own, of which the first is the default."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command if there is none.

        Raises:
            typer.BadParameter: if an option precedes a command, which would not know it.
        """
        if args and (args[0] in ctx.help_option_names or not args[0].startswith("-")):
            return super().parse_args(ctx, args)
        if named := next((each for each in args if each in self.commands), ""):
            raise typer.BadParameter(f"give it after the command: dejavu {self.name} {named} …", param_hint=args[0])
        return super().parse_args(ctx, [next(iter(self.commands)), *args])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, with the whole first paragraph of each."""
        _write_commands(formatter, "Commands", self.commands)


def _connection_options(command: Any) -> list[Any]:
    """Return the options of a command about its connection to a server."""
    return [each for each in command.params if each.name in CONNECTION]


def _write_commands(formatter: Any, heading: str, commands: Mapping[str, Any]) -> None:
    # The library would cut the first paragraph at the width of the terminal.
    rows = [(name, " ".join((each.help or "").partition("\n\n")[0].split())) for name, each in commands.items()]
    with formatter.section(heading):
        formatter.write_dl(rows)


@functools.cache  # building a command takes ten milliseconds; only programs that run several commands notice
def _load(name: str) -> Any:
    entry = COMMANDS[name]
    module = import_module(f"dejavu_cli.commands.{entry.module or name}")
    found: Callable[..., None] | dict[str, Callable[..., None]] = getattr(module, name)
    if not isinstance(found, dict):
        return _made(name, found, entry)
    made = {each: _made(each, function, entry) for each, function in found.items()}
    settings = {"help_option_names": ["-h", "--help"]}
    return _Family(name=name, commands=made, help=module.HELP, context_settings=settings, rich_markup_mode=None)


def _made(name: str, function: Callable[..., None], entry: Command) -> Any:
    settings = {"help_option_names": ["-h", "--help"], "ignore_unknown_options": entry.negative_numbers}
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name, cls=_Command, context_settings=settings)(with_options(function))
    command: Any = typer.main.get_command(single)
    command.entry = entry
    return command


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
    """Print the page about the options of the connection."""
    if requested:
        formatter = ctx.make_formatter()
        formatter.write_text("Options of all commands that call a server, after the name of the command:")
        formatter.write_paragraph()
        with formatter.indentation():
            options = _connection_options(_load("health"))
            formatter.write_dl([each.get_help_record(ctx) for each in options])
        typer.echo(formatter.getvalue().rstrip("\n"))
        raise typer.Exit


@app.callback()
def root(
    log_level: Annotated[
        LogLevel, typer.Option(envvar="DEJAVU_LOG_LEVEL", case_sensitive=False, help="What to log on stderr.")
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
        Console(stderr=True).print(f"no traces: {error.name} is missing: {build.install('tracing')}")


def main() -> None:
    """Run the program. It ends with one of the exit codes of `dejavu --help`, never with a traceback."""
    escape_output()
    try:
        app()
    except Exception as error:  # last resort: print a message instead of a traceback
        report_bug(error)
        sys.exit(FAILED)
