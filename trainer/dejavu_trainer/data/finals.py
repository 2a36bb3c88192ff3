"""Fetches finals from the NBA's lists of games: four requests per season, and one per game on neutral ground."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dejavu_feed.errors import IncompleteGame
from dejavu_feed.game_ids import PLAYOFF_PHASES
from dejavu_feed.nba.stats_payloads import ListedGame
from dejavu_feed.nba.stats_service import Stats
from dejavu_models.live_ratings import GameResult
from dejavu_trainer.data.fetch import PHASES, Phase, Plays, exclusive_lock, fetch_list
from dejavu_trainer.data.games import season_name
from dejavu_trainer.data.retries import RetriesExhausted, RetryingClient


@dataclass(frozen=True, slots=True)
class Finals:
    """Finals of several seasons.

    Attributes:
        results: by date and id of the game.
        left_out: the games without a usable result, each with the reason.
    """

    results: tuple[GameResult, ...]
    left_out: tuple[str, ...]


def fetch_finals(
    stats: Stats,
    seasons: Iterable[int],
    today: date,
    folder: Path,
    client: RetryingClient,
    say: Callable[[str], object],
) -> Finals:
    """Fetch the finals of seasons, up to the day before a game day: later games may be in progress.

    A list does not name the home team of a game on neutral ground; the game's plays do, so these are fetched too.

    Args:
        stats: the statistics service.
        seasons: years in which the seasons end, ascending.
        today: the game day.
        folder: folder for the received plays; created if it does not exist.
        client: sends the requests, with rate limit and retries.
        say: called with a line of progress after each season.

    Raises:
        DataError: if another fetch is running in the folder.
        FetchStopped: if a list could not be fetched.
        OSError: if a file cannot be written.
    """
    results, left_out = list[tuple[date, str, GameResult]](), list[str]()
    with exclusive_lock(folder) as kept:
        for season in seasons:
            plays, before = Plays(stats, client, kept / season_name(season)), len(results)
            for phase in PHASES:
                for game in fetch_list(stats, season, phase, client):
                    if game.date >= today:
                        continue
                    try:
                        results.append((game.date, game.game_id, _result(game, season, phase, plays)))
                    except (RetriesExhausted, IncompleteGame) as why:
                        left_out.append(f"{game.game_id} {game.teams}, {game.date}: {why}")
            say(f"{season_name(season)}: {len(results) - before:,} finals")
    return Finals(tuple(result for *_, result in sorted(results)), tuple(left_out))


def _result(game: ListedGame, season: int, phase: Phase, plays: Plays) -> GameResult:
    if game.fault or not game.over:
        raise IncompleteGame(game.fault or "the list has no result of it")
    try:
        home = game.home or plays.of(game)[0].home
    except (RetriesExhausted, IncompleteGame) as error:
        raise IncompleteGame(f"its home team is not known: {error}") from error
    (away,) = game.points.keys() - {home}
    return GameResult(
        home=home,
        away=away,
        season=season,
        day=game.date,
        differential=game.points[home] - game.points[away],
        is_playoffs=phase.code in PLAYOFF_PHASES,
        total=sum(game.points.values()),
        neutral_site=game.is_neutral or None,
    )
