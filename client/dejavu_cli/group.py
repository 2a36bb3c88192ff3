"""Finds and loads the commands of the command line, and reports their failures."""

from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
import typer.core

from dejavu_cli.errors import JSON_KEY, as_json, as_text, exit_code, failure
from dejavu_client.connection_options import add_options, options_given
from dejavu_client.errors import DejavuClientError
from dejavu_common.build import install
from dejavu_common.interrupts import raise_on_interrupt


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is, its requirements, and its handling of signals and arguments.

    Attributes:
        module: its module in `dejavu_cli.commands`; by default, the one with its name.
        needs: modules that the command requires, by the extra that installs them.
        handles_signals: whether it handles Ctrl-C itself, in an event loop, which a KeyboardInterrupt must not
            interrupt.
        negative_numbers: whether it parses unknown options itself, because a negative differential looks like one.
    """

    module: str = ""
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
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
    "predict": Command(negative_numbers=True),
    "bets": Command(),
    "risk": Command("predict", negative_numbers=True),
    "swings": Command(),
    "stream": Command(),
    "games": Command(),
    "predictions": Command("record"),
    "prediction": Command("record"),
    "scorecard": Command("record"),
    "leaderboard": Command("record"),
    "report": Command("record", negative_numbers=True),
    "checkpoint": Command("record"),
    "models": Command(),
    "teams": Command(),
    "doctor": Command(),
    "health": Command("server"),
    "stats": Command("server"),
    "cache": Command("server"),
    "top": Command("server"),
    "poll": Command(needs={"live": _LIVE}, handles_signals=True),
    "notify": Command(needs={"notify": _NOTIFY}, handles_signals=True),
    "notifications": Command(),
    "mcp": Command(needs={"mcp": ("mcp",)}),
    "replay": Command(handles_signals=True),
    "demo": Command(needs={"live": _LIVE, "server": _SERVER}, handles_signals=True),
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

    def invoke(self, ctx: Any) -> Any:
        """Run the command if its modules are installed."""
        missing = COMMANDS[str(self.name)].missing()
        if missing:
            modules = list(itertools.chain(*missing.values()))
            are = "is" if len(modules) == 1 else "are"
            needs = f"{self.name} needs {', '.join(modules)}, which {are} not installed"
            raise failure(f"{needs}: {install(','.join(missing))}")
        if not COMMANDS[str(self.name)].handles_signals:
            raise_on_interrupt()
        with options_given(ctx):
            return super().invoke(ctx)


@functools.cache  # building a command takes ten milliseconds; only programs that run several commands notice
def _load(name: str) -> Any:
    from dejavu_cli.options import with_options  # noqa: PLC0415 - loads gRPC, as a command does

    function = getattr(import_module(f"dejavu_cli.commands.{COMMANDS[name].module or name}"), name)
    if isinstance(function, typer.Typer):
        return _load_family(function)
    settings = {"help_option_names": ["-h", "--help"], "ignore_unknown_options": COMMANDS[name].negative_numbers}
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name, cls=_Command, context_settings=settings)(with_options(function))
    command = typer.main.get_command(single)
    add_options(command)
    command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())  # else cut at the terminal's width
    return command


def _load_family(family: typer.Typer) -> Any:
    group: Any = typer.main.get_command(family)
    for command in (group, *group.commands.values()):
        add_options(command)
        command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
    return group
