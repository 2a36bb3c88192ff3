"""Pages of recorded forecasts, newest first: bounded work per page, and one consistent state over all pages of a list.

A page scans the index that fits the filter, from where the previous page ended. It scans at most MAX_ROWS_SCANNED
forecasts, so it may be short or empty before the last page.

A token contains the position of the next page and the head of the ledger at the first page. It is opaque to clients,
URL-safe, and bound to a ledger, its epoch and the filter of a list. The list is evaluated as of that head: a forecast
that is settled or revised between two pages is neither skipped nor returned twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple
from uuid import UUID

from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.store import Identity
from dejavu_ledger.entries import canonical_json
from dejavu_ledger.queries import predictions
from dejavu_ledger.records import RecordedForecast
from dejavu_models.errors import InvalidInput, quoted
from dejavu_models.types import Horizon

CONDITIONS: Final = {
    "horizon": "COALESCE(f.horizon, NULL) = :horizon",
    "first_day": "COALESCE(f.day, NULL) >= :first_day",
    "last_day": "COALESCE(f.day, NULL) <= :last_day",
    "team": "(COALESCE(f.home_team, NULL) = :team OR COALESCE(f.away_team, NULL) = :team)",
    "model_version": "COALESCE(f.model_version, NULL) = :model_version",
    "minute": "f.minute = :minute",
    "min_minutes": "f.minute >= :min_minutes",
    "max_minutes": "f.minute <= :max_minutes",
    "min_confidence": "f.confidence >= :min_confidence",
    "complete_minutes": "f.elapsed_s = 60 * f.minute",
    "owners_only": "f.owned",
    "recorded_by": "COALESCE(f.recorded_by, NULL) = :recorded_by",
    "real_only": "f.replay = FALSE",
}
"""Conditions of rows `f` of `forecasts`, by the fields and the property of a filter that they are for.

COALESCE keeps the database from using an index for them: whoever reads by game or in the order of an index chooses it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonFilter:
    """Selects recorded forecasts; a field with its default value sets no condition.

    Attributes:
        first_day, last_day: bounds of the game's day, as `date.toordinal()`.
        team: NBA code, home or away.
        min_confidence: lowest probability of the likelier side.
        replays: include replays; with a game_id they are always included.
    """

    game_id: str = ""
    horizon: Horizon | None = None
    first_day: int | None = None
    last_day: int | None = None
    team: str = ""
    min_confidence: float | None = None
    model_version: str = ""
    replays: bool = False

    @property
    def real_only(self) -> bool:
        """Whether replays are excluded."""
        return not self.replays and not self.game_id

    def parameters(self) -> dict[str, object]:
        """Return the fields that are set, as values of the conditions."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        given = {name: value for name, value in given.items() if value not in {None, ""}}
        return {name: value.value if isinstance(value, Horizon) else value for name, value in given.items()}

    def conditions(self, of: Mapping[str, str] = CONDITIONS) -> list[str]:
        """Return the conditions that are set; by default those of forecasts, without that of the game."""
        given = self.parameters() | ({"real_only": True} if self.real_only else {})
        return [condition for name, condition in of.items() if name in given]


DIGEST_BYTES: Final = 9
"""Length of a filter's digest; chosen so that the base64 form of a token needs no padding."""

_TOKEN_VERSION = 1
_TOKEN_LAYOUT = struct.Struct(f">B16s8s{DIGEST_BYTES}sqqi")
"""Version, ledger id, epoch, filter digest, start, sequence, day."""


class InvalidPageToken(InvalidInput, reason="INVALID_PAGE_TOKEN", field="page_token"):
    """The page_token is malformed, or belongs to another ledger or to a list with other conditions."""


class Cursor(NamedTuple):
    """A position in the order of a list. The day is used only in lists ordered by day; elsewhere it is 0."""

    day: int
    sequence: int


class PageCursor(NamedTuple):
    """Position in a list.

    Attributes:
        start: the head of the ledger when the list began.
        before: the next page starts below this position.
    """

    start: int
    before: Cursor


