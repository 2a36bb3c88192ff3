"""Checks an export of a ledger: its chain of hashes, and a checkpoint that was kept elsewhere.

dejavu checkpoint --out monday.json                           # some day; keep it where the operator cannot write
dejavu-server ledger export-entries --out entries.jsonl       # any later day
python examples/python/check_ledger.py entries.jsonl --checkpoint monday.json

The hashes need the standard library alone; the signature of the checkpoint (Ed25519) needs the package cryptography.
With --target HOST:PORT it also compares what that server lists with the entries; this needs grpcio and the code that
protoc generates from protos/. It was written from docs/verification.md and needs nothing else of this project.

Exit codes: 0 sound · 1 something was changed; the first thing found is printed · 2 wrong usage, or it can't be read.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

LATE = {None: 0, "later_minute": 1, "time": 2, "reported": 3, "game_date": 4}
OBSERVED = 5
LAST_MINUTE_BEFORE_HALF = 23
"""Numbers of dejavu.v1.LateReason: those that an entry may have, and the one that follows from a later outcome."""

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

Entry = dict[str, Any]


class ChangedError(Exception):
    """What the export contains is not what was recorded; the message says where and why."""


def main() -> int:
    """Check what the command line names, and print the result; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("entries", type=Path, help="file of dejavu-server ledger export-entries")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="file of dejavu checkpoint")
    parser.add_argument("--target", metavar="HOST:PORT", help="a server, whose list to compare with the entries")
    options = parser.parse_args()
    try:
        identity, *lines = options.entries.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        entries, hashes = check_chain(json.loads(identity), lines)
        print(f"{len(entries)} entries, chained; the last hash is {hashes[max(hashes)].hex()}")
        if first := min(hashes):
            print(f"The first {first} entries are not in the export: nothing here says what they were.")
        for line in (check_shadows(entries), check_models(json.loads(identity), entries)):
            if line:
                print(line)
        if options.checkpoint:
            print(check_checkpoint(json.loads(options.checkpoint.read_text()), json.loads(identity), hashes))
        if options.target:
            print(check_listed(options.target, entries))
    except ChangedError as error:
        print(error)
        return 1
    except (OSError, ValueError, KeyError, TypeError, ModuleNotFoundError) as error:
        print(f"can't check: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def check_chain(identity: dict[str, Any], lines: list[str]) -> tuple[dict[int, Entry], dict[int, bytes]]:
    """Recompute the hash of every entry from the one before it.

    Returns:
        The entries, and their hashes, by sequence; the hashes also have the one that the first entry is chained to.
    """
    last, hash_ = int(identity["pruned_through"]), bytes.fromhex(identity["pruned_hash"])
    if last == 0 and hash_ != hashlib.sha256(f"dejavu ledger {identity['ledger_id']}".encode()).digest():
        raise ChangedError("the chain does not start from the ledger's id")
    entries, hashes = dict[int, Entry](), {last: hash_}
    for line in lines:
        row = json.loads(line)
        text, sequence = row["canonical"], row["sequence"]
        hash_ = hashlib.sha256(hash_ + text.encode()).digest()
        if hash_.hex() != row["hash"]:
            raise ChangedError(f"entry {sequence}: its hash is not that of its text after the entry before it")
        entry = json.loads(text)
        if json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False) != text:
            raise ChangedError(f"entry {sequence}: its text is not in canonical form")
        if not sequence == entry["sequence"] == last + 1:
            raise ChangedError(f"entry {sequence}: expected entry {last + 1}")
        last = sequence
        entries[sequence], hashes[sequence] = entry, hash_
    return entries, hashes


