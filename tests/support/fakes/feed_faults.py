"""Faults of the NBA's live feed in a replay. Like the replay they are stateless: by its clock and a seed.

Faults occur in *episodes* of five minutes: each file of the feed may have one in the first three minutes of an episode,
and none in the last two. The last minute of the first half and of regulation is a *quiet window*: there, only the plays
are wrong, and early in it. A client that polls every ten seconds, and less often after failures, therefore ends with
the same newest forecasts as on a day without faults. (A feed that stays silent until the end would cause missed
forecasts; this is not simulated.)
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from dejavu_feed.replay.http_server import Response
from dejavu_feed.replay.payloads import Json, clock_text
from dejavu_feed.replay.replay import File, Replay, file_at, json_response
from dejavu_feed.replay.timeline import PACE, period_end

EPISODE_SECONDS: Final = 300.0
FAULTY_SECONDS: Final = 180.0
"""Seconds at the start of an episode in which faults may occur."""
QUIET_SECONDS: Final = 60 * PACE + 30.0
"""Seconds before the half, and before the end of regulation, without other faults than wrong plays."""
WRONG_SECONDS: Final = 25.0
"""Seconds of the last minute from which the plays are right."""
SHARE_FAULTY, SHARE_SILENT = 0.7, 0.14
"""Shares of the episodes in which a file has a fault, and in which the whole feed is silent."""
MIDNIGHT: Final = (1200.0, 4800.0)
"""Minimum and maximum seconds from the first tip-off until the scoreboard changes to the next day, without games."""
SHORTEST: Final = 20.0
NO_ANSWER: Final = "no answer"

_FIELDS: Final = {
    "plays": ["actionType", "clock", "orderNumber", "period", "scoreAway", "scoreHome", "subType", "timeActual"],
    "games": ["awayTeam", "gameClock", "gameId", "gameStatus", "gameStatusText", "gameTimeUTC", "homeTeam", "period"],
}
"""Fields that an incomplete play or game may lack."""
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


def _truncated(response: Response, rng: random.Random) -> Response:
    """Cut the body, with or without the original Content-Length."""
    body = response.body[: rng.randrange(1, max(2, len(response.body)))]
    original = {} if rng.random() < 0.5 else {"Content-Length": str(len(response.body)), "Connection": "close"}
    return Response(response.status, body, {**response.headers, **original})


def _incomplete(payload: Json, rng: random.Random) -> None:
    """Remove a field from a play, or from a game of the scoreboard or a box score."""
    actions = payload.get("game", {}).get("actions")
    games = payload["scoreboard"]["games"] if "scoreboard" in payload else [payload["game"]]
    if found := games if actions is None else actions:
        rng.choice(found).pop(rng.choice(_FIELDS["games" if actions is None else "plays"]), None)


def _duplicated(payload: Json, rng: random.Random) -> None:
    actions = payload["game"]["actions"]
    for action in rng.sample(actions, min(len(actions), 10)):
        actions.insert(rng.randrange(len(actions) + 1), dict(action))


def _disordered(payload: Json, rng: random.Random) -> None:
    """List and number plays out of order; only their orderNumber is right."""
    actions = payload["game"]["actions"]
    numbers = [action["actionNumber"] for action in actions]
    rng.shuffle(numbers)
    for action, number in zip(actions, numbers, strict=True):
        action["actionNumber"] = number
    rng.shuffle(actions)


def _damaged(payload: Json, rng: random.Random) -> None:
    """Damage fields of a few plays, but of no two neighbors."""
    actions = payload["game"]["actions"]
    for place in rng.sample(range(0, len(actions), 2), min(3, (len(actions) + 1) // 2)):
        actions[place].update(rng.choice(_DAMAGES))


def _miscounted(payload: Json, rng: random.Random) -> None:
    """Give a shot wrong points, or the points to the wrong team."""
    home, away = rng.choice([(1, 0), (-1, 0), (0, 1), (0, -1), (2, -2), (-2, 2)])
    for action in payload["game"]["actions"][-rng.randrange(1, 20) :]:
        action["scoreHome"] = str(max(0, int(action["scoreHome"]) + home))
        action["scoreAway"] = str(max(0, int(action["scoreAway"]) + away))


def _made_up(payload: Json, rng: random.Random) -> None:
    """Add a shot that did not happen, up to 20 s after the newest play, perhaps in the next minute."""
    newest = payload["game"]["actions"][-1]
    minutes, seconds = newest["clock"].removeprefix("PT").rstrip("S").split("M")
    left = max(0.0, 60 * int(minutes) + float(seconds) - rng.choice([1.0, 5.0, 20.0]))
    shot = {"actionType": "2pt", "subType": "Jump Shot", "shotResult": "Made", "isFieldGoal": 1}
    more = {"actionNumber": newest["actionNumber"] + 1_000, "orderNumber": newest["orderNumber"] + 5_000}
    score = {"scoreHome": str(int(newest["scoreHome"]) + 2)}
    payload["game"]["actions"].append(newest | shot | more | score | {"clock": clock_text(left)})


_PAGE: Final = b"<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY><H1>Access Denied</H1></BODY></HTML>\n"
RESPONSES: Final[dict[str, Callable[[Response, random.Random], Response]]] = {
    "a page of a firewall": lambda _, __: Response(HTTPStatus.FORBIDDEN, _PAGE, {"Content-Type": "text/html"}),
    "forbidden": lambda response, _: Response(HTTPStatus.FORBIDDEN, response.body, response.headers),
    "a server error": lambda _, __: Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"Internal Server Error"),
    NO_ANSWER: lambda _, __: Response(HTTPStatus.GATEWAY_TIMEOUT, b"", hold=30.0),
    "truncated": _truncated,
    "empty": lambda response, _: Response(response.status, b"", response.headers),
    "hollow": lambda response, rng: Response(response.status, rng.choice([b"{}", b"[]"]), response.headers),
}
"""Faults that replace a response. Nearly all were observed in the NBA's feed; the others are common network faults."""
WRONG: Final[dict[str, Callable[[Json, random.Random], None]]] = {"miscounted": _miscounted, "made up": _made_up}
"""Faults of the score of plays."""
PAYLOADS: Final[dict[str, Callable[[Json, random.Random], None]]] = {
    "incomplete": _incomplete,
    "duplicated": _duplicated,
    "disordered": _disordered,
    "damaged": _damaged,
    **WRONG,
}
"""Faults that alter a payload in place."""
OF_ANY_FILE: Final = (*RESPONSES, "stale", "incomplete")
FAULTS: Final[dict[str, tuple[str, ...]]] = {
    "scoreboard": (*OF_ANY_FILE, "ahead"),
    "playbyplay": (*OF_ANY_FILE, *PAYLOADS),
    "boxscore": OF_ANY_FILE,
}
"""Faults of each kind of file."""
TIMES: Final = {"stale": (-240.0, -60.0), "ahead": (5.0, 40.0)}
"""Minimum and maximum seconds by which a file is of the past, as from a stale cache, or ahead of the plays."""


