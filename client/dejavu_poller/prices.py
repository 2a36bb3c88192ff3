"""Prices of an evening's games from a file: those offered when a forecast is made, to record beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Final

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client.errors import DejavuClientError
from dejavu_feed.errors import FeedError
from dejavu_feed.files.prices import PricedMarket, read_prices
from dejavu_feed.nba.live_payloads import GameState
from dejavu_poller.enricher import Enricher
from dejavu_poller.events import Event, Fault, FaultKind, PricesTaken
from dejavu_poller.inputs import ForecastInputs, GamePrices
from dejavu_poller.reads import WatchedFile
from dejavu_poller.watched_game import WatchedGame

PRICES: Final = "prices"
"""Source of the faults of prices."""

OLDEST: Final = timedelta(seconds=10)
"""Maximum age of a price when a forecast is requested. A price must also know the newest play: a bet on an older one
would show a profit that nobody could have had."""

_AHEAD: Final = timedelta(seconds=2)
"""Maximum time by which a price or a play may be ahead of this machine's clock."""

_READ_SECONDS: Final = 1.0
"""Time after which a forecast waits no longer for the file."""


class PriceFile(Enricher):
    """Prices of games in a file that another program rewrites, read again whenever it changes.

    Of a game's prices of a kind (spread and winner are one), the newest counts, and of equally new ones the first row.
    A price without a time has that of the last modification of the file.

    Args:
        now: wall clock, timezone-aware.
        path: a table of full-game prices, see `read_prices`.
    """

    source = PRICES

    def __init__(self, now: Callable[[], datetime], path: Path) -> None:
        self._now = now
        self._file = WatchedFile(path, read_prices)
        self._markets: list[PricedMarket] = []
        self._unread = ""
        self._unused: dict[str, str] = {}
        self._turn = asyncio.Lock()
        self._taken: set[str] = set()
        self._doubted: set[str] = set()

    @property
    def faults(self) -> frozenset[str]:
        """Reasons why the file or some of its prices are not used now."""
        return frozenset(filter(None, (self._unread, *self._unused.values())))

    async def of(self, game: GameState, newest_play: datetime | None = None) -> GamePrices:
        """Return the current prices of a game. Waits at most a second for the file; never raises.

        Args:
            game: the game.
            newest_play: when its newest play happened or was corrected, by the feed: a price from before does not know
                it. One that is far ahead of this machine's clock, as of a replay, does not count. None: not known.
        """
        async with self._turn:
            await self._read()
        now = self._now()
        named = [each for each in self._markets if _is_named(each, game)]
        of_game = [each for each in named if _teams_agree(each, game)]
        since = now - OLDEST
        if newest_play is not None and newest_play <= now + _AHEAD:
            since = max(since, newest_play)
        current = [each for each in of_game if each.time is not None and since <= each.time <= now + _AHEAD]
        self._unused.pop(game.game_id, None)
        if problem := _problem(game, named, of_game, current, now):
            self._unused[game.game_id] = problem
        totals = [each for each in current if each.kind == "total"]
        return GamePrices(_newest(each for each in current if each.kind != "total"), _newest(totals))

    async def enrich(self, game: WatchedGame, minutes: Sequence[int], inputs: ForecastInputs) -> None:
        """Add the current prices of a game."""
        inputs.prices = await self.of(game.state, game.newest_change)

    async def answered(
        self, game: WatchedGame, inputs: ForecastInputs, answers: Sequence[Forecast | DejavuClientError]
    ) -> Iterable[Event]:
        """Report the first prices of a game that were refused or implausible, and the first that were recorded."""
        state, told = game.state, list[Event]()
        if inputs.price_faults and state.game_id not in self._doubted:
            self._doubted.add(state.game_id)
            fault = f"{state.away} @ {state.home}: {inputs.price_faults[0]}"
            told.append(Fault(PRICES, fault, kind=FaultKind.MALFORMED))
        if inputs.prices is not None and inputs.recorded and state.game_id not in self._taken:
            self._taken.add(state.game_id)
            told.append(PricesTaken(state, inputs.prices))
        return told

    def forget(self, game_id: str) -> None:
        """Forget a game that is not followed any more."""
        self._unused.pop(game_id, None)
        self._taken.discard(game_id)
        self._doubted.discard(game_id)

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                changed = await self._file.changed()
        except FeedError as error:
            self._unread = f"{error}; prices read before are used while they are current"
        except TimeoutError:
            self._unread = f"{self._file.path}: was not read within {_READ_SECONDS:g} s"
        else:
            self._unread = ""
            if changed is not None:
                self._markets = [replace(each, time=each.time or changed.written) for each in changed.value]


def _is_named(priced: PricedMarket, game: GameState) -> bool:
    if priced.game_id:
        return priced.game_id == game.game_id
    return {priced.home, priced.away} == {game.home, game.away}


def _teams_agree(priced: PricedMarket, game: GameState) -> bool:
    return (priced.home or game.home, priced.away or game.away) == (game.home, game.away)


def _newest(markets: Iterable[PricedMarket]) -> PricedMarket | None:
    return max(markets, key=attrgetter("time"), default=None)


def _problem(
    game: GameState,
    named: list[PricedMarket],
    of_game: list[PricedMarket],
    current: list[PricedMarket],
    now: datetime,
) -> str:
    """Return why prices of a game are not used; "" if some are, or there are none."""
    if current or not named:
        return ""
    if not of_game:
        return (
            f"row {named[0].row} of the prices is not of {game.away} @ {game.home}: the teams are exchanged or others"
        )
    newest = _newest(of_game)
    if newest is None or newest.time is None:
        return ""
    age = (now - newest.time).total_seconds()
    if age < 0:
        return f"the newest price of {game.away} @ {game.home} is ahead of this machine's clock"
    if age <= OLDEST.total_seconds():
        return ""  # it does not know the newest play, and the next one will: nothing is wrong
    return f"the newest price of {game.away} @ {game.home} is older than {OLDEST.total_seconds():g} s"