def check_shadows(entries: dict[int, Entry]) -> str:
    """Check that each shadow stands beside an earlier forecast of another model, and none was made with hindsight."""
    known: dict[tuple[str, int], int] = {}  # by game and the last minute before an outcome that stands: its entry
    count = 0
    for sequence, entry in entries.items():
        payload = entry["payload"]
        if entry["kind"] == "outcome":
            place = payload["game_id"], {"halftime": 23, "final": 47}[payload["horizon"]]
            known.pop(place, None) if payload.get("withdrawn") else known.setdefault(place, sequence)
        if entry["kind"] != "shadow":
            continue
        count += 1
        beside = entries.get(payload["of"])
        if beside is None and payload["of"] < min(entries):
            continue  # it was pruned
        if beside is None or beside["kind"] != "forecast" or payload["of"] >= sequence:
            raise ChangedError(f"entry {sequence}: a shadow beside entry {payload['of']}, no forecast before it")
        mine, other, game_id = (
            payload["forecast"],
            beside["payload"]["forecast"],
            beside["payload"]["request"]["game_id"],
        )
        if mine["model_version"] == other["model_version"] or mine["elapsed_minutes"] != other["elapsed_minutes"]:
            raise ChangedError(f"entry {sequence}: a shadow of the model of its forecast, or of another minute")
        for (of_game, minute), outcome in known.items():
            if of_game == game_id and mine["elapsed_minutes"] <= minute:
                raise ChangedError(f"entry {sequence}: a shadow after the outcome at entry {outcome}")
    return f"{count} shadows, each beside an earlier forecast of another model" if count else ""


def check_models(identity: dict[str, Any], entries: dict[int, Entry]) -> str:
    """Follow the champion from the first change of models, pruned ones included."""
    pruned = [json.loads(text) for text in identity.get("pruned_models", ())]
    champion, since, count = "", 0, 0
    for entry in [*pruned, *(each for each in entries.values() if each["kind"] == "model")]:
        change, count = entry["payload"], count + 1
        if change["action"] not in {"promote", "rollback"}:
            continue
        if change.get("from_version", "") != champion:
            raise ChangedError(f"entry {entry['sequence']}: it replaces {change.get('from_version')}, not {champion}")
        champion, since = change["model_version"], entry["sequence"]
    return f"{count} changes of models; {champion or 'no model'} is champion since entry {since}" if count else ""


def check_checkpoint(kept: dict[str, Any], identity: dict[str, Any], hashes: dict[int, bytes]) -> str:
    """Check that a checkpoint is of this ledger and signed, and that its entry has the hash that was signed."""
    kept = kept.get("checkpoint", kept)
    for name in ("ledger_id", "epoch"):
        if kept[_camel(name)] != identity[name]:
            raise ChangedError(f"the checkpoint's {name} is {kept[_camel(name)]}, the export's {identity[name]}")
    sequence, hash_ = int(kept.get("sequence", 0)), base64.b64decode(kept["hash"])
    key, microseconds = base64.b64decode(kept["publicKey"]), _microseconds(kept["signedTime"])
    text = (
        f"dejavu checkpoint 1\n{kept['ledgerId']}\n{kept['epoch']}\n{sequence}\n{hash_.hex()}\n{microseconds}\n"
    ).encode()
    if not _is_signed(key, base64.b64decode(kept["signature"]), text):
        raise ChangedError("the checkpoint's signature is not valid")
    if sequence not in hashes:
        raise ChangedError(f"the checkpoint is at entry {sequence}, which the export does not have")
    if hashes[sequence] != hash_:
        raise ChangedError(f"entry {sequence} or one before it is not the one that was signed")
    return f"nothing up to entry {sequence} was changed since {kept['signedTime']}; signed with {key.hex()}"


def check_listed(target: str, entries: dict[int, Entry]) -> str:
    """Compare every forecast that a server lists, with its outcome and market, with the entries."""
    import grpc  # noqa: PLC0415 - only this check needs a server

    from dejavu.v1 import record_service_pb2 as pb  # noqa: PLC0415
    from dejavu.v1.record_service_pb2_grpc import RecordServiceStub  # noqa: PLC0415

    request = pb.ListPredictionsRequest(page_size=500, include_superseded=True, include_replays=True)
    markets = {entry["payload"]["forecast_sequence"]: entry for entry in entries.values() if entry["kind"] == "market"}
    count, observed = 0, first_observed(entries)
    try:
        with grpc.insecure_channel(target) as channel:
            service = RecordServiceStub(channel)
            while True:
                page = service.ListPredictions(request, timeout=60)
                for each in page.predictions:
                    # What was recorded since the export is not in it.
                    if each.forecast.sequence in entries:
                        _compare_listed(each, entries, markets, _observed_since(each.forecast, observed))
                        count += 1
                if not page.next_page_token:
                    break
                request.page_token = page.next_page_token
    except grpc.RpcError as error:
        raise OSError(f"{target}: {error.code().name}: {error.details()}") from error
    expected = sum(entry["kind"] == "forecast" for entry in entries.values())
    if count != expected:
        raise ChangedError(f"the server lists {count} of the {expected} forecasts")
    return f"{count} forecasts, as the server lists them, are those of the entries"


