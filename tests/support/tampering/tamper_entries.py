"""Kinds of tampering with the entries of a ledger; see tamper_kinds.py."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.builders import full_ledger
from tests.support.builders.issued_forecasts import game
from tests.support.tampering.forging import (
    append,
    cut_off,
    entries,
    last,
    own_checkpoint,
    put_derived,
    rewrite,
    sign,
    sign_again,
)
from tests.support.tampering.tampering import Kinds

from dejavu_common.clock import microseconds
from dejavu_server.ledger.audit.signing_key import load_or_create
from dejavu_server.ledger.entries import canonical_json, codec

KINDS: Final = Kinds()

_DAYS = timedelta(days=5)


def _dated(entry: dict[str, Any], later: timedelta = timedelta(0)) -> dict[str, Any]:
    """Date a forecast now, or later than now; return it."""
    entry["payload"]["forecast"]["generated_us"] = microseconds(datetime.now(UTC) + later)
    return entry


def _next(database: sqlite3.Connection) -> dict[str, Any]:
    """Return the next revision of the newest forecast, whose game has no outcome, made now."""
    entry = last(database, codec.FORECAST)
    entry["payload"]["request"]["pattern"][-1] += 1.0
    return _dated({**entry, "revision": entry["revision"] + 1})


def _of_another_game(database: sqlite3.Connection) -> dict[str, Any]:
    """Return the first forecast of a game, made now."""
    entry = last(database, codec.FORECAST)
    entry["payload"]["request"]["game_id"] = "0022300066"
    return _dated({**entry, "revision": 0})


def _outcome(database: sqlite3.Connection) -> dict[str, Any]:
    """Return the first outcome of a game without forecasts, recorded now."""
    entry = last(database, codec.OUTCOME)
    entry["payload"] |= {"game_id": "0022300077", "recorded_us": microseconds(datetime.now(UTC))}
    return {**entry, "revision": 0}


def _withdrawal(database: sqlite3.Connection, revision: int) -> dict[str, Any]:
    """Return a withdrawal of that outcome, recorded now."""
    entry = _outcome(database)
    return {**entry, "payload": {**entry["payload"], "withdrawn": True}, "revision": revision}


def _market(database: sqlite3.Connection, forecast: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a market of a forecast, the newest by default, with its answer."""
    issued = codec.parse(canonical_json.dumps(forecast or last(database, codec.FORECAST)))
    answer = full_ledger.answer(issued.forecast, issued.pattern.last)
    payload = json.loads(codec.market_payload(issued.sequence, full_ledger.MARKET, answer))
    return {"kind": codec.MARKET, "payload": payload, "revision": 0}


def _flatter(entry: dict[str, Any]) -> None:
    entry["payload"]["forecast"]["explanation"]["components"][0]["prediction"] = 9.75


# Entries, altered without care for the chain.

_EDIT = "UPDATE entries SET canonical = replace(canonical, '\"alpha\":0.05', '\"alpha\":0.06') WHERE sequence = 1"
KINDS.sql("entries", "a value in the text of an entry", _EDIT, "chain")
KINDS.sql("entries", "a hash", "UPDATE entries SET hash = zeroblob(32) WHERE sequence = 3", "chain")
KINDS.sql("entries", "the kind beside the text", "UPDATE entries SET kind = 'outcome' WHERE sequence = 1", "chain")
KINDS.sql(
    "entries", "an entry moved to another sequence", "UPDATE entries SET sequence = 99 WHERE sequence = 5", "chain"
)
KINDS.sql(
    "entries",
    "two entries exchanged",
    "UPDATE entries SET sequence = CASE sequence WHEN 3 THEN -4 ELSE -3 END"
    " WHERE sequence IN (3, 4); UPDATE entries SET sequence = -sequence WHERE sequence < 0",
    "chain",
)
KINDS.sql("entries", "an entry removed from the middle", "DELETE FROM entries WHERE sequence = 5", "chain")
KINDS.sql(
    "entries",
    "text stored as bytes",
    "UPDATE entries SET canonical = CAST(canonical AS BLOB) WHERE sequence = 1",
    "chain",
)


