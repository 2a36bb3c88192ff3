"""The options of the command line as users see them, derived from the fields of Settings."""

from __future__ import annotations

from typing import Any, NamedTuple, cast, get_args

from pydantic.fields import FieldInfo

from dejavu_server.settings import Settings


class Option(NamedTuple):
    """An option as users see it.

    Attributes:
        flag: its name on the command line; empty if it is only an environment variable.
        variable: its environment variable.
        value: placeholder for its value; empty for a switch.
        default: describes its default.
        meaning: meaning of the option, with its limits.
        limits: its range, if it is a number with a lower and an upper limit; else empty.
    """

    flag: str
    variable: str
    value: str
    default: str
    meaning: str
    limits: str


def _limits(info: FieldInfo) -> str:
    ends = {
        name: getattr(limit, name)
        for name in ("ge", "gt", "le", "lt")
        for limit in info.metadata
        if getattr(limit, name, None) is not None
    }
    match ends:
        case {"ge": low, "le": high}:
            return f"{low:,} to {high:,}"
        case {"gt": low, "le": high}:
            return f"above {low:,}, at most {high:,}"
        case {"ge": low, "lt": high}:
            return f"{low:,} to below {high:,}"
    return ""


def options() -> dict[str, Option]:
    """Return the options by their names in `Settings`."""
    result = {}
    for field, info in Settings.model_fields.items():
        name, shown = str(info.validation_alias or field), cast("dict[str, Any]", info.json_schema_extra)
        meaning, limits = info.description or "", _limits(info)
        result[name] = Option(
            flag=f"--{name.replace('_', '-')}" if shown["flag"] else "",
            variable=f"DEJAVU_{name.upper()}",
            value=shown["value"] or "|".join(get_args(info.annotation)),
            default=shown["default"] or f"{info.default:{'g' * isinstance(info.default, float)}}",
            meaning=f"{meaning.removesuffix('.')}; {limits}." if limits else meaning,
            limits=limits,
        )
    return result
