"""Checks states of games that a caller publishes, and converts stored ones to messages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.ops.v1.feed_service_pb2 import PublishGamesRequest
from dejavu.v1 import game_service_pb2 as pb
from dejavu_common.clock import from_microseconds
from dejavu_models.errors import InvalidInput, InvalidTeam, quoted
from dejavu_server.api.converters.fields import check_game_id, requested_instant, set_timestamp, team
from dejavu_server.api.converters.line_origin import ORIGIN_FIELDS, line_origin, put_origin
from dejavu_server.coordination.games import KEPT, GameRow

MAX_GAMES: Final = 100
"""Maximum number of games of a request."""

_MOST_AHEAD: Final = timedelta(minutes=1)
"""How far the clock of a publisher may be ahead of the server's."""

_TIP_OFF_RANGE: Final = timedelta(days=7)
"""Largest distance of a tip-off from now."""

_BOUNDS: Final = (
    ("home_score", 0, 300),
    ("away_score", 0, 300),
    ("period", 0, 20),
    ("seconds_left", 0, 720),
    ("pregame_margin", -35, 35),
    ("pregame_total", 100, 400),
)
_LONGEST_TEXT: Final = 64


class InvalidGame(InvalidInput, reason="INVALID_GAME"):
    """The state of a game has a value out of bounds."""


def checked_games(request: PublishGamesRequest, now: datetime) -> list[tuple[str, bytes]]:
    """Return the games of a request as they are stored: id and serialized state.

    Raises:
        InvalidInput: if a field is invalid; it names the first one.
    """
    if not 1 <= len(request.games) <= MAX_GAMES:
        raise InvalidGame(f"{len(request.games)} games", f"1 to {MAX_GAMES}", field="games")
    states = dict[str, bytes]()
    for index, game in enumerate(request.games):
        state = _checked(game, f"games[{index}]", now)
        if game.game_id in states:
            raise InvalidGame(f"{game.game_id} again", "games with different ids", field=f"games[{index}].game_id")
        states[game.game_id] = state.SerializeToString()
    return list(states.items())


def game_message(row: GameRow) -> pb.Game:
    """Return the message of a stored state."""
    message = pb.Game.FromString(row.state)
    set_timestamp(message.published_time, from_microseconds(row.published_us))
    message.published_by = row.caller
    return message


def _checked(game: pb.Game, at: str, now: datetime) -> pb.Game:
    """Return a copy of a game with codes of teams, without what the server sets."""
    check_game_id(game.game_id, f"{at}.game_id")
    state = pb.Game(
        game_id=game.game_id,
        home_team=_team(game.home_team, f"{at}.home_team"),
        away_team=_team(game.away_team, f"{at}.away_team"),
        status=game.status,
        status_text=game.status_text,
    )
    if state.home_team == state.away_team:
        raise InvalidTeam(quoted(game.away_team), "another team than the home team", field=f"{at}.away_team")
    if game.status not in pb.GameStatus.values() or not game.status:
        raise InvalidGame(f"{game.status}", "a status of dejavu.v1.GameStatus", field=f"{at}.status")
    if len(game.status_text) > _LONGEST_TEXT or not game.status_text.isprintable():
        expected = f"at most {_LONGEST_TEXT} printable characters"
        raise InvalidGame(quoted(game.status_text), expected, field=f"{at}.status_text")
    _copy_numbers(game, state, at)
    if not ORIGIN_FIELDS.isdisjoint(field.name for field, _ in game.ListFields()):
        put_origin(state, line_origin(game, now.date(), f"{at}."))
    observed = _time(game.observed_time, f"{at}.observed_time")
    if not now - KEPT <= observed <= now + _MOST_AHEAD:
        expected = "a time of the last day, at most a minute ahead of the server"
        raise InvalidGame("an older or later time", expected, field=f"{at}.observed_time")
    set_timestamp(state.observed_time, observed)  # made anew: a copy would keep unknown fields
    if game.HasField("tip_off_time"):
        tip_off = _time(game.tip_off_time, f"{at}.tip_off_time")
        if abs(tip_off - now) > _TIP_OFF_RANGE:
            raise InvalidGame(
                "a time far away", f"a time within {_TIP_OFF_RANGE.days} days", field=f"{at}.tip_off_time"
            )
        set_timestamp(state.tip_off_time, tip_off)
    return state


def _copy_numbers(game: pb.Game, state: pb.Game, at: str) -> None:
    for name, low, high in _BOUNDS:
        if not game.DESCRIPTOR.fields_by_name[name].has_presence or game.HasField(name):  # type: ignore[arg-type]
            value = getattr(game, name)
            if not low <= value <= high:  # NaN is none of them
                raise InvalidGame(f"{value:g}", f"{low} to {high}", field=f"{at}.{name}")
            setattr(state, name, value)


def _team(text: str, field: str) -> str:
    code = team(text, field)
    if not code:
        raise InvalidTeam("none", "an NBA code such as BOS, or a name such as Celtics", field=field)
    return code


def _time(time: Timestamp, field: str) -> datetime:
    return requested_instant(time, field, InvalidGame, "a time of the calendar, with 0 to 999,999,999 nanoseconds")
