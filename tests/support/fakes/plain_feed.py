"""The feed of a replay with faults as plain data: games and plays without JSON, as parsing the replay's answers gives.

`tests/feed/replay/test_plain_feed.py` compares the two.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, Final

from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.game_ids import REPLAY_PREFIX
from dejavu_feed.nba.fields import clock_seconds
from dejavu_feed.nba.live_payloads import GameState, GameStatus, Play, Scoreboard
from dejavu_feed.pattern import elapsed_seconds
from dejavu_feed.replay.faults.injector import FaultyReplay
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.faults.plays import ScoringError
from dejavu_feed.replay.faults.responses import GAME_FIELDS, PLAY_FIELDS
from dejavu_feed.replay.payloads import EASTERN, clock_text, status_text
from dejavu_feed.replay.replay import File, Replay
from dejavu_feed.replay.timeline import TimedPlay
from dejavu_feed.teams import TEAMS

_SILENT: Final = {
    FeedFaultKind.TIMEOUT,
    FeedFaultKind.SILENCE,
    FeedFaultKind.FORBIDDEN_PAGE,
    FeedFaultKind.FORBIDDEN_JSON,
    FeedFaultKind.SERVER_ERROR,
}
_BROKEN: Final = {FeedFaultKind.TRUNCATED, FeedFaultKind.EMPTY, FeedFaultKind.HOLLOW}
_LACKING_GAME: Final[dict[str, dict[str, Any]]] = {
    "gameClock": {"clock": None},
    "gameStatusText": {"text": ""},
    "gameTimeUTC": {"tip_off": None},
}
_LACKING_PLAY: Final[dict[str, dict[str, Any]]] = {"subType": {"detail": ""}, "timeActual": {"actual": None}}
"""What is left of a game or a play that lacks a field which is not essential."""


_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class PlainFeed:
    """A `Feed` of a replay with faults, without JSON.

    Args:
        replay: the evening.
        faulty: its faults.
        now: the clock.

    Attributes:
        down: if set, all reads fail.
    """

    def __init__(self, replay: Replay, faulty: FaultyReplay, now: Callable[[], datetime]) -> None:
        self.down = False
        self._faulty = faulty
        self._now = now
        self._games = {game_id: _PlainGame(replay, faulty, game_id) for game_id in replay.games}

    def _served(self, file: File) -> tuple[FeedFaultKind | None, datetime, random.Random]:
        if self.down:
            raise FeedUnavailable("no answer")
        return self._faulty.served(file, self._now())

    def scoreboard(self) -> Scoreboard:
        kind, time, rng = self._served(File("scoreboard"))
        _refuse(kind)
        day = time.astimezone(EASTERN).date()
        games = [game.state(time) for game in self._games.values()]
        if FeedFaultKind.POSTPONED in self._faulty.kinds:
            games.append(_scheduled(games, 1, "PPD", timedelta(0)))
        if FeedFaultKind.MIDNIGHT in self._faulty.kinds and time >= self._faulty.midnight:
            tomorrow = _scheduled(games, 2, "7:30 pm ET", timedelta(days=1))
            games = [game for game in games if game.tip_off and game.tip_off > self._faulty.midnight]
            games.append(tomorrow)
            day += timedelta(days=1)
        faults: list[MalformedFeed] = []
        if kind is FeedFaultKind.INCOMPLETE and games:
            index, lacking = rng.choice(range(len(games))), rng.choice(GAME_FIELDS)
            if lacking in _LACKING_GAME:
                games[index] = replace(games[index], **_LACKING_GAME[lacking])
            else:
                faults.append(MalformedFeed(f"games[{index}].{lacking} is missing"))
                del games[index]
        return Scoreboard(f"{day}", tuple(games), tuple(faults))

    def game(self, game_id: str) -> GameState:
        kind, time, rng = self._served(File("boxscore", game_id))
        _refuse(kind)
        state = self._games[game_id].state(time)
        if kind is FeedFaultKind.INCOMPLETE:
            lacking = rng.choice(GAME_FIELDS)
            if lacking not in _LACKING_GAME:
                raise MalformedFeed(f"{lacking} is missing")
            return replace(state, **_LACKING_GAME[lacking])
        return state

    def plays(self, game_id: str) -> tuple[Play, ...]:
        kind, time, rng = self._served(File("playbyplay", game_id))
        if kind in _SILENT:
            raise FeedUnavailable("no answer")
        plays = self._games[game_id].plays(time)
        if not plays:
            raise FeedUnavailable("status 404")
        _refuse(kind)
        if kind is FeedFaultKind.INCOMPLETE:
            index, lacking = rng.choice(range(len(plays))), rng.choice(PLAY_FIELDS)
            if lacking not in _LACKING_PLAY:
                raise MalformedFeed(f"{lacking} is missing")
            plays[index] = replace(plays[index], **_LACKING_PLAY[lacking])
        plays.sort(key=lambda play: play.order)
        return tuple(plays)


class _PlainGame:
    """A game of the evening, laid out once; each read then takes a part of it."""

    def __init__(self, replay: Replay, faulty: FaultyReplay, game_id: str) -> None:
        self._game_at = partial(replay.game_at, game_id)
        start = self._game_at(replay.start)
        self._errors: tuple[ScoringError, ...] = faulty.scoring_errors[game_id]
        self._technical = int(FeedFaultKind.TECHNICAL in faulty.kinds)
        self._timed = start.timeline.plays
        self._times = [play.at for play in self._timed]
        self._base = [self._play(number, play, start.wall_time(play.at)) for number, play in enumerate(self._timed, 1)]
        self._until = [_seconds(start.wall_time(error.until)) for error in self._errors]
        self._periods = _period_points(self._timed, self._technical)
        self._with_edits = cache(self._edited)

    def state(self, now: datetime) -> GameState:
        game = self._game_at(now)
        moment, live = game.timeline.clock_at(game.at), game.status is GameStatus.LIVE
        published = bisect_right(self._times, game.at)
        home, away = self._periods[published] if published else ((0,) * 4, (0,) * 4)
        return GameState(
            game_id=game.game_id,
            home=game.timeline.game.home,
            away=game.timeline.game.away,
            status=game.status,
            period=moment.period,
            clock=_shown(moment.clock) if live else None,
            home_score=sum(home),
            away_score=sum(away),
            home_periods=home,
            away_periods=away,
            tip_off=_seconds(game.tip_off),
            text=status_text(game),
            code_date=game.day,
        )

    def plays(self, now: datetime) -> list[Play]:
        """Returns the plays published so far, those that did not happen last."""
        at = self._game_at(now).at
        published = bisect_right(self._times, at)
        errors = [(number, error) for number, error in enumerate(self._errors) if error.index < published]
        corrected = tuple(number for number, error in errors if at >= error.until)
        plays = self._with_edits(corrected)[:published]
        false: list[Play] = []
        for number, error in errors:
            if at >= error.until:
                continue
            if error.false_play_at is not None:
                before = plays[error.index]
                edited = self._with_edits(tuple(each for each in corrected if each < number))[error.index].edited
                false.append(_false_play(replace(before, edited=edited), error, *error.false_play_at))
            plays[error.first :] = [_with_points(play, error.home, error.away) for play in plays[error.first :]]
        return plays + false

    def _play(self, number: int, play: TimedPlay, time: datetime) -> Play:
        clock = _shown(play.clock)
        return Play(
            order=number * 10000,
            period=play.period,
            clock=clock,
            elapsed=elapsed_seconds(play.period, clock),
            home=play.home + self._technical,
            away=play.away + self._technical,
            action=play.action,
            detail=play.detail,
            scoring=bool(play.points),
            actual=time.replace(microsecond=time.microsecond // 1000 * 1000),
            edited=_seconds(time),
        )

    def _edited(self, corrected: tuple[int, ...]) -> list[Play]:
        """Returns all plays, those with corrected errors marked as edited."""
        plays = list(self._base)
        for number in corrected:
            error, until = self._errors[number], self._until[number]
            for index in range(error.first, bisect_right(self._times, error.until)):
                play = plays[index]
                assert play.edited is not None
                if self._times[index] < error.until and play.edited < until:
                    plays[index] = replace(play, edited=until)
        return plays


def _shown(clock: float) -> float:
    """Returns a clock as the feed's text has it."""
    shown = clock_seconds(clock_text(clock))
    assert shown is not None
    return shown


