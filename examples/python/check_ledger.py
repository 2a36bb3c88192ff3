"""Checks an export of a ledger: its chain of hashes, and a checkpoint that was kept elsewhere.

dejavu checkpoint --out monday.json                           # some day; keep it where the operator cannot write
dejavu-server ledger export-entries --out entries.jsonl       # any later day
python examples/python/check_ledger.py entries.jsonl --checkpoint monday.json

The hashes need the standard library alone; the signature of the checkpoint (Ed25519) needs the package cryptography.
With --target HOST:PORT it also compares the lists of a server, under every filter, with the lists computed from the
entries; this needs grpcio and the code that protoc generates from protos/. It was written from docs/verification.md and
needs nothing else of this project.

Exit codes: 0 sound · 1 something was changed; the first change found is printed · 2 wrong usage, or the export can't be
read, or is older than the server's list.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

MINUTES = {"halftime": 24, "final": 48}
"""Minutes of play up to a horizon."""

LATE_SECONDS = 120
"""Seconds of play by which a forecast may be behind the newest one of its game."""

LATE_AFTER = 600 * 10**6
"""Microseconds after which a forecast comes too late for the newest second of play of its game."""

LONGEST_GAME = 12 * 3600 * 10**6
"""Microseconds after its first forecast by which a game is over."""

CLOCK_TOLERANCE = 120 * 10**6
"""Microseconds by which clocks may differ, with the time that a call may take."""

TOLERANCE = 1e-9
MOST_EMPTY_PAGES = 1000
"""Maximum number of empty pages in a row; a server reads hundreds of forecasts for each."""

MOST_REVISIONS = 500
"""Revisions of an outcome that a server lists: the newest ones."""

CONFIDENCES = (0.6, 0.8, 0.95)
"""Values of min_confidence by which forecasts are listed."""

NOT_COMPARED = {
    "dejavu.v1.MarketAnswer.notice",
    "dejavu.v1.MarketAnswer.warnings",
    "dejavu.v1.ReliabilityWarning.text",
}
"""Texts for people, which are not in the chain. Explanations are not listed."""

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

Entry = dict[str, Any]
Place = tuple[str, str]
"""A game and a horizon."""


class ChangedError(Exception):
    """The export, or a server's list, differs from the recorded entries; the message gives place and reason."""


class OldExportError(ValueError):
    """A server's list may differ from the export because of later entries."""


def main() -> int:
    """Check the files and the server of the command line, and print the result; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("entries", type=Path, help="file of dejavu-server ledger export-entries")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="file of dejavu checkpoint")
    parser.add_argument("--target", metavar="HOST:PORT", help="a server, whose list to compare with the entries")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="its token, with the scope read")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificate of its authority, if it has TLS")
    options = parser.parse_args()
    try:
        identity, *lines = options.entries.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        entries, hashes = check_chain(json.loads(identity), lines)
        say(f"{len(entries)} entries, chained; the last hash is {hashes[max(hashes)].hex()}")
        check_hindsight(entries)
        check_revisions(entries)
        for line in (check_shadows(entries), check_models(entries)):
            if line:
                say(line)
        if options.checkpoint:
            say(check_checkpoint(json.loads(options.checkpoint.read_text()), json.loads(identity), entries, hashes))
        if options.target:
            token = options.token_file.read_text().strip() if options.token_file else ""
            authority = options.ca.read_bytes() if options.ca else b""
            say(check_listed(options.target, token, authority, json.loads(identity), entries))
    except ChangedError as error:
        say(error)
        return 1
    except (OSError, ValueError, KeyError, TypeError, ModuleNotFoundError) as error:
        say(f"can't check: {type(error).__name__}: {error}", error=True)
        return 2
    return 0


def say(text: object, *, error: bool = False) -> None:
    """Print a line, with unprintable characters, such as a terminal's control sequences in foreign texts, escaped."""
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))
    print(line, file=sys.stderr if error else sys.stdout)


def check_chain(identity: dict[str, Any], lines: list[str]) -> tuple[dict[int, Entry], dict[int, bytes]]:
    """Recompute the hash of every entry from the one before it.

    Returns:
        The entries, and their hashes, by sequence; the hashes also have the one that the first entry is chained to.
    """
    last, hash_ = 0, hashlib.sha256(f"dejavu ledger {identity['ledger_id']}".encode()).digest()
    entries, hashes = dict[int, Entry](), {last: hash_}
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


