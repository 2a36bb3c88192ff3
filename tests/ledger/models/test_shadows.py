"""Forecasts of challengers in the ledger: beside a recorded one, once, never with hindsight, never streamed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tests.support.builders import full_ledger
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.model_changes import shadow
from tests.support.builders.outcomes import outcome
from tests.support.fakes.memory_backend import MemoryBackend

from dejavu_ledger import Ledger
from dejavu_ledger.queries import learning
from dejavu_ledger.records import IssuedForecast, ShadowForecast
from dejavu_ledger.rules import RecordingLimits
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import Observation, TrackerKey, static_score


class FillingBackend(MemoryBackend):
    """A backend of a disk that has some bytes left."""

    free = 1000

    def free_bytes(self) -> int:
        return self.free


async def test_one_of_no_forecast_or_another_minute_is_left_out_and_none_is_recorded_on_a_disk_kept_for_outcomes() -> (
    None
):
    backend = FillingBackend()
    ledger = await Ledger.open(backend, limits=RecordingLimits(reserve_bytes=1000))
    [first] = await recorded(ledger, issued(game(1)))
    right = shadow(first)
    other_minute = replace(right, forecast=replace(right.forecast, elapsed_minutes=7))
    assert await ledger.record_shadows([other_minute]) == []
    assert await ledger.record_shadows([replace(right, forecast_sequence=99)]) == []
    backend.free = 999
    assert await ledger.record_shadows([right]) == []
    assert (await ledger.position()).sequence == 1
    await ledger.close()


GAME = "0022300007"
EVENING = datetime(2024, 1, 15, 3, 30, tzinfo=UTC)


def made(minutes: int, last: float = 2.0, *, version: str = "v1", margin: float | None = None) -> IssuedForecast:
    """Return a forecast with a distribution, of a game of January 2024."""
    plain = full_ledger.recordable(7, slots=minutes, last=last)
    forecast = replace(plain.forecast, model_version=version)
    return replace(plain, game_id=GAME, generated_time=EVENING, forecast=forecast, pregame_margin=margin)


def beside_of(of: IssuedForecast, made_: IssuedForecast) -> ShadowForecast:
    """Return a shadow by v2 beside a recorded forecast, with the values of another forecast."""
    return replace(shadow(of), forecast=replace(made_.forecast, model_version="v2"))


async def observed(ledger: Ledger) -> dict[TrackerKey, Observation]:
    games = await ledger.read(lambda connection: learning.settled_games_after(connection, 0))
    return {each.key: each for game in games for each in game.observations}


def halves(version: str) -> list[TrackerKey]:
    return [TrackerKey(version, Horizon.HALFTIME, quarter) for quarter in (0, 1)]


async def settled(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(5, GAME, observed_time=EVENING))


async def test_it_learns_from_them_as_a_champion_from_its_forecasts(ledger: Ledger) -> None:
    for minute in (3, 6, 18):
        beside, other = await recorded(ledger, made(minute), made(minute + 1, last=7.0, version="v3"))
        await ledger.record_shadows([beside_of(each, made(minute + 1, last=7.0)) for each in (beside, other)])
    await settled(ledger)
    found = await observed(ledger)
    assert len(found) == 6
    for mine, theirs, champion in zip(halves("v2"), halves("v3"), halves("v1"), strict=True):
        assert found[mine].score == found[theirs].score != found[champion].score


async def test_of_its_forecasts_and_shadows_of_a_quarter_the_one_nearest_to_its_middle_counts(ledger: Ledger) -> None:
    [early, middle] = await recorded(ledger, made(3), made(6))
    await ledger.record_shadows([shadow(early), beside_of(middle, made(6, last=9.0))])
    await recorded(ledger, made(5, last=1.0, version="v2"))  # it was promoted
    await settled(ledger)
    expected = made(6, last=9.0).forecast
    observation = (await observed(ledger))[TrackerKey("v2", Horizon.HALFTIME, 0)]
    assert observation.score == static_score(expected.distribution, expected.static_scores, 5)


async def test_nothing_is_learned_beside_a_forecast_that_was_replaced(ledger: Ledger) -> None:
    [first] = await recorded(ledger, made(6, last=2.0))
    await ledger.record_shadows([shadow(first)])
    await recorded(ledger, made(6, last=4.0))
    await settled(ledger)
    assert [key.model_version for key in await observed(ledger)] == ["v1"]
