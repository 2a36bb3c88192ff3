"""The record of a real server, with outcomes and learned state, is verified while it serves and afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson
from tests.support.builders.calls import current_game
from tests.support.processes.servers import running_worker
from tests.support.tampering.tampering import tampered

from dejavu_client import FINAL, HALFTIME, DejavuClient
from dejavu_client.requests import market
from dejavu_server.cli import checkpoint_files
from dejavu_server.ledger import LedgerCorrupt, verify

GAMES = [current_game(number) for number in range(1, 56)]
"""More games than a snapshot waits for."""


def test_the_record_of_a_server_is_proven_by_a_checkpoint_that_a_client_kept(tmp_path: Path) -> None:
    url, kept = f"sqlite:///{tmp_path / 'ledger.sqlite3'}", tmp_path / "kept.json"
    with running_worker(tmp_path, shipped=True) as address, DejavuClient(address, timeout=30.0) as client:
        pattern = [float(minute % 7 - 2) for minute in range(18)]
        for number, game_id in enumerate(GAMES):
            client.predict(
                [*pattern[:17], number % 5], horizon=HALFTIME, game_id=game_id, home_team="BOS", away_team="NYK"
            )
            if number % 10 == 0:
                client.quote(pattern, market(1.5, 1.9, 1.95), game_id=game_id, horizon=FINAL)
            client.report_outcome(game_id, number % 9 - 4, home_team="BOS", away_team="NYK", horizon=HALFTIME)
        client.report_outcome(GAMES[0], 11, horizon=FINAL, home_team="BOS", away_team="NYK")
        client.report_outcome(GAMES[54], 20, horizon=HALFTIME)
        kept.write_text(MessageToJson(client.get_checkpoint()))
        while_serving = verify(url, checkpoint_files.read(kept))
        client.predict(pattern, horizon=HALFTIME, game_id=current_game(999))
    with running_worker(tmp_path, shipped=True):
        pass  # once it serves, it has learned and written a snapshot
    found = verify(url, checkpoint_files.read(kept))
    assert found.sequence == while_serving.sequence + 1
    assert (found.forecasts, found.outcomes, found.markets) == (62, 57, 6)
    assert found.settled == 56
    assert found.snapshots == 1
    with tampered(tmp_path / "ledger.sqlite3") as database:
        database.execute("UPDATE snapshots SET state = replace(state, '1', '2')")
    with pytest.raises(LedgerCorrupt, match="snapshot at"):
        verify(url)
