"""The poller with a feed that exchanges home and away: no forecast has the wrong sign."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.evenings import HALF, Evening, game, watching
from tests.support.harness.laws import examples

from dejavu_client.requests import FINAL
from dejavu_feed.pattern import Score
from dejavu_feed.replay.games import ReplayGame
from dejavu_feed.teams import TEAMS
from dejavu_poller.events import Fault, FaultKind

TEAM = ("teamId", "teamName", "teamCity", "teamTricode")
POINTS = ("score", "periods")


def shown(payload: Any) -> list[Any]:
    """Return the games of a scoreboard or of a box score."""
    return list(payload["scoreboard"]["games"]) if "scoreboard" in payload else [payload["game"]]


def exchange_on_scoreboard(*fields: str) -> Callable[[Any], None]:
    """Return what exchanges fields of both teams where games are shown."""

    def exchange(payload: Any) -> None:
        for each in shown(payload) if "actions" not in payload.get("game", {}) else ():
            home, away = each["homeTeam"], each["awayTeam"]
            for name in fields:
                home[name], away[name] = away[name], home[name]

    return exchange


def exchange_columns(payload: Any) -> None:
    """Exchange the scores of all plays."""
    for action in payload.get("game", {}).get("actions", ()):
        action["scoreHome"], action["scoreAway"] = action["scoreAway"], action["scoreHome"]


def exchange_scorers(payload: Any) -> None:
    """Exchange the teams of all plays."""
    for action in payload.get("game", {}).get("actions", ()):
        if action.get("teamId"):
            action["teamId"] = sum(TEAMS[team].number for team in ("BOS", "LAL")) - action["teamId"]


def all_but_the_code(payload: Any) -> None:
    """Exchange home and away everywhere but in the game code."""
    exchange_on_scoreboard(*TEAM, *POINTS)(payload)
    exchange_columns(payload)


def exchange_everything(payload: Any) -> None:
    """Exchange home and away without any contradiction."""
    all_but_the_code(payload)
    for each in shown(payload) if "actions" not in payload.get("game", {}) else ():
        date, _, teams = each["gameCode"].partition("/")
        each["gameCode"] = f"{date}/{teams[3:]}{teams[:3]}"


EXCHANGES: dict[str, Callable[[Any], None]] = {
    "scores of the plays": exchange_columns,
    "teams of the plays": exchange_scorers,
    "teams of the scoreboard": exchange_on_scoreboard(*TEAM),
    "scores of the scoreboard": exchange_on_scoreboard(*POINTS),
    "teams and scores of the scoreboard": exchange_on_scoreboard(*TEAM, *POINTS),
    "all but the game code": all_but_the_code,
}


class Exchanging(Evening):
    """An evening whose feed exchanges home and away while `exchange` is set."""

    exchange: Callable[[Any], None] | None = None

    def payload(self, path: str) -> object:
        payload = super().payload(path)
        if self.exchange is not None:
            self.exchange(payload)
        return payload


@pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=EXCHANGES)
async def test_no_forecast_and_no_half_while_home_and_away_are_in_doubt(exchange: Callable[[Any], None]) -> None:
    evening = Exchanging([game(lead=14, run=2)])
    async with watching(evening) as watch:
        await watch.minutes(15)
        before = len(watch.predictor.asked)
        evening.exchange = exchange
        await watch.minutes(*range(16, 25))
        await watch.at(HALF + 61)
        assert (len(watch.predictor.asked), watch.predictor.reports) == (before, [])
        [fault] = {each.reason for each in watch.told(Fault) if each.failures == 1}
        assert "home and away are in doubt: " in fault
        assert {each.kind for each in watch.told(Fault)} == {FaultKind.MALFORMED}
        evening.exchange = None
        await watch.minutes(*range(27, 40))
        leads = {asked.pattern[-1] for asked in watch.predictor.asked}
        assert min(leads) > 0
        assert watch.predictor.minutes(FINAL)[-1] >= 35
        assert [each.differential for each in watch.predictor.reports] == [16]


def random_game(seed: int) -> ReplayGame:
    """Return a game in which both teams score at random, one team more often."""
    rng = random.Random(seed)
    share, scores, home, away = rng.uniform(0.35, 0.65), [Score(0.0, 0, 0)], 0, 0
    for number in range(1, 190):
        points = rng.choice((1, 2, 2, 3))
        home, away = (home + points, away) if rng.random() < share else (home, away + points)
        scores.append(Score(15.0 * number, home, away))
    return ReplayGame("test", "BOS", "LAL", tuple(scores))


@settings(max_examples=examples(15), deadline=None)
@given(seed=st.integers(0, 10**6), exchange=st.sampled_from([*EXCHANGES.values()]), begins=st.integers(6, 40))
async def test_no_forecast_has_the_wrong_sign_whenever_the_exchange_begins(
    seed: int, exchange: Callable[[Any], None], begins: int
) -> None:
    played = random_game(seed)
    evening = Exchanging([played])
    async with watching(evening, report=False, pace=0.0) as watch:
        for minute in range(6, 46, 2):
            evening.exchange = exchange if minute >= begins else None
            await watch.minutes(minute)
    for asked in watch.predictor.asked:
        at_end = [score for score in played.scores if score.elapsed <= 60.0 * asked.minute][-1]
        assert asked.pattern[-1] == at_end.home - at_end.away
        assert (asked.home_team, asked.away_team) == ("BOS", "LAL")
