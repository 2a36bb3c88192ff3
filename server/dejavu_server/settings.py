"""Every option of the server, documented one by one; the command line and the workers get them from here.

    option                  default                  meaning
    --listen                127.0.0.1:50051          HOST:PORT to serve gRPC on; port 0 takes a free one
    --workers               2                        worker processes that share the port
    --bundle                the one that ships       a model bundle's folder; again and again; the first is active
    --allow-unfit           off                      serve a bundle too whose own recipe's backtest speaks against it
    --ledger                user's state folder      sqlite:///PATH of the ledger of issued forecasts
    --durability            process                  what a recorded forecast survives: a killed process, or power loss
    --metrics-listen        off                      HOST:PORT to serve Prometheus metrics on (/metrics)
    --grace                 10 s                     how long a drain waits for calls that run
    --heartbeat-seconds     15 s                     silence after which a stream sends a heartbeat; at most 30 s,
                                                     for clients take a stream that is silent for a minute to be dead
    --expires-seconds       300 s                    how long a forecast counts as current
    --adaptive              shadow                   whether intervals follow outcomes: off, on, or shadow: told beside
                                                     those of the model as it was calibrated, which stay the answer
    --adaptive-method       pid                      how they do: pid (conformal PID control) or aci (Gibbs & Candès)
    --ratings               carried                  carried: ratings advance with reported finals; frozen: they don't
    --signing-key           beside the ledger        PEM file of the ed25519 key that signs checkpoints; made if absent
    --checkpoint-seconds    60 s                     how often a signed head of the ledger is kept in it, if it moved
    --kelly-fraction        0.25                     share of Kelly's fraction that a stake is
    --kelly-cap             0.05                     the most that a stake can be, as a share of the bankroll
    --confidence-threshold  0.55                     least win probability of a bet worth considering
    --log-level             info                     debug, info, warning or error
    --log-format            auto                     json, console, or auto: console on a terminal, json elsewhere

Each is also an environment variable: DEJAVU_LISTEN, DEJAVU_WORKERS, DEJAVU_BUNDLE and so on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs

MAX_WORKERS = 64
DURABILITIES = ("process", "power")
ADAPTIVE = ("off", "on", "shadow")
ADAPTIVE_METHODS = ("pid", "aci")
RATINGS = ("carried", "frozen")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "json", "console")


class SettingsError(ValueError):
    """An option has a value that it cannot have.

    Attributes:
        option: name of the setting, as the attribute of Settings is spelt.
    """

    def __init__(self, option: str, message: str) -> None:
        self.option = option
        super().__init__(message)


class Address(NamedTuple):
    """A host and a TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads HOST:PORT; an IPv6 host stands in brackets.

        Raises:
            ValueError: if it is not of that form.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            host = ""
        if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError(f"{text!r} is not HOST:PORT (such as 127.0.0.1:50051 or [::1]:50051)")
        try:
            host.encode("idna")  # as it is looked up
        except UnicodeError:
            raise ValueError(f"{host!r} can't be the name of a host") from None
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def default_ledger() -> str:
    """The URL of the ledger in the user's state folder."""
    return f"sqlite:///{platformdirs.user_state_path('dejavu') / 'ledger.sqlite3'}"


def _check_ledger(url: str) -> None:
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        raise SettingsError("ledger", f"{url!r} is not sqlite:///PATH")
    if "?" in url:
        raise SettingsError("ledger", f"{url!r} has a '?', which would end the PATH of sqlite:///PATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server runs by; the module's docstring tells each option's meaning.

    Attributes:
        metrics_listen: empty where metrics are not served.
        grace_seconds, heartbeat_seconds, expires_seconds, checkpoint_seconds: in seconds.
        signing_key: path; empty: signing-key.pem in the ledger's folder.
        kelly_fraction, kelly_cap: in (0, 1].
        confidence_threshold: a probability, in [0, 1).

    Raises:
        SettingsError: if a value cannot be; names the option.
    """

    listen: str = "127.0.0.1:50051"
    workers: int = 2
    bundles: tuple[Path, ...] = ()
    allow_unfit: bool = False
    ledger: str = dataclasses.field(default_factory=default_ledger)
    durability: str = "process"
    metrics_listen: str = ""
    grace_seconds: float = 10.0
    heartbeat_seconds: float = 15.0
    expires_seconds: float = 300.0
    adaptive: str = "shadow"
    adaptive_method: str = "pid"
    ratings: str = "carried"
    signing_key: str = ""
    checkpoint_seconds: float = 60.0
    kelly_fraction: float = 0.25
    kelly_cap: float = 0.05
    confidence_threshold: float = 0.55
    log_level: str = "info"
    log_format: str = "auto"

    def __post_init__(self) -> None:
        for option in ("listen", "metrics_listen"):
            text = getattr(self, option)
            if text or option == "listen":
                try:
                    Address.parse(text)
                except ValueError as error:
                    raise SettingsError(option, str(error)) from None
        if not 1 <= self.workers <= MAX_WORKERS:
            raise SettingsError("workers", f"{self.workers} is not from 1 to {MAX_WORKERS}")
        _check_ledger(self.ledger)
        if "\0" in self.signing_key:
            raise SettingsError("signing_key", "a path has no NUL character")
        self._check_numbers()
        for option, allowed in (
            ("durability", DURABILITIES),
            ("adaptive", ADAPTIVE),
            ("adaptive_method", ADAPTIVE_METHODS),
            ("ratings", RATINGS),
            ("log_level", LOG_LEVELS),
            ("log_format", LOG_FORMATS),
        ):
            value = getattr(self, option)
            if value not in allowed:
                raise SettingsError(option, f"{value!r} is not one of {', '.join(allowed)}")

    def _check_numbers(self) -> None:
        for option, least, most in (
            ("grace_seconds", 0.0, 86_400.0),
            ("heartbeat_seconds", 0.01, 30.0),
            ("expires_seconds", 1.0, 86_400.0),
            ("checkpoint_seconds", 1.0, 86_400.0),
        ):
            value = getattr(self, option)
            if not least <= value <= most:  # false for NaN too
                raise SettingsError(option, f"{value:g} is not from {least:g} to {most:g} seconds")
        for option in ("kelly_fraction", "kelly_cap"):
            value = getattr(self, option)
            if not 0.0 < value <= 1.0:
                raise SettingsError(option, f"{value:g} is not above 0 and at most 1")
        if not 0.0 <= self.confidence_threshold < 1.0:
            raise SettingsError("confidence_threshold", f"{self.confidence_threshold:g} is not from 0 to below 1")

    def to_json(self) -> str:
        """As JSON text, to hand to a worker."""
        fields: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["bundles"] = [str(bundle) for bundle in self.bundles]
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The settings that `to_json` wrote, in whatever release: see `known_fields`."""
        fields = known_fields(cls, json.loads(text))
        if "bundles" in fields:
            fields["bundles"] = tuple(Path(bundle) for bundle in fields["bundles"])
        return cls(**fields)


def known_fields(kind: type[Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of what another release wrote of a dataclass, the fields that this one has; it gives the others their defaults.

    A server's workers may be of a later release than its supervisor, or of an earlier one after a step back.
    """
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in fields.items() if name in names}
