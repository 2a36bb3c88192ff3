"""Reads a list of games with their NBA ids, dates and results, which the plays of some sources lack, and matches both.

The list is that of nba_api's LeagueGameLog or LeagueGameFinder, as CSV, parquet or JSON. One of its two
rows of a game is enough.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

from dejavu_common.clock import game_day
from dejavu_feed.errors import DataError
from dejavu_feed.files.plays_format import MAX_SCORE
from dejavu_feed.files.tables import in_column, is_missing, read_rows
from dejavu_feed.game_ids import game_id_of, is_game_id
from dejavu_feed.pattern import Score
from dejavu_feed.printed_numbers import whole
from dejavu_feed.teams import team_code

_COLUMNS: Final = ("GAME_ID", "GAME_DATE", "MATCHUP")
_RESULT: Final = ("WL", "PTS")
_MATCHUP: Final = re.compile(r"(\S+) (vs\.|@) (\S+)")
_WINS: Final = {"W": True, "L": False}
EXPECTED_DAY: Final = "a date such as 2024-10-22, or a time with its zone, but not midnight in UTC"
"""Forms of dates that `day_of` accepts, for error messages."""


@dataclass(slots=True)
class GameInList:
    """A game of a list.

    Attributes:
        game_id: its NBA id.
        day: the local date.
        matchup: the teams as the list names them, for example "GSW @ LAL".
        home, away: NBA codes; empty if a team is not of the NBA.
        neutral: whether both rows have the form "A @ B"; then either team may be the home team.
        points: NBA code → final points, of the teams whose row has them.
        winner: NBA code; empty if the list does not say.
        fault: why the rows of the game contradict each other; empty if they agree.
    """

    game_id: str
    day: date
    matchup: str
    home: str
    away: str
    neutral: bool = False
    points: dict[str, int] = field(default_factory=dict)
    winner: str = ""
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.matchup} on {self.day}, {self.game_id}"


@dataclass(frozen=True, slots=True)
class GameList:
    """Games by NBA id, and by date, home and away team."""

    by_id: Mapping[str, GameInList] = field(default_factory=dict)
    by_teams: Mapping[tuple[date, str, str], GameInList] = field(default_factory=dict)


def nba_id(text: str) -> str:
    """Return an NBA id of ten digits.

    Raises:
        ValueError: if the text is no such id.
    """
    if not is_game_id(game_id := game_id_of(text)):
        raise ValueError(f"{text!r}, expected the NBA's id, ten digits")
    return game_id


def day_of(value: Any) -> date:
    """Return the local date of a game from a date, an instant, or a text with one of them (ISO 8601).

    An instant has a zone; its `game_day` counts, because a game may end after midnight in US Eastern.

    Raises:
        ValueError: if the value is none of these, or a time of day without a zone, which may be of the next day, or
            midnight in UTC, which the NBA's schedule writes for a date, and which is also a usual time of tip-off.
    """
    expected = f"{str(value)[:40]!r}, expected {EXPECTED_DAY}"
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC)
            if moment.time() != time():
                return game_day(moment)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if moment.tzinfo is not None or moment.time() != time():
        raise ValueError(expected)
    return moment.date()


def read_game_list(path: Path) -> GameList:
    """Read a list of games.

    Raises:
        DataError: if the file can't be read, or a value is invalid; the message names the line.
    """
    games: dict[str, GameInList] = {}
    for each in read_rows(path, _COLUMNS, _RESULT):
        row = each.values
        matchup = str(row["MATCHUP"])
        try:
            game_id = in_column("GAME_ID", nba_id, str(row["GAME_ID"]))
            day = in_column("GAME_DATE", day_of, row["GAME_DATE"])
            team, opponent, at_home = in_column("MATCHUP", _teams, matchup)
            points = in_column("PTS", _points, row.get("PTS"))
            won = in_column("WL", _won, row.get("WL"))
        except ValueError as error:
            raise DataError(f"{each.place(path)}: {error}") from None
        home, away = (team, opponent) if at_home else (opponent, team)
        game = games.setdefault(game_id, GameInList(game_id, day, matchup, home, away))
        _compare(game, day, matchup, home, away)
        if points is not None and team and game.points.setdefault(team, points) != points:
            game.fault = f"the list has {team} with {game.points[team]} and with {points} points in {game}"
        if won is not None and team:
            winner = team if won else opponent
            if game.winner not in ("", winner):
                game.fault = f"the list has both {game.winner} and {winner} as the winner of {game}"
            game.winner = winner
    return GameList(games, _by_teams(games.values()))


def _compare(game: GameInList, day: date, matchup: str, home: str, away: str) -> None:
    """Compare the date and the teams of a row with those of its game."""
    if (game.day, {game.home, game.away}) != (day, {home, away}):
        game.fault = f"the list has it as {game} and as {matchup} on {day}"
    elif matchup != game.matchup and "@" in matchup and "@" in game.matchup:
        game.neutral = True
    elif (game.home, game.away) != (home, away):
        game.fault = f"the list has it as {game} and as {matchup}"


def _by_teams(games: Iterable[GameInList]) -> dict[tuple[date, str, str], GameInList]:
    """Return games by date, home and away team; two of the same are at fault."""
    found: dict[tuple[date, str, str], GameInList] = {}
    for game in games:
        for key in _keys(game) if game.home else ():
            other = found.setdefault(key, game)
            if other is not game:
                other.fault = game.fault = f"the list has it twice: {other}, and {game.game_id}"
    return found


def _keys(game: GameInList) -> list[tuple[date, str, str]]:
    keys = [(game.day, game.home, game.away)]
    return [*keys, (game.day, game.away, game.home)] if game.neutral else keys


def _teams(matchup: str) -> tuple[str, str, bool]:
    """Return the team of a row, its opponent, and whether it is at home; no teams if one is not of the NBA.

    Raises:
        ValueError: if the text is not a matchup such as "GSW @ LAL".
    """
    match = _MATCHUP.fullmatch(matchup)
    if match is None:
        raise ValueError(f"{matchup!r}, expected two teams such as GSW @ LAL")
    at_home = match[2] == "vs."
    try:
        return team_code(match[1]), team_code(match[3]), at_home
    except ValueError:
        return "", "", at_home


def _points(value: Any) -> int | None:
    """Return the points of a row; None if it has none, as before a game."""
    if is_missing(value):
        return None
    if not 0 <= (points := whole(value)) <= MAX_SCORE:
        raise ValueError(f"{str(value)[:40]!r}, expected points, 0 to {MAX_SCORE}")
    return points


def _won(value: Any) -> bool | None:
    """Return whether the team of a row won; None if the row does not say."""
    if is_missing(value):
        return None
    if not isinstance(value, str) or value not in _WINS:
        raise ValueError(f"{value!r}, expected W or L")
    return _WINS[value]


class UnusableGame(Exception):
    """A game cannot be used; the message says why."""


def by_teams(day: date | None, named: Mapping[str, str], games: GameList) -> GameInList | None:
    """Return the game of the list with the date and the teams that the plays name; None if there is none.

    Args:
        day: the local date in the plays; None if they have none.
        named: home and away team in the plays, as far as they name them.
        games: the list.
    """
    if day is None or len(named) < 2:
        return None
    return games.by_teams.get((day, named["home"], named["away"]))


def match(
    day: date | None, named: Mapping[str, str], listed: GameInList | None, games: GameList, matched: Container[str]
) -> GameInList:
    """Return a game with its id, date and teams; without a game of the list the id consists of date and home team.

    Args:
        day: as for `by_teams`.
        named: as for `by_teams`.
        listed: the game of the list with the same id, or the same date and teams; None if there is none.
        games: the list.
        matched: ids of the list that belong to other games by date and teams.

    Raises:
        UnusableGame: if teams or date are not known, or the list has other teams, or the same game the other way round
            or a day off.
    """
    teams = dict(named)
    if listed and listed.home:
        teams = _agreed(named, listed)
    home, away = teams.get("home", ""), teams.get("away", "")
    if not (home and away):
        raise UnusableGame("neither its plays nor the list of games name both teams")
    if home == away:
        raise UnusableGame(f"{home} plays against itself")
    if listed:
        return replace(listed, day=day or listed.day, home=home, away=away)
    if day is None:
        raise UnusableGame("it is not in the list of games")
    _refuse_near_miss(day, home, away, games, matched)
    return GameInList(f"{day:%Y%m%d}0{home}", day, f"{away} @ {home}", home, away)


def _agreed(named: Mapping[str, str], listed: GameInList) -> dict[str, str]:
    """Return home and away team of a game in the list.

    Raises:
        UnusableGame: if the plays are of other teams, or have them the other way round.
    """
    teams = {listed.home, listed.away}
    if listed.fault:
        raise UnusableGame(listed.fault)
    if not teams.issuperset(named.values()):
        raise UnusableGame(f"its plays are of {' and '.join(sorted(named.values()))}; the list has {listed}")
    sides = {"home": listed.home, "away": listed.away}
    turned = {"home": listed.away, "away": listed.home}
    if all(sides[side] == team for side, team in named.items()):
        return sides
    if all(turned[side] == team for side, team in named.items()) and listed.neutral:
        return turned
    raise UnusableGame(f"its plays have the teams the other way round; the list has {listed}")


def _refuse_near_miss(day: date, home: str, away: str, games: GameList, matched: Container[str]) -> None:
    """Raise if the list has the game with the teams the other way round, or a day off.

    Raises:
        UnusableGame: if it does.
    """
    if turned := games.by_teams.get((day, away, home)):
        raise UnusableGame(f"its plays have the teams the other way round; the list has {turned}")
    for days in (-1, 1):
        near = games.by_teams.get((day + timedelta(days), home, away))
        if near and near.game_id not in matched:
            raise UnusableGame(f"its plays are of {day}; the list has it a day off: {near}")


def check_result(scores: Sequence[Score], game: GameInList) -> None:
    """Compare the final score of a game with the result in the list, as far as the list has one.

    Args:
        scores: every change of the score; the last is the final score.
        game: the game, with the home team of the plays.

    Raises:
        UnusableGame: if they differ.
    """
    final = {game.home: scores[-1].home, game.away: scores[-1].away}
    turned = {game.home: scores[-1].away, game.away: scores[-1].home}
    if any(final[team] != points for team, points in game.points.items()):
        played, listed = (
            ", ".join(f"{team} {points}" for team, points in each.items()) for each in (final, game.points)
        )
        reverse = ", the other way round" * all(turned[team] == points for team, points in game.points.items())
        raise UnusableGame(f"its plays end with {played}; the list has {listed}{reverse}")
    if game.winner and max(final, key=lambda team: final[team]) != game.winner:
        raise UnusableGame(f"its plays end with another winner; the list has {game.winner}")
