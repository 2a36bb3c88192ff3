"""A fake stats.nba.com: LeagueGameLog and PlayByPlayV3 of simulated games, with scripted faults, and fetches from it.

with StatsStandIn(season_of_games(6)) as service:
    service.faults["0022400003"] = [status(429, **{"Retry-After": "2"}), html()]
    … service.url … service.asked …
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq

from dejavu_feed.files.plays_format import COLUMNS, DATE
from dejavu_feed.game_ids import season_of
from dejavu_feed.nba.stats_service import NbaStats, Stats
from dejavu_feed.pattern import Score, elapsed_seconds, period_of
from dejavu_feed.replay.http_server import LocalServer, Response
from dejavu_feed.replay.simulate import simulate_game
from dejavu_feed.teams import TEAMS
from dejavu_models.components.component import Advance
from dejavu_models.live_ratings import GameResult
from dejavu_trainer.data.fetch import FetchResult, RetryingClient, fetch
from dejavu_trainer.execution import Progress

Fault = Callable[[Response], Response]

TYPES = {"RS": "Regular Season", "CUP": "IST", "PI": "PlayIn", "PO": "Playoffs"}
PREFIXES = {"RS": "002", "PI": "005", "PO": "004"}
LOG_HEADERS = (
    *("SEASON_ID", "TEAM_ID", "TEAM_ABBREVIATION", "TEAM_NAME"),
    *("GAME_ID", "GAME_DATE", "MATCHUP", "WL", "PTS"),
)


@dataclass(frozen=True)
class PlayedOnce:
    """A finished game of a season.

    Attributes:
        scores: every change of the score, the first 0–0 at tip-off.
        neutral: whether it was at a neutral site: the game log then lists both teams as visitors.
        over: whether the game log has a winner.
    """

    game_id: str
    type: str
    day: date
    home: str
    away: str
    scores: tuple[Score, ...]
    neutral: bool = False
    over: bool = True

    @property
    def rows(self) -> list[tuple[object, ...]]:
        """The expected rows of a file of plays."""
        return [(self.game_id, self.type, self.home, self.away, *score, self.day) for score in self.scores]

    @property
    def result(self) -> GameResult:
        """The result, as a server learns it."""
        final, season = self.scores[-1], season_of(self.game_id)
        assert season is not None
        differential, total = final.home - final.away, final.home + final.away
        return GameResult(
            self.home, self.away, season, self.day, differential, self.type != "RS", total, self.neutral or None
        )


class Asked(NamedTuple):
    """A request: the game's id or the season's type, and its time (monotonic seconds)."""

    what: str
    at: float


def season_of_games(regular: int = 6, *, seed: int = 1, season: int = 2025) -> list[PlayedOnce]:
    """Simulate games of a season: regular ones (the second at a neutral site), one play-in and one playoff game."""
    rng = random.Random(seed)
    games = list[PlayedOnce]()
    for number, kind in enumerate(["RS"] * regular + ["PI", "PO"], 1):
        day = date(season - 1, 10, 22) + timedelta(number // 3)
        busy = {team for game in games if game.day == day for team in (game.home, game.away)}
        home, away = rng.sample([team for team in sorted(TEAMS) if team not in busy], 2)
        game_id = f"{PREFIXES[kind]}{(season - 1) % 100:02d}{number:05d}"
        games.append(PlayedOnce(game_id, kind, day, home, away, tuple(simulate_game(rng)), neutral=number == 2))
    return games


def log_payload(games: Sequence[PlayedOnce], season: str, season_type: str) -> dict[str, Any]:
    """Return LeagueGameLog of teams: two rows a game, the winner's first."""
    rows = []
    for game in games:
        last = game.scores[-1]
        sides = [
            (game.home, last.home, last.away, f"{game.home} {'@' if game.neutral else 'vs.'} {game.away}"),
            (game.away, last.away, last.home, f"{game.away} @ {game.home}"),
        ]
        for code, points, against, matchup in sorted(sides, key=lambda side: side[2] - side[1]):
            won = ("W" if points > against else "L") if game.over else None
            team = (f"2{season[:4]}", TEAMS[code].number, code, f"{TEAMS[code].city} {TEAMS[code].name}")
            rows.append([*team, game.game_id, game.day.isoformat(), matchup, won, points])
    parameters = {"LeagueID": "00", "Season": season, "SeasonType": season_type, "PlayerOrTeam": "T"}
    sets = [{"name": "LeagueGameLog", "headers": list(LOG_HEADERS), "rowSet": rows}]
    return {"resource": "leaguegamelog", "parameters": parameters, "resultSets": sets}


@lru_cache(maxsize=256)
def plays_payload(game: PlayedOnce) -> dict[str, Any]:
    """Return PlayByPlayV3: shots and period ends with scores, rebounds without; action numbers with gaps."""
    actions: list[dict[str, Any]] = []

    def add(period: int, clock: float, kind: str, detail: str, team: str = "", score: Score | None = None) -> None:
        actions.append(
            {
                "actionNumber": 2 * len(actions) + 2,
                "clock": f"PT{int(clock // 60):02d}M{clock % 60:05.2f}S",
                "period": period,
                "teamId": TEAMS[team].number if team in TEAMS else 0,
                "teamTricode": team,
                "scoreHome": "" if score is None else str(score.home),
                "scoreAway": "" if score is None else str(score.away),
                "location": "" if not team else "h" if team == game.home else "v",
                "actionType": kind,
                "subType": detail,
                "actionId": len(actions) + 1,
            }
        )

    last = game.scores[0]
    for period in range(1, max(4, period_of(game.scores[-1].elapsed)) + 1):
        end = elapsed_seconds(period, 0.0)
        add(period, end - elapsed_seconds(period - 1, 0.0) if period > 1 else 720.0, "period", "start", score=last)
        for score in [score for score in game.scores[1:] if period_of(score.elapsed) == period]:
            team = game.home if score.home > last.home else game.away
            clock = end - score.elapsed
            add(period, clock, "Missed Shot", "Jump Shot", team)
            add(period, clock, "Rebound", "Unknown", team)
            add(period, clock, "Made Shot", "Jump Shot", team, score)
            last = score
        add(period, 0.0, "period", "end", score=last)
    return {"meta": {"version": 1}, "game": {"gameId": game.game_id, "videoAvailable": 1, "actions": actions}}


