"""Kinds of tampering that alter more than one value, and the check that finds each; docs/record.md counts them.

Each needs write access to the file and knowledge of the format: hashes and rows are made to fit, unless the kind
says otherwise. `full_ledger.fill` makes the ledger; a client keeps the checkpoint of its last entry.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.builders import full_ledger
from tests.support.builders.issued_forecasts import game
from tests.support.tampering.tampering import Kinds

from dejavu_common.clock import microseconds
from dejavu_ledger import outcomes, settling
from dejavu_ledger.audit import checkpoints
from dejavu_ledger.audit.checkpoints import load_or_create
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.store import ChainHead, Identity
from dejavu_ledger.entries import canonical_json, codec, rows
from dejavu_ledger.recording import load_game
from dejavu_ledger.records import MarketEntry
from dejavu_ledger.rules import key_of
from dejavu_models.errors import DejavuError
from dejavu_models.types import Horizon


def entries(database: sqlite3.Connection, kind: str = "%") -> list[tuple[int, dict[str, Any]]]:
    """Return the entries, or those of a kind, in order, with their sequences."""
    found = database.execute("SELECT sequence, canonical FROM entries WHERE kind LIKE ? ORDER BY sequence", (kind,))
    return [(sequence, json.loads(text)) for sequence, text in found]


def append(
    database: sqlite3.Connection, entry: dict[str, Any], *, spaced: bool = False, skip: int = 0, row: bool = True
) -> None:
    """Append an entry with a valid hash and the row that follows from it."""
    sequence, previous = database.execute("SELECT sequence, hash FROM entries ORDER BY sequence DESC").fetchone()
    sequence += 1 + skip
    if row and entry["kind"] == codec.FORECAST and entry["revision"] == 0:  # the next one of its key
        issued = codec.parse(canonical_json.dumps({**entry, "sequence": sequence}))
        of_key = "SELECT max(revision) + 1 FROM forecasts WHERE key = ?"
        (following,) = database.execute(of_key, (key_of(issued, owned=True),)).fetchone()
        entry = {**entry, "revision": following or 0}
    text = canonical_json.dumps({**entry, "sequence": sequence})
    if spaced:
        text = text.replace('"payload":{', '"payload": {')
    values = (sequence, entry["kind"], text, codec.chain_hash(previous, text))
    database.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", values)
    if row:
        put_derived(database, entry["kind"], text)


def put_derived(database: sqlite3.Connection, kind: str, text: str) -> None:
    """Put the row that follows from an entry, in place of the one there."""
    if kind == codec.FORECAST:
        issued = codec.parse(text)
        pattern = codec.prepare(issued).pattern
        table, row = "forecasts", rows.forecast_row(issued, key_of(issued, owned=True), pattern, owned=True)
    elif kind == codec.OUTCOME:
        outcome = codec.parse_outcome(text)
        before = database.execute(
            "SELECT first_sequence, withdrawn FROM outcomes WHERE game_id = ? AND horizon = ? AND sequence < ?"
            " ORDER BY revision DESC LIMIT 1",
            (outcome.game_id, outcome.horizon.value, outcome.sequence),
        ).fetchone()
        first = outcome.sequence if before is None or before[1] else before[0]
        table, row = "outcomes", rows.outcome_row(outcome, first)
    elif kind == codec.MODEL:
        table, row = "model_changes", rows.change_row(codec.parse_change(text))
    elif kind == codec.SHADOW:
        columns = ", ".join(rows.ForecastRow._fields)
        target = codec.forecast_sequence(text)
        found = database.execute(f"SELECT {columns} FROM forecasts WHERE sequence = ?", (target,)).fetchone()
        # Beside no forecast: as if it were beside the first one.
        beside = rows.ForecastRow(*(found or database.execute(f"SELECT {columns} FROM forecasts").fetchone()))
        shadow = codec.parse_shadow(text, Horizon(beside.horizon), beside.alpha)
        table, row = "shadows", rows.shadow_row(shadow, beside)
    else:
        table, row = "markets", rows.market_row(codec.parse_market(text))
    put(database, table, row)
    derive_again(database)


def derive_again(database: sqlite3.Connection) -> None:
    """Derive again what follows from several entries."""
    connection = Connection("sqlite", database)
    for table in ("forecasts", "markets"):
        database.execute(f"UPDATE {table} SET hindsight = NULL")
    for (game_id,) in database.execute("SELECT DISTINCT game_id FROM outcomes").fetchall():
        for horizon, report in load_game(connection, game_id).deciding.items():
            outcomes.mark_hindsight(connection, game_id, horizon, report)
    with suppress(ValueError, DejavuError):
        database.execute("DELETE FROM scores")
        for (game_id,) in database.execute("SELECT DISTINCT game_id FROM outcomes").fetchall():
            settling.settle(connection, game_id)


def put(database: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    """Put a row, in place of the one with its key."""
    database.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES (:{', :'.join(row)})", row)


def rewrite(database: sqlite3.Connection, sequence: int, change: Callable[[dict[str, Any]], object]) -> None:
    """Change an entry, and rebuild the chain from it on and the row that follows from it, if one does."""
    before = database.execute("SELECT hash FROM entries WHERE sequence = ?", (sequence - 1,)).fetchone()
    hash_ = before[0] if before else codec.genesis_hash(*database.execute("SELECT ledger_id FROM ledger").fetchone())
    for number, entry in entries(database)[sequence - 1 :]:
        if number == sequence:
            change(entry)
        text = canonical_json.dumps(entry)
        hash_ = codec.chain_hash(hash_, text)
        database.execute("UPDATE entries SET canonical = ?, hash = ? WHERE sequence = ?", (text, hash_, number))
        if number == sequence:
            with suppress(ValueError, DejavuError):
                put_derived(database, entry["kind"], text)


def sign(
    database: sqlite3.Connection,
    key: Ed25519PrivateKey,
    sequence: int,
    *,
    hash_: bytes | None = None,
    time: datetime | None = None,
) -> None:
    """Put a validly signed checkpoint at a sequence, in place of the one there; by default of the entry's own hash."""
    [stored] = database.execute("SELECT ledger_id, epoch FROM ledger")
    if hash_ is None:
        [(hash_,)] = database.execute("SELECT hash FROM entries WHERE sequence = ?", (sequence,))
    signed = checkpoints.sign(key, Identity(*stored), ChainHead(sequence, hash_), time or datetime.now(UTC))
    row = {name: getattr(signed, name) for name in ("sequence", "hash", "epoch", "public_key", "signature")}
    put(database, "checkpoints", {**row, "signed_us": microseconds(signed.signed_time)})


