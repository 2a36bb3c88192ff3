"""A challenger on a real server: it forecasts beside the champion, answers nobody, and is compared with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.bundles import publish_variant
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.scrapes import scrape_when, value_in
from tests.support.processes.servers import spawned_server

from dejavu.v1 import model_comparison_pb2
from dejavu_client import HALFTIME, DejavuClient, DejavuClientError
from dejavu_store.bundle_store import ModelStore

_GAMES = 3


@pytest.mark.nightly
def test_a_challenger_is_compared_on_what_the_champion_answered(tmp_path: Path) -> None:
    challenger = publish_variant(tmp_path / "challenger", 0.003)
    ledger, store = f"sqlite:///{tmp_path}/ledger.sqlite3", str(tmp_path / "store")
    arguments = ("--workers", "2", "--ledger", ledger, "--model-store", store, "--metrics-listen", "127.0.0.1:0")
    with spawned_server(*arguments) as server, DejavuClient(server.address, timeout=60.0) as client:
        ModelStore.open(store).put(tmp_path / "challenger")
        client.load_model(challenger)
        games = [current_game(number) for number in range(_GAMES)]
        answers = [
            client.predict(PATTERN, horizon=HALFTIME, game_id=game, home_team="BOS", away_team="LAL") for game in games
        ]
        champion = answers[0].model_version
        assert {answer.model_version for answer in answers} == {champion} != {challenger}
        scrape_when(server, lambda text: value_in(text, "dejavu_shadows_total", outcome="recorded") == _GAMES)
        for game in games:
            client.report_outcome(game, 7, horizon=HALFTIME)
        found = client.compare_models()
        assert (found.model_version, found.against_version, found.games) == (challenger, champion, _GAMES)
        assert found.crps.score > 0.0
        assert found.crps.score != found.crps.against_score
        assert found.decision == model_comparison_pb2.GATE_DECISION_CONTINUE
        board = client.get_leaderboard(horizon="half", min_games=1, include_replays=True)
        [row] = board.shadows
        assert [each.model_version for each in board.rows] == [champion], "a shadow answered nobody"
        assert (row.rank, row.model_version, row.against_version, row.games) == (1, challenger, champion, _GAMES)
        assert (row.crps.score, row.crps.against_score) == (found.crps.score, found.crps.against_score)
        assert (row.crps.difference.value, row.crps.difference.lower) == (found.crps.difference, found.crps.lower)
        assert not client.get_leaderboard(include_replays=True).shadows, "100 games by default"
        scrape = scrape_when(server, lambda text: "dejavu_roster_sequence" in text)
        assert value_in(scrape, "dejavu_roster_sequence") == 2 * 4.0, "of each of two workers"
        assert value_in(scrape, "dejavu_model_load_failures_total") == 0.0
        with pytest.raises(DejavuClientError) as refused:
            client.promote_model(challenger)
        assert refused.value.reason == "MODEL_NOT_PROVEN"
        assert "3 of at least 100 games were compared" in str(refused.value)
        forced = client.promote_model(challenger, force=True)
        assert (forced.change.forced, forced.change.evidence.games) == (True, _GAMES)