@dataclass
class StatsStandIn:
    """The fake service, which runs inside a `with` block.

    Attributes:
        games: the games that it serves; can be changed while it runs.
        faults: faults of the next answers by game id or season type, in order; later answers are correct.
        on_request: called with each request before it is answered.
        asked: every request, in order of arrival.
    """

    games: list[PlayedOnce]
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    on_request: Callable[[Asked], object] = lambda _: None
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = LocalServer(self._respond, query=True)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def plays_asked(self) -> list[str]:
        """Return the games whose plays were requested, in order, with repetitions."""
        return [asked.what for asked in self.asked if asked.what not in TYPES.values()]

    def _respond(self, path: str) -> Response:
        at = time.monotonic()
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/stats/leaguegamelog":
            what = query["SeasonType"]
            cup = what == TYPES["CUP"]  # its group games are listed as regular-season games too
            of_type = [game for game in self.games if TYPES[game.type] == what or (cup and game.type == "RS")]
            games = [game for game in of_type if _in_season(game, query["Season"])]
            answer: dict[str, Any] = log_payload(games, query["Season"], what)
        elif parts.path == "/stats/playbyplayv3":
            what = query["GameID"]
            answer = plays_payload(next(game for game in self.games if game.game_id == what))
        else:
            return Response(404, b"")
        with self._lock:
            asked = Asked(what, at)
            self.asked.append(asked)
            script = self.faults.get(what, [])
            fault = script.pop(0) if script else _as_it_is
        self.on_request(asked)
        return fault(Response(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}))


def _in_season(game: PlayedOnce, season: str) -> bool:
    return game.game_id[3:5] == season[2:4]


def _as_it_is(response: Response) -> Response:
    return response


def status(code: int, **headers: str) -> Fault:
    """Return an error status; header names have _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Response(code, b"<html>no</html>", named)


def text(body: str) -> Fault:
    """Return this text with status 200."""
    return lambda _: Response(200, body.encode())


def html() -> Fault:
    """Return an HTML page with status 200."""
    return text("<!DOCTYPE html><html><body>Access denied</body></html>")


def truncated() -> Fault:
    """Return half of the body with a matching content length."""
    return lambda response: replace(response, body=response.body[: len(response.body) // 2])


def cut_off() -> Fault:
    """Return half of the body and close the connection."""

    def cut(response: Response) -> Response:
        whole = {"Content-Length": str(len(response.body)), "Connection": "close"}
        return Response(200, response.body[: len(response.body) // 2], whole)

    return cut


def stall(seconds: float = 30.0) -> Fault:
    """Delay the answer by `seconds`, or until the fake service ends."""
    return lambda _: Response(200, b"", hold=seconds)


ATTEMPTS = 3


class Notes(Progress):
    """What a fetch says: its lines, its waits with their reasons, and the number of games of each season."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.waits: list[tuple[float, str]] = []
        self.games: dict[str, int] = {}

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Advance]:
        self.games[name] = 0

        def advance(units: int) -> None:
            self.games[name] += units

        yield advance

    def waiting(self, seconds: float, reason: str) -> None:
        self.waits.append((seconds, reason))

    def client(self) -> RetryingClient:
        """Return a client without waits."""
        return RetryingClient(self.waiting, spacing=0.0, first_wait=0.0, max_attempts=ATTEMPTS)


class Killed(BaseException):
    """Stands in for a kill; no code may clean up after it."""


class KilledAfter:
    """A service that ends its caller after some requests."""

    def __init__(self, service: StatsStandIn, requests: int) -> None:
        self._stats = NbaStats(service.url, timeout=5.0)
        self._left = requests

    def game_log(self, season: str, season_type: str) -> Any:
        self._count()
        return self._stats.game_log(season, season_type)

    def plays(self, game_id: str) -> Any:
        self._count()
        return self._stats.plays(game_id)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            self._stats.close()
            raise Killed


def fetch_from(
    service: StatsStandIn,
    out: Path,
    *,
    seasons: Sequence[int] = (2025,),
    notes: Notes | None = None,
    stats: Stats | None = None,
    timeout: float = 5.0,
    overwrite: bool = False,
) -> list[FetchResult]:
    """Return the results of a fetch from a fake service."""
    notes = notes or Notes()
    with closing(NbaStats(service.url, timeout=timeout, limit=timeout)) as real:
        fetched = fetch(stats or real, seasons, out, notes.client(), notes, notes.said.append, overwrite=overwrite)
        return list(fetched)


def rows_of(path: Path) -> list[tuple[object, ...]]:
    """Return the rows of a file of plays."""
    return [tuple(row[name] for name in (*COLUMNS, DATE)) for row in pq.read_table(path).to_pylist()]


def truth(games: Sequence[PlayedOnce]) -> list[tuple[object, ...]]:
    """Return the expected rows of a file of these games, in order of date and id."""
    return [row for game in sorted(games, key=lambda game: (game.day, game.game_id)) for row in game.rows]


def files_of(out: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a folder, by path."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
