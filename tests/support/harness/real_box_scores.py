"""The box scores of the real games, from their events: the players on court, their seconds and their entry times.

The live feed's table names the ten players on court in every row. PlayByPlayV2 does not: a player who is named in a
period before any substitution brings him in is taken to have started the period.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from dejavu_feed.teams import team_code
from dejavu_trainer.data.box_scores import SCHEMA

_ACTIONS: Final = {"2pt", "3pt", "freethrow", "rebound", "turnover", "steal", "block", "substitution"}
_SUBSTITUTION: Final = 8
_NAMING: Final = {1, 2, 3, 4, 5, 6, 10}
"""Events of PlayByPlayV2 that name players on court."""
_FOUL: Final = 6
_BENCH_FOULS: Final = {10, 11, 12, 13, 16, 18, 19, 25, 30}
"""Fouls that can be called on players of the bench."""
_QUARTER, _OVERTIME = 720.0, 300.0
_TEAM: Final = 1610000000
"""Ids of teams are greater."""

Row = Mapping[str, Any]


class _Court:
    """The players on court, and the seconds and plus-minus of all players so far."""

    def __init__(self, sides: Mapping[int, int]) -> None:
        self.sides = sides
        self.on: list[int] = []
        self.starters: list[int] = []
        self.seconds, self.plus_minus = defaultdict[int, float](float), Counter[int]()
        self.first: dict[int, float] = {}
        self.time, self.score = 0.0, (0, 0)

    def until(self, time: float, score: tuple[int, int]) -> None:
        """Advance to a time and a score."""
        change = score[0] - self.score[0] - (score[1] - self.score[1])
        for player in self.on:
            self.seconds[player] += max(0.0, time - self.time)
            self.plus_minus[player] += change * self.sides.get(player, 0)
        self.time, self.score = max(time, self.time), score

    def enter(self, players: Sequence[int]) -> None:
        """Replace the players on court."""
        self.on = [player for player in players if player in self.sides]
        for player in self.on:
            self.first.setdefault(player, self.time)
        if not self.starters:
            self.starters = self.on

    def rows(self, game_id: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the file; none if the players at tip-off are not known."""
        if sorted(self.sides[player] for player in self.starters) != [-1] * 5 + [1] * 5:
            return
        for player, first in self.first.items():
            home, started = self.sides[player] > 0, player in self.starters
            if seconds := max(round(self.seconds[player]), int(started)):
                yield game_id, player, home, seconds, self.plus_minus[player], started, first


def write_box_scores(path: Path, folder: Path, season: int) -> None:
    """Write the box scores of a season's games from its table of events."""
    source = folder / f"live_{season}.parquet"
    of_game = _live if source.exists() else _v2
    table: pa.Table = pq.read_table(source if source.exists() else folder / f"v2_{season}.parquet")
    games: dict[str, list[Row]] = {}
    for row in table.select([name for name in table.column_names if name in _COLUMNS]).to_pylist():
        games.setdefault(row["game_id"], []).append(row)
    rows = [row for game_id, of in games.items() for row in of_game(game_id, of)]
    columns = dict(zip(SCHEMA.names, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns, schema=SCHEMA), path, compression="zstd")


_COLUMNS: Final = {
    *("game_id", "period", "elapsed_s", "team", "home_score", "away_score"),
    *("action", "person", "players_on"),
    *("event_type", "event_action", "player1", "player2", "player3"),
}


def _sides(home: str, named: Iterator[tuple[int | None, str | None]]) -> dict[int, int]:
    """Return 1 for players of the home team and −1 for others; a player's team is the one most often beside him."""
    votes: dict[int, Counter[int]] = {}
    for player, team in named:
        if player and team and 0 < player < _TEAM:
            votes.setdefault(player, Counter())[1 if team_code(team) == home else -1] += 1
    return {player: max(of, key=of.__getitem__) for player, of in votes.items()}


def _score(court: _Court, row: Row) -> tuple[int, int]:
    return max(court.score[0], row["home_score"] or 0), max(court.score[1], row["away_score"] or 0)


def _live(game_id: str, rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    named = ((row["person"], row["team"]) for row in rows if row["action"] in _ACTIONS)
    court = _Court(_sides(team_code(game_id[-3:]), named))
    for row in rows:
        court.until(row["elapsed_s"], _score(court, row))
        on = [int(player) for player in row["players_on"].split("|")] if row["players_on"] else []
        if on and (court.on or len(on) == 10):
            first = not court.on
            court.enter(on)
            if first:
                court.first = dict.fromkeys(court.on, 0.0)
    yield from court.rows(game_id)


def _v2(game_id: str, rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    named = [(row["player1"], row["team"]) for row in rows if row["event_type"] in {1, 2, 3, 4, 5, _SUBSTITUTION}]
    named += [(row["player2"], row["team"]) for row in rows if row["event_type"] == _SUBSTITUTION]
    sides = _sides(team_code(game_id[-3:]), iter(named))
    court = _Court(sides)
    for period in sorted({row["period"] for row in rows}):
        of_period = [row for row in rows if row["period"] == period]
        court.time = (period - 1) * _QUARTER if period <= 4 else 4 * _QUARTER + (period - 5) * _OVERTIME
        end = court.time + (_QUARTER if period <= 4 else _OVERTIME)
        court.enter(_began(of_period, sides))
        for row in of_period:
            court.until(row["elapsed_s"], _score(court, row))
            if row["event_type"] == _SUBSTITUTION:
                court.enter([*(player for player in court.on if player != row["player1"]), row["player2"]])
        court.until(end, court.score)
    yield from court.rows(game_id)


def _began(rows: Sequence[Row], sides: Mapping[int, int]) -> list[int]:
    """Return the players who started a period: those named in it before any substitution brings them in."""
    came, began = set[int](), dict[int, None]()
    for row in rows:
        if row["event_type"] == _SUBSTITUTION:
            if row["player1"] in sides and row["player1"] not in came:
                began.setdefault(row["player1"])
            came.add(row["player2"])
        elif row["event_type"] in _NAMING and not (row["event_type"] == _FOUL and row["event_action"] in _BENCH_FOULS):
            for name in ("player1", "player2", "player3"):
                if row[name] in sides and row[name] not in came:
                    began.setdefault(row[name])
    return list(began)
