"""A poller tells its server how old the feed's data is, and goes on if the server does not want to know."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from tests.support.builders.evenings import Evening, game
from tests.support.harness.poller import watching

from dejavu_client.errors import (
    DejavuClientError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from dejavu_client.poller import feed_report
from dejavu_client.poller.feed_report import FeedReporter
from dejavu_client.poller.poller import Poller


@dataclass
class Operations:
    """A server that keeps what was reported; fails with each of the errors first."""

    errors: list[DejavuClientError] = field(default_factory=list)
    reports: list[tuple[str, float, float | None, int]] = field(default_factory=list)
    calls: int = 0
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def report_feed(
        self, feed: str, read_age_seconds: float, *, data_age_seconds: float | None = None, live_games: int = 0
    ) -> None:
        self.calls += 1
        self.called.set()
        if self.errors:
            raise self.errors.pop(0)
        self.reports.append((feed, read_age_seconds, data_age_seconds, live_games))

    async def until_reported(self) -> None:
        async with asyncio.timeout(30):
            while not self.reports:
                self.called.clear()
                await self.called.wait()


async def test_ages_are_those_of_the_last_read_and_of_the_games_in_play() -> None:
    evening, server = Evening([game()]), Operations()
    async with watching(evening) as watch:
        reporter = FeedReporter(watch.poller, server, "nba", now=evening.clock)
        await reporter.report()  # nothing was read yet
        await watch.at(600)
        await reporter.report()
        before = evening.clock()
        evening.go_to(700)
        passed = (evening.clock() - before).total_seconds()
        await reporter.report()
    assert passed > 0
    (feed, *first), (_, read, data, live), (_, later_read, later_data, _) = server.reports
    assert feed == "nba"
    assert first == [0, None, 0]
    assert live == 1
    assert later_read - read == pytest.approx(passed)
    assert (later_data or 0) - (data or 0) == pytest.approx(passed)


async def test_a_poller_that_waits_for_another_one_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_report, "REPORT_SECONDS", 0)
    evening, server = Evening([game()]), Operations()
    leads = False
    monkeypatch.setattr(Poller, "leads", property(lambda _: leads))
    async with watching(evening) as watch:
        reporter = FeedReporter(watch.poller, server, "nba", now=evening.clock)
        reporter.start()
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.calls == 0
        leads = True
        async with asyncio.timeout(30):
            await server.called.wait()
        await reporter.close()


@pytest.mark.parametrize(
    "errors",
    [[UnavailableError("away")], [UnauthenticatedError("expired"), PermissionDeniedError("scope")]],
    ids=["away", "token renewed"],
)
async def test_a_report_that_fails_is_made_again(
    errors: list[DejavuClientError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_report, "REPORT_SECONDS", 0)
    evening, server = Evening([game()]), Operations(errors)
    async with watching(evening) as watch:
        reporter = FeedReporter(watch.poller, server, "nba", now=evening.clock)
        reporter.start()
        await server.until_reported()
        await reporter.close()