def sign_again(database: sqlite3.Connection, key: Ed25519PrivateKey) -> None:
    """Sign every checkpoint in the ledger again, for the chain as it is now."""
    for (sequence,) in database.execute("SELECT sequence FROM checkpoints").fetchall():
        sign(database, key, sequence)


def last(database: sqlite3.Connection, kind: str) -> dict[str, Any]:
    """Return the last entry of a kind."""
    return entries(database, kind)[-1][1]


def own_checkpoint(database: sqlite3.Connection) -> int:
    """Return the sequence of the newest checkpoint in the ledger."""
    sequence: int = database.execute("SELECT max(sequence) FROM checkpoints").fetchone()[0]
    return sequence


def cut_off(database: sqlite3.Connection, sequence: int, *, checkpoints: bool = True) -> None:
    """Remove the entries after a sequence, and everything derived from them."""
    tables = ["shadows", "model_changes", "markets", "outcomes", "forecasts", "entries"] + ["checkpoints"] * checkpoints
    database.execute("DELETE FROM snapshots")
    for table in tables:
        database.execute(f"DELETE FROM {table} WHERE sequence > ?", (sequence,))
    derive_again(database)


KINDS: Final = Kinds()

check: str | None
"""The check that finds a kind of one of the tables below."""

_DAYS = timedelta(days=5)
_OTHER_GAME, _GAME_WITH_OUTCOME = "0022300066", "0022300077"

