"""A real worker serves a bundle with totals: answers, record, scores, learning and proof."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from tests.support.builders.bundles import lattice_bundle
from tests.support.builders.calibrations import steady_totals
from tests.support.builders.calls import current_game
from tests.support.harness.documents import ROOT
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import running_worker

from dejavu_client import FINAL, DejavuClient
from dejavu_client.errors import InvalidArgumentError
from dejavu_models.manifest import COURSES, TOTALS, version_of
from dejavu_server.ledger import verify
from dejavu_store.bundle import load_bundle, publish, read_manifest

PATTERN = [float(minute % 6) for minute in range(30)]
POINTS = 139
RECOMPUTE = ROOT / "examples" / "python" / "recompute_scorecard.py"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base, folder = read_manifest(lattice_bundle()), tmp_path_factory.mktemp("totals") / "bundle"
    contents = {name: (lattice_bundle() / name).read_bytes() for name in base.all_files}
    contents[TOTALS] = steady_totals().to_bytes()
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items() if name != COURSES}
    version = version_of(base.dejavu, base.ratings, hashes)
    publish(folder, base.model_copy(update={"files": hashes, "version": version}), contents)
    return folder


def test_totals_are_served_recorded_scored_learned_and_proven(bundle: Path, tmp_path: Path) -> None:
    game, other = current_game(1), current_game(2)
    with running_worker(tmp_path, load_bundle(bundle)) as address, DejavuClient(address, timeout=30.0) as client:
        assert client.list_models()[0].totals
        named: dict[str, Any] = {"horizon": FINAL, "home_team": "BOS", "away_team": "LAL"}
        forecast = client.predict(PATTERN, game_id=game, total_points=POINTS, quantile_levels=[0.1, 0.9], **named)
        total = forecast.total
        assert POINTS < total.interval_lower <= total.point_forecast <= total.interval_upper
        assert [each.level for each in total.quantiles] == [0.1, 0.9]
        assert not total.distribution
        again = client.predict(PATTERN, game_id=game, quantile_levels=[0.1, 0.9], **named)
        assert again == forecast, "a request without points agrees with what was recorded, quantiles included"
        without = client.predict(PATTERN, game_id=other, **named)
        assert not without.HasField("total")
        before = total.expected_total
        answer = client.report_outcome(
            game, 9, horizon=FINAL, home_team="BOS", away_team="LAL", total_points=271, refuse_correction=True
        )
        assert answer.outcome.total_points == 271
        (settled,) = list(client.list_predictions(game_id=game))
        assert len(settled.forecast.total.distribution) == 50
        assert settled.settlement.total.error == pytest.approx(total.point_forecast - 271)
        assert settled.settlement.total.pace_absolute_error == pytest.approx(abs(POINTS * 48 / 30 - 271))
        assert settled.settlement.total.crps > 0
        with pytest.raises(InvalidArgumentError) as refused:
            client.report_outcome(other, 9, horizon=FINAL, total_points=200)
        assert [each.field for each in refused.value.field_violations] == ["total_points"]
        learned = client.predict(PATTERN, total_points=POINTS, **named)
        for _ in range(100):
            if learned.calibration_sequence:
                break
            learned = client.predict(PATTERN, total_points=POINTS, **named)
        assert learned.total.expected_total > before
    verify(ledger_url(tmp_path))


GAMES = {1: 251, 2: 263, 3: 249, 4: 241}
"""Games and their points at the end."""


def test_scorecards_have_totals_beside_their_pace_as_the_listed_predictions_give_them(
    bundle: Path, tmp_path: Path
) -> None:
    with running_worker(tmp_path, load_bundle(bundle)) as address, DejavuClient(address, timeout=30.0) as client:
        assert not client.get_scorecard(horizon=FINAL).HasField("total")
        for number, points in GAMES.items():
            for minute, given in ((20, 101), (30, 149), (40, None)):
                client.predict(
                    PATTERN[:20] + [float(PATTERN[19] + step % 3) for step in range(minute - 20)],
                    game_id=current_game(number),
                    horizon=FINAL,
                    alpha=0.2 if number == 2 else 0.1,
                    total_points=given and given + 2 * number,
                )
            client.report_outcome(current_game(number), 9, horizon=FINAL)
            assert client.get_scorecard(horizon=FINAL).HasField("total") is (number > 1)
            if number != 4:  # the total of the last game stays unknown
                client.report_outcome(current_game(number), 9, horizon=FINAL, total_points=points)
        card = client.get_scorecard(horizon=FINAL)
        listed = list(client.list_predictions(settled=True))
        leaders = list(client.get_leaderboard(horizon=FINAL, min_games=1).rows)
        done = subprocess.run(
            [sys.executable, RECOMPUTE, "--target", address, "--horizon", "final"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.endswith("0 differ by more than 1e-09\n"), done.stdout + done.stderr
    assert (card.games, card.forecasts) == (4, 12)
    assert (card.total.games, card.total.forecasts) == (3, 6)
    assert [row.scorecard.total for row in leaders] == [card.total]
    own, pace, crps = [], [], []
    for number in (1, 2, 3):
        of_game = [
            each
            for each in listed
            if each.forecast.game_id == current_game(number) and each.settlement.HasField("total")
        ]
        assert sorted(each.forecast.elapsed_minutes for each in of_game) == [20, 30]
        own.append(mean(abs(each.forecast.total.point_forecast - GAMES[number]) for each in of_game))
        pace.append(
            mean(
                abs(each.forecast.total_points * 48 / each.forecast.elapsed_minutes - GAMES[number]) for each in of_game
            )
        )
        crps.append(mean(each.settlement.total.crps for each in of_game))
    assert card.total.mae.value == pytest.approx(mean(own))
    assert card.total.pace_mae.value == pytest.approx(mean(pace))
    assert card.total.mae_difference.value == pytest.approx(mean(own) - mean(pace))
    assert card.total.relative_difference.value == pytest.approx(mean(own) / mean(pace) - 1)
    share = card.total.relative_difference
    assert share.lower < share.value < share.upper
    assert card.total.crps.value == pytest.approx(mean(crps))
    assert [(each.alpha, each.games, each.forecasts) for each in card.total.coverage] == [(0.1, 2, 4), (0.2, 1, 2)]
    held = [each.settlement.total.covered for each in listed if each.forecast.game_id == current_game(2)]
    assert card.total.coverage[1].coverage == pytest.approx(sum(held) / 2)
    assert verify(ledger_url(tmp_path)).settled == 12
