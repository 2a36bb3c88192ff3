"""Parses the NBA's statistics (LeagueGameLog and PlayByPlayV3) into played games and their score timelines.

Only this module knows these payloads' field names when reading. Essential fields are validated and raise errors with
their name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from dejavu_common.clock import parse_day
from dejavu_feed.errors import IncompleteGame, MalformedFeed
from dejavu_feed.events import Event, complete_events
from dejavu_feed.game_ids import FIRST_DAY, LAST_DAY, is_of_season
from dejavu_feed.nba.event_rows import v3_event
from dejavu_feed.nba.typed_fields import brief, game_clock, optional_text, points, required, required_game_id
from dejavu_feed.pattern import LARGEST_MARGIN, Score, elapsed_seconds
from dejavu_feed.score_changes import contradiction, score_changes
from dejavu_feed.teams import CODES

_MATCHUP: Final = 40
"""Number of characters of a matchup that are kept; "NYK @ BOS" has 9."""

_COLUMNS: Final = ("GAME_ID", "GAME_DATE", "TEAM_ID", "MATCHUP", "WL", "PTS")
_LEAST_POINTS, _MOST_TEAM_POINTS = 15, 250
"""Bounds of a team's points in a game; the extremes so far are 18 (1950) and 186 (1983)."""


@dataclass(frozen=True, slots=True)
class ListedGame:
    """A game in a season's game log.

    Attributes:
        game_id: NBA game id, ten digits.
        date: the local date.
        teams: the matchup in the log, for example "NYK @ BOS".
        points: NBA code → points of both teams; empty if there is a fault or the game is not over.
        home: NBA code; "" if the log does not say, for example for games at a neutral site.
        is_neutral: whether the game is at a neutral site, where both rows have the team as a visitor.
        over: whether the game has a winner.
        fault: why the log is inconsistent for this game; "" if it is consistent.
    """

    game_id: str
    date: date
    teams: str
    points: Mapping[str, int]
    home: str = ""
    over: bool = True
    fault: str = ""
    is_neutral: bool = False


@dataclass(frozen=True, slots=True)
class ScoreTimeline:
    """The score of a game over time.

    Attributes:
        home, away: NBA codes.
        scores: every change of the score in chronological order; the first is 0–0 at tip-off.
    """

    home: str
    away: str
    scores: tuple[Score, ...]

    @property
    def points(self) -> dict[str, int]:
        """NBA code → final points."""
        return {self.home: self.scores[-1].home, self.away: self.scores[-1].away}


def read_game_log(payload: object) -> tuple[ListedGame, ...]:
    """Parse a LeagueGameLog of teams into games sorted by date and id. The log has two rows per game, one per team.

    A game with inconsistent rows, or an impossible result, is returned with its fault; the other games are returned as
    usual.

    Raises:
        MalformedFeed: if the payload is not a game log, or a row has no id or date.
    """
    sets = required(payload, "resultSets", list, "payload")
    log = next((s for s in sets if isinstance(s, Mapping) and s.get("name") == "LeagueGameLog"), None)
    if log is None:
        raise MalformedFeed("payload.resultSets holds no LeagueGameLog")
    headers = [str(header) for header in required(log, "headers", list, "LeagueGameLog")]
    if missing := [column for column in _COLUMNS if column not in headers]:
        raise MalformedFeed(f"LeagueGameLog lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")
    games: dict[str, list[dict[str, Any]]] = {}
    for index, values in enumerate(required(log, "rowSet", list, "LeagueGameLog")):
        if not isinstance(values, list) or len(values) != len(headers):
            raise MalformedFeed(f"LeagueGameLog.rowSet[{index}] is {brief(values)}, expected {len(headers)} values")
        row = dict(zip(headers, values, strict=True))
        games.setdefault(required_game_id(row, "GAME_ID", f"LeagueGameLog.rowSet[{index}]"), []).append(row)
    listed = _once_a_day([_listed(*game) for game in games.items()])
    return tuple(sorted(listed, key=lambda game: (game.date, game.game_id)))