Make = Callable[[sqlite3.Connection], dict[str, Any]]
"""Returns an entry to append."""


def _now(later: timedelta = timedelta(0)) -> int:
    return microseconds(datetime.now(UTC) + later)


def _next(database: sqlite3.Connection) -> dict[str, Any]:
    """Return the next revision of the newest forecast, whose game has no outcome, made now."""
    entry = last(database, codec.FORECAST)
    entry["payload"]["request"]["pattern"][-1] += 1.0
    return _with(entry, generated_us=_now(), revision=entry["revision"] + 1)


def _of_another_game(database: sqlite3.Connection, game_id: str = _OTHER_GAME) -> dict[str, Any]:
    """Return the first forecast of a game, made now."""
    return _with(last(database, codec.FORECAST), game_id=game_id, generated_us=_now(), revision=0)


_of_settled_game: Final = partial(_of_another_game, game_id=_GAME_WITH_OUTCOME)


def _outcome(database: sqlite3.Connection) -> dict[str, Any]:
    """Return the first outcome of the half of a game without forecasts, recorded now."""
    entry = next(each for _, each in entries(database, codec.OUTCOME))
    return _with(entry, game_id=_GAME_WITH_OUTCOME, recorded_us=_now(), revision=0)


def _an_outcome(database: sqlite3.Connection) -> int:
    """Return the sequence of an outcome."""
    return entries(database, codec.OUTCOME)[0][0]


def _withdrawal(database: sqlite3.Connection) -> dict[str, Any]:
    """Return a withdrawal of that outcome, recorded now."""
    return _with(_outcome(database), withdrawn=True, revision=1)


def _market(database: sqlite3.Connection, forecast: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a market of a forecast, the newest by default, with its answer."""
    issued = codec.parse(canonical_json.dumps(forecast or last(database, codec.FORECAST)))
    answer = full_ledger.answer(issued.forecast, issued.pattern.last)
    payload = json.loads(codec.market_payload(MarketEntry(issued.sequence, full_ledger.MARKET, answer)))
    return {"kind": codec.MARKET, "payload": payload, "revision": 0}


def _shadow(database: sqlite3.Connection, of: int = -1) -> dict[str, Any]:
    """Return a shadow made now, beside a forecast: by default beside the newest, whose game has no outcome."""
    sequence, forecast = entries(database, codec.FORECAST)[of]
    made = {**forecast["payload"]["forecast"], "explanation": None, "model_version": "v3", "generated_us": _now()}
    made.pop("roster_sequence", None)
    return {**last(database, codec.SHADOW), "payload": {"forecast": made, "of": sequence}}


def _change(action: str, version: str, **fields: Any) -> Make:
    """Return a function that returns a change of models, made now."""
    payload = {"action": action, "model_version": version}
    return lambda _: {"kind": codec.MODEL, "payload": {"changed_us": _now(), **payload, **fields}, "revision": 0}


def _with(entry: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Put values into an entry, in place of those with the same name, or else into the part that can have them."""
    for name, value in values.items():
        payload = entry["payload"]
        parts = [entry, payload, *(payload[part] for part in ("request", "forecast", "market") if part in payload)]
        places = {"late": entry, "expected_margin": payload.get("forecast")}
        new = places.get(name) or payload.get("request", payload)
        next((part for part in parts if name in part), new)[name] = value
    return entry


def _of_minute(minutes: int) -> Make:
    """Return a function that returns a forecast of a minute that needs no stake."""

    def make(database: sqlite3.Connection) -> dict[str, Any]:
        entry = _of_another_game(database)
        pattern = [0.0] * (minutes - 1) + entry["payload"]["request"]["pattern"][-1:]
        return _with(entry, pattern=pattern, elapsed_minutes=minutes, expected_margin=0.0)

    return make


def _market_of_the_last_but_one(database: sqlite3.Connection) -> dict[str, Any]:
    """Return a market of the newest forecast but one."""
    return _market(database, entries(database, codec.FORECAST)[-2][1])


# Entries appended after the kept checkpoint, with valid hashes and rows.

for text, check, kind, options in (
    ("an entry appended after a gap in the sequences", "chain", codec.FORECAST, {"skip": 3}),
    ("an entry appended whose text is not in canonical form", "chain", codec.FORECAST, {"spaced": True}),
    ("an entry appended without the row that follows from it", "rows", codec.FORECAST, {"row": False}),
    ("an entry of an unknown kind appended", "kind", "note", {"row": False}),
):

    @KINDS.step("entries", text, check)
    def _(database: sqlite3.Connection, _: Path, kind: str = kind, options: dict[str, Any] = options) -> None:
        append(database, {**_next(database), "kind": kind}, **options)


@KINDS.step("entries", "a forecast appended, dated five days earlier, and the checkpoints removed", None, "time")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _with(_next(database), generated_us=_now(-_DAYS)))
    database.execute("DELETE FROM checkpoints")


