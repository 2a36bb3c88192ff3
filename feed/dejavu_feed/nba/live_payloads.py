"""Parses the NBA's live JSON: games, plays, box scores. Only this module knows the feed's field names when reading.

Essential fields (ids, status, periods, clocks of plays, scores) are validated. If one is invalid, its play, or its game
on the scoreboard, is left out, and a `MalformedFeed` names the field. Other fields (the scoreboard's clock, tip-off
times) are None if they cannot be parsed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import IntEnum
from typing import Final, NamedTuple

from dejavu_common.clock import game_day
from dejavu_feed.box_score import MAX_PLUS_MINUS, Lineups, PlayerLine, lineup_faults, lineups
from dejavu_feed.errors import MalformedFeed
from dejavu_feed.events import Event, complete_events, free_throws_to_come
from dejavu_feed.nba.event_rows import live_event
from dejavu_feed.nba.plays import Play, fallen_score, mark_gaps, plausible_plays
from dejavu_feed.nba.typed_fields import (
    MAX_PERIOD,
    brief,
    clock_seconds,
    compact_day,
    game_clock,
    instant,
    optional_text,
    points,
    required,
    required_game_id,
    required_list,
)
from dejavu_feed.pattern import elapsed_seconds
from dejavu_feed.teams import team_code

MAX_GAMES: Final = 100
"""Maximum number of games of a scoreboard; a full evening has 15."""

MAX_PLAYS: Final = 2_000
"""Maximum number of plays of a game; a game with four overtimes has fewer than half as many."""


MAX_TEXT: Final = 40
"""Maximum length in characters of a text that is shown."""

MAX_LISTED: Final = 40
"""Maximum number of players that a box score lists for a team, inactive ones included."""


class GameStatus(IntEnum):
    """Status of a game, with the feed's numeric values."""

    SCHEDULED = 1
    LIVE = 2
    FINAL = 3


@dataclass(frozen=True, slots=True)
class GameState:
    """A game as shown by the scoreboard or its box score.

    Attributes:
        game_id: NBA game id, ten digits.
        home, away: NBA codes; the feed's codes for teams outside the league.
        period: 1–4 for quarters, from 5 for overtimes; 0 before tip-off.
        clock: seconds left in the period; None if the feed shows none.
        home_periods, away_periods: points of each period; 0 for periods not yet played; empty if the feed shows none.
        tip_off: scheduled or actual start, aware; None if the feed does not report it.
        text: the feed's status text, for example "Q2 07:15" or "Final/OT".
        code_date: local date of the game according to its code, for example 20230420/SACGSW; None if the feed shows
            none.
        is_neutral: whether the scoreboard says that it is at a neutral site; box scores do not.
        code_teams: home and away by its code, for example (GSW, SAC) of 20230420/SACGSW; empty if it shows none.
    """

    game_id: str
    home: str
    away: str
    status: GameStatus
    period: int
    clock: float | None
    home_score: int
    away_score: int
    home_periods: tuple[int, ...] = ()
    away_periods: tuple[int, ...] = ()
    tip_off: datetime | None = None
    text: str = ""
    code_date: date | None = None
    is_neutral: bool = False
    code_teams: tuple[str, str] = ("", "")

    @property
    def date(self) -> date | None:
        """Local date of the game: from its code, else from its start; None if the feed shows neither."""
        if self.code_date is not None or self.tip_off is None:
            return self.code_date
        return game_day(self.tip_off.astimezone(UTC))

    @property
    def score(self) -> tuple[int, int]:
        """Points of the home and the away team."""
        return self.home_score, self.away_score


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """The games of a day, and the errors of games that could not be parsed."""

    date: str
    games: tuple[GameState, ...]
    faults: tuple[MalformedFeed, ...] = ()


@dataclass(frozen=True, slots=True)
class PlayByPlay:
    """The plays of a game.

    Attributes:
        plays: the plays that could be read, sorted by `orderNumber`.
        faults: errors of the plays that could not be read.
        events: the same plays as events, in chronological order.
    """

    plays: tuple[Play, ...]
    faults: tuple[MalformedFeed, ...] = ()
    events: tuple[Event, ...] = ()


