"""Elements of settings: the description of an option, and the exchange of settings between processes."""

from __future__ import annotations

import json
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from dejavu_common.address import Address

_REDIS_OPTIONS: Final = {"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}


class ProcessMessage(BaseModel):
    """Values that pass between processes as one line of JSON; the two processes may run different releases.

    Fields that this release does not have are dropped, and missing ones get their defaults. A release may therefore add
    fields that have defaults, but must not remove any.

    Raises:
        pydantic.ValidationError: if a value is invalid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True)

    def to_json(self) -> str:
        """Serialize the values as one line of JSON."""
        return json.dumps(self.model_dump(), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the output of `to_json` of any release."""
        return cls.model_validate(json.loads(text), extra="ignore")


def check_address(text: str) -> str:
    """Return a text that is HOST:PORT; raise ValueError if it is not."""
    Address.parse(text)
    return text


def check_path(text: str) -> str:
    """Return a text that can be a path; raise ValueError if it cannot."""
    if "\0" in text:
        raise ValueError("a path cannot contain a NUL character")
    return text


def check_cache(text: str) -> str:
    """Return a text that is a location of the cache of what-ifs; raise ValueError if it is not."""
    # The messages do not repeat the URL: it may contain a password.
    if text in {"off", "memory"}:
        return text
    try:
        url = urlsplit(text)
        if url.scheme == "unix":
            valid = not url.netloc and len(url.path) > 1
        else:
            valid = url.scheme in {"redis", "rediss"} and bool(url.hostname) and url.port != 0
            valid = valid and (url.path.strip("/") or "0").isdigit()
        given = {name for name, _ in parse_qsl(url.query, keep_blank_values=True)}
    except ValueError:  # a port that is no number, too
        valid, given = False, set()
    if not valid:
        raise ValueError(
            "expected off, memory, redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH?db=DB, "
            "PORT and DB numbers"
        )
    if unknown := sorted(given - _REDIS_OPTIONS):
        expected = ", ".join(sorted(_REDIS_OPTIONS))
        raise ValueError(f"unknown options of the URL: {', '.join(unknown)}; expected {expected}")
    return text


def option(meaning: str, value: str = "", *, default: str = "", flag: bool = True, **constraints: Any) -> Any:
    """Describe an option.

    Args:
        meaning: meaning of the option; its limits are added where it is shown.
        value: placeholder for its value in the help; by default the values of a Literal, or nothing.
        default: description of its default; if empty, the default value itself.
        flag: whether it is a command-line option; if not, it is only an environment variable.
        constraints: limits of its value, and `validation_alias` if its name is not that of the field.
    """
    shown: dict[str, Any] = {"value": value, "default": default, "flag": flag}
    return Field(description=meaning, json_schema_extra=shown, **constraints)