def encode_token(identity: Identity, digest: bytes, cursor: PageCursor) -> str:
    """Encode a token.

    Args:
        identity: the ledger.
        digest: digest of the list's filter, DIGEST_BYTES long.
        cursor: where the next page starts.
    """
    ledger_id, epoch, before = UUID(identity.ledger_id).bytes, bytes.fromhex(identity.epoch), cursor.before
    packed = _TOKEN_LAYOUT.pack(_TOKEN_VERSION, ledger_id, epoch, digest, cursor.start, before.sequence, before.day)
    return base64.urlsafe_b64encode(packed).decode()


def decode_token(text: str, identity: Identity, digest: bytes) -> PageCursor:
    """Decode a token.

    Raises:
        InvalidPageToken: if `encode_token` does not write such a token, or it is of another ledger, epoch or list.
    """
    try:
        packed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        version, ledger_id, epoch, token_digest, start, sequence, day = _TOKEN_LAYOUT.unpack(packed)
    except (UnicodeEncodeError, binascii.Error, struct.error):
        raise InvalidPageToken(quoted(text), "a next_page_token from an earlier response") from None
    if version != _TOKEN_VERSION:
        raise InvalidPageToken(f"a token of version {version}", f"version {_TOKEN_VERSION}")
    if (ledger_id.hex(), epoch.hex()) != (identity.ledger_id, identity.epoch):
        raise InvalidPageToken(
            "a token of another ledger, or of this one before it was restored", "one issued by this server's ledger"
        )
    if token_digest != digest:
        raise InvalidPageToken("a token of a list with other conditions", "the conditions it was issued for")
    return PageCursor(start, Cursor(day, sequence))


MAX_ROWS_SCANNED = 1000
"""Maximum number of forecasts that a page reads on each of its index scans; a quarter of it on each of a team's two.

A team's forecasts are scattered over the file, so each one costs a page read.
"""

_LAST_DAY = 10_000_000  # beyond any date


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastFilter(CommonFilter):
    """Selects forecasts to list; a field with its default value sets no condition.

    Attributes:
        settled: True: only settled forecasts; False: only unsettled ones.
        superseded: also include revisions that a later one, recorded in time, replaced.
        owners_only: True: only forecasts of the owners of their games.
    """

    settled: bool | None = None
    minute: int | None = None
    superseded: bool = False
    owners_only: bool | None = None

    @property
    def by_day(self) -> bool:
        """Whether the list is ordered by day and sequence, not by sequence alone."""
        return not self.game_id and (self.first_day is not None or self.last_day is not None)

    @property
    def digest(self) -> bytes:
        """Digest that identifies the filter in page tokens."""
        text = canonical_json.dumps(self.parameters())
        return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


class Page(NamedTuple):
    """A page, and the token of the next one; empty if there is none."""

    forecasts: list[RecordedForecast]
    next_token: str


def page(connection: Connection, filter_: ForecastFilter, token: str, size: int, *, explanation: bool = False) -> Page:
    """Return a page of forecasts in descending order.

    Orders by sequence; by day and sequence if the filter bounds the day and names no game.

    Args:
        connection: a read connection.
        filter_: the filter.
        token: token from the previous page; empty for the first page.
        size: maximum number of forecasts on the page.
        explanation: whether to read their explanations.

    Raises:
        InvalidPageToken: if the token is malformed, or of another ledger or filter.
        LedgerCorrupt: if an entry cannot be read back.
    """
    identity = store.identity(connection)
    if token:
        cursor = decode_token(token, identity, filter_.digest)
    else:
        start = store.head(connection).sequence
        cursor = PageCursor(start, Cursor(_LAST_DAY, start + 1))
    matches, end = _find_page(connection, filter_, cursor, size)
    recorded = predictions.forecasts_at(connection, [match.sequence for match in matches], explanation=explanation)
    return Page(recorded, "" if end is None else encode_token(identity, filter_.digest, PageCursor(cursor.start, end)))


