"""Renders a game at a given time as the NBA's live JSON, with the same keys and types.

Data that a game's source lacks (players, fouls, wins) is omitted where the feed can omit it, and empty or 0 elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Final

from dejavu_common.clock import game_day
from dejavu_feed.nba.live_payloads import GameStatus
from dejavu_feed.replay.games import ReplayGame
from dejavu_feed.replay.timeline import TimedPlay, Timeline
from dejavu_feed.teams import TEAMS

Json = dict[str, Any]
EASTERN: Final = timezone(timedelta(hours=-5))
"""The league's time zone in winter; a fixed offset, so that no time zone database is needed."""

# What the source of a game lacks.
_NO_LEADER: Final[Json] = {
    "personId": 0,
    **dict.fromkeys(("name", "jerseyNum", "position", "teamTricode", "playerSlug"), ""),
    **dict.fromkeys(("points", "rebounds", "assists"), 0),
}
_NO_SERIES: Final = dict.fromkeys(
    ("seriesGameNumber", "seriesText", "seriesConference", "poRoundDesc", "gameSubtype"), ""
)
_NO_PLACE: Final = dict.fromkeys(("x", "y", "xLegacy", "yLegacy", "side"))


@dataclass(frozen=True, slots=True)
class LiveGame:
    """A game at one point of its replay.

    Attributes:
        tip_off: wall-clock time of the tip-off, aware.
        speed: game-day seconds (real seconds including stoppages and breaks, see `timeline`) per wall-clock second.
        at: game-day seconds since tip-off; negative before it.
    """

    game_id: str
    timeline: Timeline
    tip_off: datetime
    speed: float
    at: float

    @property
    def plays(self) -> tuple[TimedPlay, ...]:
        """Plays published so far."""
        return self.timeline.published(self.at)

    @property
    def status(self) -> GameStatus:
        """Scheduled, live or final."""
        if self.at < 0:
            return GameStatus.SCHEDULED
        return GameStatus.LIVE if self.at < self.timeline.length else GameStatus.FINAL

    @property
    def day(self) -> date:
        """Local date on which the game was played; if it is not known, the date of the evening of the replay."""
        recorded = self.timeline.game.day
        return game_day(self.tip_off.astimezone(UTC)) if recorded is None else recorded

    @property
    def code(self) -> str:
        """Date and teams, for example 20230420/SACGSW."""
        return f"{self.day:%Y%m%d}/{self.timeline.game.away}{self.timeline.game.home}"

    def wall_time(self, at: float) -> datetime:
        """Convert game-day seconds since tip-off to wall-clock time."""
        return self.tip_off + timedelta(seconds=at / self.speed)


def scoreboard(games: Sequence[LiveGame], now: datetime) -> Json:
    """Return the payload of scoreboard/todaysScoreboard_00.json."""
    return {
        "meta": _meta("scoreboard/todaysScoreboard_00.json", now),
        "scoreboard": {
            "gameDate": f"{game_day(now.astimezone(UTC))}",
            "leagueId": "00",
            "leagueName": "National Basketball Association",
            "games": [_scoreboard_entry(game) for game in games],
        },
    }


def playbyplay(game: LiveGame, now: datetime) -> Json:
    """Return the payload of playbyplay/playbyplay_{id}.json."""
    return {
        "meta": _meta(f"playbyplay/playbyplay_{game.game_id}.json", now),
        "game": {
            "gameId": game.game_id,
            "actions": [_action(game, number, play) for number, play in enumerate(game.plays, 1)],
        },
    }


