"""A server whose champion has a challenger, with games that both forecast, and a gateway of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.gateway import spawned_gateway
from tests.support.processes.scrapes import scrape_when, value_in
from tests.support.processes.servers import spawned_server
from tests.support.programs.model_servers import challenger

from dejavu_client import FINAL, DejavuClient

GAMES = 4
REASON = "another weight, to try it"


@dataclass(frozen=True)
class ChallengedServer:
    """A server with a champion and a challenger, and its gateway.

    Attributes:
        server: HOST:PORT of the server.
        origin: scheme, host and port of the gateway.
        champion: version of the champion.
        challenger: version of the challenger.
    """

    server: str
    origin: str
    champion: str
    challenger: str


@contextmanager
def challenged_server(folder: Path) -> Iterator[ChallengedServer]:
    """Runs a server that has settled some games of both models, and a gateway of it."""
    ledger, store = f"sqlite:///{folder}/ledger.sqlite3", str(folder / "store")
    arguments = ("--workers", "1", "--ledger", ledger, "--model-store", store, "--metrics-listen", "127.0.0.1:0")
    with spawned_server(*arguments) as server, DejavuClient(server.address, timeout=60.0) as client:
        version = client.register_bundle(challenger(), reason=REASON).model.version
        client.load_model(version, reason=REASON)
        games = [current_game(number) for number in range(GAMES)]
        champion = client.get_model().model.version
        for game in games:
            client.predict(PATTERN, game_id=game, horizon=FINAL, home_team="BOS", away_team="LAL")
        scrape_when(server, lambda text: value_in(text, "dejavu_shadows_total", outcome="recorded") == GAMES)
        for number, game in enumerate(games):
            client.report_outcome(game, 7 + 3 * number, horizon=FINAL)
        with spawned_gateway("--target", server.address) as gateway:
            gateway.wait_for("status_changed", lambda entry: entry["reason"] == "OK")
            yield ChallengedServer(server.address, f"http://{gateway.address}", champion, version)