_APPENDED: list[tuple[str, str | None, list[Make], dict[str, Any]]] = [
    ("a forecast appended, dated five days before a checkpoint", "time", [_next], {"generated_us": _now(-_DAYS)}),
    ("an outcome appended, recorded five days before a checkpoint", "time", [_outcome], {"recorded_us": _now(-_DAYS)}),
    ("a revision of a forecast appended that skips a number", "revision", [_next, _next], {"revision": 9}),
    ("a revision of a forecast below 0 appended", "revision", [_next], {"revision": -1}),
    ("a revision of an outcome appended that equals the one before", "revision", [_outcome, _outcome], {"revision": 1}),
    ("a withdrawal appended of an outcome that was not reported", "revision", [_withdrawal], {"revision": 0}),
    ("a withdrawal appended of an outcome that is withdrawn", "revision",
     [_outcome, _withdrawal, _withdrawal], {"revision": 2}),
    ("a withdrawal appended of another differential than the one that stands", "revision",
     [_outcome, _withdrawal], {"differential": 1}),
    ("a forecast appended after the outcome of its game", "hindsight",
     [_next], {"game_id": game(1), "alpha": 0.07, "revision": 0}),
    ("a forecast appended, marked as late without a reason", "hindsight", [_of_another_game], {"late": "later_second"}),
    ("a forecast appended after a withdrawn outcome of its game, not marked as late", "hindsight",
     [_of_settled_game, _outcome, _withdrawal, _of_settled_game], {"alpha": 0.07}),
    ("a forecast appended of a game of the day before yesterday, not marked as late", "hindsight",
     [_of_another_game], {"game_date": f"{datetime.now(UTC).date() - timedelta(days=2)}"}),
    ("a forecast appended of a minute that was known for ten minutes, not marked as late", "hindsight",
     [_of_minute(9), _of_minute(9)], {"generated_us": _now(timedelta(hours=2)), "alpha": 0.07}),
    ("a forecast of the half appended after the half, as of a minute after it", "hindsight",
     [_outcome, _of_settled_game], {"elapsed_minutes": 30}),
    ("a market appended after the outcome of its game", "hindsight",
     [lambda database: _market(database, entries(database, codec.FORECAST)[3][1])], {}),
    ("a market appended for a forecast that is not there", "answer", [_market], {"forecast_sequence": 999}),
    ("a market appended for an entry that is not a forecast", "answer",
     [lambda database: _with(_market(database), forecast_sequence=_an_outcome(database))], {}),
    ("a market appended for an earlier forecast, as if sent with it", "hindsight",
     [_of_minute(3), _of_minute(9), _market_of_the_last_but_one], {}),
    ("a market appended for a forecast of a minute that is past", "hindsight",
     [_of_minute(3), _of_minute(9), _market_of_the_last_but_one], {"requested_us": _now(timedelta(minutes=1))}),
    ("a market appended for the newest forecast, sent long after it", "hindsight",
     [_of_minute(9), _market], {"requested_us": _now(timedelta(hours=2))}),
    ("a false forecast appended, dated now and otherwise as a server records it", None, [_of_another_game], {}),
    ("a shadow appended beside a forecast that is not there", "shadow", [_shadow], {"of": 900}),
    ("a shadow appended beside an entry that is not a forecast", "shadow",
     [lambda database: _with(_shadow(database), of=_an_outcome(database))], {}),
    ("a shadow appended after the outcome of its game", "hindsight", [lambda database: _shadow(database, 0)], {}),
    ("a promotion appended of a model that is not there", "models", [_change("promote", "v9", from_version="v1")], {}),
    ("a promotion appended that replaces another champion than the one that served", "models",
     [_change("promote", "v2", from_version="v7")], {}),
    ("a promotion appended of the model that serves", "models", [_change("promote", "v1", from_version="v1")], {}),
    ("the retirement of the model that serves appended", "models", [_change("retire", "v1")], {}),
    ("a change of models appended, dated five days before a checkpoint", "time",
     [_change("promote", "v2", from_version="v1", changed_us=_now(-_DAYS))], {}),
]  # fmt: skip