# Entries appended after the kept checkpoint, with valid hashes and rows.


@KINDS.step("entries", "an entry appended without a valid hash", "chain")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _next(database))
    database.execute("UPDATE entries SET hash = zeroblob(32) WHERE sequence = (SELECT max(sequence) FROM entries)")


@KINDS.step("entries", "an entry appended after a gap in the sequences", "chain")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _next(database), skip=3)


@KINDS.step("entries", "an entry appended whose text is not in canonical form", "chain")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _next(database), spaced=True)


@KINDS.step("entries", "an entry appended without the row that follows from it", "rows")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _next(database), row=False)


@KINDS.step("entries", "an entry of an unknown kind appended", "kind")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, {**_next(database), "kind": "note"}, row=False)


@KINDS.step("entries", "a forecast appended, dated five days before a checkpoint", "time")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _dated(_next(database), -_DAYS))


@KINDS.step("entries", "a forecast appended, dated five days earlier, and the checkpoints removed", None, "time")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _dated(_next(database), -_DAYS))
    database.execute("DELETE FROM checkpoints")


@KINDS.step("entries", "an outcome appended, recorded five days before a checkpoint", "time")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _outcome(database)
    entry["payload"]["recorded_us"] -= _DAYS // timedelta(microseconds=1)
    append(database, entry)


@KINDS.step("entries", "revision 7 of a forecast that has no others appended", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, {**_of_another_game(database), "revision": 7})