def read_scoreboard(payload: object) -> Scoreboard:
    """Parse a scoreboard payload. A game that cannot be parsed becomes a fault; the other games are still returned.

    A game that is listed twice with different states is left out too, because it is not known which one is true.

    Raises:
        MalformedFeed: if the payload is not a scoreboard, or has more than MAX_GAMES games.
    """
    board = required(payload, "scoreboard", dict, "payload")
    listed: dict[str, set[GameState]] = {}
    faults: list[MalformedFeed] = []
    for index, entry in enumerate(required_list(board, "games", "scoreboard", MAX_GAMES)):
        try:
            state = _game_state(entry, f"games[{index}]")
        except MalformedFeed as fault:
            faults.append(fault)
        else:
            listed.setdefault(state.game_id, set()).add(state)
    faults += [MalformedFeed(f"game {each} is listed twice") for each, states in listed.items() if len(states) > 1]
    games = tuple(state for states in listed.values() if len(states) == 1 for state in states)
    return Scoreboard(date=optional_text(board, "gameDate")[:MAX_TEXT], games=games, faults=tuple(faults))


def read_game_state(payload: object, game_id: str) -> GameState:
    """Parse the state of one game from its box score.

    Raises:
        MalformedFeed: if the payload is not the box score of this game.
    """
    return _game_state(_game_of(payload, "box score", game_id), "game")


def read_plays(payload: object, game_id: str) -> PlayByPlay:
    """Parse a game's plays, sorted by `orderNumber` (neither `actionNumber` nor `timeActual` is monotone).

    If a play is listed twice, the last edited version is used. A play without order, clock or score, or with a clock or
    score that the plays before and after it contradict, becomes a fault.

    Raises:
        MalformedFeed: if the payload is not the play-by-play of this game, has more than MAX_PLAYS plays, no play of it
            can be read, or its score falls.
    """
    game = _game_of(payload, "plays", game_id)
    plays: dict[tuple[int, object], tuple[int, Play]] = {}
    faults: dict[int, MalformedFeed] = {}
    actions = required_list(game, "actions", "game", MAX_PLAYS)
    for place, action in enumerate(actions):
        try:
            play = _play(action, f"actions[{place}]")
        except MalformedFeed as fault:
            faults[place] = fault
            continue
        number = action.get("actionNumber")
        key = (play.order, number if isinstance(number, int) else None)
        listed = plays.get(key)
        if listed is None or _edited(listed[1]) <= _edited(play):
            plays[key] = (place, play)
    ordered = dict(sorted(plays.values(), key=lambda placed: placed[1].order))
    kept = plausible_plays(ordered)
    for place in ordered.keys() - kept.keys():
        faults[place] = MalformedFeed(f"play {ordered[place].order} contradicts the plays around it")
    errors = tuple(faults[place] for place in sorted(faults))
    if errors and not kept:
        raise errors[0]
    if fall := fallen_score(kept.values()):
        raise MalformedFeed(fall)
    events = _events(actions, kept, faults)
    coming = free_throws_to_come(events)
    of_order = {event.order: (event, number) for event, number in zip(events, coming, strict=True)}
    kept = {place: _with_ball(play, *of_order.get(play.order, (None, None))) for place, play in kept.items()}
    return PlayByPlay(mark_gaps(kept, faults), errors, events)


def _game_of(payload: object, what: str, game_id: str) -> dict[str, object]:
    """Return the game of a payload.

    Raises:
        MalformedFeed: if it has none, or another game.
    """
    game: dict[str, object] = required(payload, "game", dict, "payload")
    if (received := required_game_id(game, "gameId", "game")) != game_id:
        raise MalformedFeed(f"requested the {what} of {game_id}, received that of {received}")
    return game


def _with_ball(play: Play, event: Event | None, free_throws: int | None) -> Play:
    """Return a play with team and possession of its event, if that is known, and the free throws to come."""
    if event is None:
        return replace(play, free_throws=None)
    return replace(
        play,
        team=event.team,
        possession=event.possession,
        shot_in_air=event.shot_in_air,
        free_throws=free_throws,
    )


def _events(
    actions: Sequence[Mapping[str, object]], kept: Mapping[int, Play], unread: Collection[int]
) -> tuple[Event, ...]:
    """Return plays, by their place among the actions, as events; `unread` are the places of those not read."""
    events: list[tuple[Event, tuple[int, int]]] = []
    missing, before = [*sorted(unread), math.inf], -1
    for place, play in kept.items():
        event = live_event(actions[place], play.period, play.elapsed, play.order)
        gap = missing[bisect_right(missing, before)] < place
        events.append((event._replace(after_gap=gap), (play.home, play.away)))
        before = place
    teams = sorted({event.team for event, _ in events if event.team})
    return complete_events(events, [play.score for play in kept.values()], teams)


def _edited(play: Play) -> datetime:
    return play.edited or datetime.min.replace(tzinfo=UTC)


