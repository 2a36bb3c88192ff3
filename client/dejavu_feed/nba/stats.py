"""The NBA's statistics → games that were played and the course of their scores: LeagueGameLog and PlayByPlayV3.

The only place that knows these payloads' names when reading. What must be right is checked and raises by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any, Final, NamedTuple

from dejavu_feed.errors import IncompleteGame, MalformedFeed
from dejavu_feed.names import TEAM_IDS, is_game_id
from dejavu_feed.nba.fields import brief, optional_text, required
from dejavu_feed.nba.live import clock_seconds
from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_SECONDS, Score, elapsed_seconds

_TEAMS: Final = {number: code for code, number in TEAM_IDS.items()}
_COLUMNS: Final = ("GAME_ID", "GAME_DATE", "TEAM_ID", "MATCHUP", "WL", "PTS")
_MOST_POINTS: Final = 3
"""What one shot makes at most."""


@dataclass(frozen=True, slots=True)
class ListedGame:
    """A game as a season's list has it.

    Attributes:
        game_id: the NBA's id, ten digits.
        date: the local date.
        teams: how the list names the pairing, for instance "NYK @ BOS".
        points: NBA code → points, of both teams; empty if there is a fault.
        home: NBA code; "" where the list does not tell, as of games on neutral ground.
        over: whether it has been won.
        fault: why the list cannot be believed here; "" if it can.
    """

    game_id: str
    date: date
    teams: str
    points: Mapping[str, int]
    home: str = ""
    over: bool = True
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ScoreTimeline:
    """How a game's score went.

    Attributes:
        home, away: NBA codes.
        scores: every change of the score, in order of time; the first is 0–0 at tip-off.
    """

    home: str
    away: str
    scores: tuple[Score, ...]

    @property
    def points(self) -> dict[str, int]:
        """NBA code → points at the end."""
        return {self.home: self.scores[-1].home, self.away: self.scores[-1].away}


def read_game_log(payload: object) -> tuple[ListedGame, ...]:
    """The games of a LeagueGameLog of teams, by date and id. It has two rows a game, one from each team's side.

    A game whose rows do not agree is listed with its fault, and does not hide the others.

    Raises:
        MalformedFeed: if the payload is no such list, or a row has no id or no date.
    """
    sets = required(payload, "resultSets", list, "payload")
    found = next((s for s in sets if isinstance(s, Mapping) and s.get("name") == "LeagueGameLog"), None)
    if found is None:
        raise MalformedFeed("payload.resultSets holds no LeagueGameLog")
    headers = [str(header) for header in required(found, "headers", list, "LeagueGameLog")]
    if missing := [column for column in _COLUMNS if column not in headers]:
        raise MalformedFeed(f"LeagueGameLog lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")
    games: dict[str, list[dict[str, Any]]] = {}
    for index, values in enumerate(required(found, "rowSet", list, "LeagueGameLog")):
        if not isinstance(values, list) or len(values) != len(headers):
            raise MalformedFeed(f"LeagueGameLog.rowSet[{index}] is {brief(values)}, expected {len(headers)} values")
        row = dict(zip(headers, values, strict=True))
        game_id = required(row, "GAME_ID", str, f"LeagueGameLog.rowSet[{index}]")
        if not is_game_id(game_id):
            raise MalformedFeed(f"LeagueGameLog.rowSet[{index}].GAME_ID is {game_id[:20]!r}, expected ten digits")
        games.setdefault(game_id, []).append(row)
    return tuple(sorted((_listed(*game) for game in games.items()), key=lambda game: (game.date, game.game_id)))


def _listed(game_id: str, rows: Sequence[Mapping[str, Any]]) -> ListedGame:
    day = _date(required(rows[0], "GAME_DATE", str, f"game {game_id}"), game_id)
    matchups = [str(row["MATCHUP"]) for row in rows]
    # "BOS vs. NYK" is the home side's row. On neutral ground both read "…@…": the plays tell there.
    hosts = [row for row in rows if " vs. " in str(row["MATCHUP"])]
    teams = next((matchup for matchup in matchups if "@" in matchup), matchups[0])
    home = _team(hosts[0]["TEAM_ID"]) if len(hosts) == 1 else ""
    codes = [_team(row["TEAM_ID"]) for row in rows]
    fault = ""
    if len(rows) != 2:
        fault = f"the list has {len(rows)} rows of it, expected 2"
    elif "" in codes:
        fault = f"the list has it with team {rows[codes.index('')]['TEAM_ID']}, which is none of the league"
    elif codes[0] == codes[1]:
        fault = f"the list has {codes[0]} play against itself"
    if fault:
        return ListedGame(game_id, day, teams, {}, fault=fault)
    over = all(row["WL"] in ("W", "L") and isinstance(row["PTS"], int) for row in rows)
    points = {code: row["PTS"] for code, row in zip(codes, rows, strict=True)} if over else {}
    return ListedGame(game_id, day, teams, points, home, over)


def read_score_timeline(payload: object, game: ListedGame) -> ScoreTimeline:
    """The course of a game's score, from its PlayByPlayV3.

    A row without a score scores nothing; the start of a period is no news, and some tell a wrong score.

    Args:
        payload: the answer.
        game: as the list has it, over and without fault. Plays are those of the game only if they end as it did.

    Raises:
        MalformedFeed: if the payload is not this game's play-by-play, or one of its rows has no place, clock or score.
        IncompleteGame: if there are no plays, or they end with another score than the game.
    """
    plays = required(payload, "game", dict, "payload")
    found = required(plays, "gameId", str, "game")
    if found != game.game_id:
        raise MalformedFeed(f"asked for the plays of {game.game_id}, got those of {found[:20]!r}")
    actions = required(plays, "actions", list, "game")
    if not actions:
        raise IncompleteGame("the NBA has no plays of it")
    scores = _scores([row for action in actions if (row := _row(action)) is not None])
    home = _home(actions, game)
    (away,) = game.points.keys() - {home}
    course = ScoreTimeline(home, away, scores)
    if course.points != dict(game.points):
        told, listed = (
            ", ".join(f"{team} {points[team]}" for team in (home, away)) for points in (course.points, game.points)
        )
        raise IncompleteGame(f"its plays end with {told}; the list has {listed}")
    return course


def _home(actions: Sequence[object], game: ListedGame) -> str:
    """Whose the column scoreHome is: the plays' own word counts, since a list may call either team the host."""
    for action in actions:
        if isinstance(action, Mapping) and action.get("location") in ("h", "v"):  # a tuple: lists fit in no set
            code = _team(action.get("teamId"))
            if code in game.points:
                others = game.points.keys() - {code}
                return code if action["location"] == "h" else min(others)
    if not game.home:
        raise IncompleteGame("neither the list nor the plays tell who is at home")
    return game.home


