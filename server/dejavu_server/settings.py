"""Settings of the server: every option with its default and meaning, shared by the command line and the workers.

    option                  default                  meaning
    --listen                127.0.0.1:50051          HOST:PORT to serve gRPC on; port 0 picks a free one
    --workers               2                        worker processes that share the port
    --bundle                the shipped one          folder of a model bundle; repeatable; the first one is active
    --allow-unfit           off                      also serve a bundle whose backtest verdict is negative
    --ledger                user's state folder      sqlite:///PATH of the ledger that records forecasts
    --durability            process                  what a recorded forecast survives: a process kill, or power loss
    --metrics-listen        off                      HOST:PORT to serve Prometheus metrics on (/metrics)
    --grace                 10 s                     how long a drain waits for calls in progress
    --heartbeat-seconds     15 s                     idle time before a stream sends a heartbeat; at most 30 s, because
                                                     clients treat a stream as dead after 60 s of silence
    --expires-seconds       300 s                    how long a forecast stays current
    --adaptive              shadow                   adapt intervals to outcomes: off, on, or shadow (return the adapted
                                                     interval beside the calibrated one, which stays the answer)
    --adaptive-method       pid                      method: pid (conformal PID control) or aci (Gibbs & Candès)
    --ratings               carried                  carried: update ratings from reported finals; frozen: do not
    --signing-key           beside the ledger        PEM file of the ed25519 signing key; created if absent
    --checkpoint-seconds    60 s                     how often to store a signed head in the ledger, if it changed
    --kelly-fraction        0.25                     fraction of the full Kelly stake to bet
    --kelly-cap             0.05                     maximum stake, as a share of the bankroll
    --confidence-threshold  0.55                     minimum win probability of a bet worth considering
    --log-level             info                     debug, info, warning or error
    --log-format            auto                     json, console, or auto: console on a terminal, json elsewhere

Each option has an environment variable: DEJAVU_LISTEN, DEJAVU_WORKERS, DEJAVU_BUNDLE and so on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from dejavu_common.address import Address

MAX_WORKERS = 64
DURABILITIES = ("process", "power")
ADAPTIVE = ("off", "on", "shadow")
ADAPTIVE_METHODS = ("pid", "aci")
RATINGS = ("carried", "frozen")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "json", "console")


class SettingsError(ValueError):
    """An option has an invalid value.

    Attributes:
        option: name of the attribute of Settings.
    """

    def __init__(self, option: str, message: str) -> None:
        self.option = option
        super().__init__(message)


def default_ledger() -> str:
    """Returns the URL of the ledger in the user's state folder."""
    return f"sqlite:///{platformdirs.user_state_path('dejavu') / 'ledger.sqlite3'}"


def _check_ledger(url: str) -> None:
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        raise SettingsError("ledger", f"{url!r} is not sqlite:///PATH")
    if "?" in url:
        raise SettingsError("ledger", f"{url!r} contains '?', which is not allowed in the PATH of sqlite:///PATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a server; the module docstring documents each option.

    Attributes:
        metrics_listen: empty if metrics are not served.
        grace_seconds, heartbeat_seconds, expires_seconds, checkpoint_seconds: in seconds.
        signing_key: path; if empty, signing-key.pem in the ledger's folder.
        kelly_fraction, kelly_cap: in (0, 1].
        confidence_threshold: a probability, in [0, 1).

    Raises:
        SettingsError: if a value is invalid; names the option.
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
            raise SettingsError("workers", f"{self.workers} is not between 1 and {MAX_WORKERS}")
        _check_ledger(self.ledger)
        if "\0" in self.signing_key:
            raise SettingsError("signing_key", "a path cannot contain a NUL character")
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
                raise SettingsError(option, f"{value:g} is not between {least:g} and {most:g} seconds")
        for option in ("kelly_fraction", "kelly_cap"):
            value = getattr(self, option)
            if not 0.0 < value <= 1.0:
                raise SettingsError(option, f"{value:g} is not in (0, 1]")
        if not 0.0 <= self.confidence_threshold < 1.0:
            raise SettingsError("confidence_threshold", f"{self.confidence_threshold:g} is not in [0, 1)")

    def to_json(self) -> str:
        """Serializes the settings as JSON text for a worker."""
        fields: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["bundles"] = [str(bundle) for bundle in self.bundles]
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Parses the output of `to_json` of any release; see `known_fields`."""
        fields = known_fields(cls, json.loads(text))
        if "bundles" in fields:
            fields["bundles"] = tuple(Path(bundle) for bundle in fields["bundles"])
        return cls(**fields)


def known_fields(kind: type[Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Drops the fields of a serialized dataclass that this release does not have; missing fields get their defaults.

    Workers may run a later release than their supervisor, or an earlier one after a rollback.
    """
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in fields.items() if name in names}
