"""A challenger learns from its shadows what a champion would learn from the same forecasts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from tests.support.builders import full_ledger
from tests.support.builders.issued_forecasts import recorded
from tests.support.builders.model_changes import shadow
from tests.support.builders.outcomes import outcome

from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import Observation, TrackerKey, static_score
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.queries import learning
from dejavu_server.records import IssuedForecast, ShadowForecast

GAME = "0022300007"
EVENING = datetime(2024, 1, 15, 3, 30, tzinfo=UTC)


def made(minutes: int, last: float = 2.0, *, version: str = "v1", margin: float | None = None) -> IssuedForecast:
    """Returns a forecast with a distribution, of a game of January 2024."""
    plain = full_ledger.recordable(7, slots=minutes, last=last)
    forecast = replace(plain.forecast, model_version=version)
    return replace(plain, game_id=GAME, generated_time=EVENING, forecast=forecast, pregame_margin=margin)


def beside_of(of: IssuedForecast, made_: IssuedForecast) -> ShadowForecast:
    """Returns what v2 makes beside a recorded forecast: the values of another one."""
    return replace(shadow(of), forecast=replace(made_.forecast, model_version="v2"))


async def observed(ledger: Ledger) -> dict[TrackerKey, Observation]:
    games = await ledger.read(lambda connection: list(learning.settled_games_after(connection, 0)))
    return {each.key: each for game in games for each in game.observations}


def halves(version: str) -> list[TrackerKey]:
    return [TrackerKey(version, Horizon.HALFTIME, quarter) for quarter in (0, 1)]


async def settle(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(5, GAME, observed_time=EVENING))


async def test_it_learns_from_them_as_a_champion_from_its_forecasts(ledger: Ledger) -> None:
    for minute in (3, 6, 18):
        [beside, _] = await recorded(ledger, made(minute), made(minute, last=7.0, version="v3"))
        await ledger.record_shadows([beside_of(beside, made(minute, last=7.0))])
    await settle(ledger)
    found = await observed(ledger)
    assert len(found) == 6
    for mine, theirs, champion in zip(halves("v2"), halves("v3"), halves("v1"), strict=True):
        assert found[mine].score == found[theirs].score != found[champion].score


async def test_of_its_forecasts_and_shadows_of_a_quarter_the_one_nearest_to_its_middle_counts(ledger: Ledger) -> None:
    [early, middle] = await recorded(ledger, made(3), made(6))
    await ledger.record_shadows([shadow(early), beside_of(middle, made(6, last=9.0))])
    await recorded(ledger, made(5, last=1.0, version="v2"))  # it was promoted
    await settle(ledger)
    expected = made(6, last=9.0).forecast
    observation = (await observed(ledger))[TrackerKey("v2", Horizon.HALFTIME, 0)]
    assert observation.score == static_score(expected.distribution, expected.static_scores, 5)


async def test_nothing_is_learned_beside_a_forecast_that_was_replaced(ledger: Ledger) -> None:
    [first] = await recorded(ledger, made(6, last=2.0))
    await ledger.record_shadows([shadow(first)])
    await recorded(ledger, made(6, last=4.0))
    await settle(ledger)
    assert [key.model_version for key in await observed(ledger)] == ["v1"]


async def test_without_shadows_a_snapshot_stays_what_it_was(ledger: Ledger) -> None:
    await recorded(ledger, made(6))
    await settle(ledger)
    before = await observed(ledger)
    await ledger.write(partial(learning.write_snapshot, part=learning.INTERVALS, sequence=2, state=b"kept", read_at=2))
    [other] = await recorded(ledger, replace(made(6), game_id="0022300008"))
    await ledger.record_shadows([shadow(other)])
    assert await observed(ledger) == before
    assert await ledger.read(partial(learning.read_snapshot, part=learning.INTERVALS, before=9)) == (2, b"kept")
