"""Settings of the server, shared by the command line and the workers.

The fields of `Settings` are the only definition of an option: the options of the command line, their environment
variables, their help and the table in docs/operations.md are derived from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dejavu_common.files import state_folder
from dejavu_ledger.url import check_ledger_url
from dejavu_server.options import ProcessMessage, check_address, check_cache, check_path, option

MAX_SECONDS = 86_400
"""Maximum of a duration, in seconds: a day."""


def default_ledger() -> str:
    """Return the URL of the ledger in the user's state folder."""
    return f"sqlite:///{state_folder() / 'ledger.sqlite3'}"


class Settings(ProcessMessage):
    """Settings of a server; see `option` for the parts of a field."""

    listen: Annotated[
        str, AfterValidator(check_address), option("gRPC address; port 0 picks a free one.", "HOST:PORT")
    ] = "127.0.0.1:50051"
    tls_cert: Annotated[
        str,
        AfterValidator(check_path),
        option("Serve TLS with this certificate (PEM, issuers included); needs --tls-key.", "FILE", default="off"),
    ] = ""
    tls_key: Annotated[
        str, AfterValidator(check_path), option("The private key of the certificate (PEM).", "FILE", default="off")
    ] = ""
    tls_client_ca: Annotated[
        str,
        AfterValidator(check_path),
        option("Accept clients only with a certificate of these authorities (PEM).", "FILE", default="off"),
    ] = ""
    tokens: Annotated[
        str,
        AfterValidator(check_path),
        option("Require a token of this file; `dejavu-server token` makes them.", "FILE", default="off"),
    ] = ""
    jwks: Annotated[
        str,
        AfterValidator(check_path),
        option("Accept JSON Web Tokens that a key of this file has signed (JWKS).", "FILE", default="off"),
    ] = ""
    jwt_issuer: Annotated[
        str, option("The issuer (iss) of accepted JSON Web Tokens.", "TEXT", default="none; needed with --jwks")
    ] = ""
    jwt_audience: Annotated[
        str, option("The audience (aud) of accepted JSON Web Tokens.", "TEXT", default="none; needed with --jwks")
    ] = ""
    insecure: Annotated[bool, option("Serve other machines without TLS or without tokens.", default="off")] = False
    workers: Annotated[int, option("Worker processes that share the port.", "N", ge=1, le=64)] = 2
    standby: Annotated[
        Literal["on", "off"],
        option(
            "Keep the fork server, from which successors of dead workers are forked; off saves its memory.", flag=False
        ),
    ] = "on"
    bundles: Annotated[
        tuple[Path, ...],
        option(
            "A model bundle; repeatable, the first one is active.",
            "DIR",
            default="the shipped one, or its refreshed copy",
            validation_alias="bundle",
        ),
    ] = ()
    allow_unfit: Annotated[
        bool, option("Also serve a bundle whose backtest verdict is negative (see ListModels).", default="off")
    ] = False
    model_store: Annotated[
        str,
        AfterValidator(check_path),
        option(
            "Store of model bundles, a folder or a URL: models are staged, promoted and rolled back while it serves.",
            "PATH|URL",
            default="off: the bundles given, unchanged",
        ),
    ] = ""
    ledger: Annotated[
        str,
        AfterValidator(check_ledger_url),
        option(
            "Ledger that records forecasts of named games: sqlite:///PATH or postgresql://USER@HOST/DATABASE.",
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
    grace_seconds: Annotated[
        float,
        option(
            "How long a drain waits for calls in progress.", "SECONDS", validation_alias="grace", ge=0, le=MAX_SECONDS
        ),
    ] = 10.0
    hang_seconds: Annotated[
        float,
        option(
            "How many seconds a worker, or a thread of it that has work, may make no progress before it is replaced.",
            "SECONDS",
            ge=2,
            le=3600,
        ),
    ] = 5.0
    max_rss: Annotated[
        int,
        option(
            "Memory (RSS) in MiB above which a worker is drained once its successor serves, and killed above 1.5 times "
            "as much; 0: off.",
            "MIB",
            ge=0,
            le=1_048_576,
        ),
    ] = 0
    heartbeat_seconds: Annotated[
        float,
        # Clients treat a stream as dead after 60 s of silence.
        option("Idle seconds before a stream sends a heartbeat.", "SECONDS", flag=False, ge=0.01, le=30),
    ] = 15.0
    max_game_forecasts: Annotated[
        int,
        option(
            "Most forecasts recorded of one game, with revisions; one caller with a token records a quarter at most.",
            "N",
            ge=100,
            le=100_000,
        ),
    ] = 5000
    backup_folder: Annotated[
        str,
        option(
            "Folder of finished backups of the ledger alone: the age of its newest file, which is not empty,"
            " is exported.",
            "FOLDER",
            default="none",
        ),
    ] = ""
    ledger_reserve_mib: Annotated[
        int,
        option("Free space of the ledger's disk below which only outcomes are recorded.", "MIB", ge=0, le=1_048_576),
    ] = 256
    max_in_flight: Annotated[
        int,
        option(
            "Maximum of single forecasts in progress in a worker; callers with few calls may use a quarter more.",
            "N",
            ge=1,
            le=10_000,
        ),
    ] = 64
    max_streams: Annotated[
        int, option("Streams of forecasts in a worker; more are refused.", "N", ge=1, le=100_000)
    ] = 4000
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
        int,
        option(
            "Maximum games per day for which one caller records forecasts or outcomes through one worker; 0: no limit.",
            "N",
            ge=0,
            le=10_000,
        ),
    ] = 200
    caller_ledger_mib: Annotated[
        int, option("MiB of entries that one caller records in a day by a worker; 0: no limit.", "N", ge=0, le=10**6)
    ] = 64
    caller_loopback: Annotated[
        Literal["off", "on"],
        option(
            "Limit callers of this machine too: each token by itself, all callers without a token together.", flag=False
        ),
    ] = "off"
    connection_age_seconds: Annotated[
        float,
        option(
            "Age at which a connection is closed, so that its calls continue over another; 0: none.",
            "SECONDS",
            ge=0,
            le=MAX_SECONDS,
        ),
    ] = 3600.0
    adaptive: Annotated[
        Literal["off", "on", "shadow"],
        option("Adapt intervals to outcomes; shadow: return them beside the model's own, which stay the answer."),
    ] = "on"
    ratings: Annotated[Literal["carried", "frozen"], option("Whether reported finals update the ratings of teams.")] = (
        "carried"
    )
    max_ratings_days: Annotated[
        int,
        option(
            "Days after the newest known final, summers not counted, from which teams count as unknown.",
            "DAYS",
            ge=0,
            le=3650,
        ),
    ] = 30
    cache: Annotated[
        str,
        AfterValidator(check_cache),
        option(
            "Reuse answers to equal what-ifs: from each worker's memory, also from a Redis that servers share "
            "(redis://, rediss://, unix://), or not at all.",
            "off|memory|URL",
        ),
    ] = "memory"
    cache_seconds: Annotated[
        float,
        option(
            "Maximum age of such an answer in seconds; never longer than it is current.",
            "SECONDS",
            ge=1,
            le=MAX_SECONDS,
        ),
    ] = 60.0
    cache_mebibytes: Annotated[
        int, option("Maximum memory of a worker for such answers, in MiB.", "MIB", ge=1, le=65_536)
    ] = 16
    cache_secret: Annotated[
        str,
        AfterValidator(check_path),
        option(
            "Sign answers in Redis with this secret of 16 to 64 bytes, the same on all servers.", "FILE", default="off"
        ),
    ] = ""
    signing_key: Annotated[
        str,
        AfterValidator(check_path),
        option(
            "The ed25519 key (PEM) that signs the ledger's head; created if absent.",
            "PATH",
            default="signing-key.pem beside the ledger's file, or in the user's state folder",
        ),
    ] = ""
    checkpoint_seconds: Annotated[
        float, option("How often to store a signed head in the ledger, if it changed.", "SECONDS", ge=1, le=MAX_SECONDS)
    ] = 60.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], option("Minimum level to log.")] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"], option("Log format; auto: console on a terminal, json elsewhere.")
    ] = "auto"
