"""Metrics of a poller: ages that grow while the feed is silent; counts of faults, forecasts and missed minutes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.support.builders.evenings import (
    HALF,
    ONCE,
    SIX_MINUTES,
    Evening,
    Watch,
    game,
    moved,
    watching,
)
from tests.support.processes.promtool import expressions, firing, metrics_faults, scraped_series

from dejavu_client.errors import PermissionDeniedError, UnavailableError
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_poller.metrics import register_metrics

AGE = "dejavu_poll_game_data_age_seconds"


class Measured:
    """A poller of two games, an hour apart, and its metrics."""

    def __init__(self, watch: Watch, registry: CollectorRegistry) -> None:
        self.watch = watch
        self.registry = registry
        self.ids = watch.evening.ids

    def age(self, game_id: str) -> float | None:
        """Return a game's age; None if there is no such sample."""
        played = self.watch.evening.replay.games[game_id]
        return self.registry.get_sample_value(AGE, {"game_id": game_id, "home": played.home, "away": played.away})

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"dejavu_poll_{name}", labels)


@pytest.fixture
async def measured() -> AsyncIterator[Measured]:
    evening = Evening([game(), game("MIA", "NYK")], stagger=3600)
    async with watching(evening, **ONCE) as watch:
        yield Measured(watch, register_metrics(watch.poller, now=evening.clock))


async def test_a_game_under_way_has_an_age_and_one_that_is_not_has_none(measured: Measured) -> None:
    first, second = measured.ids
    await measured.watch.at(60)
    assert (measured.age(first), measured.age(second)) == (0.0, None)

    measured.watch.evening.clock.step(25)
    assert measured.age(first) == 25.0, "it is that of the moment, whether or not anything was read"

    await measured.watch.over()
    assert (measured.age(first), measured.age(second)) == (None, None)


@pytest.mark.parametrize("silent", ["scoreboard", "plays"])
async def test_the_age_is_that_of_the_older_of_score_and_plays(silent: str, measured: Measured) -> None:
    first, _ = measured.ids
    await measured.watch.at(60)
    measured.watch.evening.fault["scoreboard" if silent == "scoreboard" else first] = FeedUnavailable("status 403")
    await measured.watch.turn(4, after=30)

    assert measured.age(first) == 120.0
    assert measured.value("scoreboard_age_seconds") == (120.0 if silent == "scoreboard" else 0.0)


async def test_plays_that_never_came_age_from_the_moment_that_they_could_have(measured: Measured) -> None:
    first, _ = measured.ids
    measured.watch.evening.fault[first] = MalformedFeed("not JSON")
    await measured.watch.at(60)
    await measured.watch.turn(after=45)

    assert measured.age(first) == 45.0


async def test_before_the_first_scoreboard_its_age_counts_from_the_start(measured: Measured) -> None:
    measured.watch.evening.fault["scoreboard"] = FeedUnavailable("status 403")
    await measured.watch.turn(2, after=40)

    assert measured.value("scoreboard_age_seconds") == 80.0
    assert measured.value("faults_total", source="scoreboard", kind="unavailable") == 2.0


async def test_forecasts_count_as_new_revised_or_missed_and_the_first_ones_with_their_latency(
    measured: Measured,
) -> None:
    watch = measured.watch
    await watch.minutes(17, 18)
    watch.edit(moved(-1, until=SIX_MINUTES + 1))
    await watch.minutes(19)
    watch.predictor.failures = [UnavailableError("away")] * 9
    await watch.at(SIX_MINUTES + 1, index=1)
    await watch.at(HALF, index=1)

    outcomes = [
        measured.value("forecasts_total", horizon="halftime", outcome=outcome)
        for outcome in ("new", "revision", "missed")
    ]
    assert outcomes == [1.0, 1.0, 1.0]
    assert measured.value("faults_total", source="game", kind="server") == 1.0
    assert measured.value("forecast_latency_seconds_count") == 1.0
    assert measured.value("forecast_latency_seconds_sum") == pytest.approx(0.5)


async def test_faults_of_the_feed_and_of_the_pollers_fire_their_alerts(measured: Measured, tmp_path: Path) -> None:
    watch = measured.watch

    def scrape() -> str:
        return generate_latest(measured.registry).decode()

    def fired(*pollers: Sequence[str | None]) -> set[str]:
        each = [scraped_series(texts, instance=f"p{at}", job="dejavu-poller") for at, texts in enumerate(pollers)]
        return firing(tmp_path, [series for of_one in each for series in of_one], minutes=9)

    await watch.at(60)
    usual = scrape()
    standby = usual.replace("dejavu_poll_leads 1.0", "dejavu_poll_leads 0.0")
    assert standby != usual
    assert fired([usual] * 40, [standby] * 40) == set()
    assert fired([usual] * 4 + [None] * 36) == {"DejavuPollerDown"}
    assert fired([usual] * 4 + [None] * 36, [standby] * 40) == {"DejavuPollerDown", "DejavuPollerLeaders"}
    assert fired([usual] * 40, [usual] * 40) == {"DejavuPollerLeaders"}, "two that lead"
    watch.evening.fault["scoreboard"] = FeedUnavailable("status 403")
    await watch.turn(after=130)
    assert fired([usual] * 4 + [scrape()] * 36) == {"DejavuFeedUnread"}
    await watch.turn(after=1800)
    assert fired([usual] * 4 + [scrape()] * 36) == {"DejavuFeedUnread", "DejavuFeedOld"}


async def test_a_poller_whose_forecasts_are_refused_fires_an_alert_and_one_that_follows_games_does_not(
    tmp_path: Path,
) -> None:
    scrapes: dict[bool, list[str]] = {}
    for is_refused in (False, True):
        async with watching(Evening([game(run=2)])) as watch:
            registry = register_metrics(watch.poller, now=watch.evening.clock)
            if is_refused:
                watch.predictor.failures = [PermissionDeniedError("the token lacks the scope 'record'")] * 1000
            texts = scrapes[is_refused] = []
            for minute in range(7, 21):
                await watch.minutes(minute)
                texts += [generate_latest(registry).decode()] * 3
    for is_refused, expected in ((False, set[str]()), (True, {"DejavuForecastsMissed"})):
        series = scraped_series(scrapes[is_refused][:40], instance="p", job="dejavu-poller")
        assert firing(tmp_path, series, minutes=9) == expected


async def test_metrics_are_named_as_prometheus_wants_them_and_alerts_name_only_those(measured: Measured) -> None:
    await measured.watch.at(60)
    exported = generate_latest(measured.registry).decode()
    assert metrics_faults(exported) == ""
    names = {name for query in expressions().values() for name in re.findall(r"dejavu_poll_\w+", query)}
    assert len(names) == 4
    assert [name for name in sorted(names) if name not in exported] == []
