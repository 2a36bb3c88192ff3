"""Files of plays of one game in the columns of hoopR, pbpstats and nba_api, and of this project."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from dejavu_feed.files.source_rows import Source
from dejavu_feed.nba.plays import Play, completed_minutes, halftime_score
from dejavu_feed.pattern import slots
from dejavu_feed.teams import TEAMS

GAME, NUMBER = "0022300061", 22300061
DAY = "2023-10-24"
LISTED = f"SEASON_ID,TEAM_ABBREVIATION,GAME_ID,GAME_DATE,MATCHUP,WL\n22023,LAL,{GAME},{DAY},LAL @ DEN,L\n"

SCORES = [
    (1, "11:43", 0, 0),
    (1, "10:02", 2, 0),
    (2, "0:27.5", 2, 3),
    (3, "12:00", 2, 3),
    (3, "5:00", 4, 3),
    (4, "0:00", 5, 3),
]
"""Period, clock, home and away points of a game that DEN wins by 2."""

ELAPSED = [(0.0, 0, 0), (118.0, 2, 0), (1412.5, 2, 3), (1860.0, 4, 3), (2880.0, 5, 3)]
"""Every change of that score."""


def hoopr_row(period: object, clock: str, home: object, away: object, **fields: object) -> dict[str, object]:
    """Return a row of hoopR's load_nba_pbp, with some columns that are not read."""
    return {
        "sequence_number": "4",
        "type_text": "Driving Layup Shot",
        "text": 'Jokic "The Joker", assisted',
        "away_score": away,
        "home_score": home,
        "period_number": period,
        "clock_display_value": clock,
        "score_value": "NA",
        "game_id": 401584689,
        "season_type": 2,
        "home_team_id": 7,
        "home_team_abbrev": "DEN",
        "away_team_id": 13,
        "away_team_abbrev": "LAL",
        "game_date": DAY,
        **fields,
    }


def hoopr(**fields: Any) -> list[dict[str, object]]:
    return [hoopr_row(*score, **fields) for score in SCORES]


def complete_hoopr(*days: str) -> list[dict[str, object]]:
    """Return the rows of a complete game on each day."""
    chance = random.Random(1)
    rows: list[dict[str, object]] = []
    for number, day in enumerate(days, start=1):
        home = away = 0
        for period in range(1, 5):
            for second in sorted(chance.sample(range(1, 720), 40), reverse=True):
                by_home = chance.choice([0, 2])
                home, away = home + by_home, away + 2 - by_home
                clock = f"{second // 60}:{second % 60:02d}"
                rows.append(hoopr_row(period, clock, home, away, game_id=number, game_date=day))
        rows.append(hoopr_row(4, "0.0", home + (home == away), away, game_id=number, game_date=day))
    return rows


def pbpstats(**fields: object) -> list[dict[str, object]]:
    """Return the rows of a PlayByPlayV2, with some columns that are not read."""
    rows = []
    for number, (period, clock, home, away) in enumerate(SCORES):
        side, code = ("4", "DEN") if number % 2 else ("5", "LAL")
        scored = number in (1, 2, 4, 5)
        rows.append(
            {
                "GAME_ID": NUMBER,
                "EVENTNUM": number,
                "EVENTMSGTYPE": 1,
                "PERIOD": period,
                "PCTIMESTRING": clock,
                "SCORE": f"{away} - {home}" if scored else None,
                "SCOREMARGIN": None,
                "PERSON1TYPE": side,
                "PLAYER1_TEAM_ID": TEAMS[code].number,
                "PLAYER1_TEAM_ABBREVIATION": code,
                **fields,
            }
        )
    return rows


def nba_api(**fields: object) -> list[dict[str, object]]:
    """Return the rows of nba_api's PlayByPlayV3."""
    rows = []
    for number, (period, clock, home, away) in enumerate(SCORES):
        minutes, _, seconds = clock.rpartition(":")
        location, code = ("h", "DEN") if number % 2 else ("v", "LAL")
        rows.append(
            {
                "gameId": GAME,
                "actionNumber": 2 * number,
                "clock": f"PT{int(minutes or 0):02d}M{float(seconds):05.2f}S",
                "period": period,
                "teamId": TEAMS[code].number,
                "teamTricode": code,
                "scoreHome": "" if number == 3 else f"{home}",
                "scoreAway": "" if number == 3 else f"{away}",
                "location": location,
                "actionType": "Made Shot",
                "subType": "",
                "actionId": number + 1,
                **fields,
            }
        )
    return rows


def own(**fields: object) -> list[dict[str, object]]:
    """Return the rows of the game in this project's format."""
    labels = {"game_id": GAME, "type": "RS", "home": "DEN", "away": "LAL"}
    names = ("elapsed_s", "home_score", "away_score")
    return [labels | dict(zip(names, score, strict=True)) | {"game_date": DAY, **fields} for score in ELAPSED]


def written(path: Path, rows: Iterable[Mapping[str, object]], delimiter: str = ",") -> Path:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def written_as(form: str, path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write a table as csv, tsv, parquet or json; return its path with this suffix."""
    path = path.with_suffix(f".{form}")
    if form == "parquet":
        parquet.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    elif form == "json":
        path.write_text(json.dumps([dict(row) for row in rows]))
    else:
        written(path, rows, "\t" if form == "tsv" else ",")
    return path


SOURCES = {Source.HOOPR: hoopr, Source.PBPSTATS: pbpstats, Source.NBA_API: nba_api}
"""Rows of the game by the project whose columns they have."""


def halftime_differential(plays: Sequence[Play]) -> int | None:
    """Return home − away at the half, in points; None before the end of the half."""
    score = halftime_score(plays)
    return None if score is None else score.home - score.away


def live_pattern(plays: Sequence[Play], minutes: int) -> tuple[int, ...] | None:
    """Return the slots of the first `minutes` minutes, or None until they are complete (`completed_minutes`)."""
    return slots((play.score for play in plays), minutes) if completed_minutes(plays) >= minutes else None
