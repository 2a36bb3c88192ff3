"""Faults of a single response: replaced responses, altered payloads, and scoreboards of a bad day."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Final

from dejavu_feed.game_ids import REPLAY_PREFIX
from dejavu_feed.nba.live_payloads import GameStatus
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.http_server import Response
from dejavu_feed.replay.payloads import Json, team_fields
from dejavu_feed.teams import TEAMS

_PAGE: Final = (
    b"<HTML><HEAD>\n<TITLE>Access Denied</TITLE>\n</HEAD><BODY>\n<H1>Access Denied</H1>\n"
    b"You don't have permission to access this file on this server.\n</BODY>\n</HTML>\n"
)
PLAY_FIELDS: Final = (
    "actionType",
    "clock",
    "orderNumber",
    "period",
    "scoreAway",
    "scoreHome",
    "subType",
    "timeActual",
)
"""Fields of a play that an incomplete payload may lack."""
GAME_FIELDS: Final = (
    "awayTeam",
    "gameClock",
    "gameId",
    "gameStatus",
    "gameStatusText",
    "gameTimeUTC",
    "homeTeam",
    "period",
)
"""Fields of a game that an incomplete payload may lack."""


def _truncated(response: Response, rng: random.Random) -> Response:
    body = response.body[: rng.randrange(1, max(2, len(response.body)))]
    original = {} if rng.random() < 0.5 else {"Content-Length": str(len(response.body)), "Connection": "close"}
    return Response(response.status, body, {**response.headers, **original})


RESPONSE_FAULTS: Final[dict[FeedFaultKind, Callable[[Response, random.Random], Response]]] = {
    FeedFaultKind.FORBIDDEN_PAGE: lambda response, rng: Response(
        HTTPStatus.FORBIDDEN, _PAGE, {"Content-Type": "text/html"}
    ),
    FeedFaultKind.FORBIDDEN_JSON: lambda response, rng: Response(HTTPStatus.FORBIDDEN, response.body, response.headers),
    FeedFaultKind.SERVER_ERROR: lambda response, rng: Response(
        HTTPStatus.INTERNAL_SERVER_ERROR, b"Internal Server Error"
    ),
    FeedFaultKind.TRUNCATED: _truncated,
    FeedFaultKind.EMPTY: lambda response, rng: Response(response.status, b"", response.headers),
    FeedFaultKind.HOLLOW: lambda response, rng: Response(response.status, rng.choice([b"{}", b"[]"]), response.headers),
}
"""Faults that replace a response."""


def _duplicated(payload: Json, rng: random.Random) -> None:
    actions = payload["game"]["actions"]
    for action in rng.sample(actions, min(len(actions), 10)):
        actions.insert(rng.randrange(len(actions) + 1), dict(action))


def _disordered(payload: Json, rng: random.Random) -> None:
    actions = payload["game"]["actions"]
    numbers = [action["actionNumber"] for action in actions]
    rng.shuffle(numbers)
    for action, number in zip(actions, numbers, strict=True):
        action["actionNumber"] = number
    rng.shuffle(actions)


def _incomplete(payload: Json, rng: random.Random) -> None:
    """Remove a field from a play, or from a game of the scoreboard or a box score."""
    if "scoreboard" in payload:
        games = payload["scoreboard"]["games"]
        if games:
            rng.choice(games).pop(rng.choice(GAME_FIELDS), None)
    elif "actions" in payload["game"]:
        rng.choice(payload["game"]["actions"]).pop(rng.choice(PLAY_FIELDS), None)
    else:
        payload["game"].pop(rng.choice(GAME_FIELDS), None)


_DAMAGES: Final[tuple[Json, ...]] = (
    {"clock": ""},
    {"clock": "PT12M00.00S", "period": 5},
    {"period": 0},
    {"scoreHome": "", "scoreAway": ""},
    {"scoreAway": None},
    {"scoreHome": "0", "scoreAway": "0"},
    {"orderNumber": None},
    {"orderNumber": 0},
    {"actionType": None, "timeActual": "0001-01-01T00:00:00Z"},
)
_MOST_DAMAGED: Final = 3


def _damaged(payload: Json, rng: random.Random) -> None:
    """Damage fields of a few plays, but of no two neighbors."""
    actions = payload["game"]["actions"]
    for place in rng.sample(range(0, len(actions), 2), min(_MOST_DAMAGED, (len(actions) + 1) // 2)):
        actions[place].update(rng.choice(_DAMAGES))


PAYLOAD_FAULTS: Final[dict[FeedFaultKind, Callable[[Json, random.Random], None]]] = {
    FeedFaultKind.INCOMPLETE: _incomplete,
    FeedFaultKind.DUPLICATED: _duplicated,
    FeedFaultKind.DISORDERED: _disordered,
    FeedFaultKind.DAMAGED: _damaged,
}
"""Faults that alter a payload in place. `DUPLICATED`, `DISORDERED` and `DAMAGED` apply only to plays."""


def add_postponed(board: Json) -> None:
    """Add a postponed game of teams that do not play tonight, in place."""
    board["scoreboard"]["games"].append(_scheduled(board, 1, "PPD", timedelta(0)))


def add_technical_fouls(game: Json) -> None:
    """Add a technical foul of each team before tip-off, in place: one free throw for both."""
    if game["gameStatus"] != GameStatus.SCHEDULED:
        for team in (game["homeTeam"], game["awayTeam"]):
            team["score"] += 1
            team["periods"][0]["score"] += 1


def turn_day(board: Json, at: datetime) -> None:
    """Change a scoreboard to the next day, in place: remove games that began by `at` and add one of tomorrow."""
    inner = board["scoreboard"]
    tomorrow = _scheduled(board, 2, "7:30 pm ET", timedelta(days=1))
    inner["gameDate"] = f"{date.fromisoformat(inner['gameDate']) + timedelta(days=1)}"
    inner["games"] = [game for game in inner["games"] if datetime.fromisoformat(game["gameTimeUTC"]) > at]
    inner["games"].append(tomorrow)


def _scheduled(board: Json, number: int, text: str, later: timedelta) -> Json:
    """Return a scheduled game whose id is the evening's last id plus `number`."""
    games = board["scoreboard"]["games"]
    first = min(games, key=lambda game: str(game["gameTimeUTC"]))
    busy = {game[team]["teamTricode"] for game in games for team in ("homeTeam", "awayTeam")}
    home, away = sorted(TEAMS, key=lambda code: (code in busy, code))[:2]
    last = max(int(game["gameId"][len(REPLAY_PREFIX) :]) for game in games)
    tip_off = datetime.fromisoformat(first["gameTimeUTC"]).astimezone(UTC) + later
    day = datetime.strptime(first["gameCode"].partition("/")[0], "%Y%m%d").replace(tzinfo=UTC) + later
    return {
        **first,
        "gameCode": f"{day:%Y%m%d}/{away}{home}",
        "gameId": f"{REPLAY_PREFIX}{(last + number) % 10**8:08d}",
        "gameStatus": int(GameStatus.SCHEDULED),
        "gameStatusText": text,
        "period": 0,
        "gameClock": "",
        "gameTimeUTC": f"{tip_off:%Y-%m-%dT%H:%M:%SZ}",
        "homeTeam": _idle(first["homeTeam"], home),
        "awayTeam": _idle(first["awayTeam"], away),
    }


def _idle(team: Json, code: str) -> Json:
    periods = [{**period, "score": 0} for period in team["periods"][:4]]
    return {**team, **team_fields(code), "score": 0, "periods": periods}
