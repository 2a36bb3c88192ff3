"""Compares what a server answers with what its record gives: lists, outcomes, scorecards and leaderboards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import grpc
import lists
from cards import METRICS, Cards
from chain import ChangedError
from rules import Record

from dejavu.v1 import record_service_pb2
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub

TOLERANCE = 1e-9

# Number of bets that a scorecard is asked to list; more are compared in its sums alone.
MOST_BETS = 500

# Maximum number of empty pages in a row; a server reads hundreds of forecasts for each.
MOST_EMPTY_PAGES = 1000

# Texts for people, which are not in the chain, the number of doubtful games, and shadows. Explanations are not
# listed.
NOT_COMPARED = {
    *("dejavu.v1.MarketAnswer.notice", "dejavu.v1.MarketAnswer.warnings", "dejavu.v1.MarketRecord.notice"),
    *("dejavu.v1.ReliabilityWarning.text", "dejavu.v1.Scorecard.doubtful_games"),
    "dejavu.v1.GetLeaderboardResponse.shadows",
}


class OldExportError(ValueError):
    """A server's answer may differ from the export because of later entries."""


class Server:
    """A server that answers from a record.

    Args:
        channel: a channel to it.
        token: a token for it; empty for none.
        last: the last entry of the export.
    """

    def __init__(self, channel: grpc.Channel, token: str, last: int) -> None:
        self._service, self.last = RecordServiceStub(channel), last
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def ask(self, method: str, **fields: Any) -> Any:
        """Return the answer of a method, given the fields of its request."""
        request = getattr(record_service_pb2, f"{method}Request")(**fields)
        return getattr(self._service, method)(request, timeout=60, metadata=self._metadata)

    def listed(self, conditions: dict[str, Any]) -> Iterator[Any]:
        """Yield the forecasts that it lists under conditions."""
        fields = {"page_size": 500, "include_superseded": True, "include_replays": True} | conditions
        empty = 0
        while empty < MOST_EMPTY_PAGES:
            page = self.ask("ListPredictions", **fields)
            yield from page.predictions
            if not page.next_page_token:
                return
            fields["page_token"] = page.next_page_token
            empty = 0 if page.predictions else empty + 1
        raise ValueError(f"the server returned {empty} empty pages in a row and no last page")

    def head(self) -> Any:
        """Return the signed head of its ledger."""
        return self.ask("GetCheckpoint").checkpoint

    def differs(self, text: str) -> NoReturn:
        """Raise the error of an answer that differs: OldExportError if later entries may be the reason."""
        if (head := self.head().sequence) > self.last:
            missing = f"the export lacks entries {self.last + 1} to {head}, which may be why: export again"
            raise OldExportError(f"{text}; {missing}")
        raise ChangedError(text)


def check_server(
    target: str, token: str, authority: Path | None, identity: dict[str, Any], record: Record, last: int
) -> Iterator[str]:
    """Compare what a server answers with a record; yield a line for the reader after each part.

    Args:
        target: HOST:PORT of the server.
        token: a token for it; empty for none. Without TLS it goes to this machine only.
        authority: certificate of its authority; None: it has no TLS.
        identity: identity of the export.
        record: the record of its entries.
        last: the last entry.

    Raises:
        ChangedError, OldExportError: at the first answer that differs.
    """
    if token and authority is None and not target.startswith(("127.0.0.1:", "localhost:", "[::1]:")):
        raise ValueError("a token is sent over TLS only: expected --ca FILE")
    secure = None if authority is None else grpc.ssl_channel_credentials(authority.read_bytes())
    try:
        with grpc.insecure_channel(target) if secure is None else grpc.secure_channel(target, secure) as channel:
            server = Server(channel, token, last)
            if (ledger_id := server.head().ledger_id) != identity["ledger_id"]:
                raise ChangedError(f"the server's ledger is {ledger_id}, the export's {identity['ledger_id']}")
            newer = _compare_forecasts(server, record)
            _compare_filters(server, record)
            _compare_outcomes(server, record)
            after = f"; {newer} newer than the export were not compared" if newer else ""
            yield f"{len(record.forecasts)} forecasts, as the server lists them, are those of the entries{after}"
            yield "{} values of {} scorecards and {} leaderboards are those of the entries".format(
                *_compare_cards(server, Cards(record))
            )
    except grpc.RpcError as error:
        raise OSError(f"{target}: {error.code().name}: {error.details()}") from error


def _compare_forecasts(server: Server, record: Record) -> int:
    """Compare all forecasts that a server lists with the record; return how many are newer than its last entry."""
    shown, newer = set[int](), set[int]()
    for each in server.listed({}):
        sequence = each.forecast.sequence
        if sequence > server.last:
            newer.add(sequence)
            continue
        if sequence not in record.forecasts:
            raise ChangedError(f"entry {sequence} is listed as a forecast, which it is not")
        shown.add(sequence)
        _compare(server, f"entry {sequence}", each, lists.listed(record, record.forecasts[sequence]))
    if missing := record.forecasts.keys() - shown:
        raise ChangedError(f"entry {min(missing)}: the server does not list this forecast")
    if newer and (head := server.head().sequence) < max(newer):
        raise ChangedError(f"entry {max(newer)} is listed as a forecast; the last entry of the ledger is {head}")
    return len(newer)