def _refuse(kind: FeedFaultKind | None) -> None:
    if kind in _SILENT:
        raise FeedUnavailable("no answer")
    if kind in _BROKEN:
        raise MalformedFeed("not JSON")


def _with_points(play: Play, home: int, away: int) -> Play:
    return replace(play, home=max(0, play.home + home), away=max(0, play.away + away))


def _false_play(before: Play, error: ScoringError, period: int, clock: float) -> Play:
    points = error.home + error.away
    clock = _shown(clock)
    play = replace(
        before,
        order=before.order + 5000,
        period=period,
        clock=clock,
        elapsed=elapsed_seconds(period, clock),
        action=f"{points}pt",
        detail="Jump Shot",
        scoring=True,
    )
    return _with_points(play, error.home, error.away)


def _period_points(plays: Sequence[TimedPlay], technical: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Returns the points of each period of both teams, after each number of plays."""
    home, away = [technical, 0, 0, 0], [technical, 0, 0, 0]
    points = [(tuple(home), tuple(away))]
    before = (0, 0)
    for play in plays:
        while len(home) < play.period:
            home.append(0)
            away.append(0)
        home[play.period - 1] += play.home - before[0]
        away[play.period - 1] += play.away - before[1]
        before = (play.home, play.away)
        points.append((tuple(home), tuple(away)))
    return points


def _scheduled(games: Sequence[GameState], number: int, text: str, later: timedelta) -> GameState:
    """Returns a scheduled game whose id is the evening's last id plus `number`."""
    first = min(games, key=lambda game: game.tip_off or _LATEST)
    busy = {team for game in games for team in (game.home, game.away)}
    home, away = sorted(TEAMS, key=lambda code: (code in busy, code))[:2]
    last = max(int(game.game_id[len(REPLAY_PREFIX) :]) for game in games)
    assert first.tip_off is not None
    assert first.code_date is not None
    return GameState(
        game_id=f"{REPLAY_PREFIX}{(last + number) % 10**8:08d}",
        home=home,
        away=away,
        status=GameStatus.SCHEDULED,
        period=0,
        clock=None,
        home_score=0,
        away_score=0,
        home_periods=(0,) * 4,
        away_periods=(0,) * 4,
        tip_off=first.tip_off + later,
        text=text,
        code_date=first.code_date + later,
    )


def _seconds(time: datetime) -> datetime:
    return time.replace(microsecond=0)
