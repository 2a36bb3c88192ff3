"""Kinds of tampering with changes of models, and with forecasts of challengers; see tamper_kinds.py."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tests.support.tampering.forging import append, entries, last, rewrite
from tests.support.tampering.tampering import Kinds

from dejavu_common.clock import microseconds
from dejavu_server.ledger.entries import codec

KINDS: Final = Kinds()


def _shadow(database: sqlite3.Connection) -> dict[str, Any]:
    """Return a shadow of another model beside the newest forecast, whose game has no outcome, made now."""
    of, forecast = entries(database, codec.FORECAST)[-1]
    entry = last(database, codec.SHADOW)
    made = {**forecast["payload"]["forecast"], "explanation": None, "model_version": "v3", "generated_us": _now()}
    return {**entry, "payload": {"forecast": made, "of": of}}


def _change(action: str, version: str, **fields: Any) -> dict[str, Any]:
    payload = {"action": action, "changed_us": _now(), "model_version": version, **fields}
    return {"kind": codec.MODEL, "payload": payload, "revision": 0}


def _now(later: timedelta = timedelta(0)) -> int:
    return microseconds(datetime.now(UTC) + later)


@KINDS.step("entries", "a shadow appended beside a forecast that is not there", "shadow")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _shadow(database)
    entry["payload"]["of"] = 900
    append(database, entry)


@KINDS.step("entries", "a shadow appended beside an entry that is not a forecast", "shadow")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _shadow(database)
    entry["payload"]["of"] = entries(database, codec.OUTCOME)[0][0]
    append(database, entry)


@KINDS.step("entries", "a shadow appended of the model that made the forecast", "shadow")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _shadow(database)
    entry["payload"]["forecast"]["model_version"] = "v1"
    append(database, entry)


@KINDS.step("entries", "a shadow appended of another minute than the forecast", "shadow")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _shadow(database)
    entry["payload"]["forecast"]["elapsed_minutes"] += 1
    append(database, entry)


@KINDS.step("entries", "a shadow appended after the outcome of its game", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _shadow(database)
    entry["payload"]["of"], forecast = entries(database, codec.FORECAST)[0]
    entry["payload"]["forecast"]["elapsed_minutes"] = forecast["payload"]["forecast"]["elapsed_minutes"]
    append(database, entry)


@KINDS.step("entries", "a shadow appended after the outcomes of its game were withdrawn", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _shadow(database)
    entry["payload"]["of"], forecast = entries(database, codec.FORECAST)[0]
    entry["payload"]["forecast"]["elapsed_minutes"] = forecast["payload"]["forecast"]["elapsed_minutes"]
    game_id = forecast["payload"]["request"]["game_id"]
    newest = {
        each["payload"]["horizon"]: each
        for _, each in entries(database, codec.OUTCOME)
        if each["payload"]["game_id"] == game_id
    }
    for each in newest.values():
        payload = {**each["payload"], "recorded_us": _now(), "withdrawn": True}
        append(database, {**each, "payload": payload, "revision": each["revision"] + 1})
    database.execute("DELETE FROM snapshots")  # they contain the withdrawn outcomes
    append(database, entry)


@KINDS.step("entries", "a promotion appended of a model that is not there", "models")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _change("promote", "v9", from_version="v1"))


@KINDS.step("entries", "a promotion appended that replaces another champion than the one that served", "models")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _change("promote", "v2", from_version="v7"))


@KINDS.step("entries", "a promotion appended of the model that serves", "models")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _change("promote", "v1", from_version="v1"))


@KINDS.step("entries", "the retirement of the model that serves appended", "models")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _change("retire", "v1"))


@KINDS.step("entries", "a change of models appended, dated five days before a checkpoint", "time")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _change("promote", "v2", from_version="v1", changed_us=_now(timedelta(days=-5))))


@KINDS.step("entries", "the model of a promotion, and the chain rebuilt", "models")
def _(database: sqlite3.Connection, _: Path) -> None:
    sequence = next(at for at, each in entries(database, codec.MODEL) if each["payload"]["action"] == "promote")
    rewrite(database, sequence, lambda each: each["payload"].update(model_version="v2"))


@KINDS.step("entries", "the model that a forecast is of, and the chain rebuilt", "choice")
def _(database: sqlite3.Connection, _: Path) -> None:
    _rewrite_newest(database, model_version="v2")


@KINDS.step("entries", "the change of models that chose the model of a forecast, and the chain rebuilt", "choice")
def _(database: sqlite3.Connection, _: Path) -> None:
    _rewrite_newest(database, roster_sequence=entries(database, codec.MODEL)[0][0])


@KINDS.step("entries", "a forecast appended of a model that is not the champion, as if it were", "choice")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _change("promote", "v2", from_version="v1"))
    promoted = last(database, codec.MODEL)["sequence"]
    entry = last(database, codec.FORECAST)
    entry["payload"]["forecast"].update(roster_sequence=promoted, generated_us=_now())
    append(database, {**entry, "revision": entry["revision"] + 1})


@KINDS.step(
    "entries", "a forecast falsely marked as requested by model, and the chain rebuilt", None, "kept checkpoint"
)
def _(database: sqlite3.Connection, _: Path) -> None:
    def by_name(entry: dict[str, Any]) -> None:
        del entry["payload"]["forecast"]["roster_sequence"]
        entry["payload"]["forecast"]["model_version"] = "v2"

    rewrite(database, last(database, codec.FORECAST)["sequence"], by_name)


def _rewrite_newest(database: sqlite3.Connection, **fields: Any) -> None:
    """Change fields of the newest forecast, whose model a roster chose."""
    sequence = last(database, codec.FORECAST)["sequence"]
    rewrite(database, sequence, lambda entry: entry["payload"]["forecast"].update(fields))
