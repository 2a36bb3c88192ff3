"""Faults of a scoreboard: a postponed game, and a change of date while games are in progress."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from dejavu_feed.game_ids import REPLAY_PREFIX
from dejavu_feed.nba.live_payloads import GameStatus
from dejavu_feed.replay.payloads import Json, team_fields
from dejavu_feed.teams import TEAMS


def add_postponed(board: Json) -> None:
    """Adds a postponed game of teams that do not play tonight, in place."""
    board["scoreboard"]["games"].append(_scheduled(board, 1, "PPD", timedelta(0)))


def add_point(team: Json) -> None:
    """Adds a point to a team in its first period, in place."""
    team["score"] += 1
    team["periods"][0]["score"] += 1


def turn_day(board: Json, at: datetime) -> None:
    """Changes a scoreboard to the next day, in place: removes games that began by `at` and adds one of tomorrow."""
    inner = board["scoreboard"]
    tomorrow = _scheduled(board, 2, "7:30 pm ET", timedelta(days=1))
    inner["gameDate"] = f"{date.fromisoformat(inner['gameDate']) + timedelta(days=1)}"
    inner["games"] = [game for game in inner["games"] if datetime.fromisoformat(game["gameTimeUTC"]) > at]
    inner["games"].append(tomorrow)


def _scheduled(board: Json, number: int, text: str, later: timedelta) -> Json:
    """Returns a scheduled game whose id is the evening's last id plus `number`."""
    games = board["scoreboard"]["games"]
    first = min(games, key=lambda game: str(game["gameTimeUTC"]))
    busy = {game[team]["teamTricode"] for game in games for team in ("homeTeam", "awayTeam")}
    home, away = sorted(TEAMS, key=lambda code: (code in busy, code))[:2]
    last = max(int(game["gameId"][len(REPLAY_PREFIX) :]) for game in games)
    tip_off = datetime.fromisoformat(first["gameTimeUTC"]).astimezone(UTC) + later
    return {
        **first,
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
