"""What all tests share: where real games lie, and that CI never skips them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from tests.support.builders.made_once import end_run, start_run
from tests.support.harness.laws import EXAMPLES

# No test is timed: machines are shared. What hypothesis finds in CI must be found again on the desk.
settings.register_profile(
    "dejavu", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("dejavu")

# A shell that starts a job in the background has it ignore SIGINT, and what it starts in its turn: tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

CI = os.environ.get("DEJAVU_CI") == "1"
RUN = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Makes the folder that all processes of the run share."""
    if folder := start_run():
        config.stash[RUN] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes it, in the process that made it."""
    if folder := config.stash.get(RUN, None):
        end_run(folder)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "nightly" not in (config.option.markexpr or ""):
        nightly = pytest.mark.skip(reason="takes long; make nightly runs it")
        for item in items:
            if item.get_closest_marker("nightly"):
                item.add_marker(nightly)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real games and feed payloads; skips where there is none, fails in CI."""
    folder = os.environ.get("DEJAVU_DATA")
    if folder and (Path(folder) / "nba").is_dir():
        return Path(folder).resolve()
    if CI:
        pytest.fail(f"DEJAVU_DATA={folder!r} holds no nba/ folder, and CI must test on real games")
    pytest.skip("DEJAVU_DATA names no folder with real games")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What a command configures in one test's process must not be heard in the next."""
    yield
    structlog.reset_defaults()
