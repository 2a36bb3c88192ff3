"""Alerts under real faults: of a real server, whose metrics are scraped and evaluated by Prometheus's own promtool."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.hangs import hang, hanging
from tests.support.processes.postgres import database_without_ledger, shared_server
from tests.support.processes.promtool import firing, promtool, scraped_series
from tests.support.processes.redis_server import RedisProcess
from tests.support.processes.scrapes import scrape, scrape_when, value_in
from tests.support.processes.servers import spawned_server

from dejavu_client import HALFTIME, DejavuClient, UnauthenticatedError
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
def test_an_old_backup_an_expiring_token_and_a_guesser(tmp_path: Path) -> None:
    tokens, backups = tmp_path / "tokens.json", tmp_path / "backups"
    token_file.create(tokens, "tests", tuple(ALL_SCOPES), utc_now(), utc_now() + timedelta(days=100))
    backups.mkdir()
    backup = backups / "ledger.sqlite3"
    backup.write_bytes(b"a backup")
    (backups / "failed").touch()  # as a failed pg_dump leaves it
    stores = (
        "--ledger",
        f"sqlite:///{tmp_path}/ledger.sqlite3",
        "--tokens",
        str(tokens),
        "--backup-folder",
        str(backups),
    )
    now = time.time()

    def fired(*texts: str) -> set[str]:
        steps = [*texts[:-1], *[texts[-1]] * 40]
        return firing(tmp_path, scraped_series(steps, now=now), minutes=9) - OLD_RATINGS

    with spawned_server("--workers", "1", *stores, *METRICS) as server:
        before = scrape_when(server, lambda text: value_in(text, "dejavu_backup_timestamp_seconds") > 0)
        assert fired(before) == set()
        with DejavuClient(server.address, token="djv_guessed") as guesser:
            guesses = [before]
            for _ in range(35):  # of 15 s each
                for _ in range(20):
                    with pytest.raises(UnauthenticatedError):
                        guesser.predict(PATTERN)
                guesses.append(scrape(server))
        assert fired(*guesses) == {"DejavuUnauthenticated"}
        token_file.create(tokens, "soon", tuple(ALL_SCOPES), utc_now(), utc_now() + timedelta(days=3))
        expiry = now + 4 * 86_400
        soon = scrape_when(server, lambda text: 0 < value_in(text, "dejavu_access_expires_timestamp_seconds") < expiry)
        assert fired(soon) == {"DejavuCredentialExpires"}
    os.utime(backup, (now - 27 * 3600,) * 2)
    with spawned_server("--workers", "1", *stores, *METRICS) as server:  # which looks at once
        old = scrape_when(server, lambda text: value_in(text, "dejavu_backup_timestamp_seconds") > 0)
        assert "DejavuBackupOld" in fired(old)


@pytest.mark.nightly
def test_a_server_that_was_not_upgraded(tmp_path: Path) -> None:
    with spawned_server("--workers", "1", "--ledger", f"sqlite:///{tmp_path}/ledger.sqlite3", *METRICS) as server:
        text = scrape(server)
    [version] = re.findall(r'dejavu_build_info\{.*?version="(.*?)"', text)
    other = text.replace(f'version="{version}"', 'version="0.9.0"')
    both = [*scraped_series([text] * 160), *scraped_series([other] * 160, instance="other:9464")]
    assert "DejavuVersionSkew" in firing(tmp_path, both, minutes=35)
    assert "DejavuVersionSkew" not in firing(tmp_path, both, minutes=20), "an upgrade takes some time"


@pytest.mark.nightly
def test_a_killed_and_a_hung_worker(tmp_path: Path, ledger: str) -> None:
    arguments = ("--workers", "2", "--ledger", ledger, "--hang-seconds", "2", *METRICS)
    with spawned_server(*arguments, environment=hanging(tmp_path)) as server:
        first, second = server.workers if server.address else []
        before = scrape(server)
        os.kill(first.pid, signal.SIGKILL)
        died = scrape_when(server, lambda text: value_in(text, "dejavu_worker_deaths_total") == 1)
        assert alerts(tmp_path, before, died) == {"DejavuWorkerDied"}
        hang(second.pid, "ledger-reader")  # which the sampler of the metrics uses, so no call is needed
        hung = scrape_when(server, lambda text: value_in(text, "dejavu_worker_hangs_total", part="ledger-reader") == 1)
        assert "DejavuWorkerHung" in alerts(tmp_path, before, hung)


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
