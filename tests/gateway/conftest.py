"""A server with a few games, and a gateway of it, which the tests only read."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.gateway import running_gateway
from tests.support.processes.restartable_server import address_of
from tests.support.processes.servers import spawned_server

from dejavu_client import FINAL, DejavuClient

GAMES = 3
MINUTES = (10, 14, 18)
OUTCOME = 7
"""Differential at the end of the first game."""

SCRIPT = "document.title = 'Dejavu'; // " + "x" * 2000

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For URLs of HTTP: httpx reads all certificate authorities for each call otherwise, which takes most of its time."""


@dataclass(frozen=True)
class Site:
    """A server, and a gateway of it.

    Attributes:
        server: HOST:PORT of the server.
        gateway: HOST:PORT of the gateway.
    """

    server: str
    gateway: str

    def get(self, path: str, **options: object) -> httpx.Response:
        """Ask the gateway."""
        return httpx.get(f"http://{self.gateway}{path}", timeout=60, verify=NO_TLS, **options)  # type: ignore[arg-type]

    def post(self, path: str, json: object) -> httpx.Response:
        """Send JSON to the gateway."""
        return httpx.post(f"http://{self.gateway}{path}", json=json, timeout=60, verify=NO_TLS)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small build of a page."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "assets").mkdir()
    (folder / "index.html").write_text('<!doctype html><script type="module" src="/assets/main-1a2b.js"></script>')
    (folder / "assets" / "main-1a2b.js").write_text(SCRIPT)
    (folder / "favicon.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Site]:
    """A server that has forecast a few games, and a gateway of it; both are processes, with logs of their own."""
    ledger = f"sqlite:///{tmp_path_factory.mktemp('server') / 'ledger.sqlite3'}"
    with (
        spawned_server("--workers", "1", "--ledger", ledger) as process,
        DejavuClient(server := address_of(process)) as client,
    ):
        for number in range(GAMES):
            for minute in MINUTES:
                client.predict(
                    PATTERN[:minute], game_id=game(number), horizon=FINAL, home_team="BOS", away_team="LAL", timeout=30
                )
        client.report_outcome(game(0), OUTCOME, horizon=FINAL, home_team="BOS", away_team="LAL", timeout=30)
        with running_gateway(server, "--web", str(build), "--demo") as gateway:
            yield Site(server, gateway.address)