class FaultyReplay:
    """A replay at real-time speed with faults.

    Args:
        replay: the replay without faults.
        seed: the same seed gives the same faults at the same times.
        midnight: whether the scoreboard changes to the next day and drops games still in progress.
    """

    def __init__(self, replay: Replay, seed: int, *, midnight: bool = True) -> None:
        self._replay, self._seed = replay, seed
        self._places = {game_id: place for place, game_id in enumerate(replay.games)}
        turns = replay.start + timedelta(seconds=self._rng("midnight").uniform(*MIDNIGHT))
        self._midnight = turns if midnight else None

    def respond(self, path: str) -> Response:
        """Respond to the GET of a path now."""
        now, file = self._replay.now(), file_at(path)
        if file is None:
            return self._replay.respond_at(path, now)
        episode, into = divmod((now - self._replay.start).total_seconds(), EPISODE_SECONDS)
        rng = self._rng(file.kind, self._places.get(file.game_id, 0), episode)
        is_silent = into < FAULTY_SECONDS and self._rng("silent", episode).random() < SHARE_SILENT
        fault = self._fault(file, now, into, rng, is_silent=is_silent)
        shift = timedelta(seconds=rng.uniform(*TIMES[fault])) if fault in TIMES else timedelta(0)
        response = self._replay.respond_at(path, now + shift)
        if response.status == HTTPStatus.OK:
            payload = json.loads(response.body)
            if file.kind == "scoreboard" and self._midnight is not None and now >= self._midnight:
                tomorrow = date.fromisoformat(payload["scoreboard"]["gameDate"]) + timedelta(days=1)
                payload["scoreboard"].update(gameDate=f"{tomorrow}", games=[])
            if fault in PAYLOADS:
                PAYLOADS[fault](payload, rng)
            response = json_response(payload)
        return RESPONSES[fault](response, rng) if fault in RESPONSES else response

    def _fault(self, file: File, now: datetime, into: float, rng: random.Random, *, is_silent: bool) -> str | None:
        """Return the fault of a file, some seconds into an episode; None if there is none."""
        begin = rng.uniform(0.0, FAULTY_SECONDS - SHORTEST)
        end = rng.uniform(begin + SHORTEST, FAULTY_SECONDS)
        fault, wrong, happens = rng.choice(FAULTS[file.kind]), rng.choice([*WRONG]), rng.random() < SHARE_FAULTY
        times = (self._replay.game_at(each, now).at for each in ([file.game_id] if file.game_id else self._places))
        left = min(
            (period_end(period) - at for at in times for period in (2, 4) if at <= period_end(period)), default=1e9
        )
        if left <= QUIET_SECONDS:
            return wrong if file.kind == "playbyplay" and left > 60 * PACE - WRONG_SECONDS else None
        if is_silent:
            return NO_ANSWER
        return fault if happens and begin <= into < end else None

    def _rng(self, *about: Any) -> random.Random:
        """Return a random number generator seeded by the seed and the arguments."""
        return random.Random(f"{self._seed} {about}")
