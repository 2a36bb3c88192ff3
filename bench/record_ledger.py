"""Writes ledgers of any size for bench.record in a minute or two: evenings of games, as a server would record them.

Some template games are prepared by the ledger's own code; every game is a copy of one of these with another
id, day and model version. The resulting ledger passes `verify`.
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
from tests.support.builders.record_book import forecast

from dejavu_common.clock import microseconds
from dejavu_common.game_day import game_day
from dejavu_feed.teams import TEAMS
from dejavu_models.betting import Market, evaluate_market
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.types import DISTRIBUTION_LEVELS, MAX_SLOTS, Horizon, Interval, SimilarGame
from dejavu_server.ledger import Durability
from dejavu_server.ledger.database import schema, store
from dejavu_server.ledger.database.sqlite import backend as sqlite
from dejavu_server.ledger.database.sqlite import engine as sqlite_engine
from dejavu_server.ledger.database.sqlite import migration
from dejavu_server.ledger.entries import codec, rows
from dejavu_server.ledger.entries.codec import PreparedForecast
from dejavu_server.records import IssuedForecast, ReportedOutcome

GAMES_AN_EVENING = 8
EVENINGS_A_MODEL = 60
"""Evenings after which the model version changes."""

FIRST_EVENING = datetime(2016, 10, 26, 0, 30, tzinfo=UTC)

_TEMPLATE_GAMES = 30  # every team plays once at home and once away
_REVISED_MINUTES = {9, 29}  # minutes with a corrected play
_MARKET_MINUTE = 18
_ENTRIES_PER_COMMIT = 50_000  # entries per transaction

# Placeholders in the texts of template games for the parts that differ from game to game.
_GAME = "0020000000"
_VERSION = "model-version-000"
_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled ledger.

    Attributes:
        path: its file.
        forecasts: number of forecasts.
        evenings: number of evenings; the games of the last one have no outcomes yet.
    """

    path: Path
    forecasts: int
    evenings: int

    @property
    def url(self) -> str:
        """URL of the ledger."""
        return f"sqlite:///{self.path}"

    @property
    def games(self) -> int:
        """Number of games; `game` returns their ids."""
        return self.evenings * GAMES_AN_EVENING


def game(number: int) -> str:
    """Return the id of the game with a number, from 0 on."""
    return f"002{number:07d}"


def version(evening: int) -> str:
    """Return the model version of an evening."""
    return f"model-version-{evening // EVENINGS_A_MODEL:03d}"


def day(evening: int) -> int:
    """Return the day of an evening, as `date.toordinal()`."""
    return game_day(FIRST_EVENING + timedelta(days=evening)).toordinal()


class _Event(NamedTuple):
    """A forecast or outcome of a template game, without the parts that differ from game to game.

    Attributes:
        minute: minute of the game.
        payload: payload of the canonical form.
        row: row of `forecasts` or `outcomes`.
        key: the forecast's key.
        market: row of the forecast's market, and the parts of its payload before and after the forecast's sequence.
        outcome: whether it is an outcome.
    """

    minute: int
    payload: str
    row: dict[str, Any]
    key: str = ""
    market: tuple[dict[str, Any], str, str] | None = None
    outcome: bool = False


@cache
def template_game(number: int) -> list[_Event]:
    """Return all events of a template game, in order."""
    rng = random.Random(number)
    teams = sorted(TEAMS)
    home, away = teams[2 * number % len(teams)], teams[(2 * number + 1) % len(teams)]
    if number >= len(teams) // 2:
        home, away = away, home
    scores = list(accumulate(rng.choice((-3.0, -2.0, 0.0, 0.0, 2.0, 3.0)) for _ in range(48)))
    differentials = {Horizon.HALFTIME: int(scores[23]), Horizon.FINAL: int(scores[47]) or 1}
    outcomes = {
        horizon: ReportedOutcome(_GAME, horizon, differential, home, away, _TIME, _TIME)
        for horizon, differential in differentials.items()
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
                    made = _with_market(made)
                events.append(_forecast_event(replace(made, revision=revision)))
        if minute in {24, MAX_SLOTS}:
            outcome = outcomes[Horizon.HALFTIME if minute == 24 else Horizon.FINAL]
            row = rows.outcome_row(outcome, 0)
            events.append(_Event(minute, codec.outcome_payload(outcome), row, outcome=True))
    return events


def _forecast(known: Sequence[float], horizon: Horizon, home: str, away: str) -> IssuedForecast:
    """Return the forecast of a random-walk model."""
    left = (24 if horizon is Horizon.HALFTIME else 48) - len(known)
    walk = _walk(known[-1], left)
    made = forecast(
        _GAME,
        minute=len(known),
        horizon=horizon,
        model_version=_VERSION,
        home_team=home,
        away_team=away,
        generated_time=_TIME,
    )
    answer = made.forecast
    explanation = answer.explanation
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
            answer,
            point=round(walk.mean, 6),
            interval=Interval(walk.inv_cdf(0.025), walk.inv_cdf(0.975)),
            home_lead_probability=min(max(1.0 - walk.cdf(0.0), 0.001), 0.999),
            distribution=tuple(round(walk.inv_cdf(level), 3) for level in DISTRIBUTION_LEVELS),
            explanation=explanation,
        ),
    )


def _walk(lead: float, left: int) -> NormalDist:
    """Return the distribution of the differential after the minutes that are left, in a random walk from the lead."""
    return NormalDist(lead, 2.7 * math.sqrt(left))