def boxscore(game: LiveGame, now: datetime) -> Json:
    """Return the payload of boxscore/boxscore_{id}.json, without players and officials."""
    local = _second(game.tip_off.astimezone(EASTERN))
    entry = _scoreboard_entry(game)
    return {
        "meta": _meta(f"boxscore/boxscore_{game.game_id}.json", now),
        "game": {
            "gameId": game.game_id,
            "gameTimeLocal": local,
            **{key: entry[key] for key in ("gameTimeUTC", "gameStatusText", "gameStatus", "period", "gameClock")},
            "gameTimeHome": local,
            "gameTimeAway": local,
            "gameEt": local,
            "duration": max(0, int(game.at // 60)),
            "gameCode": game.code,
            "regulationPeriods": 4,
            "attendance": 0,
            "sellout": "0",
            "arena": {},
            "officials": [],
            "homeTeam": _boxscore_team(game, home=True),
            "awayTeam": _boxscore_team(game, home=False),
        },
    }


def clock_text(seconds: float) -> str:
    """Format seconds as the feed's clock: 365 → "PT06M05.00S".

    Truncates to hundredths instead of rounding, so that a play just after the end of a minute does not move into it.
    """
    hundredths = math.floor(seconds * 100 + 1e-6)
    minutes, rest = divmod(hundredths, 6000)
    return f"PT{minutes:02d}M{rest // 100:02d}.{rest % 100:02d}S"


def _meta(path: str, now: datetime) -> Json:
    time = now.astimezone(EASTERN).strftime("%Y-%m-%d %H:%M:%S.%f")
    return {"version": 1, "code": 200, "request": f"replay://{path}", "time": time}


def _scoreboard_entry(game: LiveGame) -> Json:
    moment = game.timeline.clock_at(game.at)
    live = game.status is GameStatus.LIVE
    return {
        "gameId": game.game_id,
        "gameCode": game.code,
        "gameStatus": int(game.status),
        "gameStatusText": status_text(game),
        "period": moment.period,
        "gameClock": clock_text(moment.clock) if live else "",
        "gameTimeUTC": f"{game.tip_off.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "gameEt": _second(game.tip_off.astimezone(EASTERN)),
        "regulationPeriods": 4,
        "ifNecessary": False,
        **_NO_SERIES,
        "homeTeam": {**_team(game, home=True), "wins": 0, "losses": 0, "seed": 0},
        "awayTeam": {**_team(game, home=False), "wins": 0, "losses": 0, "seed": 0},
        "gameLeaders": {"homeLeaders": _NO_LEADER, "awayLeaders": _NO_LEADER},
        "pbOdds": {"team": None, "odds": 0.0, "suspended": 0},
    }


def status_text(game: LiveGame) -> str:
    """Return the scoreboard's text for a game, for example "Q2 07:15"."""
    moment = game.timeline.clock_at(game.at)
    overtimes = moment.period - 4
    if game.status is GameStatus.SCHEDULED:
        local = game.tip_off.astimezone(EASTERN)
        return f"{local.hour % 12 or 12}:{local:%M} {'am' if local.hour < 12 else 'pm'} ET"
    if game.status is GameStatus.FINAL:
        return "Final" if overtimes < 1 else f"Final/OT{overtimes if overtimes > 1 else ''}"
    name = f"Q{moment.period}" if overtimes < 1 else f"OT{overtimes if overtimes > 1 else ''}"
    if not moment.running:
        return "Half" if moment.period == 2 else f"End {name}"
    return f"{name} {int(moment.clock) // 60:02d}:{int(moment.clock) % 60:02d}"


def _team(game: LiveGame, *, home: bool) -> Json:
    code = game.timeline.game.home if home else game.timeline.game.away
    points = _period_points(game, home=home)
    return {
        **team_fields(code),
        "score": sum(points),
        "inBonus": "0" if game.status is GameStatus.LIVE else None,
        "timeoutsRemaining": 0,
        "periods": [
            {"period": period, "periodType": _period_type(period), "score": score}
            for period, score in enumerate(points, 1)
        ],
    }


def team_fields(code: str) -> Json:
    """Return the fields that name a team."""
    team = TEAMS[code]
    return {"teamId": team.number, "teamName": team.name, "teamCity": team.city, "teamTricode": code}


def _period_points(game: LiveGame, *, home: bool) -> list[int]:
    """Return the points of each period so far; 0 for quarters not yet played."""
    plays = game.plays
    points = [0] * max(4, plays[-1].period if plays else 0)
    before = 0
    for play in plays:
        score = play.home if home else play.away
        points[play.period - 1] += score - before
        before = score
    return points


def _boxscore_team(game: LiveGame, *, home: bool) -> Json:
    shots = [play.points for play in game.plays if play.points and play.by_home is home]
    twos, threes, free_throws = shots.count(2), shots.count(3), shots.count(1)
    own, other = _team(game, home=home), _team(game, home=not home)
    statistics = {
        "fieldGoalsMade": twos + threes,
        "freeThrowsMade": free_throws,
        "points": own["score"],
        "pointsAgainst": other["score"],
        "threePointersMade": threes,
        "twoPointersMade": twos,
    }
    return {**own, "inBonus": "0", "players": [], "statistics": statistics}


def odds(games: Mapping[str, ReplayGame]) -> Json:
    """Return the odds of the games that have a line, by id: the spread of one bookmaker."""
    return {
        "games": [
            {
                "gameId": game_id,
                "homeTeamId": f"{team_fields(game.home)['teamId']}",
                "awayTeamId": f"{team_fields(game.away)['teamId']}",
                "markets": [{"name": "spread", "books": [_book(game.line.margin)]}],
            }
            for game_id, game in games.items()
            if game.line is not None and game.line.margin is not None
        ]
    }


def _book(margin: float) -> Json:
    sides = (("home", -margin), ("away", margin))
    outcomes = [{"type": side, "odds": "1.910", "spread": f"{points:g}"} for side, points in sides]
    return {"id": "replay", "name": "Replay", "outcomes": outcomes}


def _action(game: LiveGame, number: int, play: TimedPlay) -> Json:
    actual = game.wall_time(play.at).astimezone(UTC)
    played = game.timeline.game
    action: Json = {
        "actionNumber": number,
        "clock": clock_text(play.clock),
        "timeActual": f"{actual:%Y-%m-%dT%H:%M:%S}.{actual.microsecond // 1000:03d}Z",
        "period": play.period,
        "periodType": _period_type(play.period),
        "actionType": play.action,
        "subType": play.detail,
        "qualifiers": [],
        "personId": 0,
        **_NO_PLACE,
        "possession": 0,
        "scoreHome": str(play.home),
        "scoreAway": str(play.away),
        "edited": f"{actual:%Y-%m-%dT%H:%M:%SZ}",
        "orderNumber": number * 10000,
        "isFieldGoal": int(play.points > 1),
        "personIdsFilter": [],
        "description": f"{play.action} {play.detail}",
    }
    if play.points:
        code = played.home if play.by_home else played.away
        number = TEAMS[code].number
        action |= {"teamId": number, "teamTricode": code, "shotResult": "Made", "possession": number}
    return action


def _period_type(period: int) -> str:
    return "REGULAR" if period <= 4 else "OVERTIME"


def _second(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
