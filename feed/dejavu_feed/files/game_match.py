"""Matches the plays of a game with a list of games, and finds contradictions between the two."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from dejavu_feed.files.game_list import GameInList, GameList
from dejavu_feed.pattern import Score


class UnusableGame(Exception):
    """A game cannot be used; the message says why."""


class Contradicts(UnusableGame):
    """The rows of a game contradict each other or the list."""


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
        UnusableGame: if teams or date are not known.
        Contradicts: if the list has other teams, or the same game the other way round or a day off.
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
        Contradicts: if the plays are of other teams, or have them the other way round.
    """
    teams = {listed.home, listed.away}
    if listed.fault:
        raise Contradicts(listed.fault)
    if not teams.issuperset(named.values()):
        raise Contradicts(f"its plays are of {' and '.join(sorted(named.values()))}; the list has {listed}")
    sides = {"home": listed.home, "away": listed.away}
    turned = {"home": listed.away, "away": listed.home}
    if all(sides[side] == team for side, team in named.items()):
        return sides
    if all(turned[side] == team for side, team in named.items()) and listed.neutral:
        return turned
    raise Contradicts(f"its plays have the teams the other way round; the list has {listed}")


def _refuse_near_miss(day: date, home: str, away: str, games: GameList, matched: Container[str]) -> None:
    """Raise if the list has the game with the teams the other way round, or a day off.

    Raises:
        Contradicts: if it does.
    """
    if turned := games.by_teams.get((day, away, home)):
        raise Contradicts(f"its plays have the teams the other way round; the list has {turned}")
    for days in (-1, 1):
        near = games.by_teams.get((day + timedelta(days), home, away))
        if near and near.game_id not in matched:
            raise Contradicts(f"its plays are of {day}; the list has it a day off: {near}")


def check_result(scores: Sequence[Score], game: GameInList) -> None:
    """Compare the final score of a game with the result in the list, as far as the list has one.

    Args:
        scores: every change of the score; the last is the final score.
        game: the game, with the home team of the plays.

    Raises:
        Contradicts: if they differ.
    """
    final = {game.home: scores[-1].home, game.away: scores[-1].away}
    turned = {game.home: scores[-1].away, game.away: scores[-1].home}
    if any(final[team] != points for team, points in game.points.items()):
        played, listed = (
            ", ".join(f"{team} {points}" for team, points in each.items()) for each in (final, game.points)
        )
        reverse = ", the other way round" * all(turned[team] == points for team, points in game.points.items())
        raise Contradicts(f"its plays end with {played}; the list has {listed}{reverse}")
    if game.winner and max(final, key=lambda team: final[team]) != game.winner:
        raise Contradicts(f"its plays end with another winner; the list has {game.winner}")
