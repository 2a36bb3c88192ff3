"""Settings of the server, shared by the command line and the workers.

The fields of `Settings` are the only definition of an option: the options of the command line, their environment
variables, their help and the table in docs/operations.md are derived from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

from dejavu_common.files import state_folder
from dejavu_ledger.url import check_ledger_url
from dejavu_server.options import ProcessMessage, check_address, check_cache, check_path, option

MATTER_FIRST = 10
"""Number of options under the first heading of the help."""

OWN_SETTINGS: Final = {
    *("listen", "metrics_listen", "tls_cert", "tls_key", "tls_client_ca", "tokens", "jwks", "insecure"),
    *("bundles", "model_store", "ledger", "backup_folder", "signing_key", "cache", "cache_secret"),
    *("workers", "standby", "max_rss", "hang_seconds", "grace_seconds", "log_level", "log_format"),
}
"""Settings in which servers of one ledger may differ: where they and their files are, what they log, their size."""

MAX_SECONDS = 86_400
"""Maximum of a duration, in seconds: a day."""


PathText: TypeAlias = Annotated[str, AfterValidator(check_path)]
"""A text that can be a path; empty: none."""


def default_ledger() -> str:
    """Return the URL of the ledger in the user's state folder."""
    return f"sqlite:///{state_folder() / 'ledger.sqlite3'}"