class _Row(NamedTuple):
    place: int
    score: Score


def _row(action: object) -> _Row | None:
    place = required(action, "actionId", int, "action")
    where = f"action {place}"
    home, away = _points(action, "scoreHome", where), _points(action, "scoreAway", where)
    if home is None and away is None:
        return None
    if home is None or away is None:
        raise MalformedFeed(f"{where} has the score of one team alone")
    if (optional_text(action, "actionType"), optional_text(action, "subType")) == ("period", "start"):
        return None
    period = required(action, "period", int, where)
    text = required(action, "clock", str, where)
    clock = clock_seconds(text)
    if period < 1 or clock is None or clock > (QUARTER_SECONDS if period <= 4 else OVERTIME_SECONDS):
        raise MalformedFeed(f"{where} is at {text[:20]!r} of period {period}, which is no moment of a game")
    return _Row(place, Score(round(elapsed_seconds(period, clock), 2), home, away))


def _points(record: object, key: str, where: str) -> int | None:
    """A score: digits in a string, as the service has it, or a number; None where there is none."""
    value = record.get(key) if isinstance(record, Mapping) else None
    if value in (None, ""):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 3:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 999:
        return value
    raise MalformedFeed(f"{where}.{key} is {brief(value)}, expected points")


def _scores(rows: Sequence[_Row]) -> tuple[Score, ...]:
    """Every change of the score, in order of time.

    Rows are numbered as they were entered. One that was entered late stands out of time: its score may be that of its
    number or that of its clock. Whichever reading makes the score rise as shots make it is taken.
    """
    numbered = [Score(0.0, 0, 0), *(row.score for row in sorted(rows, key=lambda row: row.place))]
    by_clock = sorted(numbered, key=lambda score: score.elapsed)  # stable: at one moment, in order of their numbers
    if by_clock != numbered and _oddities(numbered) < _oddities(by_clock):
        steps = sorted(
            ((then.elapsed, then.home - now.home, then.away - now.away) for now, then in pairwise(numbered)),
            key=lambda step: step[0],
        )
        by_clock = numbered[:1]
        for elapsed, home, away in steps:
            last = by_clock[-1]
            by_clock.append(Score(elapsed, last.home + home, last.away + away))
    return (
        *by_clock[:1],
        *(then for now, then in pairwise(by_clock) if (then.home, then.away) != (now.home, now.away)),
    )


def _oddities(scores: Sequence[Score]) -> int:
    """How many steps no single shot makes."""
    steps = ((then.home - now.home, then.away - now.away) for now, then in pairwise(scores))
    return sum(not (min(step) == 0 and max(step) <= _MOST_POINTS) for step in steps)


def _team(number: object) -> str:
    """The NBA's code of a team's number; "" if no team of the league has it. Clubs that moved keep theirs."""
    return _TEAMS.get(number, "") if isinstance(number, int) else ""


def _date(text: str, game_id: str) -> date:
    try:
        return date.fromisoformat(text[:10])  # some seasons say 2024-10-22T00:00:00
    except ValueError:
        raise MalformedFeed(f"game {game_id}.GAME_DATE is {text[:20]!r}, expected a date") from None
