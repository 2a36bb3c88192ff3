"""`dejavu-dashboard`: serves the page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from dejavu_client.access import is_local
from dejavu_client.connection_options import ConnectionOptions, address
from dejavu_client.logs import LogLevel
from dejavu_client.option_groups import with_options
from dejavu_common import build
from dejavu_common.build import install
from dejavu_common.processes import raise_file_limit
from dejavu_common.shown_text import escape_output
from dejavu_gateway.http.origins import parse_origin
from dejavu_gateway.limits import GatewayLimits
from dejavu_gateway.logs import configure, get_logger
from dejavu_gateway.settings import WEB_DIST, GatewaySettings, TrustedProxies

OWN_FILES = 64
"""Number of files that the program itself opens, including its connections to the server."""

DEFAULTS = GatewayLimits()
LogFormat = Literal["auto", "json", "console"]

log = get_logger()

_T = TypeVar("_T")
_ResultT = TypeVar("_ResultT")


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(build.described("dejavu-dashboard"))
        raise typer.Exit


def _option(variable: str, metavar: str | None = None, *flags: str, **settings: Any) -> Any:
    """Return an option that is an environment variable too, with the names of this program's unless it has its own."""
    name = variable if variable.startswith("DEJAVU_") else f"DEJAVU_DASHBOARD_{variable}"
    return typer.Option(*flags, metavar=metavar, envvar=name, **settings)


def _count(variable: str) -> Any:
    return _option(variable, "N", min=1, max=100_000)


def dashboard(  # noqa: D417, PLR0917 - each is an option; the shared ones have their texts in their class
    server: ConnectionOptions,
    listen: Annotated[str, _option("LISTEN", "HOST:PORT")] = "127.0.0.1:8080",
    host: Annotated[list[str] | None, _option("HOST", "NAME")] = None,
    trusted_proxy: Annotated[list[str] | None, _option("TRUSTED_PROXY", "ADDRESS")] = None,
    allow_origin: Annotated[list[str] | None, _option("ALLOW_ORIGIN", "URL")] = None,
    allow_record: Annotated[bool, _option("ALLOW_RECORD", None, "--allow-record")] = False,
    demo: Annotated[bool, _option("DEMO", None, "--demo")] = False,
    evening: Annotated[datetime | None, _option("EVENING", "DATE", formats=["%Y-%m-%d"])] = None,
    web: Annotated[Path | None, _option("WEB", "DIR")] = None,
    max_connections: Annotated[int, _count("MAX_CONNECTIONS")] = DEFAULTS.connections,
    max_streams_per_address: Annotated[int, _count("MAX_STREAMS_PER_ADDRESS")] = DEFAULTS.streams_per_address,
    stalled_seconds: Annotated[
        float, _option("STALLED_SECONDS", "SECONDS", min=1, max=3600)
    ] = DEFAULTS.stalled_seconds,
    grace: Annotated[float, typer.Option(metavar="SECONDS", min=0, max=3600)] = 5.0,
    log_level: Annotated[LogLevel, _option("DEJAVU_LOG_LEVEL", case_sensitive=False)] = "info",
    log_format: Annotated[LogFormat, _option("DEJAVU_LOG_FORMAT", case_sensitive=False)] = "auto",
    show_version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Serve the page: live games, the record and what-ifs of a dejavu-server, for browsers.

    The first SIGTERM or Ctrl-C drains: requests in progress are answered, live
    streams end and browsers connect again. A second one ends it at once.

    It has no accounts: beyond this machine, put it behind a reverse proxy.

    Args:
        listen: Where to listen; port 0 picks a free port.
        host: Host name under which the page is reached, through a reverse proxy for example; repeatable.
        trusted_proxy: Reverse proxy whose X-Forwarded-For is believed: address or network, as 10.0.0.0/16; repeatable.
        allow_origin: Site whose pages may read the interface and the live events, as https://example.org; repeatable.
        allow_record: Let everybody who reaches the page have forecasts recorded, by a game id.
        demo: Show games of replays as games: a demonstration.
        evening: Day to show as tonight, as for a replay of past games; by default today.
        web: Folder of another build of the page.
        max_connections: Most connections.
        max_streams_per_address: Most live streams of one address.
        stalled_seconds: Time after which a browser that reads nothing is disconnected; it can resume.
        grace: How long a drain waits for requests in progress.
        log_level: Lowest level to log.
        log_format: Form of log lines; auto: console in a terminal, else json.
        show_version: Show the version and exit.
    """
    proxies = _read("--trusted-proxy", TrustedProxies.parse, trusted_proxy or ())
    settings = GatewaySettings(
        listen=address(listen, "--listen"),
        web=web or WEB_DIST,
        hosts=tuple(host or ()),
        trusted_proxies=proxies,
        origins=frozenset(_read("--allow-origin", parse_origin, each) for each in allow_origin or ()),
        allow_record=allow_record,
        demo=demo,
        evening=None if evening is None else evening.date(),
        grace_seconds=grace,
        limits=GatewayLimits(
            connections=max_connections,
            streams_per_address=max_streams_per_address,
            stalled_seconds=stalled_seconds,
        ),
    )
    if web is not None and not web.is_dir():
        raise typer.BadParameter(f"{str(web)!r} is not a folder", param_hint="--web")
    access = server.client_options()
    configure(log_level, log_format)
    raise typer.Exit(_serve(settings, server.target, access))


def _read(option: str, parse: Callable[[_T], _ResultT], given: _T) -> _ResultT:
    """Return what is made of the value of an option; name the option if that is refused."""
    try:
        return parse(given)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _serve(settings: GatewaySettings, target: str, access: Any) -> int:
    """Serve until a signal; return the exit code."""
    import uvloop  # noqa: PLC0415 - the help needs none of it

    from dejavu_gateway.app import run  # noqa: PLC0415
    from dejavu_gateway.http.server import bind  # noqa: PLC0415

    limit = raise_file_limit()
    if limit < settings.limits.connections + OWN_FILES:
        connections = max(1, limit - OWN_FILES)
        log.warning("few_open_files", limit=limit, wanted=settings.limits.connections, connections=connections)
        settings = replace(settings, limits=replace(settings.limits, connections=connections))
    if not is_local(str(settings.listen)):
        log.warning(
            "reachable_by_others",
            listen=str(settings.listen),
            advice="it has no accounts and no TLS: let others reach it through a reverse proxy only; see docs/watch.md",
        )
    try:
        listener = bind(settings.listen, settings.limits.stalled_seconds)
    except OSError as error:
        log.error("cannot_listen", listen=str(settings.listen), reason=error.strerror or str(error))
        return 1
    with listener:
        return uvloop.run(run(settings, target, access, listener))


def command() -> Any:
    """Return the program's command, with the options of TLS and of the token."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"]}
    app.command("dejavu-dashboard", context_settings=settings)(with_options(dashboard))
    return typer.main.get_command(app)


def main() -> None:
    """Run the program."""
    escape_output()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # otherwise gRPC also prints every failed handshake
    try:
        command()(prog_name="dejavu-dashboard")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dejavu"):
            raise
        sys.exit(f"dejavu-dashboard needs {error.name}: {install('dashboard')}")
