"""A real worker serves a bundle with totals: answers, record, scores, learning and proof."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.bundles import lattice_bundle
from tests.support.builders.calibrations import steady_totals
from tests.support.builders.calls import current_game
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import running_worker

from dejavu_client import FINAL, DejavuClient
from dejavu_client.errors import InvalidArgumentError
from dejavu_models.manifest import COURSES, TOTALS, version_of
from dejavu_server.ledger import verify
from dejavu_store.bundle import load_bundle, publish, read_manifest

PATTERN = [float(minute % 6) for minute in range(30)]
POINTS = 139


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
