"""Records forecasts, with their markets, in a transaction that holds the write lock; the rules are those of `rules`.

A writer keeps what it knows of games. The hash of the newest entry covers all entries before it: if it is the
one that the writer left, nothing was recorded since; otherwise the entries after it are followed. A restore keeps the
hash, but changes the ledger's epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, NamedTuple

from dejavu_common.clock import from_microseconds
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.store import Position
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.codec import Entry, PreparedForecast, PreparedShadow
from dejavu_ledger.entries.rows import ForecastRow, Row, forecast_row, market_row, shadow_row
from dejavu_ledger.errors import ModelsChanged, copy_of
from dejavu_ledger.records import IssuedForecast, LateReason, MarketEntry, MarketRecording, SentMarket, ShadowForecast
from dejavu_ledger.rules import (
    DEFAULT_LIMITS,
    GameRecord,
    RecordingLimits,
    Revisions,
    closed_to_markets,
    key_of,
    market_recording,
)
from dejavu_models.betting import Market, MarketKind
from dejavu_models.errors import DejavuError
from dejavu_models.results import Failed, Result
from dejavu_models.types import Forecast, Horizon

MAX_KEPT: Final = 1500
"""Maximum number of games that are kept; beyond it they are read again."""

MAX_FOLLOWED: Final = 1000
"""Maximum number of entries of other processes that are followed; after more the games are read again."""


class Appended(NamedTuple):
    """Entries that one transaction appends to the ledger, without a gap.

    Attributes:
        after: sequence of the entry before them.
        forecasts: the forecasts of the owners of their games among them, in order, each as `store.read_after` returns
            it.
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
    """What a writer knows of the record. Use it in transactions that hold the write lock, by one thread at a time.

    Attributes:
        appended: entries added by the last transaction; None if it failed.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.appended: Appended | None = None
        self._position: Position | None = None
        self._games: dict[str, GameRecord] = {}

    @contextmanager
    def appending(self, connection: Connection) -> Iterator[_EntryBatch]:
        """Follow what other processes have recorded, and insert what is added to the batch in the block.

        If that fails, everything is forgotten: then the transaction is rolled back.

        Raises:
            LedgerCorrupt: if the identity of the ledger is missing.
        """
        try:
            batch = _EntryBatch(self._follow(connection))
            yield batch
            batch.execute(connection)
        except BaseException:
            self._forget()
            raise
        self._position, self.appended = batch.position, batch.appended

    def _follow(self, connection: Connection) -> Position:
        position, before = store.position(connection), self._position
        if position == before:
            return position
        if (
            before is not None
            and before.epoch == position.epoch
            and 0 <= position.sequence - before.sequence <= MAX_FOLLOWED
            and store.entry_at(connection, before.sequence) == (before.sequence, before.hash)
        ):
            _take(self._games, sql.rows(connection, _SINCE, after=before.sequence))
        else:
            self._games = {}
        return position

    def games(self, connection: Connection, game_ids: Collection[str]) -> dict[str, GameRecord]:
        """Return the state of games; call it in `appending`."""
        unknown = sorted({*game_ids} - self._games.keys())
        if len(self._games) + len(unknown) > MAX_KEPT:
            self._games, unknown = {}, sorted({*game_ids})
        self._games.update((game_id, GameRecord(game_id)) for game_id in unknown)
        if unknown:
            _take(self._games, sql.rows(connection, _OF_GAMES, games=unknown))
        return self._games


def load_game(connection: Connection, game_id: str) -> GameRecord:
    """Return the state of a game."""
    return KnownRecord().games(connection, {game_id})[game_id]


def read_revisions(connection: Connection, keys: Sequence[str], before: int | None = None) -> dict[str, Revisions]:
    """Return the revisions of keys that have any.

    Args:
        connection: the connection.
        keys: the keys.
        before: sequence before which they were recorded; None: all.

    Raises:
        LedgerCorrupt: if an entry cannot be read back.
    """
    found: dict[str, Revisions] = {}
    with store.decoding():
        for key, text in sql.rows(connection, _NEWEST, keys=[*keys], before=before or 1 << 62) if keys else ():
            found[key] = found.get(key, Revisions()).after(codec.parse(text))
    return found


def record_forecasts(
    connection: Connection,
    drafts: Sequence[PreparedForecast],
    known: KnownRecord | None = None,
    limits: RecordingLimits = DEFAULT_LIMITS,
    refusal: DejavuError | None = None,
) -> list[Result[IssuedForecast]]:
    """Record forecasts in order, except those that repeat a revision of their key (`rules.repeats`).

    Nothing is recorded with hindsight. Once the ledger has the outcome of a horizon, it takes no forecast of that game,
    for any horizon, whose elapsed minutes are at most `last_slot` of the settled horizon. A late forecast is marked
    (`GameRecord.late`). The first market of each kind of a forecast, on the lead and on the total, is recorded after
    it, under the same rule. The market of a late forecast is not recorded, nor is a late market of a timely forecast,
    nor one evaluated with another day, other live inputs or other line-ups than those of the recorded forecast, nor one
    evaluated by a model that gives another forecast although it has learned from no further outcomes.

    A new forecast whose model was chosen by a roster is recorded only if that roster is still current, so that every
    writer of the ledger answers with the same model at the same sequence.

    Args:
        connection: a connection in a transaction that holds the write lock.
        drafts: the forecasts.
        known: knowledge of earlier calls about the same ledger; None to read everything.
        limits: limits of a game's forecasts.
        refusal: why no new forecast is recorded at the moment; None if forecasts are recorded.

    Returns:
        For each draft: the new forecast with its sequence and revision, the one that was recorded before, or the reason
        why it was not recorded.

    Raises:
        LedgerCorrupt: if something cannot be read back.
    """
    known = known or KnownRecord()
    with known.appending(connection) as batch:
        games = known.games(connection, {draft.issued.game_id for draft in drafts})
        held = _leases(connection, games, [draft.issued for draft in drafts])
        revisions = read_revisions(connection, _keys(games, drafts))
        markets = _read_markets(connection, {each.sequence for both in revisions.values() for each in both if each})
        results: list[Result[IssuedForecast]] = []
        for draft in drafts:
            issued = draft.issued
            game = games[issued.game_id]
            lease = game.lease_of(issued.recorded_by, held.get(issued.recorded_by, frozenset()))
            owned = game.owns(issued.recorded_by, lease)
            key = key_of(issued, owned=owned)
            of_key = revisions.get(key, Revisions())
            # A new owner's forecast is recorded even if it repeats another's, so that the game passes to it.
            changes = game.changes_owner(issued.recorded_by, owned=owned)
            stored = None if changes else of_key.find(issued)
            if stored is not None:
                stored = codec.recorded_part(stored)
            else:
                refused = (
                    game.known_outcome(issued.forecast.elapsed_minutes)
                    or game.full(issued.recorded_by, limits, owned=owned)
                    or refusal
                    or _other_roster(issued, batch.position.model_change)
                )
                if refused is not None:
                    results.append(Failed(copy_of(refused)))
                    continue
                # Only its owner's clock says how far a game is.
                clock = issued.clock if owned and issued.publisher == issued.recorded_by else None
                late = game.late(issued, owned=owned, clock=clock)
                by, after = issued.recorded_by, batch.position.sequence
                entry = Entry(codec.FORECAST, of_key.next_number, after + 1, by, late, lease, clock)
                stored = batch.forecast(entry, draft, key, owned=owned)
                revisions[key] = of_key.after(stored)
                markets[stored.sequence] = {}
                seconds, made = issued.forecast.elapsed_seconds, issued.generated_time
                game.add_forecast(stored.sequence, by, lease, seconds, made, late)
            if issued.markets:
                closed = closed_to_markets(game, stored, issued.generated_time, owned=owned)
                stored = _with_markets(batch, markets[stored.sequence], stored, issued, closed)
            results.append(stored)
        return results


def _other_roster(issued: IssuedForecast, newest: int) -> ModelsChanged | None:
    """Return the error of a forecast whose model was chosen by a roster before the newest change of models."""
    return None if issued.roster_sequence in {None, newest} else ModelsChanged(newest)


def _keys(games: dict[str, GameRecord], drafts: Sequence[PreparedForecast]) -> list[str]:
    """Return the keys of drafts under which something may be recorded: mostly none."""
    return [
        key_of(draft.issued, owned=owned)
        for draft in drafts
        if not games[draft.issued.game_id].is_latest(draft.issued.forecast.elapsed_seconds)
        for owned in (True, False)
    ]


def _leases(
    connection: Connection, games: dict[str, GameRecord], drafts: Sequence[IssuedForecast]
) -> dict[str, frozenset[str]]:
    """Return the leases of callers that decide whose a game is, by caller."""
    known = ((each.recorded_by, games[each.game_id]) for each in drafts if each.recorded_by)
    callers = {caller for caller, game in known if not (game.lease and game.owner == caller)}
    held = store.held_leases(connection) if callers else []
    return {caller: frozenset(name for name, holder in held if holder == caller) for caller in callers}


def _read_markets(connection: Connection, sequences: Collection[int]) -> dict[int, dict[MarketKind, Market]]:
    """Return the recorded markets of forecasts, by their sequences and kinds."""
    found: dict[int, dict[MarketKind, Market]] = {sequence: {} for sequence in sequences}
    with store.decoding():
        for sequence, text in sql.rows(connection, _MARKETS, sequences=[*found]) if found else ():
            market = codec.parse_market(text).market
            found[sequence][market.kind] = market
    return found


def _with_markets(
    batch: _EntryBatch,
    standing: dict[MarketKind, Market],
    stored: IssuedForecast,
    requested: IssuedForecast,
    closed: MarketRecording | None,
) -> IssuedForecast:
    """Return a stored forecast with the markets of a request, and whether each is recorded (see `market_recording`).

    The first market of each kind of a forecast is recorded, and added to `standing`, its recorded markets; that of the
    lead first, whatever the order of the request.
    """
    sent = {
        kind: _recorded_market(batch, standing, stored, requested, each.market, closed)
        for kind in MarketKind
        if (each := requested.market(kind)) is not None
    }
    return replace(stored, markets=tuple(sent[each.market.kind] for each in requested.markets))


def _recorded_market(
    batch: _EntryBatch,
    recorded: dict[MarketKind, Market],
    stored: IssuedForecast,
    requested: IssuedForecast,
    market: Market,
    closed: MarketRecording | None,
) -> SentMarket:
    """Record a market of a request if it is the first of its kind; return whether it is recorded."""
    answer, standing = requested.answer(market.kind), recorded.get(market.kind)
    recording = market_recording(market, standing, closed, mismatched=answer is not None and answer.mismatched)
    if recording is not MarketRecording.RECORDED or standing is not None:
        return SentMarket(market, recording, standing if recording is MarketRecording.EARLIER_STANDS else None)
    if answer is None:
        raise ValueError("a market without an evaluation")
    same = _weighed(stored, market.kind) == _weighed(requested, market.kind)
    learned = None if same else requested.forecast.calibration_sequence
    # With other optional inputs the market is sent again, evaluated for those of the stored forecast. A worker that is
    # behind, or has other settings, weighs no bet on this forecast.
    is_behind = learned is not None and learned <= stored.forecast.calibration_sequence
    if is_behind or stored.optional_inputs != requested.optional_inputs:
        return SentMarket(market)
    batch.market(stored, requested, MarketEntry(stored.sequence, market, answer, learned))
    recorded[market.kind] = market
    return SentMarket(market, recording)


def _weighed(issued: IssuedForecast, kind: MarketKind) -> tuple[object, ...]:
    """Return what a market of a kind is evaluated with."""
    forecast, total = issued.forecast, issued.forecast.total
    if kind is MarketKind.TOTAL:
        return total and total.distribution, forecast.teams_known
    return forecast.home_lead_probability, forecast.distribution, forecast.teams_known


def append_shadows(
    connection: Connection, drafts: Sequence[PreparedShadow], known: KnownRecord | None = None, *, full: bool = False
) -> list[ShadowForecast]:
    """Record shadows in order, except inadmissible ones; return those that are recorded.

    No shadow is recorded with hindsight: the rule for forecasts (`record_forecasts`) is applied when it is recorded. A
    shadow of a forecast that was recorded late, or that a later revision replaced, is recorded, but counts no more than
    that forecast does. There is one of a forecast and another model, of the same horizon, minute and alpha.

    Args:
        connection: a connection in a transaction that holds the write lock.
        drafts: the shadows.
        known: knowledge of earlier calls about the same ledger; None to read everything.
        full: whether the disk has less space than its reserve, so that none are recorded.
    """
    known = known or KnownRecord()
    of = sorted({draft.shadow.forecast_sequence for draft in drafts})
    with known.appending(connection) as batch:
        beside = {row[0]: ForecastRow(*row) for row in sql.rows(connection, _SHADOWED, sequences=of)}
        recorded = {(sequence, version) for sequence, version in sql.rows(connection, _RECORDED_SHADOWS, sequences=of)}
        games = known.games(connection, {row.game_id for row in beside.values()})
        added: list[ShadowForecast] = []
        for draft in () if full else drafts:
            row = beside.get(draft.shadow.forecast_sequence)  # none after a restore
            key = draft.shadow.forecast_sequence, draft.shadow.forecast.model_version
            if row and key not in recorded and _can_shadow(draft.shadow.forecast, row, games[row.game_id]):
                recorded.add(key)
                added.append(batch.shadow(draft, row))
        return added


def _can_shadow(forecast: Forecast, row: ForecastRow, game: GameRecord) -> bool:
    """Return whether a forecast is by another model than a recorded one, of the same question, and not too late."""
    is_known = game.known_outcome(row.minute) is not None or game.was_withdrawn(row.minute)
    asked = forecast.horizon.value, forecast.elapsed_minutes, forecast.alpha
    return (
        not is_known and row.model_version != forecast.model_version and asked == (row.horizon, row.minute, row.alpha)
    )


class _EntryBatch:
    """Entries to append to the chain, with their index rows.

    Args:
        position: the position of the ledger.

    Attributes:
        position: the same after the entries.
    """

    def __init__(self, position: Position) -> None:
        self.position = position
        self._after = position.sequence
        self._owned: list[IssuedForecast] = []
        self._rows: dict[str, list[Row]] = {"entries": [], "forecasts": [], "markets": [], "shadows": []}
        self._followed = 0  # the forecast that only its markets follow so far; 0: none

    @property
    def appended(self) -> Appended:
        """The entries so far."""
        return Appended(self._after, tuple(map(codec.recorded_part, self._owned)), self.position.sequence)

    def forecast(self, entry: Entry, draft: PreparedForecast, key: str, *, owned: bool) -> IssuedForecast:
        """Add a forecast; return it as recorded, with the parts that are not recorded."""
        self._entry(entry, draft.payload)
        recorded = replace(
            draft.issued,
            sequence=entry.sequence,
            revision=entry.revision,
            late=entry.late,
            lease=entry.lease,
            clock=entry.clock,
            hash=self.position.hash,
            created=True,
        )
        self._followed = entry.sequence
        self._rows["forecasts"].append(forecast_row(recorded, key, draft.pattern, owned=owned))
        if owned:
            self._owned.append(recorded)
        return recorded

    def market(self, stored: IssuedForecast, requested: IssuedForecast, market: MarketEntry) -> None:
        """Add a market of a recorded forecast, for which it was requested again."""
        # Only markets that directly follow their forecast have its time: verification knows no other bound.
        together = requested.generated_time == stored.generated_time and self._followed == stored.sequence
        if not together:
            self._followed = 0
            market = replace(market, requested_time=requested.generated_time)
        market = replace(market, sequence=self.position.sequence + 1)
        self._entry(Entry(codec.MARKET, 0, market.sequence, requested.recorded_by), codec.market_payload(market))
        self._rows["markets"].append(market_row(market))

    def shadow(self, draft: PreparedShadow, of: ForecastRow) -> ShadowForecast:
        """Add a shadow of a recorded forecast; return it as recorded."""
        shadow = replace(draft.shadow, sequence=self.position.sequence + 1)
        self._entry(Entry(codec.SHADOW, 0, shadow.sequence), draft.payload)
        self._rows["shadows"].append(shadow_row(shadow, of))
        return shadow

    def _entry(self, entry: Entry, payload: str) -> None:
        row = store.entry_row(entry, payload, self.position.hash)
        self.position = self.position._replace(sequence=entry.sequence, hash=row["hash"])
        self._rows["entries"].append(row)

    def execute(self, connection: Connection) -> None:
        """Insert the added rows."""
        for table, rows in self._rows.items():
            sql.insert(connection, table, rows)


def _take(games: dict[str, GameRecord], rows: Sequence[sql.Row]) -> None:
    """Take over recorded forecasts and outcomes, in order, of the games that are known."""
    for sequence, game_id, caller, lease, seconds, late, time_us, horizon, withdrawn in rows:
        if (game := games.get(game_id)) is None:
            continue
        if horizon:
            observed = from_microseconds(time_us)
            game.add_outcome(Horizon(horizon), sequence, observed, withdrawn=bool(withdrawn))
        else:
            reason = LateReason(late) if late else None
            game.add_forecast(sequence, caller, lease, seconds, from_microseconds(time_us), reason)


_EVENTS: Final = """
SELECT sequence, game_id, recorded_by, lease, elapsed_s, late, generated_us, '', FALSE FROM forecasts WHERE {where}
UNION ALL
SELECT sequence, game_id, '', '', 0.0, '', observed_us, horizon, withdrawn FROM outcomes WHERE {where}
ORDER BY 1"""

_OF_GAMES: Final = _EVENTS.format(where="game_id IN :games")
_SINCE: Final = _EVENTS.format(where="sequence > :after")

# Looked up once for each key: a subquery for each revision would walk all late revisions of its key again.
_NEWEST: Final = """
SELECT f.key, e.canonical FROM (
    SELECT key, MAX(revision) AS revision FROM forecasts WHERE key IN :keys AND sequence < :before GROUP BY key
    UNION
    SELECT key, MAX(revision) FROM forecasts WHERE key IN :keys AND sequence < :before AND late = '' GROUP BY key
) n JOIN forecasts f ON f.key = n.key AND f.revision = n.revision JOIN entries e ON e.sequence = f.sequence
ORDER BY f.revision"""

_MARKETS: Final = """
SELECT m.forecast_sequence, e.canonical FROM markets m JOIN entries e ON e.sequence = m.sequence
WHERE m.forecast_sequence IN :sequences"""


_SHADOWED: Final = f"SELECT {', '.join(ForecastRow._fields)} FROM forecasts WHERE sequence IN :sequences"  # noqa: S608
_RECORDED_SHADOWS: Final = "SELECT forecast_sequence, model_version FROM shadows WHERE forecast_sequence IN :sequences"
