"""A server with a record: games with every kind of forecast, settled."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToJson
from tests.support.builders.calls import current_game
from tests.support.processes.restartable_server import address_of
from tests.support.processes.servers import spawned_server

from dejavu.v1.forecast_pb2 import LATE_REASON_LATER_SECOND
from dejavu.v1.market_pb2 import Staking
from dejavu_client import FINAL, HALFTIME, DejavuClient, Moment
from dejavu_client.requests import market, total_market
from dejavu_feed.live_inputs import LastScore, Possession, Side

GAMES = [current_game(number) for number in range(101, 117)]
TEAMS: dict[str, Any] = {"home_team": "BOS", "away_team": "LAL"}

ODDS = ((-250, 3.5), (-110, -110), (100, -120), (180, -210), (2.2, 1.75))
"""Prices of both sides, with margins from 0 to 5 %."""

STAKING = Staking(max_difference=1.0, game_cap=0.05, evening_cap=0.6)


class Record(NamedTuple):
    """A server with recorded games.

    Attributes:
        address: HOST:PORT of the server.
        ledger: the file of its ledger.
        kept: file of a checkpoint that a client stored after all games, before some outcomes were corrected.
    """

    address: str
    ledger: Path
    kept: Path


@contextmanager
def recorded_games(folder: Path) -> Iterator[Record]:
    """Run a server whose forecasts are revised, late, of several alphas, with and without a market, and settled."""
    made = Record("", folder / "ledger.sqlite3", folder / "kept.json")
    with spawned_server("--workers", "1", "--ledger", f"sqlite:///{made.ledger}") as server:
        made = made._replace(address=address_of(server))
        with DejavuClient(made.address, timeout=60.0) as client:
            outcomes = [_play(client, game, random.Random(game)) for game in GAMES]
            made.kept.write_text(MessageToJson(client.get_checkpoint()))
            for game, outcome in list(zip(GAMES, outcomes, strict=True))[:6]:  # corrected after the last game
                client.report_outcome(game, -outcome, horizon=FINAL, **TEAMS)
            for game, outcome in list(zip(GAMES, outcomes, strict=True))[6:9]:  # withdrawn and reported again
                client.withdraw_outcome(game, horizon=FINAL)
                client.report_outcome(game, outcome, horizon=FINAL, **TEAMS)
        yield made


def _play(client: DejavuClient, game: str, chance: random.Random) -> int:
    """Record forecasts of a game and its outcomes; return the final differential."""
    # Without a given margin, there is no stake until the ratings know the teams.
    options: dict[str, Any] = {**TEAMS, "pregame_margin": 2.5} if int(game) % 4 else TEAMS
    if int(game) % 5 == 0:  # invented, and withdrawn before the game
        client.report_outcome(game, 1, horizon=FINAL)
        client.withdraw_outcome(game, horizon=FINAL)
    walk = [float(chance.randint(-3, 3))]
    for _ in range(46):
        walk.append(walk[-1] + chance.randint(-3, 3))
    for minute in sorted(chance.sample(range(3, 45), chance.randint(1, 4))):
        _play_minute(client, game, chance, walk[:minute], options)
    live: dict[str, Any] = {"pregame_total": 225.5, "last_score": LastScore(Side.HOME, 12), "neutral_site": True}
    live["possession"] = Possession(Side.AWAY, shot_in_air=True)
    if "pregame_margin" in options:
        live |= {"margin_source": "feed", "margin_time": datetime.now(UTC) - timedelta(hours=1)}
    client.predict(walk, game_id=game, horizon=FINAL, total_points=200 + int(walk[-1]) % 2, **options, **live)
    _play_moments(client, game, walk, options)
    if chance.random() < 0.4:
        late = client.predict([*walk[:4], 30.0], game_id=game, horizon=FINAL, **options)
        assert late.late == LATE_REASON_LATER_SECOND
    client.report_outcome(game, int(walk[23]), horizon=HALFTIME, **TEAMS)
    final = int(walk[-1]) or 1
    client.report_outcome(game, final, horizon=FINAL, total_points=220 + final % 2, **TEAMS)
    return final


def _play_minute(
    client: DejavuClient, game: str, chance: random.Random, pattern: list[float], options: dict[str, Any]
) -> None:
    """Record forecasts of a minute, in some games with total points, and markets of most."""

    def said(pattern: list[float]) -> dict[str, Any]:
        points = 4 * len(pattern) + int(pattern[-1]) % 2
        return {**options, "pregame_total": 225.5, "total_points": points} if int(game) % 3 == 0 else options

    for alpha in chance.sample([0.05, 0.2, 0.5], chance.randint(1, 2)):
        client.predict(pattern, game_id=game, horizon=FINAL, alpha=alpha, **said(pattern))
    if chance.random() < 0.5:
        corrected = [*pattern[:-1], pattern[-1] + 1.0]
        client.predict(corrected, game_id=game, horizon=FINAL, **said(corrected))
    if chance.random() < 0.8:
        line, odds, told = chance.randint(-15, 15) / 2, chance.choice(ODDS), said(pattern)
        client.quote(pattern, market(line, *odds, staking=STAKING), game_id=game, horizon=FINAL, **told)
        over = total_market(216.0 - len(pattern) / 2 + line, *odds, staking=STAKING) if "total_points" in told else None
        for alpha in (0.2, 0.5):  # its forecast was recorded above, or is recorded together with the markets
            markets = [] if over is None else [over]
            if alpha == 0.5 or over is None:
                traded = datetime.now(UTC) if len(pattern) % 4 == 0 else None
                # The lead's is recorded first all the same.
                markets.append(market(-line, *odds, staking=STAKING, traded_time=traded))
            client.quote(pattern, *markets, game_id=game, horizon=FINAL, alpha=alpha, **told)


def _play_moments(client: DejavuClient, game: str, walk: list[float], options: dict[str, Any]) -> None:
    """Record a foul and its first free throw, which is corrected, and two states of an overtime of some games."""
    states = [(4, 42.5, 0, 2), (4, 42.5, 1, 1), (4, 42.5, 0, 1), (5, 200.0, 2, 0), (5, 3.25, -1, 0)]
    for period, left, step, coming in states[: 3 + 2 * (int(game) % 2)]:
        moment = Moment(period, left, int(walk[-1]) + step, coming)
        client.predict(walk, game_id=game, horizon=FINAL, moment=moment, possession=Possession(Side.HOME), **options)