def _game_state(record: object, where: str) -> GameState:
    game_id = required_game_id(record, "gameId", where)
    where = f"game {game_id}"
    home = required(record, "homeTeam", dict, where)
    away = required(record, "awayTeam", dict, where)
    number = required(record, "gameStatus", int, where)
    if number not in tuple(GameStatus):
        raise MalformedFeed(f"{where}.gameStatus is {brief(number)}, expected 1, 2 or 3")
    period = required(record, "period", int, where)
    if not 0 <= period <= MAX_PERIOD:
        raise MalformedFeed(f"{where}.period is {brief(period)}, expected 0 to {MAX_PERIOD}")
    day, _, teams = optional_text(record, "gameCode").partition("/")
    return GameState(
        game_id=game_id,
        home=_team(home, f"{where}.homeTeam"),
        away=_team(away, f"{where}.awayTeam"),
        status=GameStatus(number),
        period=period,
        clock=clock_seconds(optional_text(record, "gameClock")),
        home_score=points(home, "score", f"{where}.homeTeam"),
        away_score=points(away, "score", f"{where}.awayTeam"),
        home_periods=_period_scores(home),
        away_periods=_period_scores(away),
        tip_off=instant(optional_text(record, "gameTimeUTC")),
        text=optional_text(record, "gameStatusText").strip()[:MAX_TEXT],
        code_date=compact_day(day),
        is_neutral=isinstance(record, Mapping) and record.get("isNeutral") is True,
        code_teams=(teams[3:6], teams[:3]),
    )


def _play(record: object, where: str) -> Play:
    order = required(record, "orderNumber", int, where)
    where = f"play {brief(order)}"
    period, clock = game_clock(record, where)
    return Play(
        order=order,
        period=period,
        clock=clock,
        elapsed=elapsed_seconds(period, clock),
        home=points(record, "scoreHome", where),
        away=points(record, "scoreAway", where),
        action=optional_text(record, "actionType"),
        detail=optional_text(record, "subType"),
        scoring=optional_text(record, "shotResult") == "Made",
        actual=instant(optional_text(record, "timeActual")),
        edited=instant(optional_text(record, "edited")),
    )


def _period_scores(team: Mapping[str, object]) -> tuple[int, ...]:
    try:
        periods = required_list(team, "periods", "", MAX_PERIOD)
        return tuple(points(period, "score", "") for period in periods)
    except MalformedFeed:
        return ()  # they are only displayed


def _team(record: Mapping[str, object], where: str) -> str:
    code = required(record, "teamTricode", str, where)
    try:
        return team_code(code)
    except ValueError:
        if len(code) > MAX_TEXT:
            raise MalformedFeed(f"{where}.teamTricode is {brief(code)}, expected a code") from None
        return code.strip().upper()


class BoxScore(NamedTuple):
    """Players of a game so far.

    Attributes:
        lineups: players who have been on court; None if the box score does not name five starters of each team.
        lines: a line for every player who has been on court for at least a second, in ascending order of their ids;
            empty if the plus-minus of one is not known.
    """

    lineups: Lineups | None
    lines: tuple[PlayerLine, ...]


def read_box_score(payload: object, game_id: str) -> BoxScore:
    """Parse the players of a game.

    Raises:
        MalformedFeed: if the payload is not the box score of this game, or a player has no id.
    """
    game = _game_of(payload, "box score", game_id)
    teams, lines, whole = [], list[PlayerLine](), True
    for name in ("homeTeam", "awayTeam"):
        team = required(game, name, dict, "game")
        starters, seen = list[int](), list[int]()
        for place, record in enumerate(required_list(team, "players", name, MAX_LISTED)):
            where = f"{name}.players[{place}]"
            player, started = required(record, "personId", int, where), optional_text(record, "starter") == "1"
            statistics = required(record, "statistics", dict, where)
            seconds = int(clock_seconds(optional_text(statistics, "minutes")) or 0)
            if started:
                starters.append(player)
            if seconds or optional_text(record, "played") == "1" or optional_text(record, "oncourt") == "1":
                seen.append(player)
            if seconds:
                points = statistics.get("plusMinusPoints")
                if isinstance(points, float | int) and abs(points) <= MAX_PLUS_MINUS:  # NaN fails too
                    lines.append(PlayerLine(player, name == "homeTeam", seconds, round(points), started))
                else:
                    whole = False
        teams.append((starters, seen))
    (home, home_seen), (away, away_seen) = teams
    found = lineups(home, away, home_seen, away_seen)
    return BoxScore(None if lineup_faults(found) else found, tuple(sorted(lines)) if whole else ())