def _with_market(made: IssuedForecast) -> IssuedForecast:
    """Add a market on a spread of 2.5 points at the end, evaluated with the forecast's random walk."""
    walk = _walk(made.pattern.last, 48 - made.forecast.elapsed_minutes)
    market = Market(2.5, 1.9, 2.0)
    answer = evaluate_market(market, lambda least: 1.0 - walk.cdf(least - 0.5))
    # A market has a stake only if a margin is expected.
    forecast = replace(made.forecast, market=answer, expected_margin=0.0)
    return replace(made, market=market, pregame_margin=0.0, forecast=forecast)


def _forecast_event(made: IssuedForecast) -> _Event:
    drafted: PreparedForecast = codec.prepare(made)
    market = None
    if made.market is not None and made.forecast.market is not None:
        placeholder = 10**15  # digits that occur nowhere else
        before, _, after = codec.market_payload(placeholder, made.market, made.forecast.market).partition(
            str(placeholder)
        )
        market = rows.market_row(0, 0, made.market), before, after
    return _Event(
        made.forecast.elapsed_minutes,
        drafted.payload,
        rows.forecast_row(made, drafted),
        drafted.key,
        market,
    )


class _RowWriter:
    """Collects rows of events and writes them to a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sequence, self._previous = store.head(connection)
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self.forecasts = 0

    @property
    def waiting(self) -> int:
        """Number of entries not written yet."""
        return len(self._rows.get("entries", ()))

    def happens(self, event: _Event, game_id: str, evening: int, settled: bool) -> None:
        """Add the rows of an event."""
        time = FIRST_EVENING + timedelta(days=evening, minutes=2.5 * event.minute)
        model, when = version(evening), microseconds(time)
        if event.outcome:
            if settled:
                self._outcome(event, game_id, when, day(evening))
            return
        at, until = microseconds(_TIME), microseconds(_TIME + timedelta(minutes=5))
        payload = event.payload.replace(_GAME, game_id).replace(_VERSION, model)
        payload = payload.replace(str(at), str(when)).replace(str(until), str(when + until - at))
        sequence = self._entry(codec.FORECAST, payload, event.row["revision"])
        own = {"game_id": game_id, "model_version": model, "day": day(evening)}
        key = event.key.replace(_GAME, game_id).replace(_VERSION, model)
        self._add("forecasts", {**event.row, **own, "key": key, "generated_us": when, "sequence": sequence})
        self.forecasts += 1
        if event.market is not None:
            row, before, after = event.market
            market_sequence = self._entry(codec.MARKET, f"{before}{sequence}{after}", 0)
            self._add("markets", {**row, "sequence": market_sequence, "forecast_sequence": sequence})

    def write(self) -> None:
        """Write the collected rows."""
        for table in schema.metadata.sorted_tables:
            if added := self._rows.pop(table.name, None):
                self._connection.execute(insert(table), added)

    def _outcome(self, event: _Event, game_id: str, when: int, on: int) -> None:
        payload = event.payload.replace(_GAME, game_id).replace(str(microseconds(_TIME)), str(when))
        sequence = self._entry(codec.OUTCOME, payload, 0)
        own = {"sequence": sequence, "first_sequence": sequence, "game_id": game_id, "observed_us": when, "day": on}
        self._add("outcomes", {**event.row, **own})

    def _entry(self, kind: str, payload: str, revision: int) -> int:
        self.sequence += 1
        row, self._previous = store.entry_row(kind, payload, revision, self.sequence, self._previous, made_by="")
        self._add("entries", row)
        return self.sequence

    def _add(self, table: str, row: dict[str, Any]) -> None:
        self._rows.setdefault(table, []).append(row)


def fill(path: Path, forecasts: int) -> Filled:
    """Create a ledger of at least `forecasts` forecasts, in whole evenings."""
    writing = sqlite.writing_engine(path, Durability.PROCESS)
    migration.ensure_schema(writing, path)
    a_game = sum(not event.outcome for event in template_game(0))
    evenings = max(math.ceil(forecasts / (a_game * GAMES_AN_EVENING)), 2)
    evening, filled = 0, 0
    while evening < evenings:
        with writing.begin() as connection:
            connection.exec_driver_sql("PRAGMA cache_size=-1000000")  # kB
            writer = _RowWriter(connection)
            while evening < evenings and writer.waiting < _ENTRIES_PER_COMMIT:
                for event, game_id in _evening(evening):
                    writer.happens(event, game_id, evening, evening < evenings - 1)
                evening += 1
            writer.write()
            filled += writer.forecasts
    writing.dispose()
    return Filled(path, filled, evenings)


def found(path: Path) -> Filled:
    """Open a ledger that was filled earlier, and count its contents."""
    reading = sqlite_engine.reading_engine(path)
    with reading.connect() as connection:
        forecasts, days = connection.execute(
            select(func.count(), func.count(schema.forecasts.c.day.distinct())).select_from(schema.forecasts)
        ).one()
    reading.dispose()
    return Filled(path, forecasts, days)


def _evening(evening: int) -> Iterator[tuple[_Event, str]]:
    """Return the events of all games of an evening, ordered by minute."""
    numbers = range(evening * GAMES_AN_EVENING, (evening + 1) * GAMES_AN_EVENING)
    played = [(event, game(number)) for number in numbers for event in template_game(number % _TEMPLATE_GAMES)]
    return iter(sorted(played, key=lambda each: each[0].minute))