def check_shadows(entries: dict[int, Entry]) -> str:
    """Check that each shadow is of another model than the forecast beside it."""
    count = 0
    for sequence, entry in entries.items():
        payload = entry["payload"]
        if entry["kind"] != "shadow":
            continue
        count += 1
        beside = entries[payload["of"]]
        mine, other = payload["forecast"], beside["payload"]["forecast"]
        if mine["model_version"] == other["model_version"] or mine["elapsed_minutes"] != other["elapsed_minutes"]:
            raise ChangedError(f"entry {sequence}: a shadow must be of another model and of its forecast's minute")
    return f"{count} shadows, each beside an earlier forecast of another model" if count else ""


def check_hindsight(entries: dict[int, Entry]) -> None:
    """Check that no forecast, market or shadow follows an outcome of its moment, and that late forecasts are marked."""
    games, priced = Games(), set[tuple[int, str]]()
    for sequence, entry in entries.items():
        payload, kind = entry["payload"], entry["kind"]
        if kind == "outcome":
            games.add_outcome(entry)
        if kind == "forecast":
            _check_minute(entry)
        of = {"forecast": sequence, "market": payload.get("forecast_sequence"), "shadow": payload.get("of")}.get(kind)
        if of is None:
            continue  # no forecast is needed
        forecast = entries.get(of)
        if forecast is None or forecast["kind"] != "forecast" or of > sequence:
            raise ChangedError(f"entry {sequence}: a {kind} refers to entry {of}, which is not an earlier forecast")
        _check_outcomes(entry, forecast, games)
        if kind == "market":
            if (of, _kind_of(entry)) in priced:
                raise ChangedError(f"entry {sequence}: a second market of entry {of}; only the first one counts")
            priced.add((of, _kind_of(entry)))
            _check_market(entry, forecast, games, entries)
        if kind == "forecast":
            _check_late(entry, games)
            games.add_forecast(entry)


def _check_outcomes(entry: Entry, forecast: Entry, games: Games) -> None:
    """Check that no outcome that a forecast precedes stands; for a shadow, which is never late, none was withdrawn."""
    sequence, kind = entry["sequence"], entry["kind"]
    if (outcome := games.outcome_before(forecast)) is not None:
        raise ChangedError(f"entry {sequence}: a {kind} after the outcome at entry {outcome}, with hindsight")
    if kind == "shadow" and games.was_withdrawn(forecast):
        raise ChangedError(f"entry {sequence}: a shadow after an outcome that was withdrawn, with hindsight")


def check_revisions(entries: dict[int, Entry]) -> None:
    """Check that the revisions of each forecast and outcome count from 0 without gaps, in the order of the entries."""
    newest = dict[str, int]()
    for sequence, entry in entries.items():
        kind, revision = entry["kind"], entry["revision"]
        if kind not in {"forecast", "outcome"}:
            continue
        of = _key(entry) if kind == "forecast" else json.dumps(_place(entry["payload"]))
        if revision != newest.get(of, -1) + 1:
            raise ChangedError(f"entry {sequence}: revision {revision} after {newest.get(of, 'none')}")
        newest[of] = revision


