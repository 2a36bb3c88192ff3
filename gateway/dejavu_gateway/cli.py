"""`dejavu-dashboard`: serves the page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from dejavu_client.access import is_local
from dejavu_client.config import DEFAULT_TARGET
from dejavu_client.connection_options import Target, add_options, address, client_options, options_given
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
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "json", "console")

log = get_logger()

_T = TypeVar("_T")
_ResultT = TypeVar("_ResultT")


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(build.described("dejavu-dashboard"))
        raise typer.Exit


def _one_of(*values: str) -> Any:
    def check(text: str) -> str:
        if text.lower() not in values:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(values)}")
        return text.lower()

    return check


def _option(variable: str, text: str, metavar: str | None = None, *flags: str, **settings: Any) -> Any:
    """Return an option that is an environment variable too, with the names of this program's unless it has its own."""
    name = variable if variable.startswith("DEJAVU_") else f"DEJAVU_DASHBOARD_{variable}"
    return typer.Option(*flags, metavar=metavar, envvar=name, help=text, **settings)


def _count(variable: str, text: str) -> Any:
    return _option(variable, text, "N", min=1, max=100_000)


_HOST = "Host name under which the page is reached, through a reverse proxy for example; repeatable."
_PROXY = "Reverse proxy whose X-Forwarded-For is believed: address or network, as 10.0.0.0/16; repeatable."
_ORIGIN = "Site whose pages may read the interface and the live events, as https://example.org; repeatable."
_RECORD = "Let everybody who reaches the page have forecasts recorded, by a game id."
_EVENING = "Day to show as tonight, as for a replay of past games; by default today."
_STALLED = "Time after which a browser that reads nothing is disconnected; it can resume."
_GRACE = "How long a drain waits for requests in progress."


def dashboard(  # noqa: PLR0917 - each is an option
    listen: Annotated[
        str, _option("LISTEN", "Where to listen; port 0 picks a free port.", "HOST:PORT")
    ] = "127.0.0.1:8080",
    target: Target = DEFAULT_TARGET,
    host: Annotated[list[str] | None, _option("HOST", _HOST, "NAME")] = None,
    trusted_proxy: Annotated[list[str] | None, _option("TRUSTED_PROXY", _PROXY, "ADDRESS")] = None,
    allow_origin: Annotated[list[str] | None, _option("ALLOW_ORIGIN", _ORIGIN, "URL")] = None,
    allow_record: Annotated[bool, _option("ALLOW_RECORD", _RECORD, None, "--allow-record")] = False,
    demo: Annotated[bool, _option("DEMO", "Show games of replays as games: a demonstration.", None, "--demo")] = False,
    evening: Annotated[datetime | None, _option("EVENING", _EVENING, "DATE", formats=["%Y-%m-%d"])] = None,
    web: Annotated[Path | None, _option("WEB", "Folder of another build of the page.", "DIR")] = None,
    max_connections: Annotated[int, _count("MAX_CONNECTIONS", "Most connections.")] = DEFAULTS.connections,
    max_streams_per_address: Annotated[
        int, _count("MAX_STREAMS_PER_ADDRESS", "Most live streams of one address.")
    ] = DEFAULTS.streams_per_address,
    stalled_seconds: Annotated[
        float, _option("STALLED_SECONDS", _STALLED, "SECONDS", min=1, max=3600)
    ] = DEFAULTS.stalled_seconds,
    grace: Annotated[float, typer.Option(metavar="SECONDS", min=0, max=3600, help=_GRACE)] = 5.0,
    log_level: Annotated[
        str,
        _option("DEJAVU_LOG_LEVEL", f"Lowest level to log: {', '.join(LEVELS)}.", callback=_one_of(*LEVELS)),
    ] = "info",
    log_format: Annotated[
        str, _option("DEJAVU_LOG_FORMAT", f"{', '.join(FORMATS)}.", callback=_one_of(*FORMATS))
    ] = "auto",
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Serve the page: live games, the record and what-ifs of a dejavu-server, for browsers.

    The first SIGTERM or Ctrl-C drains: requests in progress are answered, live
    streams end and browsers connect again. A second one ends it at once.

    It has no accounts: beyond this machine, put it behind a reverse proxy.
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
    access = client_options(target)
    configure(log_level, log_format)
    raise typer.Exit(_serve(settings, target, access))


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


class _Command(typer.core.TyperCommand):
    """The program's command, which has the options of TLS and of the token."""

    def invoke(self, ctx: Any) -> Any:
        """Run it with those options."""
        with options_given(ctx):
            return super().invoke(ctx)


def command() -> Any:
    """Return the program's command, with the options of TLS and of the token."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"]}
    app.command("dejavu-dashboard", cls=_Command, context_settings=settings)(dashboard)
    made = typer.main.get_command(app)
    add_options(made)
    return made


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
