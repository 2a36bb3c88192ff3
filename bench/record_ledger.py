"""Ledgers of any size for bench.record: seasons of evenings, as a server would have recorded them, in a minute or two.

Some games are recorded and settled by the ledger's own code; every other one is like one of those, under another id, on
another day and with another model. What comes of it is a ledger that `verify` finds sound.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select
from tests.support.builders.record_book import forecast, with_market

from dejavu_feed.names import TEAMS
from dejavu_models.types import DISTRIBUTION_LEVELS, MAX_SLOTS, Horizon, Interval, ScorePattern, SimilarGame
from dejavu_server.ledger.database import migrate, schema, sqlite, store
from dejavu_server.ledger.entries import codec, rows
from dejavu_server.ledger.entries.codec import PreparedForecast
from dejavu_server.ledger.entries.settlement import Bet, settle
from dejavu_server.records import IssuedForecast, ReportedOutcome, game_day

GAMES_AN_EVENING = 8
EVENINGS_A_MODEL = 60
"""After so many a new model version forecasts."""

FIRST_EVENING = datetime(2016, 10, 26, 0, 30, tzinfo=UTC)

_LIKE_GAMES = 30  # in which every team plays once at home and once away
_REVISED_MINUTES = {9, 29}  # of which a play is corrected
_MARKET_MINUTE = 18
_COMMITTED = 50_000  # rows a transaction

# What stands for what differs from game to game, in the texts of those that are like it.
_GAME = "0020000000"
_VERSION = "model-version-000"
_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Filled:
    """A ledger that was filled.

    Attributes:
        evenings: how many; the last one's games have no outcomes yet.
    """

    path: Path
    forecasts: int
    evenings: int

    @property
    def url(self) -> str:
        """The ledger's URL."""
        return f"sqlite:///{self.path}"

    @property
    def games(self) -> int:
        """How many games; `game` tells each one's id."""
        return self.evenings * GAMES_AN_EVENING


def game(number: int) -> str:
    """The id of the game of a number, from 0 on."""
    return f"002{number:07d}"


def version(evening: int) -> str:
    """The model version of an evening."""
    return f"model-version-{evening // EVENINGS_A_MODEL:03d}"


def day(evening: int) -> int:
    """The day of an evening, as `date.toordinal()`."""
    return game_day(FIRST_EVENING + timedelta(days=evening)).toordinal()


class _Event(NamedTuple):
    """Something that happens in a game: a forecast, or an outcome; and what of it does not depend on which game it is.

    Attributes:
        minute: when, from the start.
        market: the row of the forecast's market, and its payload in two parts with the forecast's place between.
        settlement: the row of how the forecast will fare.
    """

    minute: int
    payload: str
    row: dict[str, Any]
    key: str = ""
    market: tuple[dict[str, Any], str, str] | None = None
    settlement: dict[str, Any] | None = None
    outcome: bool = False


@cache
def like_game(number: int) -> list[_Event]:
    """All that happens in one of the games that others are like, in order."""
    rng = random.Random(number)
    teams = sorted(TEAMS)
    home, away = teams[2 * number % len(teams)], teams[(2 * number + 1) % len(teams)]
    if number >= len(teams) // 2:
        home, away = away, home
    scores = list(accumulate(rng.choice((-3.0, -2.0, 0.0, 0.0, 2.0, 3.0)) for _ in range(48)))
    came = {Horizon.HALFTIME: int(scores[23]), Horizon.FINAL: int(scores[47]) or 1}
    outcomes = {
        horizon: ReportedOutcome(_GAME, horizon, differential, home, away, _TIME, _TIME)
        for horizon, differential in came.items()
    }
    events = []
    for minute in range(1, MAX_SLOTS + 1):
        for horizon in Horizon:
            if minute > horizon.last_slot:
                continue
            revised = minute in _REVISED_MINUTES
            for revision in range(1 + revised):
                known = [*scores[: minute - 1], scores[minute - 1] + (1.0 if revised and not revision else 0.0)]
                made = _forecast(known, horizon, home, away)
                if minute == _MARKET_MINUTE and horizon is Horizon.FINAL:
                    made = with_market(made, line=2.5, stake=0.02)
                events.append(
                    _forecast_event(replace(made, revision=revision), outcomes[horizon], revised and not revision)
                )
        if minute in {24, MAX_SLOTS}:
            outcome = outcomes[Horizon.HALFTIME if minute == 24 else Horizon.FINAL]
            row = rows.outcome_row(outcome, 0)
            events.append(_Event(minute, codec.outcome_payload(outcome), row, outcome=True))
    return events


def _forecast(known: Sequence[float], horizon: Horizon, home: str, away: str) -> IssuedForecast:
    """What a model would say that takes the score for a random walk."""
    left = (24 if horizon is Horizon.HALFTIME else 48) - len(known)
    walk = NormalDist(known[-1], 2.7 * math.sqrt(left))
    made = forecast(
        _GAME,
        minute=len(known),
        horizon=horizon,
        model_version=_VERSION,
        home_team=home,
        away_team=away,
        generated_time=_TIME,
    )
    told = made.forecast
    explanation = told.explanation
    if explanation is not None:
        similar = explanation.similar_games[0]
        alike = tuple(
            SimilarGame(home, away, similar.date, 9.0 + k, known[-1] + k - 2, 1, k - 2.0, 0.0) for k in range(5)
        )
        explanation = replace(explanation, similar_games=alike)
    return replace(
        made,
        pattern=ScorePattern(tuple(known)),
        forecast=replace(
            told,
            point=round(walk.mean, 6),
            interval=Interval(walk.inv_cdf(0.025), walk.inv_cdf(0.975)),
            home_lead_probability=min(max(1.0 - walk.cdf(0.0), 0.001), 0.999),
            distribution=tuple(round(walk.inv_cdf(level), 3) for level in DISTRIBUTION_LEVELS),
            explanation=explanation,
        ),
    )


