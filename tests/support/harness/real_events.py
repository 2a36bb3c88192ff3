"""A folder of the real games behind the shipped bundle: plays, lines, box scores, and events before half and end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tests.support.builders.made_once import made_once
from tests.support.harness.real_box_scores import write_box_scores
from tests.support.harness.real_games import SEASONS

from dejavu_feed.event_table import write_events
from dejavu_feed.events import Event, with_possession
from dejavu_feed.nba.event_rows import live_event, v2_event
from dejavu_feed.teams import CODES, team_code

_IDS = {code: number for number, code in CODES.items()}
_FREE_THROW = 3


def real_folder(data_dir: Path) -> Path:
    """Return a folder with plays, lines, box scores and events of SEASONS, in the trainer's format."""

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "lines").symlink_to(data_dir / "lines")
        for season in SEASONS:
            plays = f"plays_{season}.parquet"
            (folder / plays).symlink_to(data_dir / "seasons" / plays)
            write_events(folder / f"events_{season}.parquet", _games(data_dir / "events", season))
            write_box_scores(folder / f"players_{season}.parquet", data_dir / "events", season)

    return made_once("real-folder", make)


def _games(folder: Path, season: int) -> Iterator[tuple[str, tuple[Event, ...]]]:
    """Yield the events of a season's games with their ids, without the third quarters, of which nothing is used."""
    path = folder / f"live_{season}.parquet"
    read = _live if path.exists() else _v2
    path = path if path.exists() else folder / f"v2_{season}.parquet"
    table: pa.Table = pq.read_table(path, filters=[("period", "!=", 3)])
    games: dict[str, list[Mapping[str, Any]]] = {}
    for row in table.to_pylist():
        games.setdefault(row["game_id"], []).append(row)
    for game_id, rows in games.items():
        teams = {team_code(row["team"]) for row in rows if row["team"]}
        home = team_code(game_id[-3:])
        if len(teams) == 2 and home in teams:
            yield game_id, with_possession(read(rows), (home, *(teams - {home})))


def _live(rows: list[Mapping[str, Any]]) -> list[Event]:
    names = {"actionType": "action", "subType": "detail", "shotResult": "result"}
    ordered = sorted(rows, key=lambda row: row["elapsed_s"])
    return [
        live_event(
            {**{name: row[column] for name, column in names.items()}, "teamId": _team(row["team"])},
            row["period"],
            row["elapsed_s"],
            number,
        )._replace(home=row["home_score"], away=row["away_score"])
        for number, row in enumerate(ordered)
    ]


def _v2(rows: list[Mapping[str, Any]]) -> list[Event]:
    winners = {row["player1"]: _team(row["team"]) for row in rows}
    events, score = [], (0, 0)
    for row in sorted(rows, key=lambda row: row["elapsed_s"]):
        missed = row["event_type"] == _FREE_THROW and row["home_score"] is None
        fields = {
            "EVENTMSGTYPE": row["event_type"],
            "EVENTMSGACTIONTYPE": row["event_action"],
            "HOMEDESCRIPTION": "MISS" if missed else "",
            # Of a team's rebound or turnover, the player is the team.
            "PLAYER1_TEAM_ID": _team(row["team"]) or row["player1"],
            "PLAYER3_TEAM_ID": winners.get(row["player3"]) or row["player3"],
        }
        if row["home_score"] is not None:  # rows that score nothing have none
            score = row["home_score"], row["away_score"]
        event = v2_event(fields, row["period"], row["elapsed_s"], row["event_num"])
        events.append(event._replace(home=score[0], away=score[1]))
    return events


def _team(code: str | None) -> int:
    return _IDS[team_code(code)] if code else 0