def _check_minute(entry: Entry) -> None:
    """Check that a forecast has the minute of its pattern, and that this is before its horizon.

    Otherwise a forecast of the half as of minute 30 could follow the outcome of the half, which does not forbid it.
    """
    request, minute = entry["payload"]["request"], entry["payload"]["forecast"]["elapsed_minutes"]
    horizon, minutes = request["horizon"], len(request["pattern"])
    if type(request["game_id"]) is not str or type(minute) is not int or not minute == minutes < MINUTES[horizon]:
        of = f"a forecast of {horizon} as of minute {minute!r}, with a pattern of {minutes} minutes"
        raise ChangedError(f"entry {entry['sequence']}: {of}, of game {request['game_id']!r}")
    elapsed = _elapsed(entry)
    over = horizon == "halftime" and elapsed >= 60 * MINUTES[horizon]
    if "moment" in request and (over or minute != min(int(elapsed // 60), MINUTES["final"] - 1)):
        raise ChangedError(f"entry {entry['sequence']}: a moment after {elapsed:g} s as of minute {minute}")


def _check_market(entry: Entry, forecast: Entry, games: Games, entries: dict[int, Entry]) -> None:
    """Check that a market was recorded with its forecast or has the time of its request, and was in time then.

    If it was not evaluated by the forecast, the model had learned from a later outcome.
    """
    payload, of = entry["payload"], forecast["sequence"]
    known, learned = forecast["payload"]["forecast"]["calibration_sequence"], payload.get("calibration_sequence")
    is_earlier = type(learned) is int and known < learned < entry["sequence"]
    if learned is not None and not (is_earlier and entries.get(learned, entry)["kind"] == "outcome"):
        text = f"a market that had learned from entry {learned!r}, its forecast from entry {known}"
        raise ChangedError(f"entry {entry['sequence']}: {text}")
    between = [entries[each] for each in range(of + 1, entry["sequence"])] if "requested_us" not in payload else []
    if any(each["payload"].get("forecast_sequence") != of or "requested_us" in each["payload"] for each in between):
        raise ChangedError(f"entry {entry['sequence']}: a market sent with entry {of}, but not recorded with it")
    made = payload.get("requested_us", forecast["payload"]["forecast"]["generated_us"])
    if "late" in forecast or games.late(forecast, made, given=""):
        raise ChangedError(f"entry {entry['sequence']}: a market of entry {of}, which was late by then")
    content = forecast["payload"]
    minutes = 10 if _elapsed(forecast) == 24 * 60 else 1
    if made - content["forecast"]["generated_us"] > minutes * 60 * 1_000_000:
        raise ChangedError(f"entry {entry['sequence']}: a market of entry {of}, more than {minutes} min after it")


_KINDS = ("lead", "total")
"""Kinds of markets, in the order of a dejavu.v1.RecordedPrediction."""


def _kind_of(market: Entry) -> str:
    """Return what a market is on: lead or total."""
    return str(market["payload"]["market"]["kind"])


def _check_late(entry: Entry, games: Games) -> None:
    """Check that a forecast is marked as late exactly if it is."""
    request, marked = entry["payload"]["request"], entry.get("late", "")
    late = games.late(entry, entry["payload"]["forecast"]["generated_us"], request.get("game_date", ""))
    if marked != late:
        text = f"marked as late: {marked or 'not'}; by the entries before it: {late or 'not'}"
        raise ChangedError(f"entry {entry['sequence']}: {text}")


class Games:
    """State of each game by the entries so far."""

    def __init__(self) -> None:
        self._standing: dict[Place, int] = {}  # the entry of each outcome that is not withdrawn
        self._withdrawn = set[Place]()  # once, after the first forecast of the game
        self._newest: dict[str, tuple[float, int]] = {}  # by game: newest second of play, and since when it is recorded
        self._first: dict[str, int] = {}  # by game: when its first forecast was made

    def add_outcome(self, entry: Entry) -> None:
        """Take note of a revision of an outcome."""
        place = _place(entry["payload"])
        if not entry["payload"].get("withdrawn"):
            self._standing.setdefault(place, entry["sequence"])
            return
        self._standing.pop(place, None)
        if place[0] in self._first:
            self._withdrawn.add(place)

    def add_forecast(self, entry: Entry) -> None:
        """Take note of a forecast."""
        forecast, game = entry["payload"]["forecast"], entry["payload"]["request"]["game_id"]
        elapsed, made = _elapsed(entry), forecast["generated_us"]
        self._first[game] = min(made, self._first.get(game, made))
        newest, since = self._newest.get(game, (0.0, made))
        if elapsed > newest or (elapsed == newest and made < since):
            self._newest[game] = elapsed, made

    def outcome_before(self, entry: Entry) -> int | None:
        """Return the entry of a current outcome of a moment after that of a forecast; None if there is none."""
        return next((self._standing[at] for at in _preceded(entry) if at in self._standing), None)

    def was_withdrawn(self, entry: Entry) -> bool:
        """Return whether an outcome that a forecast precedes was withdrawn after the first forecast of its game."""
        return any(at in self._withdrawn for at in _preceded(entry))

    def late(self, entry: Entry, made: int, given: str) -> str:
        """Return why a forecast made at a time, with a given date of its game, is late; empty if it is not."""
        game, elapsed = entry["payload"]["request"]["game_id"], _elapsed(entry)
        newest, since = self._newest.get(game, (0.0, made))
        over = (given and _evening(made) > given) or made - self._first.get(game, made) > LONGEST_GAME
        if self.was_withdrawn(entry):
            return "reported"
        if over and not _is_replay(entry):
            return "game_date"
        if elapsed < newest - LATE_SECONDS:
            return "later_minute"
        soon = newest < elapsed < newest + 60 and _period(elapsed) == _period(newest)
        return "time" if (elapsed <= newest or soon) and made - since > LATE_AFTER else ""


def check_models(entries: dict[int, Entry]) -> str:
    """Follow the champion from the first change of models."""
    champion, since, count = "", 0, 0
    for entry in (each for each in entries.values() if each["kind"] == "model"):
        change, count = entry["payload"], count + 1
        if change["action"] not in {"promote", "rollback"}:
            continue
        if change.get("from_version", "") != champion:
            raise ChangedError(f"entry {entry['sequence']}: it replaces {change.get('from_version')}, not {champion}")
        champion, since = change["model_version"], entry["sequence"]
    return f"{count} changes of models; {champion or 'no model'} is champion since entry {since}" if count else ""


def check_checkpoint(
    kept: dict[str, Any], identity: dict[str, Any], entries: dict[int, Entry], hashes: dict[int, bytes]
) -> str:
    """Check ledger, signature and hash of a checkpoint, and the times of the entries before and after it."""
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
    for number, entry in entries.items():
        time = _recorded(entry, entries)
        # A shadow may have waited before it was recorded.
        if number > sequence and entry["kind"] != "shadow" and time < microseconds - CLOCK_TOLERANCE:
            raise ChangedError(f"entry {number} is after the checkpoint, which was signed later than the entry's time")
        if number <= sequence and time > microseconds + CLOCK_TOLERANCE:
            raise ChangedError(f"entry {number} is in the checkpoint, which was signed earlier than the entry's time")
    return f"nothing up to entry {sequence} was changed since {kept['signedTime']}; signed with {key.hex()}"


def dial(target: str, token: str, authority: bytes) -> Any:
    """Return a channel: with TLS if an authority is given; without it a token goes to this machine only."""
    import grpc  # noqa: PLC0415 - only this check needs a server

    if authority:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(authority))
    if token and not target.startswith(("127.0.0.1:", "localhost:", "[::1]:")):
        raise ValueError("a token is sent over TLS only: expected --ca FILE")
    return grpc.insecure_channel(target)


def check_listed(target: str, token: str, authority: bytes, identity: dict[str, Any], entries: dict[int, Entry]) -> str:
    """Compare the lists of a server, under every filter, and its revisions of outcomes with the entries."""
    import grpc  # noqa: PLC0415 - only this check needs a server

    record, last = Record(entries), max(entries, default=0)
    try:
        with dial(target, token, authority) as channel:
            server = Server(channel, token, last)
            if (ledger_id := server.checkpoint().ledger_id) != identity["ledger_id"]:
                raise ChangedError(f"the server's ledger is {ledger_id}, the export's {identity['ledger_id']}")
            newer = _compare_forecasts(server, record, last)
            _compare_filters(server, record, last)
            _compare_revisions(server, record)
    except grpc.RpcError as error:
        raise OSError(f"{target}: {error.code().name}: {error.details()}") from error
    after = f"; {newer} newer than the export were not compared" if newer else ""
    return f"{len(record.forecasts)} forecasts, as the server lists them, are those of the entries{after}"


class Server:
    """A server that lists a record.

    Args:
        channel: a channel to it.
        token: a token for it; empty for none.
        last: the last entry of the export.
    """

    def __init__(self, channel: Any, token: str, last: int) -> None:
        from dejavu.v1 import record_service_pb2  # noqa: PLC0415
        from dejavu.v1.record_service_pb2_grpc import RecordServiceStub  # noqa: PLC0415

        self._pb, self._service, self._last = record_service_pb2, RecordServiceStub(channel), last
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._options: dict[str, Any] = {"timeout": 60, "metadata": metadata}

    def checkpoint(self) -> Any:
        """Return the head of its ledger."""
        return self._service.GetCheckpoint(self._pb.GetCheckpointRequest(), **self._options).checkpoint

    def listed(self, conditions: dict[str, Any]) -> Iterator[Any]:
        """Yield the forecasts that it lists under conditions."""
        everything = {"page_size": 500, "include_superseded": True, "include_replays": True}
        request = self._pb.ListPredictionsRequest(**(everything | conditions))
        empty = 0
        while empty < MOST_EMPTY_PAGES:
            page = self._service.ListPredictions(request, **self._options)
            yield from page.predictions
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
            empty = 0 if page.predictions else empty + 1
        raise ValueError(f"the server returned {empty} empty pages in a row and no last page")

    def outcomes(self, place: Place) -> Any:
        """Return the revisions of an outcome that it lists."""
        of: dict[str, Any] = {"game_id": place[0], "horizon": _enum(place[1])}
        return self._service.GetPrediction(self._pb.GetPredictionRequest(**of), **self._options).outcomes

    def differs(self, text: str) -> NoReturn:
        """Raise the error of a list that differs from the export: OldExportError if later entries may be the reason."""
        if (head := self.checkpoint().sequence) > self._last:
            missing = f"the export lacks entries {self._last + 1} to {head}, which may be why: export again"
            raise OldExportError(f"{text}; {missing}")
        raise ChangedError(text)


class Record:
    """The lists that a server must return, computed from the entries of a ledger.

    Args:
        entries: the entries by sequence.
    """

    def __init__(self, entries: dict[int, Entry]) -> None:
        of_kind: dict[str, dict[int, Entry]] = {"forecast": {}, "outcome": {}, "market": {}}
        for sequence, entry in entries.items():
            of_kind.setdefault(entry["kind"], {})[sequence] = entry
        self.forecasts = of_kind["forecast"]
        self._markets = {
            (each["payload"]["forecast_sequence"], _kind_of(each)): each for each in of_kind["market"].values()
        }
        self._outcomes: dict[Place, list[Entry]] = {}
        for entry in of_kind["outcome"].values():
            self._outcomes.setdefault(_place(entry["payload"]), []).append(entry)
        self._begins: dict[str, int] = {}  # by game: its first forecast
        for sequence, entry in self.forecasts.items():
            self._begins.setdefault(entry["payload"]["request"]["game_id"], sequence)
        self._newest: dict[str, int] = {}  # by key: the highest revision that is not late
        for entry in self.forecasts.values():
            if not self._late(entry):
                self._newest[_key(entry)] = max(entry["revision"], self._newest.get(_key(entry), 0))

    def revisions(self) -> dict[Place, list[dict[str, Any]]]:
        """Return the revisions of the outcomes of all games and horizons with forecasts, as a server lists them."""
        places = {_place(entry["payload"]["request"]) for entry in self.forecasts.values()}
        return {at: [_outcome(each) for each in self._outcomes.get(at, ())][-MOST_REVISIONS:] for at in sorted(places)}

    def filters(self) -> Iterator[tuple[dict[str, Any], set[int]]]:
        """Yield conditions of a list, and the forecasts that meet them."""
        found: dict[tuple[tuple[str, Any], ...], set[int]] = {
            (condition,): set()
            for condition in (
                *(("settled", True), ("settled", False), ("include_superseded", False), ("include_replays", False)),
                *(("horizon", _enum(horizon)) for horizon in MINUTES),
                *(("min_confidence", confidence) for confidence in CONFIDENCES),
            )
        }
        for sequence, entry in self.forecasts.items():
            for conditions in self._conditions(entry):
                found.setdefault(conditions, set()).add(sequence)
        for conditions, sequences in found.items():
            yield dict(conditions), sequences

    def _conditions(self, entry: Entry) -> Iterator[tuple[tuple[str, Any], ...]]:
        """Yield the conditions that a forecast meets."""
        request, forecast = entry["payload"]["request"], entry["payload"]["forecast"]
        day = min(_game_date(entry), _evening(forecast["generated_us"]))
        yield (("from_date", day), ("to_date", day))
        yield (("settled", self._standing(entry) is not None),)
        yield (("horizon", _enum(request["horizon"])),)
        yield (("game_id", request["game_id"]),)
        yield (("model_version", forecast["model_version"]),)
        yield (("elapsed_minutes", forecast["elapsed_minutes"]),)
        for team in {request["home_team"], request["away_team"]} - {""}:
            yield (("team", team),)
        if not self._superseded(entry):
            yield (("include_superseded", False),)
        if not _is_replay(entry):
            yield (("include_replays", False),)
        probability = forecast["home_lead_probability"]
        for confidence in CONFIDENCES:
            if max(probability, 1.0 - probability) >= confidence:
                yield (("min_confidence", confidence),)

    def listed(self, sequence: int) -> dict[str, Any]:
        """Return the dejavu.v1.RecordedPrediction of a forecast: values by the paths of its fields."""
        entry = self.forecasts[sequence]
        standing = self._standing(entry)
        markets = {kind: market for kind in _KINDS if (market := self._markets.get((sequence, kind))) is not None}
        parts: dict[str, Any] = {
            "forecast": _forecast(entry, self._late(entry)),
            "pattern": entry["payload"]["request"]["pattern"],
            "superseded": self._superseded(entry),
            "recorded_by": entry.get("made_by"),
        }
        if standing is not None:
            parts["outcome"] = _outcome(standing)
            bets = {
                kind: market
                for kind, market in markets.items()
                if not self._late(entry) and not self._was_sent_after(entry, market)
            }
            parts["settlement"] = _settlement(entry, standing, bets)
            parts["settlement"]["first_outcome_sequence"] = self._outcomes[_place(standing["payload"])][0]["sequence"]
        if markets:
            parts["markets"] = [
                _market(market, sent_after=self._was_sent_after(entry, market)) for market in markets.values()
            ]
        return parts

    def _standing(self, forecast: Entry) -> Entry | None:
        """Return the outcome of a forecast: the newest revision, unless it withdraws it."""
        revisions = self._outcomes.get(_place(forecast["payload"]["request"]))
        return revisions[-1] if revisions and not revisions[-1]["payload"].get("withdrawn") else None

    def _superseded(self, entry: Entry) -> bool:
        return self._newest.get(_key(entry), 0) > int(entry["revision"])

    def _late(self, entry: Entry) -> str:
        made = entry["payload"]["forecast"]["generated_us"]
        return str(entry.get("late", "")) or ("observed" if made > self._observed_since(entry) else "")

    def _was_sent_after(self, forecast: Entry, market: Entry) -> bool:
        return bool(market["payload"].get("requested_us", -math.inf) > self._observed_since(forecast))

    def _observed_since(self, forecast: Entry) -> float:
        """Return when an outcome that a forecast precedes was first observed: the end, or before it the half."""
        reports = chain.from_iterable(self._first_report(place) for place in _preceded(forecast))
        times = [each["payload"]["observed_us"] for each in reports]
        return math.inf if _is_replay(forecast) else min(times, default=math.inf)

    def _first_report(self, place: Place) -> list[Entry]:
        """Return the first report of an outcome, if there is one; those withdrawn before any forecast do not count."""
        revisions = self._outcomes.get(place, [])
        begins = self._begins.get(place[0], math.inf)
        void = [
            each["revision"] for each in revisions if each["payload"].get("withdrawn") and each["sequence"] < begins
        ]
        return [each for each in revisions if each["revision"] == max(void, default=-1) + 1]


def _place(payload: dict[str, Any]) -> Place:
    return str(payload["game_id"]), str(payload["horizon"])


def _preceded(forecast: Entry) -> list[Place]:
    """Return the outcomes that a forecast precedes: the end, or before it the half."""
    game, minute = forecast["payload"]["request"]["game_id"], forecast["payload"]["forecast"]["elapsed_minutes"]
    return [(game, horizon) for horizon, end in MINUTES.items() if minute < end]


def _elapsed(forecast: Entry) -> float:
    """Return the seconds of play since tip-off: at the moment of a forecast, or at the end of its last minute."""
    request = forecast["payload"]["request"]
    if "moment" not in request:
        return 60.0 * int(forecast["payload"]["forecast"]["elapsed_minutes"])
    moment = request["moment"]
    overtimes = max(moment["period"] - 4, 0)
    return float(720 * (moment["period"] - overtimes) + 300 * overtimes - moment["seconds_left"])


def _period(elapsed: float) -> int:
    """Return the period of a time, which includes its end: quarters, then overtimes."""
    return math.ceil(elapsed / 720) if elapsed <= 2880 else 4 + math.ceil((elapsed - 2880) / 300)


def _recorded(entry: Entry, entries: dict[int, Entry]) -> float:
    """Return the time of an entry: when it was recorded, or its forecast was made."""
    kind, payload = entry["kind"], entry["payload"]
    if kind == "market" and "requested_us" not in payload:
        return _recorded(entries[payload["forecast_sequence"]], entries)
    # By the kind: a forecast may have further keys, which prove nothing.
    if kind in {"forecast", "shadow"}:
        return float(payload["forecast"]["generated_us"])
    names = {"outcome": "recorded_us", "model": "changed_us", "market": "requested_us"}
    return float(payload[names[kind]]) if kind in names else math.nan  # another kind is of a later release


def _enum(horizon: str) -> str:
    return f"HORIZON_{horizon.upper()}"


def _key(entry: Entry) -> str:
    """Return the key that all revisions of a forecast share."""
    request, forecast = entry["payload"]["request"], entry["payload"]["forecast"]
    margin = request["pregame_margin"]
    of = (request[name] for name in ("game_id", "horizon", "alpha"))
    made = forecast["elapsed_minutes"], forecast["model_version"], None if margin is None else margin + 0.0
    moment = request.get("moment")
    state = [moment["period"], moment["seconds_left"], moment.get("free_throws", 0)] if moment else []
    return json.dumps([*of, *made, entry.get("made_by", ""), *state])


def _is_replay(forecast: Entry) -> bool:
    return bool(forecast["payload"]["request"]["game_id"].startswith("99"))


def _evening(microseconds: int) -> str:
    """Return the date of the games that are played at a time: it ends at 11:00 UTC."""
    return (EPOCH + timedelta(microseconds=microseconds, hours=-11)).date().isoformat()


def _game_date(forecast: Entry) -> str:
    given = forecast["payload"]["request"].get("game_date")
    return str(given or _evening(forecast["payload"]["forecast"]["generated_us"]))


def _forecast(entry: Entry, late: str) -> dict[str, Any]:
    """Return the fields of a dejavu.v1.Forecast."""
    request, forecast = entry["payload"]["request"], entry["payload"]["forecast"]
    fields = {
        name: request.get(name)
        for name in (
            *("game_id", "home_team", "away_team", "horizon", "alpha", "total_points", "last_score", "pregame_total"),
            *("neutral_site", "possession", "moment"),
        )
    }
    fields |= {
        name: forecast.get(name)
        for name in (
            *("elapsed_minutes", "interval_lower", "interval_upper", "home_lead_probability", "model_version"),
            *("expected_margin", "calibration_sequence", "distribution", "ratings_date"),
            *("expected_margin_terms", "total", "adaptation"),
        )
    }
    fields |= {
        "point_forecast": forecast["point"],
        "coverage_probability": 1.0 - request["alpha"],
        "generated_time": forecast["generated_us"],
        "expires_time": forecast["expires_us"],
        "sequence": entry["sequence"],
        "revision": entry["revision"],
        "late": late,
        "game_date": _game_date(entry),
        "warnings": [{"reason": each} for each in forecast.get("warnings", ())],
    }
    if request["home_team"] or request["away_team"]:
        fields["finals_since"] = forecast.get("finals_since")
    fields |= dict(zip(("home_known", "away_known"), forecast.get("teams_known", ()), strict=False))
    if fields["total"] is not None:
        fields["total"] = fields["total"] | {"point_forecast": fields["total"]["point"]}
    if fields["expected_margin"] is not None:
        given = request["pregame_margin"] is not None
        fields["margin_source"] = request.get("margin_source", "caller") if given else "ratings"
        fields["margin_time"] = request.get("margin_us")
    return fields


def _outcome(entry: Entry) -> dict[str, Any]:
    """Return the fields of a dejavu.v1.Outcome."""
    payload: dict[str, Any] = entry["payload"]
    return payload | {
        "observed_time": payload["observed_us"],
        "recorded_time": payload["recorded_us"],
        "sequence": entry["sequence"],
        "revision": entry["revision"],
        "recorded_by": entry.get("made_by"),
    }


def _settlement(entry: Entry, standing: Entry, bets: dict[str, Entry]) -> dict[str, Any]:
    """Return the fields of a dejavu.v1.Settlement, given the bets that count, by kind."""
    request, forecast, outcome = entry["payload"]["request"], entry["payload"]["forecast"], standing["payload"]
    differential = outcome["differential"]
    led = 1.0 if differential > 0 else 0.0
    fields: dict[str, Any] = {
        "outcome_sequence": standing["sequence"],
        "error": forecast["point"] - differential,
        "absolute_error": abs(forecast["point"] - differential),
        "persistence_absolute_error": abs(
            request.get("moment", {}).get("differential", request["pattern"][-1]) - differential
        ),
        "covered": forecast["interval_lower"] <= differential <= forecast["interval_upper"],
        "brier": (forecast["home_lead_probability"] - led) ** 2,
        "crps": _crps(forecast["distribution"], differential) if forecast.get("distribution") else None,
    }
    total, points, so_far = forecast.get("total"), outcome.get("total_points"), request.get("total_points")
    if total is not None and points is not None and so_far is not None:
        pace = so_far * MINUTES[request["horizon"]] / forecast["elapsed_minutes"]
        fields["total"] = {
            "error": total["point"] - points,
            "absolute_error": abs(total["point"] - points),
            "pace_absolute_error": abs(pace - points),
            "covered": total["interval_lower"] <= points <= total["interval_upper"],
            "crps": _crps(total["distribution"], points),
            **_bet(bets.get("total"), points),
        }
    return fields | _bet(bets.get("lead"), differential)


def _bet(market: Entry | None, points: int) -> dict[str, Any]:
    """Return result and profit of the bet on a market at a differential or total; nothing without a stake."""
    answer = None if market is None else market["payload"]["answer"]
    if market is None or answer is None or answer["side"] is None:
        return {}
    line, is_above = market["payload"]["market"]["line"], answer["side"] in {"home", "over"}
    side, won = answer["above" if is_above else "below"], (points > line) == is_above
    stake = side["stake_fraction"]
    result = "push" if points == line else "won" if won else "lost"
    profit = {"push": 0.0, "won": stake * (side["decimal_odds"] - 1.0), "lost": -stake}[result]
    return {"market_result": result, "market_profit": profit}


def _crps(quantiles: list[float], outcome: float) -> float:
    levels = ((2 * place + 1) / (2 * len(quantiles)) for place in range(len(quantiles)))
    losses = ((level - (outcome < value)) * (outcome - value) for level, value in zip(levels, quantiles, strict=True))
    return 2.0 * math.fsum(losses) / len(quantiles)


def _market(market: Entry, *, sent_after: bool) -> dict[str, Any]:
    """Return the fields of a dejavu.v1.RecordedMarket."""
    asked, answer = market["payload"]["market"], market["payload"]["answer"]
    prices = {
        side: {"american": asked[american]} if (american := f"{side}_american") in asked else {"decimal": asked[odds]}
        for side, odds in (("above", "above_odds"), ("below", "below_odds"))
    }
    added = {
        "kind": asked["kind"],
        "recording": "outcome_known" if sent_after else "recorded",
        "confidence_threshold": answer["policy"]["confidence_threshold"],
        "staking": answer["policy"],
    }
    if asked["kind"] == "total":
        added["lead_staked"] = answer.get("lead_staked", 0.0)
    return {"market": asked | prices, "answer": answer | added, "sequence": market["sequence"]}


def _compare_forecasts(server: Server, record: Record, last: int) -> int:
    """Compare all forecasts that a server lists with the record; return how many are newer than its last entry."""
    shown, newer = set[int](), set[int]()
    for each in server.listed({}):
        sequence = each.forecast.sequence
        if sequence > last:
            newer.add(sequence)
            continue
        if sequence not in record.forecasts:
            raise ChangedError(f"entry {sequence} is listed as a forecast, which it is not")
        shown.add(sequence)
        for path, value, recorded in _differences(each, record.listed(sequence)):
            text = f"entry {sequence}: {path} is listed as {value}, recorded as {recorded}"
            if path.startswith("forecast.") and path != "forecast.late":
                raise ChangedError(text)  # which no later entry changes
            server.differs(text)
    if missing := record.forecasts.keys() - shown:
        raise ChangedError(f"entry {min(missing)}: the server does not list this forecast")
    if newer and (head := server.checkpoint().sequence) < max(newer):
        raise ChangedError(f"entry {max(newer)} is listed as a forecast; the last entry of the ledger is {head}")
    return len(newer)


def _compare_filters(server: Server, record: Record, last: int) -> None:
    """Compare which forecasts a server lists under each filter with the record."""
    for conditions, chosen in record.filters():
        found = {each.forecast.sequence for each in server.listed(conditions) if each.forecast.sequence <= last}
        for sequence in sorted(found ^ chosen):
            lists = "does not list" if sequence in chosen else "lists"
            words = " and ".join(f"{name} {value}" for name, value in conditions.items())
            server.differs(f"entry {sequence}: the server {lists} this forecast with {words}")


def _compare_revisions(server: Server, record: Record) -> None:
    """Compare the revisions of outcomes that a server lists with the record."""
    for place, revisions in record.revisions().items():
        shown = server.outcomes(place)
        for each, recorded in zip(shown, revisions, strict=False):
            for path, value, right in _differences(each, recorded):
                server.differs(f"entry {recorded['sequence']}: {path} is listed as {value}, recorded as {right}")
        if len(shown) != len(revisions):
            of = f"game {place[0]}, {place[1]}"
            server.differs(f"{of}: {len(shown)} revisions of the outcome are listed, {len(revisions)} recorded")


def _differences(message: Any, expected: dict[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Yield the path of each field of a message that is not as expected, its value and the expected one."""
    shown, recorded = dict(_shown(message)), dict(_expected(expected, message.DESCRIPTOR))
    for path in sorted(shown.keys() | recorded.keys()):
        value, right = shown.get(path), recorded.get(path)
        if not _same(value, right):
            yield path, value, right


def _shown(message: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a message that are set, by their paths; times and enums in the form that the chain has."""
    for field, value in message.ListFields():
        at = f"{path}{field.name}"
        if field.full_name in NOT_COMPARED:
            continue
        if field.enum_type is not None:
            prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
            known = field.enum_type.values_by_number.get(value)
            yield at, value if known is None else known.name.removeprefix(prefix).lower()
        elif hasattr(value, "ToMicroseconds"):
            yield at, value.ToMicroseconds()
        elif hasattr(value, "ListFields"):
            yield from _shown(value, f"{at}.")
        elif field.message_type is not None:
            for place, each in enumerate(value):
                yield from _shown(each, f"{at}[{place}].")
        else:
            yield at, value if isinstance(value, str | bytes | bool | int | float) else list(value)


def _expected(fields: dict[str, Any], kind: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield fields in the form of `_shown`. Fields of a later release, which the message type lacks, are left out."""
    for name, value in fields.items():
        field, at = kind.fields_by_name.get(name), f"{path}{name}"
        if field is None or field.full_name in NOT_COMPARED:
            continue
        if isinstance(value, dict):
            yield from _expected(value, field.message_type, f"{at}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for place, each in enumerate(value):
                yield from _expected(each, field.message_type, f"{at}[{place}].")
        else:
            yield at, value


def _same(shown: Any, recorded: Any) -> bool:
    """Return whether a value is as recorded; a field that is not set is 0, false or empty."""
    if isinstance(shown, list) and isinstance(recorded, list):
        return len(shown) == len(recorded) and all(map(_same, shown, recorded))
    if isinstance(shown, float) or isinstance(recorded, float):
        return math.isclose(shown or 0.0, recorded or 0.0, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(shown == recorded or (not shown and not recorded))


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