def _scans(filter_: ForecastFilter) -> tuple[list[str], int]:
    """Return conditions of the index scans that cover a filter with the fewest extra rows, and the rows of each."""
    if filter_.game_id:
        horizons = [each.value for each in Horizon if filter_.horizon in {None, each}]
        of_game = [f"f.game_id = :game_id AND f.horizon = '{each}' AND f.sequence < :before" for each in horizons]
        return of_game, MAX_ROWS_SCANNED
    if filter_.by_day:  # the rest of a day, and the days before it, without what is recorded of them meanwhile
        of_day = "f.day = :before_day AND f.sequence < :before AND f.sequence >= :lowest_of_day"
        of_days = [of_day, "f.day < :before_day AND f.sequence <= :start"]
        return [f"f.day >= :lowest_day AND {each}" for each in of_days], MAX_ROWS_SCANNED
    if filter_.team:
        of_team = [f"f.{side}_team = :team AND f.sequence < :before" for side in ("home", "away")]
        return of_team, max(MAX_ROWS_SCANNED // 4, 1)
    of_model = ["f.model_version = :model_version"] if filter_.model_version else []
    return [" AND ".join([*of_model, "f.sequence < :before"])], MAX_ROWS_SCANNED


_BY_SEQUENCE: Final = "0, f.sequence", "f.sequence DESC", "f.sequence >= :floor"
_BY_DAY: Final = "f.day, f.sequence", "f.day DESC, f.sequence DESC", "(f.day, f.sequence) >= (:lowest_day, :floor)"
"""Columns of a `Cursor`, the terms of its order, and the condition of the forecasts at or above a floor."""


def _find_page(
    connection: Connection, filter_: ForecastFilter, cursor: PageCursor, size: int
) -> tuple[list[Cursor], Cursor | None]:
    """Return the positions of a page, and the one below which the next page starts; None if there is no next page."""
    columns, order, above = _BY_DAY if filter_.by_day else _BY_SEQUENCE
    scans, most = _scans(filter_)
    last_day = _LAST_DAY if filter_.last_day is None else filter_.last_day
    values: dict[str, Any] = {
        **filter_.parameters(),
        "lowest_day": 0 if filter_.first_day is None else filter_.first_day,
        "lowest_of_day": 0,
        "start": cursor.start,
        "before_day": min(cursor.before.day, last_day),
        "before": cursor.before.sequence,
    }

    def found(conditions: Sequence[str], limit: str) -> Iterator[Cursor]:
        for scan in scans:
            # Subqueries come last, so that they run only for rows that meet all other conditions.
            where = " AND ".join([scan, *conditions])
            query = f"SELECT {columns} FROM forecasts f WHERE {where} ORDER BY {order} LIMIT {limit}"  # noqa: S608
            yield from (Cursor(*row) for row in sql.rows(connection, query, **values))

    # With several scans, the page ends at the highest floor: above it, every scan is complete.
    floor = max(found([], f"1 OFFSET {most - 1}"), default=None)
    conditions = _conditions(filter_)
    if floor is not None:
        values |= {"lowest_day": floor.day, "floor": floor.sequence}
        if floor.day == values["before_day"]:  # a bound that SQLite finds in the index, unlike that of a row of values
            values["lowest_of_day"] = floor.sequence
        conditions = [above, *conditions]
    matches = sorted({*found(conditions, str(size + 1))}, reverse=True)
    return (matches[:size], matches[size - 1]) if len(matches) > size else (matches, floor)


_SETTLED: Final = """
    EXISTS (
        SELECT 1 FROM outcomes o
        WHERE o.game_id = f.game_id AND o.horizon = f.horizon AND o.sequence <= :start AND o.withdrawn = FALSE
            AND NOT EXISTS (
                SELECT 1 FROM outcomes later
                WHERE later.game_id = o.game_id AND later.horizon = o.horizon
                    AND later.revision > o.revision AND later.sequence <= :start))"""


def _conditions(filter_: ForecastFilter) -> list[str]:
    """Return the conditions of a filter as of the start of the list."""
    conditions = filter_.conditions()
    if filter_.settled is not None:
        conditions.append(_SETTLED if filter_.settled else f"NOT {_SETTLED}")
    return conditions if filter_.superseded else [*conditions, f"NOT {predictions.SUPERSEDED}"]
