"""Ledgers of past evenings, with a signed checkpoint after each, and their rows, to compare two ledgers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.builders import full_ledger
from tests.support.builders.box_scores import made_box_score
from tests.support.builders.model_changes import change, shadow

from dejavu_ledger import outcomes
from dejavu_ledger.audit import checkpoints
from dejavu_ledger.audit.chain import stored_rows
from dejavu_ledger.database.backend import Backend, Connection
from dejavu_ledger.database.schema import TABLES
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.entries import codec
from dejavu_ledger.queries import model_changes
from dejavu_ledger.recording import append_shadows, record_forecasts
from dejavu_ledger.records import Checkpoint, IssuedForecast, ReportedOutcome
from dejavu_ledger.url import file_url
from dejavu_models.results import Failed
from dejavu_models.types import Horizon
from dejavu_store.stages import ModelAction

FIRST = datetime(2026, 1, 5, 1, 0, tzinfo=UTC)
"""Tip-off of the first evening: local date 4 January, in the season of the games."""

TEAMS = ("ATL", "BKN", "BOS", "CHA", "CHI", "CLE", "DAL", "DEN")

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@dataclass
class Evenings:
    """A ledger that is filled evening by evening.

    Attributes:
        backend: the ledger.
        signed: the checkpoint after each evening.
        number: number of the next game.
        lifecycle: whether models change each evening, and a challenger forecasts beside the champion.
    """

    backend: Backend
    seed: int = 0
    signed: list[Checkpoint] = field(default_factory=list)
    number: int = 0
    lifecycle: bool = False

    def __post_init__(self) -> None:
        self.backend.open(make=True)
        self._random = random.Random(self.seed)

    def play(self, *, games: int = 2) -> None:
        """Record an evening: forecasts with revisions and markets, halves, finals, corrections, a checkpoint."""
        start = FIRST + timedelta(days=len(self.signed))
        numbers = range(self.number, self.number + games)
        self.number += games
        with self.backend.write() as connection:
            if self.lifecycle:
                self._change_models(connection, start)
            for minute in (6, 18, 30):
                for number in numbers:
                    self._record(connection, number, minute, start + timedelta(minutes=minute))
                    if minute == 18:
                        self._report(connection, number, Horizon.HALFTIME, start + timedelta(minutes=70))
            for number in numbers:
                self._report(connection, number, Horizon.FINAL, start + timedelta(minutes=150))
                if self._random.random() < 0.3:
                    self._report(connection, number, Horizon.FINAL, start + timedelta(minutes=155))
            identity, head = checkpoints.identity_and_head(connection)
            self.signed.append(checkpoints.sign(KEY, identity, head, start + timedelta(hours=3)))
            checkpoints.add_checkpoint(connection, self.signed[-1])

    def _change_models(self, connection: Connection, start: datetime) -> None:
        """Promote v1 on the first evening, then load v2 and take it away in turns."""
        evening = len(self.signed)
        actions = [(ModelAction.REGISTER, "v1"), (ModelAction.PROMOTE, "v1"), (ModelAction.REGISTER, "v2")]
        if evening:
            actions = [(ModelAction.LOAD if evening % 2 else ModelAction.UNLOAD, "v2")]
        for action, version in actions:
            made = change(action, version, by="token:ops", changed_time=start)
            _, appended = model_changes.append_change(connection, model_changes.KnownRoster().read(connection), made)
            assert appended is not None

    def _record(self, connection: Connection, number: int, minute: int, now: datetime) -> None:
        """Record the forecasts of a game at a minute, some with a revision, and what a challenger says beside them."""
        last = float(self._random.randint(-9, 9))
        made = [self._forecast(number, minute, Horizon.FINAL, last, now)]
        if minute < 24:
            made.append(self._forecast(number, minute, Horizon.HALFTIME, last, now))
        if self._random.random() < 0.3:
            made.append(self._forecast(number, minute, Horizon.FINAL, last + 1.0, now))
        stored = record_forecasts(connection, [codec.prepare(each) for each in made])
        issued = [each for each in stored if isinstance(each, IssuedForecast)]
        assert len(issued) == len(made)
        if self.lifecycle:
            append_shadows(connection, [codec.prepare_shadow(shadow(each, point=last)) for each in issued])

    def _forecast(self, number: int, minute: int, horizon: Horizon, last: float, now: datetime) -> IssuedForecast:
        market = self._random.random() < 0.2
        made = full_ledger.recordable(number, slots=minute, horizon=horizon, last=last, market=market)
        home, away = self._teams(number)
        return replace(
            made,
            game_id=_game(number),
            home_team=home,
            away_team=away,
            live=replace(made.live, neutral_site=number % 4 == 1 or None),
            generated_time=now,
            expires_time=now + timedelta(minutes=5),
        )

    def _report(self, connection: Connection, number: int, horizon: Horizon, now: datetime) -> None:
        value = self._random.choice([each for each in range(-20, 21) if each])
        reported = ReportedOutcome(_game(number), horizon, value, *self._teams(number), now, now)
        if horizon is Horizon.FINAL and number % 3:
            lines = made_box_score(*self._teams(number), value, number)
            reported = replace(reported, players=tuple(each.line for each in lines))
        assert not isinstance(outcomes.record_outcome(connection, reported, now), Failed)

    def _teams(self, number: int) -> tuple[str, str]:
        home = number % len(TEAMS)
        return TEAMS[home], TEAMS[(home + 1 + number // len(TEAMS) % (len(TEAMS) - 1)) % len(TEAMS)]


def _game(number: int) -> str:
    return f"00225{number:05}"


def evenings_at(path: Path, count: int, *, games: int = 2, seed: int = 0, lifecycle: bool = False) -> Evenings:
    """Return a SQLite ledger of evenings; close its backend."""
    result = Evenings(SqliteBackend(file_url(path)), seed, lifecycle=lifecycle)
    for _ in range(count):
        result.play(games=games)
    return result


def write_evenings(path: Path, count: int, *, games: int = 2, seed: int = 0, lifecycle: bool = False) -> Evenings:
    """Write a SQLite ledger of evenings, and close it."""
    result = evenings_at(path, count, games=games, seed=seed, lifecycle=lifecycle)
    result.backend.close()
    return result


def rows(backend: Backend) -> Mapping[str, list[dict[str, Any]]]:
    """Return every row of a ledger, by table."""
    with backend.read() as connection:
        return {
            table: stored_rows(connection, table, f"ORDER BY {'1, 2' if len(columns) > 1 else '1'}")
            for table, columns in TABLES.items()
        }


def rows_at(path: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Return every row of a SQLite ledger, by table."""
    with closing(SqliteBackend(file_url(path))) as backend:
        return rows(backend)
