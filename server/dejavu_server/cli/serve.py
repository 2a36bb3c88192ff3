"""What the command `dejavu-server` can do: options become Settings, and a supervisor runs by them."""

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
        "Exit codes: 0 drained after a signal · 1 could not start, or no worker came to serve any more, or workers had "
        "to be killed · 2 wrong usage."
    ),
)

app.add_typer(ledger_commands.app)

_DEFAULTS = Settings()

# Which option a setting comes from, where the names differ.
_OPTIONS = {"bundles": "--bundle", "grace_seconds": "--grace"}

_log = structlog.get_logger(__name__)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dejavu-server {version('dejavu-forecast')}")
        raise typer.Exit


def _refuse_options(context: typer.Context) -> None:
    """A command besides serving has options of its own: those of serving before it would count for nothing."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"an option of serving, which `{context.invoked_subcommand}` does not do; give that its own after it",
                param_hint=parameter.opts[0],
            )


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    *,
    listen: Annotated[
        str, typer.Option(envvar="DEJAVU_LISTEN", metavar="HOST:PORT", help="Where to serve gRPC; port 0: a free one.")
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
            help="A model bundle; again for more, the first is active.",
            show_default="the one that ships",
        ),
    ] = None,
    allow_unfit: Annotated[
        bool,
        typer.Option(
            "--allow-unfit",
            envvar="DEJAVU_ALLOW_UNFIT",
            help="Serve a bundle too whose own backtest speaks against it (ListModels tells the verdict).",
        ),
    ] = _DEFAULTS.allow_unfit,
    ledger: Annotated[
        str | None,
        typer.Option(
            envvar="DEJAVU_LEDGER",
            metavar="sqlite:///PATH",
            help="Where forecasts that name a game are recorded.",
            show_default="in the user's state folder",
        ),
    ] = None,
    durability: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_DURABILITY",
            metavar="|".join(DURABILITIES),
            help="What a recorded forecast survives: a killed process, or power loss too.",
        ),
    ] = _DEFAULTS.durability,
    metrics_listen: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_METRICS_LISTEN",
            metavar="HOST:PORT",
            help="Where to serve Prometheus metrics, at /metrics.",
            show_default="off",
        ),
    ] = _DEFAULTS.metrics_listen,
    grace: Annotated[
        float,
        typer.Option(envvar="DEJAVU_GRACE", metavar="SECONDS", help="How long a drain waits for calls that run."),
    ] = _DEFAULTS.grace_seconds,
    heartbeat_seconds: Annotated[
        float,
        typer.Option(
            envvar="DEJAVU_HEARTBEAT_SECONDS",
            metavar="SECONDS",
            help="Silence after which a stream says it lives; at most 30.",
        ),
    ] = _DEFAULTS.heartbeat_seconds,
    expires_seconds: Annotated[
        float,
        typer.Option(envvar="DEJAVU_EXPIRES_SECONDS", metavar="SECONDS", help="How long a forecast counts as current."),
    ] = _DEFAULTS.expires_seconds,
    adaptive: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_ADAPTIVE",
            metavar="|".join(ADAPTIVE),
            help="Whether intervals follow outcomes; shadow: told beside the model's own, which stay the answer.",
        ),
    ] = _DEFAULTS.adaptive,
    adaptive_method: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_ADAPTIVE_METHOD",
            metavar="|".join(ADAPTIVE_METHODS),
            help="How they do: conformal PID control, or adaptive conformal inference.",
        ),
    ] = _DEFAULTS.adaptive_method,
    ratings: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_RATINGS",
            metavar="|".join(RATINGS),
            help="Whether teams' ratings advance with reported finals.",
        ),
    ] = _DEFAULTS.ratings,
    signing_key: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_SIGNING_KEY",
            metavar="PATH",
            help="The ed25519 key (PEM) that signs the ledger's head; made if absent.",
            show_default="signing-key.pem beside the ledger",
        ),
    ] = _DEFAULTS.signing_key,
    checkpoint_seconds: Annotated[
        float,
        typer.Option(
            envvar="DEJAVU_CHECKPOINT_SECONDS",
            metavar="SECONDS",
            help="How often a signed head is kept in the ledger, if it moved.",
        ),
    ] = _DEFAULTS.checkpoint_seconds,
    kelly_fraction: Annotated[
        float,
        typer.Option(envvar="DEJAVU_KELLY_FRACTION", metavar="SHARE", help="Share of Kelly's fraction that is staked."),
    ] = _DEFAULTS.kelly_fraction,
    kelly_cap: Annotated[
        float,
        typer.Option(
            envvar="DEJAVU_KELLY_CAP", metavar="SHARE", help="The most that is staked, as a share of the bankroll."
        ),
    ] = _DEFAULTS.kelly_cap,
    confidence_threshold: Annotated[
        float,
        typer.Option(
            envvar="DEJAVU_CONFIDENCE_THRESHOLD",
            metavar="PROBABILITY",
            help="Least win probability of a bet worth considering.",
        ),
    ] = _DEFAULTS.confidence_threshold,
    log_level: Annotated[
        str,
        typer.Option(envvar="DEJAVU_LOG_LEVEL", metavar="|".join(LOG_LEVELS), help="The least that is logged."),
    ] = _DEFAULTS.log_level,
    log_format: Annotated[
        str,
        typer.Option(
            envvar="DEJAVU_LOG_FORMAT",
            metavar="|".join(LOG_FORMATS),
            help="For machines or for people; auto: for people on a terminal.",
        ),
    ] = _DEFAULTS.log_format,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Serves forecasts of NBA games over gRPC.

    The first SIGTERM or SIGINT drains: calls that run are finished, streams are ended. A second one kills.

    SIGHUP brings in new bundles, or a new release, without an interruption:
    each worker is replaced by one that loads the bundles anew and runs what is
    installed by then, as soon as that one serves. Options stay as they are. If
    it can't serve, the log says why (reload_failed) and the old workers stay.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
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