def _forecast_event(made: IssuedForecast, outcome: ReportedOutcome, superseded: bool) -> _Event:
    drafted: PreparedForecast = codec.prepare(made)
    market, bet = None, None
    if made.market is not None and made.forecast.market is not None:
        bet = Bet.from_market(made.market, made.forecast.market)
        place = 10**15  # whose digits stand nowhere else
        before, _, after = codec.market_payload(place, made.market, made.forecast.market).partition(str(place))
        market = rows.market_row(0, 0, bet), before, after
    return _Event(
        made.forecast.elapsed_minutes,
        drafted.payload,
        rows.forecast_row(made, drafted),
        drafted.key,
        market,
        rows.settlement_row(
            made, outcome, settle(made, outcome, bet), first_sequence=0, superseded=superseded, bet=bet
        ),
    )


class _Filling:
    """Rows on their way into a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sequence, self._previous = store.head(connection)
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._settlements: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.forecasts = 0

    @property
    def waiting(self) -> int:
        """How many entries were not written yet."""
        return len(self._rows.get("entries", ()))

    def happens(self, event: _Event, game_id: str, evening: int, settled: bool) -> None:
        """Adds what happens in a game."""
        moment = FIRST_EVENING + timedelta(days=evening, minutes=2.5 * event.minute)
        model, when = version(evening), codec.microseconds(moment)
        if event.outcome:
            if settled:
                self._outcome(event, game_id, when, day(evening))
            return
        at, until = codec.microseconds(_TIME), codec.microseconds(_TIME + timedelta(minutes=5))
        payload = event.payload.replace(_GAME, game_id).replace(_VERSION, model)
        payload = payload.replace(str(at), str(when)).replace(str(until), str(when + until - at))
        sequence = self._entry(codec.FORECAST, payload, event.row["revision"])
        own = {"game_id": game_id, "model_version": model, "day": day(evening)}
        key = event.key.replace(_GAME, game_id).replace(_VERSION, model)
        self._add("forecasts", {**event.row, **own, "key": key, "generated_us": when, "sequence": sequence})
        self.forecasts += 1
        if event.settlement is not None:
            settlement = {**event.settlement, **own, "forecast_sequence": sequence}
            self._settlements.setdefault((game_id, event.row["horizon"]), []).append(settlement)
        if event.market is not None:
            row, before, after = event.market
            place = self._entry(codec.MARKET, f"{before}{sequence}{after}", 0)
            self._add("markets", {**row, "sequence": place, "forecast_sequence": sequence})

    def write(self) -> None:
        """Writes what was added."""
        for table in schema.metadata.sorted_tables:
            if added := self._rows.pop(table.name, None):
                self._connection.execute(insert(table), added)

    def _outcome(self, event: _Event, game_id: str, when: int, on: int) -> None:
        payload = event.payload.replace(_GAME, game_id).replace(str(codec.microseconds(_TIME)), str(when))
        sequence = self._entry(codec.OUTCOME, payload, 0)
        own = {"sequence": sequence, "first_sequence": sequence, "game_id": game_id, "observed_us": when, "day": on}
        self._add("outcomes", {**event.row, **own})
        places = {"outcome_sequence": sequence, "first_sequence": sequence}
        for settlement in self._settlements.pop((game_id, event.row["horizon"])):
            self._add("settlements", {**settlement, **places})

    def _entry(self, kind: str, payload: str, revision: int) -> int:
        self.sequence += 1
        row, self._previous = store.entry_row(kind, payload, revision, self.sequence, self._previous)
        self._add("entries", row)
        return self.sequence

    def _add(self, table: str, row: dict[str, Any]) -> None:
        self._rows.setdefault(table, []).append(row)


def fill(path: Path, forecasts: int) -> Filled:
    """Makes a ledger of at least so many forecasts, in whole evenings."""
    writing = sqlite.writing(path, sqlite.Durability.PROCESS)
    migrate.ensure_schema(writing, path)
    a_game = sum(not event.outcome for event in like_game(0))
    evenings = max(math.ceil(forecasts / (a_game * GAMES_AN_EVENING)), 2)
    evening, filled = 0, 0
    while evening < evenings:
        with writing.begin() as connection:
            connection.exec_driver_sql("PRAGMA cache_size=-1000000")  # kB
            filling = _Filling(connection)
            while evening < evenings and filling.waiting < _COMMITTED:
                for event, game_id in _evening(evening):
                    filling.happens(event, game_id, evening, evening < evenings - 1)
                evening += 1
            filling.write()
            filled += filling.forecasts
    writing.dispose()
    return Filled(path, filled, evenings)


def found(path: Path) -> Filled:
    """A ledger that was filled earlier."""
    reading = sqlite.reading(path)
    with reading.connect() as connection:
        forecasts, days = connection.execute(
            select(func.count(), func.count(schema.forecasts.c.day.distinct())).select_from(schema.forecasts)
        ).one()
    reading.dispose()
    return Filled(path, forecasts, days)


def _evening(evening: int) -> Iterator[tuple[_Event, str]]:
    """All that happens in the games of an evening, as they are played side by side."""
    numbers = range(evening * GAMES_AN_EVENING, (evening + 1) * GAMES_AN_EVENING)
    played = [(event, game(number)) for number in numbers for event in like_game(number % _LIKE_GAMES)]
    return iter(sorted(played, key=lambda each: each[0].minute))