def _once_a_day(games: Sequence[ListedGame]) -> Iterator[ListedGame]:
    """Yield games; if a team has several on one day, yield them with this fault."""
    days = Counter((game.date, code) for game in games for code in game.points)
    for game in games:
        often = [code for code in game.points if days[game.date, code] > 1]
        yield replace(game, points={}, fault=f"the list has {often[0]} in two games that day") if often else game


def _listed(game_id: str, rows: Sequence[Mapping[str, Any]]) -> ListedGame:
    day = _date(required(rows[0], "GAME_DATE", str, f"game {game_id}"), game_id)
    matchups = [str(row["MATCHUP"]) for row in rows]
    # "BOS vs. NYK" is the home team's row. At a neutral site both rows are "…@…"; then the plays determine the host.
    hosts = [row for row in rows if " vs. " in str(row["MATCHUP"])]
    teams = next((matchup for matchup in matchups if "@" in matchup), matchups[0])[:_MATCHUP]
    home = _team(hosts[0]["TEAM_ID"]) if len(hosts) == 1 else ""
    codes = [_team(row["TEAM_ID"]) for row in rows]
    fault = ""
    if len(rows) != 2:
        fault = f"the list has {len(rows)} rows of it, expected 2"
    elif "" in codes:
        fault = f"the list names team {brief(rows[codes.index('')]['TEAM_ID'])}, which is not in the league"
    elif codes[0] == codes[1]:
        fault = f"the list has {codes[0]} playing itself"
    elif not is_of_season(game_id, day):
        fault = f"the list has it on {day}, outside the season of its id"
    over = not fault and all(row["WL"] in ("W", "L") and row["PTS"] is not None for row in rows)
    points = {code: row["PTS"] for code, row in zip(codes, rows, strict=True)} if over else {}
    if over:
        fault = _impossible(points, [code for code, row in zip(codes, rows, strict=True) if row["WL"] == "W"])
    return (
        ListedGame(game_id, day, teams, {}, fault=fault)
        if fault
        else ListedGame(game_id, day, teams, points, home, over, is_neutral=not hosts)
    )


def _impossible(points: Mapping[str, Any], winners: Sequence[str]) -> str:
    """Return why a final score is impossible; "" if it is possible.

    Args:
        points: code → points of both teams.
        winners: the teams that won, according to the log.
    """
    final = f"the list has {', '.join(f'{code} {brief(value)}' for code, value in points.items())}"
    if not all(type(value) is int and _LEAST_POINTS <= value <= _MOST_TEAM_POINTS for value in points.values()):
        return f"{final}; expected {_LEAST_POINTS} to {_MOST_TEAM_POINTS} points of each team"
    margin = max(points.values()) - min(points.values())
    if not 1 <= margin <= LARGEST_MARGIN:
        return f"{final}; expected a winner by 1 to {LARGEST_MARGIN} points"
    if winners != [max(points, key=lambda code: points[code])]:
        return f"{final}, and {' and '.join(winners) or 'nobody'} as the winner"
    return ""


def read_score_timeline(payload: object, game: ListedGame) -> ScoreTimeline:
    """Parse a game's score timeline from its PlayByPlayV3.

    Rows without a score are skipped, and so are starts of periods, some of which have a wrong score.

    Args:
        payload: the response.
        game: the game from the log, over and without fault. The plays must end with its final score.

    Raises:
        MalformedFeed: if the payload is not this game's play-by-play, or a row has an invalid id, clock or score.
        IncompleteGame: if there are no plays, they end with another score, or the home team is unknown.
    """
    plays = required(payload, "game", dict, "payload")
    if (received := required_game_id(plays, "gameId", "game")) != game.game_id:
        raise MalformedFeed(f"requested the plays of {game.game_id}, received that of {received}")
    actions = required(plays, "actions", list, "game")
    if not actions:
        raise IncompleteGame("the NBA has no plays for it")
    scores = score_changes([row for action in actions if (row := _row(action)) is not None])
    home = _home(actions, game)
    (away,) = game.points.keys() - {home}
    timeline = ScoreTimeline(home, away, scores)
    if timeline.points != dict(game.points):
        played, listed = (
            ", ".join(f"{team} {points[team]}" for team in (home, away)) for points in (timeline.points, game.points)
        )
        raise IncompleteGame(f"its plays end with {played}; the list has {listed}")
    if wrong := contradiction(scores):
        raise IncompleteGame(wrong.reason)
    return timeline


