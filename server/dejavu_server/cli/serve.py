"""Command `dejavu-server`: builds Settings from options and runs a supervisor."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import structlog
import typer

from dejavu_server.cli import ledger as ledger_commands
from dejavu_server.observability import logs
from dejavu_server.settings import (
    ADAPTIVE,
    ADAPTIVE_METHODS,
    DURABILITIES,
    LOG_FORMATS,
    LOG_LEVELS,
    RATINGS,
    Settings,
    SettingsError,
    default_ledger,
)
from dejavu_server.supervisor.supervisor import Supervisor
from dejavu_server.supervisor.worker_process import StartError

app = typer.Typer(
    name="dejavu-server",
    add_completion=True,
    subcommand_metavar="[ledger COMMAND]",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 drained after a signal · 1 could not start, no worker could be started any more, or workers had "
        "to be killed · 2 wrong usage."
    ),
)

app.add_typer(ledger_commands.app)

_DEFAULTS = Settings()

# Options whose names differ from their settings.
_OPTIONS = {"bundles": "--bundle", "grace_seconds": "--grace"}

_log = structlog.get_logger(__name__)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"dejavu-server {version('dejavu-forecast')}")
        raise typer.Exit


def _reject_server_options(context: typer.Context) -> None:
    """Rejects server options before a subcommand, which would ignore them."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"this is an option of the server; put the options of `{context.invoked_subcommand}` after it",
                param_hint=parameter.opts[0],
            )


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    *,
    listen: Annotated[
        str,
        typer.Option(envvar="DEJAVU_LISTEN", metavar="HOST:PORT", help="gRPC address; port 0 picks a free one."),
    ] = _DEFAULTS.listen,
    workers: Annotated[
        int, typer.Option(envvar="DEJAVU_WORKERS", metavar="N", help="Worker processes that share the port.")
    ] = _DEFAULTS.workers,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="DEJAVU_BUNDLE",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="A model bundle; repeatable, the first one is active.",
            show_default="the shipped one",
        ),
    ] = None,
    allow_unfit: Annotated[
        bool,
        typer.Option(
            "--allow-unfit",
            envvar="DEJAVU_ALLOW_UNFIT",
            help="Also serve a bundle whose backtest verdict is negative (see ListModels).",
        ),
    ] = _DEFAULTS.allow_unfit,
    ledger: Annotated[
        str | None,
        typer.Option(
            envvar="DEJAVU_LEDGER",
            metavar="sqlite:///PATH",
            help="Ledger that records forecasts of named games.",
            show_default="in the user's state folder",
        ),
    ] = None,
    durability: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_DURABILITY",
            metavar="|".join(DURABILITIES),
            help="What a recorded forecast survives: a process kill, or also power loss.",
        ),
    ] = _DEFAULTS.durability,
    metrics_listen: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_METRICS_LISTEN",
            metavar="HOST:PORT",
            help="Address for Prometheus metrics, at /metrics.",
            show_default="off",
        ),
    ] = _DEFAULTS.metrics_listen,
    grace: Annotated[
        float,
        typer.Option(envvar="DEJAVU_GRACE", metavar="SECONDS", help="How long a drain waits for calls in progress."),
    ] = _DEFAULTS.grace_seconds,
    heartbeat_seconds: Annotated[
        float,
        typer.Option(
            envvar="DEJAVU_HEARTBEAT_SECONDS",
            metavar="SECONDS",
            help="Idle time before a stream sends a heartbeat; at most 30.",
        ),
    ] = _DEFAULTS.heartbeat_seconds,
    expires_seconds: Annotated[
        float,
        typer.Option(envvar="DEJAVU_EXPIRES_SECONDS", metavar="SECONDS", help="How long a forecast stays current."),
    ] = _DEFAULTS.expires_seconds,
    adaptive: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_ADAPTIVE",
            metavar="|".join(ADAPTIVE),
            help="Adapt intervals to outcomes; shadow: return them beside the model's own, which stay the answer.",
        ),
    ] = _DEFAULTS.adaptive,
    adaptive_method: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_ADAPTIVE_METHOD",
            metavar="|".join(ADAPTIVE_METHODS),
            help="Adaptation method: conformal PID control, or adaptive conformal inference.",
        ),
    ] = _DEFAULTS.adaptive_method,
    ratings: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_RATINGS",
            metavar="|".join(RATINGS),
            help="Whether reported finals update the ratings of teams.",
        ),
    ] = _DEFAULTS.ratings,
    signing_key: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_SIGNING_KEY",
            metavar="PATH",
            help="The ed25519 key (PEM) that signs the ledger's head; created if absent.",
            show_default="signing-key.pem beside the ledger",
        ),
    ] = _DEFAULTS.signing_key,
    checkpoint_seconds: Annotated[
        float,
        typer.Option(
            envvar="DEJAVU_CHECKPOINT_SECONDS",
            metavar="SECONDS",
            help="How often to store a signed head in the ledger, if it changed.",
        ),
    ] = _DEFAULTS.checkpoint_seconds,
    kelly_fraction: Annotated[
        float,
        typer.Option(envvar="DEJAVU_KELLY_FRACTION", metavar="SHARE", help="Fraction of the full Kelly stake to bet."),
    ] = _DEFAULTS.kelly_fraction,
    kelly_cap: Annotated[
        float,
        typer.Option(envvar="DEJAVU_KELLY_CAP", metavar="SHARE", help="Maximum stake, as a share of the bankroll."),
    ] = _DEFAULTS.kelly_cap,
    confidence_threshold: Annotated[
        float,
        typer.Option(
            envvar="DEJAVU_CONFIDENCE_THRESHOLD",
            metavar="PROBABILITY",
            help="Minimum win probability of a bet worth considering.",
        ),
    ] = _DEFAULTS.confidence_threshold,
    log_level: Annotated[
        str,
        typer.Option(envvar="DEJAVU_LOG_LEVEL", metavar="|".join(LOG_LEVELS), help="Minimum level to log."),
    ] = _DEFAULTS.log_level,
    log_format: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_LOG_FORMAT",
            metavar="|".join(LOG_FORMATS),
            help="Log format; auto: console on a terminal, json elsewhere.",
        ),
    ] = _DEFAULTS.log_format,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Serves forecasts of NBA games over gRPC.

    The first SIGTERM or SIGINT drains: calls in progress finish, streams are ended. A second one kills.

    SIGHUP loads new bundles, or a new release, without an interruption: it
    replaces each worker by one that reloads the bundles and runs the installed
    release, as soon as the new worker serves. Options do not change. If a new
    worker can't serve, the log says why (reload_failed) and the old workers stay.
    """
    if context.invoked_subcommand is not None:
        _reject_server_options(context)
        return
    try:
        settings = Settings(
            listen=listen,
            workers=workers,
            bundles=tuple(bundle or ()),
            allow_unfit=allow_unfit,
            ledger=ledger or default_ledger(),
            durability=durability,
            metrics_listen=metrics_listen,
            grace_seconds=grace,
            heartbeat_seconds=heartbeat_seconds,
            expires_seconds=expires_seconds,
            adaptive=adaptive,
            adaptive_method=adaptive_method,
            ratings=ratings,
            signing_key=signing_key,
            checkpoint_seconds=checkpoint_seconds,
            kelly_fraction=kelly_fraction,
            kelly_cap=kelly_cap,
            confidence_threshold=confidence_threshold,
            log_level=log_level,
            log_format=log_format,
        )
    except SettingsError as error:
        option = _OPTIONS.get(error.option, f"--{error.option.replace('_', '-')}")
        raise typer.BadParameter(str(error), param_hint=option) from None
    logs.configure(settings.log_level, settings.log_format)
    try:
        sys.exit(asyncio.run(Supervisor(settings).run()))
    except StartError as error:
        _log.error("cannot_start", reason=str(error))
        sys.exit(1)