for text, check, makes, values in _APPENDED:

    @KINDS.step("entries", text, check)
    def _(database: sqlite3.Connection, _: Path, makes: list[Make] = makes, values: dict[str, Any] = values) -> None:
        """Append the entries, the last with other values."""
        for make in makes[:-1]:
            append(database, make(database))
        append(database, _with(makes[-1](database), **values))


@KINDS.step("entries", "a revision of a forecast appended that equals the one before", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = last(database, codec.FORECAST)
    append(database, _with(entry, point=9.75, generated_us=_now(), revision=entry["revision"] + 1))


@KINDS.step(
    "entries", "a market appended for the newest forecast, as if sent with it five days before a checkpoint", "time"
)
def _(database: sqlite3.Connection, key: Path) -> None:
    sign(database, load_or_create(key), last(database, codec.FORECAST)["sequence"], time=datetime.now(UTC) + _DAYS)
    append(database, _market(database))


@KINDS.step("entries", "a market appended, as if the model had learned from an outcome before its forecast", "answer")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _market(database)
    answer = full_ledger.answer(codec.parse(canonical_json.dumps(last(database, codec.FORECAST))).forecast, 20.0)
    payload = codec.market_payload(MarketEntry(entry["payload"]["forecast_sequence"], full_ledger.MARKET, answer, 0))
    append(database, {**entry, "payload": json.loads(payload)})


# Entries removed, with everything that follows from them.

for text, check, places in (
    ("entries removed from the end that no checkpoint in the ledger covers", None, 0),
    ("entries removed from the end that a checkpoint in the ledger covers", "own checkpoints", 1),
    ("entries removed from the end, and the checkpoints that cover them", None, 12),
):

    @KINDS.step("entries", text, check, "kept checkpoint")
    def _(database: sqlite3.Connection, _: Path, places: int = places, keep: bool = check is not None) -> None:
        cut_off(database, own_checkpoint(database) - places, checkpoints=not keep)


# The chain rebuilt from an altered entry on.


def _flatter(entry: dict[str, Any]) -> None:
    entry["payload"]["forecast"]["explanation"]["components"][0]["prediction"] = 9.75


_REBUILT: list[tuple[str, str | None, bool, Callable[[sqlite3.Connection, Path], object]]] = [
    ("an entry, and the chain rebuilt; no checkpoint in the ledger covers it", None, False, lambda *_: None),
    ("an entry, and the chain rebuilt; a checkpoint in the ledger covers it", "own checkpoints", True, lambda *_: None),
    ("an entry, the chain rebuilt and the checkpoints removed", None, True,
     lambda database, _: database.execute("DELETE FROM checkpoints")),
    ("an entry, the chain rebuilt and signed again with the key", None, True,
     lambda database, key: sign_again(database, load_or_create(key))),
    ("an entry, the chain rebuilt and signed again with another key (`--public-key` finds it)", None, True,
     lambda database, _: sign_again(database, Ed25519PrivateKey.generate())),
]  # fmt: skip
"""What is done → the check that finds it alone, whether a checkpoint covers the entry, and what follows."""

for text, check, covered, then in _REBUILT:

    @KINDS.step("entries", text, check, "kept checkpoint")
    def _(database: sqlite3.Connection, key: Path, covered: bool = covered, then: Callable[..., object] = then) -> None:
        rewrite(database, 1 if covered else last(database, codec.FORECAST)["sequence"], _flatter)
        then(database, key)


for kind, text in ((codec.FORECAST, "a forecast"), (codec.OUTCOME, "an outcome")):

    @KINDS.step("entries", f"the time of {text}, set five days later than a checkpoint that covers it", "time")
    def _(database: sqlite3.Connection, key: Path, kind: str = kind) -> None:
        covered = [at for at, _ in entries(database, kind) if at <= own_checkpoint(database)]
        time = {codec.FORECAST: "generated_us", codec.OUTCOME: "recorded_us"}[kind]
        rewrite(database, covered[-2], lambda entry: _with(entry, **{time: _now(_DAYS)}))
        sign_again(database, load_or_create(key))


# Changes of models, and forecasts of challengers.


@KINDS.step("entries", "a shadow appended after the outcomes of its game were withdrawn", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    game_id = entries(database, codec.FORECAST)[0][1]["payload"]["request"]["game_id"]
    of_game = [each for _, each in entries(database, codec.OUTCOME) if each["payload"]["game_id"] == game_id]
    for each in {each["payload"]["horizon"]: each for each in of_game}.values():
        append(database, _with(each, recorded_us=_now(), withdrawn=True, revision=each["revision"] + 1))
    database.execute("DELETE FROM snapshots")  # they contain the withdrawn outcomes
    append(database, _shadow(database, 0))


@KINDS.step("entries", "a forecast appended of a model that is not the champion, as if it were", "choice")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _change("promote", "v2", from_version="v1")(database))
    append(database, _with(_next(database), roster_sequence=last(database, codec.MODEL)["sequence"]))


@KINDS.step(
    "entries", "a forecast falsely marked as requested by model, and the chain rebuilt", None, "kept checkpoint"
)
def _(database: sqlite3.Connection, _: Path) -> None:
    def by_name(entry: dict[str, Any]) -> None:
        del _with(entry, model_version="v2")["payload"]["forecast"]["roster_sequence"]

    rewrite(database, last(database, codec.FORECAST)["sequence"], by_name)


# Checkpoints and snapshots.

KINDS.sql("checkpoints", "one removed", "DELETE FROM checkpoints", None)

for text, at, check, sign_options in (
    ("one added, signed with the key, for a hash that is not the entry's", 3, "own checkpoints", {"hash_": bytes(32)}),
    ("one added, signed with the key, beyond the last entry", 999, "own checkpoints", {"hash_": bytes(32)}),
    ("one signed again with the key for a time five days earlier", 0, "time", {"time": datetime.now(UTC) - _DAYS}),
    ("one signed again with the key for a time five days later", 0, "time", {"time": datetime.now(UTC) + _DAYS}),
):

    @KINDS.step("checkpoints", text, check)
    def _(database: sqlite3.Connection, key: Path, at: int = at, options: dict[str, Any] = sign_options) -> None:
        sign(database, load_or_create(key), at or own_checkpoint(database), **options)


KINDS.sql("snapshots", "one removed", "DELETE FROM snapshots", None)

KINDS.sql("ledger", "the epoch, as after a restore", f"UPDATE ledger SET epoch = '{'f' * 16}'", None, "kept checkpoint")