def first_observed(entries: dict[int, Entry]) -> dict[tuple[str, int], int]:
    """Return by game and number of the horizon when an outcome was observed, as its first report says."""
    times: dict[tuple[str, int], int] = {}
    for entry in entries.values():
        payload = entry["payload"]
        if entry["kind"] == "outcome" and not payload["game_id"].startswith("99"):
            place = payload["game_id"], {"halftime": 1, "final": 2}[payload["horizon"]]
            times.setdefault(place, payload["observed_us"])
    return times


def _observed_since(forecast: Any, observed: dict[tuple[str, int], int]) -> float:
    """Return when an outcome that a forecast precedes was first observed: the end, or before it the half."""
    preceded = (1, 2) if forecast.elapsed_minutes <= LAST_MINUTE_BEFORE_HALF else (2,)
    return min(observed.get((forecast.game_id, horizon), math.inf) for horizon in preceded)


def _compare_listed(each: Any, entries: dict[int, Entry], markets: dict[int, Entry], observed: float) -> None:
    """Compare one listed forecast with its entries, given when its outcome was observed."""
    listed, entry = each.forecast, entries[each.forecast.sequence]
    forecast, request = entry["payload"]["forecast"], entry["payload"]["request"]
    pairs: list[tuple[str, object, object]] = [
        ("revision", listed.revision, entry["revision"]),
        ("late", listed.late, LATE[entry.get("late")] or OBSERVED * (forecast["generated_us"] > observed)),
        ("game_id", listed.game_id, request["game_id"]),
        ("horizon", listed.horizon, {"halftime": 1, "final": 2}[request["horizon"]]),
        ("alpha", listed.alpha, request["alpha"]),
        ("pattern", list(each.pattern), request["pattern"]),
        ("total_points", listed.total_points, request.get("total_points", 0)),
        ("last_score.seconds", listed.last_score.seconds, request.get("last_score", {}).get("seconds", 0)),
        ("elapsed_minutes", listed.elapsed_minutes, forecast["elapsed_minutes"]),
        ("model_version", listed.model_version, forecast["model_version"]),
        ("generated_time", listed.generated_time.ToMicroseconds(), forecast["generated_us"]),
        ("point_forecast", listed.point_forecast, forecast["point"]),
        ("interval_lower", listed.interval_lower, forecast["interval_lower"]),
        ("interval_upper", listed.interval_upper, forecast["interval_upper"]),
        ("home_lead_probability", listed.home_lead_probability, forecast["home_lead_probability"]),
        ("distribution", list(listed.distribution), forecast.get("distribution", [])),
    ]
    if each.HasField("outcome") and each.outcome.sequence in entries:
        recorded = entries[each.outcome.sequence]["payload"]
        pairs += [
            (f"outcome.{name}", getattr(each.outcome, name), recorded[name]) for name in ("game_id", "differential")
        ]
    if listed.sequence in markets:
        asked, answer = (markets[listed.sequence]["payload"][part] for part in ("market", "answer"))
        side = {None: 0, "home": 1, "away": 2}[answer["side"]]
        pairs += [
            ("market.line", each.market.line, asked["line"]),
            ("market_answer.side", each.market_answer.side, side),
        ]
        for name in ("home", "away"):
            given = getattr(each.market_answer, name)
            pairs += [
                (f"{name}.{part}", getattr(given, part), answer[name][part])
                for part in ("decimal_odds", "stake_fraction")
            ]
    for name, shown, recorded in pairs:
        if shown != recorded:
            raise ChangedError(f"entry {listed.sequence}: {name} is listed as {shown}, recorded as {recorded}")


def _is_signed(key: bytes, signature: bytes, text: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only a checkpoint needs it
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ModuleNotFoundError("a checkpoint's signature needs the package cryptography") from None
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except InvalidSignature:
        return False
    return True


def _microseconds(time: str) -> int:
    return (datetime.fromisoformat(time) - EPOCH) // timedelta(microseconds=1)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


if __name__ == "__main__":
    sys.exit(main())
