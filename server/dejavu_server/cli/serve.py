"""Command `dejavu-server`: builds Settings from options and the environment, and runs a supervisor."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from pydantic import ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dejavu_common import build
from dejavu_common.address import Address
from dejavu_server.access.exposure import fault, is_loopback
from dejavu_server.cli import ledger as ledger_commands
from dejavu_server.cli import token as token_commands
from dejavu_server.cli.options import options
from dejavu_server.observability import logs
from dejavu_server.settings import MATTER_FIRST, Settings
from dejavu_server.supervisor.supervisor import Supervisor
from dejavu_server.supervisor.worker_process import StartError


class _ServerHelp(ledger_commands.FullHelp):
    """Lists the options that matter most under a heading of their own."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options in two sections, and the commands."""
        records = [record for each in self.get_params(ctx) if (record := each.get_help_record(ctx))]
        for title, of in (
            ("Options that matter most (with their defaults)", records[:MATTER_FIRST]),
            ("Further options", records[MATTER_FIRST:]),
        ):
            with formatter.section(title):
                formatter.write_dl(of, col_max=18)
        self.format_commands(ctx, formatter)


app = typer.Typer(
    cls=_ServerHelp,
    rich_markup_mode=None,
    name="dejavu-server",
    add_completion=True,
    subcommand_metavar="[ledger|token COMMAND]",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 drained after a signal · 1 could not start, no worker could be started any more, or workers had "
        "to be killed · 2 wrong usage."
    ),
)

app.add_typer(ledger_commands.app)
app.add_typer(token_commands.app)

_log = structlog.get_logger(__name__)


class _CommandSettings(Settings, BaseSettings):
    """Settings from options, else from environment variables, else from the defaults."""

    model_config = SettingsConfigDict(
        env_prefix="DEJAVU_",
        env_prefix_target="all",
        env_ignore_empty=True,
        enable_decoding=False,
        validate_by_name=False,  # otherwise DEJAVU_GRACE_SECONDS would be a variable too
    )

    @field_validator("bundles", mode="before")
    @classmethod
    def _folders(cls, given: str | list[Path]) -> list[Path]:
        folders = [Path(folder) for folder in (given.split(os.pathsep) if isinstance(given, str) else given)]
        if missing := next((folder for folder in folders if not folder.is_dir()), None):
            raise ValueError(f"{str(missing)!r} is not a folder")
        return folders


def _settings(given: dict[str, Any]) -> Settings:
    """Return the settings.

    Args:
        given: the values of the options that the command line has, by name.

    Raises:
        typer.BadParameter: if a value is invalid; the message names the option and its variable.
    """
    try:
        return Settings(**dict(_CommandSettings(**given)))
    except ValidationError as error:
        fault = error.errors()[0]
        option = options()[str(fault["loc"][0])]
        message = fault["msg"].removeprefix("Value error, ")
        if option.limits:
            message = f"{fault['input']!r}; expected {option.limits}"
        elif fault["type"] != "value_error":
            message = f"{fault['input']!r}: {message}"
        names = " / ".join(filter(None, (option.flag, option.variable)))
        raise typer.BadParameter(message, param_hint=names) from None


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(build.described("dejavu-server"))
        raise typer.Exit


def _reject_server_options(context: typer.Context) -> None:
    """Reject server options before a subcommand, which would ignore them."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"this is an option of the server; put the options of `{context.invoked_subcommand}` after it",
                param_hint=parameter.opts[0],
            )


def _parameters() -> list[inspect.Parameter]:
    """Return the options of the command line as parameters of `serve`, each None unless it is given."""
    kinds = {"bundle": list[Path], "allow_unfit": bool, "insecure": bool}
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                kinds.get(name, str) | None,
                typer.Option(
                    option.flag,
                    metavar=option.value or None,
                    help=f"{option.meaning.removesuffix('.')} ({option.default})",
                    show_default=False,
                ),
            ],
        )
        for name, option in options().items()
        if option.flag
    ]


def serve(
    context: typer.Context,
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    **given: Any,
) -> None:
    """Serve forecasts of NBA games over gRPC.

    The first SIGTERM or SIGINT drains: calls in progress finish, streams are ended. A second one kills.

    SIGHUP loads new bundles, or a new release, without an interruption: it
    replaces each worker by one that reloads the bundles and runs the installed
    release, as soon as the new worker serves. Options do not change. If a new
    worker can't serve, the log says why (reload_failed) and the old workers stay.

    Each option is also an environment variable: --tls-cert is DEJAVU_TLS_CERT.
    """
    if context.invoked_subcommand is not None:
        _reject_server_options(context)
        return
    settings = _settings({name: value for name, value in given.items() if value is not None})
    if (found := fault(settings)) is not None:
        raise typer.BadParameter(found[1], param_hint=found[0])
    logs.configure(settings.log_level, settings.log_format)
    if not is_loopback(Address.parse(settings.listen).host):
        _log.info(
            "strangers_need_proxy",
            address=settings.listen,
            effect="without a proxy, whoever reaches this port, with or without a token, can fill the workers' memory",
            advice="let strangers reach it only through a proxy that limits header blocks and the calls of an address, "
            "or let a firewall admit only callers that you trust (docs/security.md, Strangers)",
        )
    try:
        sys.exit(asyncio.run(Supervisor(settings, context.obj).run()))
    except StartError as error:
        _log.error("cannot_start", reason=str(error))
        sys.exit(1)


_own = inspect.signature(serve, eval_str=True).parameters
serve.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # typer makes the options from it
    [_own["context"], *_parameters(), _own["show_version"]]
)
app.callback(invoke_without_command=True)(serve)
