"""Fetches finals from the NBA's lists of games: four requests per season, and one per game on neutral ground."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Final

from dejavu_feed.errors import IncompleteGame
from dejavu_feed.game_ids import PLAYOFF_PHASES
from dejavu_feed.nba.stats_payloads import ListedGame, ScoreTimeline
from dejavu_feed.nba.stats_service import Stats
from dejavu_models.live_ratings import GameResult
from dejavu_trainer.data.fetch import Phase, fetch_game, fetch_list, season_name
from dejavu_trainer.data.fetch_cache import FetchCache, exclusive_lock, write_part
from dejavu_trainer.data.retries import RetriesExhausted, RetryingClient

_FORMAT_VERSION: Final = 2
"""Format version of stored lists; incremented when they are parsed differently, so that they are fetched again."""


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

    Complete lists are stored for the day: a repeated fetch, also after a kill, requests only the others. A list does
    not name the home team of a game on neutral ground; the game's plays do, so these are fetched too.

    Args:
        stats: the statistics service.
        seasons: years in which the seasons end, ascending.
        today: the game day.
        folder: folder for the received data; created if it does not exist.
        client: sends the requests, with rate limit and retries.
        say: called with a line of progress after each season.

    Raises:
        DataError: if another fetch is running in the folder.
        FetchStopped: if a list could not be fetched. Lists already received are kept.
        OSError: if a file cannot be written.
    """
    results = list[tuple[date, str, GameResult]]()
    left_out = list[str]()
    with exclusive_lock(folder) as parts:
        for season in seasons:
            fetched = _SeasonFinals(stats, season, today, folder, parts, client)
            for game, result in fetched.results():
                if isinstance(result, str):
                    left_out.append(f"{game.game_id} {game.teams}, {game.date}: {result}")
                else:
                    results.append((game.date, game.game_id, result))
            say(f"{season_name(season)}: {sum(each.season == season for *_, each in results):,} finals")
    return Finals(tuple(result for *_, result in sorted(results)), tuple(left_out))


class _SeasonFinals:
    """Fetch of the finals of one season; see `fetch_finals`."""

    def __init__(
        self, stats: Stats, season: int, today: date, folder: Path, parts: Path, client: RetryingClient
    ) -> None:
        self._stats = stats
        self._season = season
        self._today = today
        self._parts = parts
        self._client = client
        self._cache = FetchCache(folder, season_name(season))

    def results(self) -> Iterator[tuple[ListedGame, GameResult | str]]:
        """Yield each game before today with its result, or with the reason why it has none."""
        for phase in Phase:
            for game in self._list(phase):
                yield game, self._result(game, phase)

    def _list(self, phase: Phase) -> list[ListedGame]:
        path = self._parts / season_name(self._season) / f"{phase}.json"
        games = self._kept(path)
        if games is None:
            listed = fetch_list(self._stats, self._season, phase, self._client)
            games = [game for game in listed if game.date < self._today]
            if all(game.over and not game.fault for game in games):
                self._keep(path, games)
        return games

    def _kept(self, path: Path) -> list[ListedGame] | None:
        """Return a list that was stored today, or None."""
        try:
            document = json.loads(path.read_bytes())
            if (document["form"], document["day"]) != (_FORMAT_VERSION, self._today.isoformat()):
                return None
            return [ListedGame(**{**game, "date": date.fromisoformat(game["date"])}) for game in document["games"]]
        except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def _keep(self, path: Path, games: Iterable[ListedGame]) -> None:
        listed = [{**asdict(game), "date": game.date.isoformat()} for game in games]
        document = {"form": _FORMAT_VERSION, "day": self._today.isoformat(), "games": listed}
        with write_part(path, path.parent) as part:
            part.write_text(json.dumps(document, separators=(",", ":")) + "\n")

    def _result(self, game: ListedGame, phase: Phase) -> GameResult | str:
        if game.fault or not game.over:
            return game.fault or "the list has no result of it"
        try:
            home = game.home or self._plays(game).home
        except (RetriesExhausted, IncompleteGame) as error:
            return f"its home team is not known: {error}"
        (away,) = game.points.keys() - {home}
        return GameResult(
            home=home,
            away=away,
            season=self._season,
            day=game.date,
            differential=game.points[home] - game.points[away],
            is_playoffs=phase.code in PLAYOFF_PHASES,
            total=sum(game.points.values()),
            neutral_site=game.is_neutral or None,
        )

    def _plays(self, game: ListedGame) -> ScoreTimeline:
        fetched = self._cache.game(game)
        if fetched is None:
            fetched = self._client.call(lambda: fetch_game(self._stats, game))
            self._cache.keep(game.game_id, fetched)
        return fetched.timeline
