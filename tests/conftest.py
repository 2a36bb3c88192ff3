"""Shared test setup: hypothesis profile, run folder, nightly marker and the folder of real games."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from tests.support.builders.made_once import end_run, start_run
from tests.support.harness.laws import EXAMPLES
from tests.support.processes import leftovers, preloaded
from tests.support.processes.postgres import named_ledgers, on_postgres, shared_server, stop_shared_server

# No deadline: machines are shared. print_blob makes failures of CI reproducible locally.
settings.register_profile(
    "dejavu", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("dejavu")

# A background job of a shell, and its children, ignore SIGINT: restore the default handler, as tests send SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)

CI = os.environ.get("DEJAVU_CI") == "1"
RUN = pytest.StashKey[Path]()
LEFTOVERS = pytest.StashKey[subprocess.Popen[bytes]]()

SLOW_LIBRARIES = ("jsonschema", "matplotlib", "mcp", "playwright", "scipy", "sklearn", "torch")
LOADED_SLOW_LIBRARIES = pytest.StashKey[list[str]]()
"""The slow libraries imported during collection, at a cost to every process of a run."""


def pytest_configure(config: pytest.Config) -> None:
    """Create the folder that all processes of the run share; collect no garbage while modules are imported.

    Processes that the tests start end with this one, even if it is killed. Default ledgers are in the folder, and no
    refreshed bundle of the user is served. By day, servers start as forks of a preloaded interpreter. In nightly runs
    they start as users start them, also with `-m "not nightly"`, which runs the tests of the day.
    """
    gc.disable()
    config.stash[LEFTOVERS] = leftovers.end_with_this_process()
    if "nightly" not in (config.option.markexpr or ""):
        preloaded.enable()
    if folder := start_run():
        config.stash[RUN] = folder
        os.environ["XDG_STATE_HOME"] = str(folder / "state")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder, in the process that created it; end what tests left running."""
    if folder := config.stash.get(RUN, None):
        stop_shared_server()
        end_run(folder)
    if waiting := config.stash.get(LEFTOVERS, None):
        waiting.communicate()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "nightly" not in (config.option.markexpr or ""):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("nightly")])
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
    if on_postgres():
        sqlite = pytest.mark.skip(reason="about the files of a ledger in SQLite")
        for item in items:
            if item.get_closest_marker("sqlite"):
                item.add_marker(sqlite)
    items.sort(key=_group)
    if config.option.markexpr == "nightly":
        items.sort(key=_longest_first)


def _group(item: pytest.Item) -> int:
    """Sort tests that fit models, and so load torch, scikit-learn and scipy, before all others, and then the page's.

    Each process of a run begins with another part of the tests, so one process runs nearly all tests of these groups.
    Only that one spends the CPU seconds of loading the libraries, and of starting a browser.
    """
    if item.nodeid.startswith("tests/trainer/") or "small_bundle" in getattr(item, "fixturenames", ()):
        return 0
    return 1 if item.nodeid.startswith("tests/web/") else 2


def _longest_first(item: pytest.Item) -> float:
    """Sort tests by the time that they are given, longest first, so that no long one runs alone at the end."""
    timeout = item.get_closest_marker("timeout")
    return -timeout.args[0] if timeout else 0.0


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Exempt modules and collected tests from garbage collection: scanning them again and again takes time.

    Collect less often than Python does by default: most tests make many objects and few cycles.
    """
    session.config.stash[LOADED_SLOW_LIBRARIES] = [name for name in SLOW_LIBRARIES if name in sys.modules]
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Exempt what is left of the tests from the garbage collections with which pytest ends: they take seconds."""
    gc.freeze()


@pytest.fixture
def loaded_slow_libraries(pytestconfig: pytest.Config) -> list[str]:
    """Return the slow libraries that were imported to collect the tests."""
    return pytestconfig.stash[LOADED_SLOW_LIBRARIES]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real games and feed payloads; without one, skip the test, or fail it in CI."""
    folder = os.environ.get("DEJAVU_DATA")
    if folder and (Path(folder) / "nba").is_dir():
        return Path(folder).resolve()
    if CI:
        pytest.fail(f"DEJAVU_DATA={folder!r} has no nba/ folder, and CI must test on real games")
    pytest.skip("DEJAVU_DATA is not a folder with real games")


def plain_logs() -> None:
    """Reset structlog, and have it print tracebacks without local variables, which take half a second each."""
    structlog.reset_defaults()
    *processors, _ = structlog.get_config()["processors"]
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, console])


plain_logs()


@pytest.fixture(autouse=True)
def dropped_databases() -> Iterator[None]:
    """Drop the test's ledgers in PostgreSQL after each test, if it runs on PostgreSQL.

    Those of fixtures that several tests share stay: such fixtures are set up before this one.
    """
    if not on_postgres():
        yield
        return
    shared = named_ledgers()
    yield
    shared_server().drop_named(keep=shared)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Reset structlog after each test, so that the configuration of a command does not affect later tests."""
    yield
    plain_logs()