def read_game_events(payload: object, timeline: ScoreTimeline) -> tuple[Event, ...]:
    """Parse the events of a game from its PlayByPlayV3; a row without a valid clock is skipped.

    Args:
        payload: the response from which `read_score_timeline` made the timeline.
        timeline: the timeline.
    """
    events: list[tuple[Event, tuple[int, int] | None]] = []
    for action in required(required(payload, "game", dict, "payload"), "actions", list, "game"):
        try:
            row = _row(action)
            period, clock = game_clock(action, "action")
            number = required(action, "actionId", int, "action")
        except MalformedFeed:
            continue
        elapsed = round(elapsed_seconds(period, clock), 2)
        events.append((v3_event(action, period, elapsed, number), None if row is None else row[1][1:]))
    return complete_events(events, timeline.scores, (timeline.home, timeline.away))


def _home(actions: Sequence[object], game: ListedGame) -> str:
    """Return the team whose score is in the column scoreHome.

    Raises:
        IncompleteGame: if the plays name other teams than the list, or another home team, or neither names one.
    """
    named: dict[str, str] = {}
    for action in actions:
        location, code = _side(action)
        if location in ("h", "v") and code:  # not a set, which fails for unhashable values
            named.setdefault(code, location)
    if others := sorted(named.keys() - game.points.keys()):
        raise IncompleteGame(f"its plays are of {' and '.join(others)}; the list has {game.teams}")
    hosts = {code for code, location in named.items() if location == "h"}
    hosts |= {code for code in game.points if any(named[other] == "v" for other in named.keys() - {code})}
    if game.home:
        hosts.add(game.home)
    if not hosts:
        raise IncompleteGame("neither the list nor the plays name the home team")
    if len(hosts) > 1:
        raise IncompleteGame(f"its plays have the home team of {game.teams} the other way round")
    return hosts.pop()


def _side(action: object) -> tuple[object, str]:
    """Return the value of `location` of an action and its team."""
    return (action.get("location"), _team(action.get("teamId"))) if isinstance(action, Mapping) else ("", "")


def _row(action: Any) -> tuple[int, Score] | None:
    """Return the number and the score of a row; None if it has no score, or is the start of a period."""
    number = required(action, "actionId", int, "action")
    where = f"action {brief(number)}"
    missing = [action.get(key) in (None, "") for key in ("scoreHome", "scoreAway")]
    if all(missing):
        return None
    if any(missing):
        raise MalformedFeed(f"{where} has the score of only one team")
    home, away = (points(action, key, where) for key in ("scoreHome", "scoreAway"))
    if (optional_text(action, "actionType"), optional_text(action, "subType")) == ("period", "start"):
        return None
    period, clock = game_clock(action, where)
    return number, Score(round(elapsed_seconds(period, clock), 2), home, away)


def _team(number: object) -> str:
    """Return the NBA code of a numeric team id; "" if it is not in the league. Teams that moved keep their id."""
    return CODES.get(number, "") if isinstance(number, int) else ""


def _date(text: str, game_id: str) -> date:
    try:
        day = parse_day(text[:10])  # some seasons have 2024-10-22T00:00:00
    except ValueError:
        raise MalformedFeed(f"game {game_id}.GAME_DATE is {text[:20]!r}, expected a date") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise MalformedFeed(f"game {game_id}.GAME_DATE is {day}, expected a date from {FIRST_DAY} to {LAST_DAY}")
    return day
