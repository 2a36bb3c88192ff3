"""An export of a ledger: its chain of hashes, and the checkpoint that somebody else stored."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from datetime import datetime, timedelta
from typing import Any, NoReturn

# Microseconds by which clocks may differ, with the time that a call may take.
CLOCK_TOLERANCE = 120 * 10**6

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

# The entries by sequence, in order.
Entry = dict[str, Any]
Entries = dict[int, Entry]


class ChangedError(Exception):
    """The export, or a server's answer, differs from what was recorded; the message gives place and reason."""


def check_chain(identity: dict[str, Any], lines: list[str]) -> tuple[Entries, dict[int, bytes]]:
    """Recompute the hash of every entry from the one before it.

    Returns:
        The entries, and their hashes by sequence, with the one that the first entry is chained to.

    Raises:
        ChangedError: at the first entry that was changed.
    """
    last, hash_ = 0, hashlib.sha256(f"dejavu ledger {identity['ledger_id']}".encode()).digest()
    entries, hashes = Entries(), {last: hash_}
    for line in lines:
        row = json.loads(line)
        text, sequence = row["canonical"], row["sequence"]
        if type(sequence) is not int:
            raise ChangedError(f"after entry {last}: {sequence!r} is no sequence; expected {last + 1}")
        hash_ = hashlib.sha256(hash_ + text.encode()).digest()
        if hash_.hex() != row["hash"]:
            raise ChangedError(f"entry {sequence}: its hash is not that of its text after the entry before it")
        entry = json.loads(text, parse_constant=_no_number)
        if json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False) != text:
            raise ChangedError(f"entry {sequence}: its text is not in canonical form")
        if type(entry["sequence"]) is not int or not sequence == entry["sequence"] == last + 1:
            raise ChangedError(f"entry {sequence}: expected entry {last + 1}")
        last = sequence
        entries[sequence], hashes[sequence] = entry, hash_
    return entries, hashes


def _no_number(text: str) -> NoReturn:
    """Refuse NaN and Infinity, which no comparison of times finds to be wrong."""
    raise ChangedError(f"{text} in an entry, which is no number")


def check_checkpoint(kept: dict[str, Any], identity: dict[str, Any], entries: Entries, hashes: dict[int, bytes]) -> str:
    """Check ledger, signature and hash of a checkpoint, and the times of the entries before and after it.

    Returns:
        A line for the reader.

    Raises:
        ChangedError: if the checkpoint is not one of these entries.
    """
    kept = kept.get("checkpoint", kept)
    for name, own in (("ledger_id", kept["ledgerId"]), ("epoch", kept["epoch"])):
        if own != identity[name]:
            raise ChangedError(f"the checkpoint's {name} is {own}, the export's {identity[name]}")
    sequence, hash_ = int(kept.get("sequence", 0)), base64.b64decode(kept["hash"])
    key = base64.b64decode(kept["publicKey"])
    signed = (datetime.fromisoformat(kept["signedTime"]) - EPOCH) // timedelta(microseconds=1)
    text = f"dejavu checkpoint 1\n{kept['ledgerId']}\n{kept['epoch']}\n{sequence}\n{hash_.hex()}\n{signed}\n"
    if not _is_signed(key, base64.b64decode(kept["signature"]), text.encode()):
        raise ChangedError("the checkpoint's signature is not valid")
    if sequence not in hashes:
        raise ChangedError(f"the checkpoint is at entry {sequence}, which the export does not have")
    if hashes[sequence] != hash_:
        raise ChangedError(f"entry {sequence} or one before it is not the one that was signed")
    for number, entry in entries.items():
        time = _time_of(entry, entries)
        # A shadow may have waited before it was recorded.
        if number > sequence and entry["kind"] != "shadow" and time < signed - CLOCK_TOLERANCE:
            raise ChangedError(f"entry {number} is after the checkpoint, which was signed later than the entry's time")
        if number <= sequence and time > signed + CLOCK_TOLERANCE:
            raise ChangedError(f"entry {number} is in the checkpoint, which was signed earlier than the entry's time")
    return f"nothing up to entry {sequence} was changed since {kept['signedTime']}; signed with {key.hex()}"


def _time_of(entry: Entry, entries: Entries) -> float:
    """Return the microseconds at which an entry was recorded, or its forecast was made; NaN for an unknown kind."""
    kind, payload = entry["kind"], entry["payload"]
    if kind == "market" and "requested_us" not in payload:
        return _time_of(entries[payload["forecast_sequence"]], entries)
    # By the kind: a forecast may have further keys, which prove nothing.
    if kind in {"forecast", "shadow"}:
        return float(payload["forecast"]["generated_us"])
    names = {"outcome": "recorded_us", "model": "changed_us", "market": "requested_us"}
    return float(payload[names[kind]]) if kind in names else math.nan


def _is_signed(key: bytes, signature: bytes, text: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only a checkpoint needs it
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except InvalidSignature:
        return False
    return True