def _compare_filters(server: Server, record: Record) -> None:
    """Compare which forecasts a server lists under each filter with the record."""
    for conditions, chosen in lists.filters(record).items():
        if conditions[0][0] in lists.OF_CARDS:
            continue
        listed = server.listed(dict(conditions))
        found = {each.forecast.sequence for each in listed if each.forecast.sequence <= server.last}
        for sequence in sorted(found ^ chosen):
            shows = "does not list" if sequence in chosen else "lists"
            server.differs(f"entry {sequence}: the server {shows} this forecast with {_words(dict(conditions))}")


def _compare_outcomes(server: Server, record: Record) -> None:
    """Compare the revisions of outcomes that a server lists with the record."""
    for (game, horizon), revisions in lists.revisions(record).items():
        shown = server.ask("GetPrediction", game_id=game, horizon=lists.enum(horizon)).outcomes
        for each, recorded in zip(shown, revisions, strict=False):
            _compare(server, f"entry {recorded['sequence']}", each, recorded)
        if len(shown) != len(revisions):
            of = f"{len(shown)} revisions of the outcome are listed, {len(revisions)} recorded"
            server.differs(f"game {game}, {horizon}: {of}")


def _compare_cards(server: Server, cards: Cards) -> tuple[int, int, int]:
    """Compare scorecards and leaderboards with the record; return the numbers of values, scorecards, leaderboards."""
    figures, filters = 0, cards.filters()
    for filter_, limit in filters:
        shown = server.ask("GetScorecard", filter=filter_, limit=limit, max_bets=MOST_BETS).scorecard
        name = f"the scorecard with {_words(filter_ | ({'limit': limit} if limit else {}))}"
        figures += _compare(server, name, shown, cards.scorecard(filter_, limit, MOST_BETS))
    boards = [(filter_, cards.leaderboards(filter_)) for filter_ in cards.scopes()]
    for filter_, of_metrics in boards:
        for metric, rows in of_metrics.items():
            by = f"LEADERBOARD_METRIC_{metric.upper()}"
            shown = server.ask("GetLeaderboard", filter=filter_, metric=by, min_games=1)
            name = f"the leaderboard by {metric} with {_words(filter_)}"
            figures += _compare(server, name, shown, {"rows": rows, "metric": metric, "min_games": 1})
    return figures, len(filters), len(boards) * len(METRICS)


def _compare(server: Server, name: str, shown: Any, right: dict[str, Any]) -> int:
    """Compare the values of a message; return their number."""
    told = [each for each in _values(shown, right) if each[1] or each[2]]
    if different := [each for each in told if not _same(*each[1:])]:
        found = "; ".join(f"{path} is {value}, by the entries {recorded}" for path, value, recorded in different)
        text = f"{name}: {len(different)} of {len(told)} values differ: {found}"
        if any(path.startswith("forecast.") and path != "forecast.late" for path, *_ in different):
            raise ChangedError(text)  # which no later entry changes
        server.differs(text)
    return len(told)


def _words(conditions: dict[str, Any]) -> str:
    return " and ".join(f"{name} {value}" for name, value in conditions.items())


def _values(message: Any, expected: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the path of each field of a message, its value and the expected one; None: not set.

    Times and enums have the form that entries have.
    """
    for field in message.DESCRIPTOR.fields:
        value, right, at = getattr(message, field.name), expected.get(field.name), f"{path}{field.name}"
        if field.full_name in NOT_COMPARED:
            continue
        if field.message_type is not None and field.is_repeated:
            yield f"{at}.length", len(value), len(right or ())
            for place, (each, of) in enumerate(zip(value, right or (), strict=False)):
                yield from _values(each, of, f"{at}[{place}].")
        elif field.has_presence and not message.HasField(field.name) and not isinstance(right, dict):
            yield at, None, right
        elif hasattr(value, "ToMicroseconds"):
            yield at, value.ToMicroseconds(), right
        elif field.message_type is not None:
            yield from _values(value, right or {}, f"{at}.")
        elif field.enum_type is not None:
            names = field.enum_type.values_by_number
            text = names[value].name if value in names else str(value)
            yield at, value and text.removeprefix(names[0].name.removesuffix("UNSPECIFIED")).lower(), right
        else:
            yield at, list(value) if field.is_repeated else value, right


def _same(shown: Any, recorded: Any) -> bool:
    """Return whether a value is as recorded; a field that is not set is 0, false or empty."""
    if isinstance(shown, list):
        return len(shown) == len(recorded or ()) and all(map(_same, shown, recorded or ()))
    if isinstance(shown, float) or isinstance(recorded, float):
        return math.isclose(shown or 0.0, recorded or 0.0, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(shown == recorded or (not shown and not recorded))
