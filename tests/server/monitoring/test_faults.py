"""Alerts under real faults: of a real server, whose metrics are scraped and evaluated by Prometheus's own promtool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.postgres import database_without_ledger, shared_server
from tests.support.processes.promtool import firing, promtool, scraped_series
from tests.support.processes.redis_server import RedisProcess
from tests.support.processes.scrapes import scrape, scrape_when, value_in
from tests.support.processes.servers import spawned_server

from dejavu_client import HALFTIME, DejavuClient
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import ALL_SCOPES

OLD_RATINGS = {"DejavuRatingsOutdated"}
"""Alerts that fire without a fault: the shipped bundle's ratings are those of a past season."""

METRICS = ("--metrics-listen", "127.0.0.1:0")


@pytest.fixture(autouse=True)
def with_promtool() -> None:
    promtool()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a ledger of each kind that does not exist yet."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        yield f"sqlite:///{tmp_path}/data/ledger.sqlite3"
    else:
        with database_without_ledger() as url:
            yield url


def alerts(folder: Path, before: str, *after: str) -> set[str]:
    """Return the alerts that fire when a fault lasts for ten minutes; check that none fired before."""
    assert firing(folder, scraped_series([before] * 40), minutes=9) == OLD_RATINGS
    for_minutes = [*after[:-1], *[after[-1]] * 40]
    return {
        alert
        for minutes in (3, 9)
        for alert in firing(folder, scraped_series([before] * 4 + for_minutes), minutes=minutes)
    } - OLD_RATINGS


def test_an_hour_of_usual_work_is_silent(tmp_path: Path, ledger: str) -> None:
    with (
        spawned_server("--workers", "1", "--ledger", ledger, *METRICS) as server,
        DejavuClient(server.address) as client,
    ):
        client.predict(PATTERN, horizon=HALFTIME, game_id=game(1), home_team="BOS", away_team="LAL")
        scraped = scrape_when(server, lambda text: value_in(text, "dejavu_ledger_bytes") > 0)
        without = client.get_service_stats().ledger_lag.workers_without
    assert without == 0
    assert ("dejavu_ledger_disk_free_bytes" in scraped) is ledger.startswith("sqlite")
    assert firing(tmp_path, scraped_series([scraped] * 240), minutes=59) == OLD_RATINGS


@pytest.mark.nightly
def test_a_ledger_that_is_gone_and_a_broken_file_of_tokens(tmp_path: Path, ledger: str) -> None:
    tokens = tmp_path / "tokens.json"
    token_file.create(tokens, "tests", tuple(ALL_SCOPES), utc_now())
    with spawned_server("--workers", "1", "--ledger", ledger, "--tokens", str(tokens), *METRICS) as server:
        before = scrape(server)
        tokens.write_text("{")
        outdated = scrape_when(server, lambda text: value_in(text, "dejavu_access_file_outdated", file="tokens") == 1)
        assert alerts(tmp_path, before, outdated) == {"DejavuAccessFileOutdated"}
        if ledger.startswith("sqlite"):
            (tmp_path / "data").rename(tmp_path / "elsewhere")
        else:
            database = ledger.rpartition("/")[2]
            shared_server().execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
            shared_server().execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
            )
        gone = scrape_when(server, lambda text: value_in(text, "dejavu_workers_without_ledger") == 1)
        assert "DejavuLedgerUnavailable" in alerts(tmp_path, before, gone)


@pytest.mark.nightly
def test_a_shared_cache_that_is_gone(tmp_path: Path) -> None:
    redis = RedisProcess(tmp_path)
    arguments = ("--workers", "1", "--ledger", f"sqlite:///{tmp_path}/ledger.sqlite3", "--cache", redis.url, *METRICS)
    try:
        with spawned_server(*arguments) as server:
            before = scrape(server)
            redis.kill()
            gone = scrape_when(server, lambda text: value_in(text, "dejavu_cache_shared_failed") == 1)
            assert alerts(tmp_path, before, gone) == {"DejavuSharedCacheFailed"}
            redis.start()
            back = scrape_when(server, lambda text: value_in(text, "dejavu_cache_shared_failed") == 0)
            assert alerts(tmp_path, before, gone, back) == set()
    finally:
        redis.kill()