class Settings(ProcessMessage):
    """Settings of a server; see `option` for the parts of a field.

    The first MATTER_FIRST are those that matter most.
    """

    listen: Annotated[
        str, AfterValidator(check_address), option("gRPC address; port 0 picks a free one.", "HOST:PORT")
    ] = "127.0.0.1:50051"
    tls_cert: Annotated[
        PathText, option("Serve TLS with this certificate (PEM, with issuers).", "FILE", default="off")
    ] = ""
    tls_key: Annotated[PathText, option("The private key of the certificate (PEM).", "FILE", default="off")] = ""
    tokens: Annotated[
        PathText, option("Require a token of this file; `dejavu-server token` makes them.", "FILE", default="off")
    ] = ""
    workers: Annotated[int, option("Worker processes that share the port.", "N", ge=1, le=64)] = 2
    ledger: Annotated[
        str,
        AfterValidator(check_ledger_url),
        option(
            "Ledger of named forecasts: sqlite:///PATH or postgresql://USER@HOST/DATABASE.",
            "URL",
            default="a file in the user's state folder",
        ),
    ] = Field(default_factory=default_ledger)
    durability: Annotated[
        Literal["process", "power"], option("What a recorded forecast survives: a process kill, or also power loss.")
    ] = "process"
    metrics_listen: Annotated[
        str,
        AfterValidator(lambda text: text and check_address(text)),
        option("Address for Prometheus metrics, at /metrics.", "HOST:PORT", default="off"),
    ] = ""
    model_store: Annotated[
        PathText,
        option(
            "Store of models, a folder or a URL, to stage, promote and roll back while it serves.",
            "PATH|URL",
            default="off: the bundles given",
        ),
    ] = ""
    max_rss: Annotated[
        int,
        option(
            "Memory (RSS) above which a worker is replaced, and above 1.5 times as much killed; 0: off.",
            "MIB",
            ge=0,
            le=1_048_576,
        ),
    ] = 0
    grace_seconds: Annotated[
        float,
        option(
            "How long a drain waits for calls in progress.", "SECONDS", validation_alias="grace", ge=0, le=MAX_SECONDS
        ),
    ] = 10.0
    tls_client_ca: Annotated[
        PathText, option("Require a client certificate of these authorities (PEM).", "FILE", default="off")
    ] = ""
    jwks: Annotated[
        PathText, option("Accept JSON Web Tokens signed by a key of this file (JWKS).", "FILE", default="off")
    ] = ""
    jwt_issuer: Annotated[str, option("Their issuer (iss).", "TEXT", default="none; needed with --jwks")] = ""
    jwt_audience: Annotated[str, option("Their audience (aud).", "TEXT", default="none; needed with --jwks")] = ""
    insecure: Annotated[bool, option("Serve other machines without TLS or without tokens.", default="off")] = False
    standby: Annotated[
        Literal["on", "off"],
        option(
            "Keep the fork server, from which successors of dead workers are forked; off saves its memory.", flag=False
        ),
    ] = "on"
    bundles: Annotated[
        tuple[Path, ...],
        option(
            "A model bundle; repeatable, the first is active.",
            "DIR",
            default="the shipped one, or its refreshed copy",
            validation_alias="bundle",
        ),
    ] = ()
    allow_unfit: Annotated[bool, option("Also serve a bundle that failed its backtest.", default="off")] = False
    hang_seconds: Annotated[
        float, option("Seconds without progress after which a worker is replaced.", "SECONDS", ge=2, le=3600)
    ] = 5.0
    heartbeat_seconds: Annotated[
        float,
        # Clients treat a stream as dead after 60 s of silence.
        option("Idle seconds before a stream sends a heartbeat.", "SECONDS", flag=False, ge=0.01, le=30),
    ] = 15.0
    max_game_forecasts: Annotated[
        int, option("Forecasts recorded of one game; by one caller a quarter.", "N", ge=100, le=100_000)
    ] = 5000
    backup_folder: Annotated[
        str, option("Folder of finished ledger backups, to export the age of the newest.", "FOLDER", default="none")
    ] = ""
    ledger_reserve_mib: Annotated[
        int, option("Free space of the disk below which only outcomes are recorded.", "MIB", ge=0, le=1_048_576)
    ] = 256
    max_in_flight: Annotated[int, option("Forecasts in progress in a worker.", "N", ge=1, le=10_000)] = 64
    max_streams: Annotated[int, option("Streams in a worker.", "N", ge=1, le=100_000)] = 4000
    caller_calls: Annotated[
        int, option("Calls of one caller in progress in a worker; 0: no limit.", "N", flag=False, ge=0, le=10_000)
    ] = 64
    caller_rate: Annotated[
        float, option("Calls of one caller a second in a worker; 0: no limit.", "N", flag=False, ge=0, le=10**6)
    ] = 1000.0
    caller_streams: Annotated[
        int, option("Streams of one caller in a worker; 0: no limit.", "N", flag=False, ge=0, le=100_000)
    ] = 100
    caller_games: Annotated[
        int, option("Games that one caller records in a day; 0: no limit.", "N", ge=0, le=10_000)
    ] = 200
    caller_ledger_mib: Annotated[
        int, option("Entries that one caller records in a day; 0: no limit.", "N", ge=0, le=10**6)
    ] = 64
    caller_loopback: Annotated[
        Literal["off", "on"],
        option(
            "Limit callers of this machine too: each token by itself, all callers without a token together.", flag=False
        ),
    ] = "off"
    connection_age_seconds: Annotated[
        float, option("Age at which a connection is replaced by another; 0: none.", "SECONDS", ge=0, le=MAX_SECONDS)
    ] = 3600.0
    adaptive: Annotated[
        Literal["off", "on", "shadow"],
        option("Adapt intervals to outcomes; shadow: return both, and serve the model's own."),
    ] = "on"
    max_ratings_days: Annotated[
        int, option("Days of play without a final after which teams count as unknown.", "DAYS", ge=0, le=3650)
    ] = 30
    cache: Annotated[
        str,
        AfterValidator(check_cache),
        option(
            "Reuse answers to equal what-ifs, in each worker or also in a Redis (redis://, rediss://, unix://).",
            "off|memory|URL",
        ),
    ] = "memory"
    cache_secret: Annotated[
        PathText,
        option("Secret of all servers, of 16 to 64 bytes, that signs answers in Redis.", "FILE", default="off"),
    ] = ""
    signing_key: Annotated[
        PathText,
        option("The ed25519 key (PEM) that signs the ledger's head.", "PATH", default="one beside the ledger's file"),
    ] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], option("Minimum level to log.")] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"], option("Log format; auto: console on a terminal, else json.")
    ] = "auto"

    def common(self) -> dict[str, str]:
        """Return the settings that servers of one ledger should share, as texts by name."""
        return {name: f"{value}" for name, value in self.model_dump(exclude=OWN_SETTINGS).items()}
