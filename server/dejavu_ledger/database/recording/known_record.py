"""Cache of the recorded state of games and keys, valid while no other process writes.

The hash of the ledger's newest entry covers all entries before it. If a writer finds the head that it left, nothing was
recorded since, and its earlier reads and writes are still valid. A restore keeps the head, but changes the ledger's
epoch. At any other head a writer drops the cache and reads again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Final, NamedTuple

from sqlalchemy import Connection

from dejavu_ledger.database.recording.statements import (
    NEWEST_OF_KEYS,
    POSITION,
    RECORDED_MARKETS,
    STATE_OF_GAMES,
)
from dejavu_ledger.database.recording_rules import RecordedGames
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.codec import PreparedForecast
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_ledger.records import IssuedForecast
from dejavu_models.betting import Market, MarketKind

MAX_KEPT: Final = 1500
"""Maximum number of cached keys, those of an evening; beyond it the cache is dropped."""


MarketKey = tuple[int, MarketKind]
"""A market by the sequence of its forecast, and its kind."""


class LedgerPosition(NamedTuple):
    """The state of a ledger: equal positions have equal entries.

    Attributes:
        epoch: see `store.Identity`.
        sequence, hash: of the newest entry, see `store.head`.
        model_change: sequence of the newest change of models; 0 if there is none.
    """

    epoch: str
    sequence: int
    hash: bytes
    model_change: int = 0


class KnownRevision(NamedTuple):
    """A recorded revision of a forecast key."""

    pattern: str
    issued: IssuedForecast

    def matches(self, draft: PreparedForecast) -> bool:
        """Return whether a draft of the same key has the same pattern, moment and teams, and nothing else that is new.

        A draft without a date agrees with every revision: a retry after midnight is not a correction. A revision
        without a date is of the day on which it was made, so a draft with another date corrects it. Likewise, a draft
        without a live input agrees, and a draft with a live input that the revision lacks corrects it.
        """
        stored, new = self.issued, draft.issued
        same_teams = (stored.home_team, stored.away_team) == (new.home_team, new.away_team)
        same_date = new.game_date is None or new.game_date == stored.day
        same_input = self.pattern == draft.pattern and stored.forecast.moment == new.forecast.moment
        if new.forecast.moment is not None:  # after a play that could not be read, possession is not known
            same_input = same_input and stored.live.possession == new.live.possession
        return same_input and same_teams and same_date and new.live.agrees_with(stored.live)


class Appended(NamedTuple):
    """Entries that one transaction appends to the ledger, without a gap.

    Attributes:
        after: sequence of the entry before them.
        forecasts: the forecasts among them, in order, each as it would be read back.
        through: sequence of the last one, of any kind.
    """

    after: int
    forecasts: tuple[IssuedForecast, ...]
    through: int

    @property
    def only_forecasts(self) -> bool:
        """Whether there is no entry of another kind among them."""
        return self.through - self.after == len(self.forecasts)


class KnownRecord:
    """Recorded state of games and forecast keys, as far as it was read or written through this object.

    Use it in transactions that hold the write lock, by one thread at a time.

    Attributes:
        games: the newest second of play of each game, its outcomes, the number of its forecasts.
        revisions: by key, the newest revision that was recorded in time and the newest of all, if there are any.
        markets: recorded markets.
        appended: entries added by the last call of `store.append`; None if it failed.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget everything."""
        self.games = RecordedGames()
        self.revisions: dict[str, list[KnownRevision]] = {}
        self.markets: dict[MarketKey, Market] = {}
        self.appended: Appended | None = None
        self._position: LedgerPosition | None = None
        self._games: set[str] = set()
        self._all_known: set[str] = set()  # games of which every key is known
        self._markets_known: set[int] = set()  # forecasts whose recorded markets are known

    def read(self, connection: Connection, drafts: Sequence[PreparedForecast]) -> LedgerPosition:
        """Read the data that the drafts need and that are not known yet; return the position of the ledger.

        Raises:
            LedgerCorrupt: if something cannot be read back.
        """
        position = read_position(connection)
        if position != self._position or len(self.revisions) > MAX_KEPT:
            self.forget()
        self._position = self.appended = None  # until `advance`
        self.read_games(connection, {draft.issued.game_id for draft in drafts})
        self._read_revisions(
            connection, sorted({draft.key for draft in drafts if draft.issued.game_id not in self._all_known})
        )
        self._read_markets(connection, {draft.key for draft in drafts if draft.issued.markets})
        return position

    def read_games(self, connection: Connection, game_ids: Set[str]) -> None:
        """Read the unknown state of some games; call it after `read`, in the same transaction."""
        games = sorted(game_ids - self._games)
        if games:
            self.games.take(STATE_OF_GAMES.rows(connection, games))
            self._games.update(games)
            self._all_known.update(game_id for game_id in games if not self.games.has_forecasts(game_id))

    def advance(self, position: LedgerPosition, appended: Appended) -> None:
        """Add an appended transaction, and confirm the cache at a position."""
        self._position = position
        self.appended = appended
        self._markets_known.update(issued.sequence for issued in appended.forecasts)

    def _read_revisions(self, connection: Connection, keys: Iterable[str]) -> None:
        unknown = [key for key in keys if key not in self.revisions]
        if not unknown:
            return
        self.revisions.update((key, []) for key in unknown)
        for key, pattern, text in NEWEST_OF_KEYS.rows(connection, unknown):
            try:
                self.revisions[key].append(KnownRevision(pattern, codec.parse(text)))
            except ValueError as error:
                raise _damaged() from error

    def _read_markets(self, connection: Connection, keys: set[str]) -> None:
        sequences = {each.issued.sequence for key in keys for each in self.revisions.get(key, ())}
        unknown = sorted(sequences - self._markets_known)
        if not unknown:
            return
        for (text,) in RECORDED_MARKETS.rows(connection, unknown):
            try:
                sequence, market, _ = codec.parse_market(text)
            except ValueError as error:
                raise _damaged() from error
            self.markets[sequence, market.kind] = market
        self._markets_known.update(unknown)


def read_position(connection: Connection) -> LedgerPosition:
    """Return the position of the ledger.

    Raises:
        LedgerCorrupt: if the row of its identity is missing.
    """
    for ledger_id, epoch, sequence, hash_, model_change in POSITION.rows(connection):
        if sequence is None:
            return LedgerPosition(epoch, 0, codec.genesis_hash(ledger_id))
        return LedgerPosition(epoch, sequence, hash_, model_change or 0)
    raise LedgerCorrupt("the ledger is damaged: its identity is missing")


def _damaged() -> LedgerCorrupt:
    return LedgerCorrupt("the ledger is damaged: an entry cannot be read back")