@KINDS.step("entries", "a revision of a forecast appended that skips a number", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _next(database)
    append(database, {**entry, "revision": entry["revision"] + 1})


@KINDS.step("entries", "a revision of a forecast appended that equals the one before", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = last(database, codec.FORECAST)
    entry["payload"]["forecast"]["point"] = 9.75
    append(database, _dated({**entry, "revision": entry["revision"] + 1}))


@KINDS.step("entries", "a revision of a forecast below 0 appended", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, {**_next(database), "revision": -1})


@KINDS.step("entries", "revision 7 of an outcome that has no others appended", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, {**_outcome(database), "revision": 7})


@KINDS.step("entries", "a revision of an outcome appended that equals the one before", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _outcome(database))
    append(database, {**_outcome(database), "revision": 1})


@KINDS.step("entries", "a withdrawal appended of an outcome that was not reported", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _withdrawal(database, 0))


@KINDS.step("entries", "a withdrawal appended of an outcome that is withdrawn", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _outcome(database))
    append(database, _withdrawal(database, 1))
    append(database, _withdrawal(database, 2))


@KINDS.step("entries", "a withdrawal appended of another differential than the one that stands", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _outcome(database))
    entry = _withdrawal(database, 1)
    append(database, {**entry, "payload": {**entry["payload"], "differential": 1}})


@KINDS.step("entries", "a market appended as revision 1", "revision")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, {**_market(database), "revision": 1})


@KINDS.step("entries", "a forecast appended after the outcome of its game", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _next(database)
    entry["payload"]["request"] |= {"game_id": game(1), "alpha": 0.07}
    append(database, {**entry, "revision": 0})


@KINDS.step("entries", "a forecast appended, marked as late without a reason", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, {**_of_another_game(database), "late": "later_minute"})


@KINDS.step("entries", "a forecast appended after a withdrawn outcome of its game, not marked as late", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _of_another_game(database)
    entry["payload"]["request"]["game_id"] = "0022300077"
    append(database, entry)
    append(database, _outcome(database))
    append(database, _withdrawal(database, 1))
    entry["payload"]["request"]["alpha"] = 0.07
    append(database, entry)


@KINDS.step("entries", "a forecast appended of a game of the day before yesterday, not marked as late", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _of_another_game(database)
    entry["payload"]["request"]["game_date"] = f"{datetime.now(UTC).date() - timedelta(days=2)}"
    append(database, entry)


@KINDS.step("entries", "a forecast of the half appended after the half, as of a minute after it", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _of_another_game(database)
    outcome = _outcome(database)
    outcome["payload"]["horizon"] = entry["payload"]["request"]["horizon"] = "halftime"
    outcome["payload"]["game_id"] = entry["payload"]["request"]["game_id"]
    append(database, outcome)
    entry["payload"]["forecast"]["elapsed_minutes"] = 30
    append(database, entry)


@KINDS.step("entries", "a market appended for a forecast that is not there", "answer")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _market(database)
    entry["payload"]["forecast_sequence"] = 999
    append(database, entry)


@KINDS.step("entries", "a market appended for an entry that is not a forecast", "answer")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _market(database)
    entry["payload"]["forecast_sequence"] = entries(database, codec.OUTCOME)[0][0]
    append(database, entry)


def _market_of_first_minutes(database: sqlite3.Connection) -> dict[str, Any]:
    """Return a market of a forecast of minute 3 whose game has one of minute 9; neither forecast has a market."""
    for minutes in (3, 9):
        entry = _of_another_game(database)
        pattern = entry["payload"]["request"]["pattern"]
        entry["payload"]["request"]["pattern"] = [0.0] * (minutes - 1) + pattern[-1:]
        entry["payload"]["forecast"]["elapsed_minutes"] = minutes
        entry["payload"]["forecast"]["expected_margin"] = 0.0  # without one there is no stake
        append(database, entry)
    return _market(database, entries(database, codec.FORECAST)[-2][1])


@KINDS.step("entries", "a market appended for an earlier forecast, as if sent with it", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _market_of_first_minutes(database))


@KINDS.step("entries", "a market appended for a forecast of a minute that is past", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _market_of_first_minutes(database)
    entry["payload"]["requested_us"] = microseconds(datetime.now(UTC))
    append(database, entry)


@KINDS.step("entries", "a market appended for the newest forecast, sent two minutes after it", "hindsight")
def _(database: sqlite3.Connection, _: Path) -> None:
    _market_of_first_minutes(database)
    entry, of = _market(database), last(database, codec.FORECAST)
    entry["payload"]["requested_us"] = of["payload"]["forecast"]["generated_us"] + 120_000_000
    append(database, entry)


@KINDS.step(
    "entries", "a market appended for the newest forecast, as if sent with it five days before a checkpoint", "time"
)
def _(database: sqlite3.Connection, key: Path) -> None:
    entry = _market(database)
    sign(database, load_or_create(key), last(database, codec.FORECAST)["sequence"], time=datetime.now(UTC) + _DAYS)
    append(database, entry)


@KINDS.step("entries", "a market's answer moved to another forecast", "answer")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = last(database, codec.MARKET)
    entry["payload"]["forecast_sequence"] = last(database, codec.FORECAST)["sequence"]
    append(database, entry)


@KINDS.step("entries", "the odds of a market", "answer")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _market(database)
    entry["payload"]["market"]["above_odds"] = 3.5
    append(database, entry)


@KINDS.step("entries", "the American odds of a market", "answer")
def _(database: sqlite3.Connection, _: Path) -> None:
    sound, entry = _market(database), _market(database)
    entry["payload"]["market"]["above_american"] = 250
    append(database, entry, row=False)
    # The row does not contain American odds, so it is that of the sound entry.
    put_derived(
        database, codec.MARKET, canonical_json.dumps({**sound, "sequence": last(database, codec.MARKET)["sequence"]})
    )


@KINDS.step("entries", "the stake of a market", "answer")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _market(database)
    for side in ("above", "below"):
        entry["payload"]["answer"][side]["stake_fraction"] = 0.9
    append(database, entry)


@KINDS.step("entries", "the stake of a market, to a smaller one", "answer")
def _(database: sqlite3.Connection, _: Path) -> None:
    level = next(
        entry for _, entry in entries(database, codec.FORECAST) if entry["payload"]["request"]["game_id"] == game(4)
    )
    entry = _market(database, level)
    answer = entry["payload"]["answer"]
    assert answer["stake"] > 0
    for each in (answer, answer["above"], answer["below"]):
        each |= {name: 0.9 * each[name] for name in ("stake", "stake_fraction") if name in each}
    append(database, entry)


@KINDS.step("entries", "the win probabilities of a market", "answer")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _market(database)
    entry["payload"]["answer"]["above"]["win_probability"] += 0.1
    entry["payload"]["answer"]["below"]["win_probability"] -= 0.1
    append(database, entry)


@KINDS.step("entries", "a market appended, as if the model had learned from an outcome before its forecast", "answer")
def _(database: sqlite3.Connection, _: Path) -> None:
    entry = _market(database)
    answer = full_ledger.answer(codec.parse(canonical_json.dumps(last(database, codec.FORECAST))).forecast, 20.0)
    payload = codec.market_payload(entry["payload"]["forecast_sequence"], full_ledger.MARKET, answer, 0)
    append(database, {**entry, "payload": json.loads(payload)})


@KINDS.step("entries", "a false forecast appended, dated now and otherwise as a server records it", None)
def _(database: sqlite3.Connection, _: Path) -> None:
    append(database, _of_another_game(database))


# Entries removed, with everything that follows from them.


@KINDS.step("entries", "entries removed from the end that no checkpoint in the ledger covers", None, "kept checkpoint")
def _(database: sqlite3.Connection, _: Path) -> None:
    cut_off(database, own_checkpoint(database))


@KINDS.step(
    "entries",
    "entries removed from the end that a checkpoint in the ledger covers",
    "own checkpoints",
    "kept checkpoint",
)
def _(database: sqlite3.Connection, _: Path) -> None:
    cut_off(database, own_checkpoint(database) - 1, checkpoints=False)


@KINDS.step("entries", "entries removed from the end, and the checkpoints that cover them", None, "kept checkpoint")
def _(database: sqlite3.Connection, _: Path) -> None:
    cut_off(database, 6)


@KINDS.step("entries", "entries removed from the start", "chain")
def _(database: sqlite3.Connection, _: Path) -> None:
    database.execute("DELETE FROM markets WHERE forecast_sequence <= 2")
    for table in ("forecasts", "entries"):
        database.execute(f"DELETE FROM {table} WHERE sequence <= 2")
    database.execute("DELETE FROM snapshots")


# The chain rebuilt from an altered entry on.


@KINDS.step(
    "entries", "an entry, and the chain rebuilt; no checkpoint in the ledger covers it", None, "kept checkpoint"
)
def _(database: sqlite3.Connection, _: Path) -> None:
    rewrite(database, last(database, codec.FORECAST)["sequence"], _flatter)


@KINDS.step(
    "entries",
    "an entry, and the chain rebuilt; a checkpoint in the ledger covers it",
    "own checkpoints",
    "kept checkpoint",
)
def _(database: sqlite3.Connection, _: Path) -> None:
    rewrite(database, 1, _flatter)


@KINDS.step("entries", "an entry, the chain rebuilt and the checkpoints removed", None, "kept checkpoint")
def _(database: sqlite3.Connection, _: Path) -> None:
    rewrite(database, 1, _flatter)
    database.execute("DELETE FROM checkpoints")


@KINDS.step("entries", "an entry, the chain rebuilt and signed again with the key", None, "kept checkpoint")
def _(database: sqlite3.Connection, key: Path) -> None:
    rewrite(database, 1, _flatter)
    sign_again(database, load_or_create(key))


@KINDS.step(
    "entries",
    "an entry, the chain rebuilt and signed again with another key (`--public-key` finds it)",
    None,
    "kept checkpoint",
)
def _(database: sqlite3.Connection, _: Path) -> None:
    rewrite(database, 1, _flatter)
    sign_again(database, Ed25519PrivateKey.generate())


@KINDS.step("entries", "the time of a forecast, set five days later than a checkpoint that covers it", "time")
def _(database: sqlite3.Connection, key: Path) -> None:
    rewrite(database, entries(database, codec.FORECAST)[-4][0], lambda entry: _dated(entry, _DAYS))
    sign_again(database, load_or_create(key))


@KINDS.step("entries", "the time of an outcome, set five days later than a checkpoint that covers it", "time")
def _(database: sqlite3.Connection, key: Path) -> None:
    def later(entry: dict[str, Any]) -> None:
        entry["payload"]["recorded_us"] += _DAYS // timedelta(microseconds=1)

    rewrite(database, last(database, codec.OUTCOME)["sequence"], later)
    sign_again(database, load_or_create(key))
