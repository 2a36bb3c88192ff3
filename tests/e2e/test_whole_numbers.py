"""A real worker serves a bundle of whole numbers: answers, record, scores and proof."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.json_format import MessageToJson
from tests.support.builders.bundles import lattice_bundle
from tests.support.builders.calibrations import symmetric_calibration
from tests.support.builders.calls import current_game
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import running_worker

from dejavu_client import FINAL, HALFTIME, DejavuClient
from dejavu_client.requests import market
from dejavu_models.types import HORIZONS, MarginSource
from dejavu_server.ledger import verify
from dejavu_store.bundle import load_bundle

GAMES = [(current_game(number), 3.0 * number - 9, outcome) for number, outcome in enumerate((-11, 4, 7, 1, 13, 22), 1)]
"""Id, lead after 40 minutes and final differential."""


def test_a_bundle_of_whole_numbers_is_served_recorded_scored_and_proven(tmp_path: Path) -> None:
    model = symmetric_calibration().rounded().model(MarginSource.UNKNOWN)
    exact = []
    with (
        running_worker(tmp_path, load_bundle(lattice_bundle()), adaptive="shadow") as address,
        DejavuClient(address, timeout=30.0) as client,
    ):
        for game_id, lead, outcome in GAMES:
            pattern = [lead] * 40
            quoted = client.quote(pattern, market(4.0, 1.9, 1.95), game_id=game_id, horizon=FINAL)
            forecast, one = quoted.forecast, np.ones(1)
            expected = model.distribution(HORIZONS[1], 40, forecast.point_forecast * one, lead * one, 0 * one)
            assert forecast.home_lead_probability == pytest.approx(expected.home_leads[0], abs=1e-9)
            assert quoted.markets[0].above.win_probability == pytest.approx(expected.above(4.0)[0], abs=1e-9)
            exact.append(expected.crps(outcome * one)[0])
            client.report_outcome(game_id, outcome, horizon=FINAL)
        card = client.get_scorecard(horizon=FINAL)
        what_if = client.predict([2.0] * 18, horizon=HALFTIME, quantile_levels=[0.1, 0.9])
    assert card.games == len(GAMES)
    assert card.crps.value == pytest.approx(float(np.mean(exact)), abs=0.02)
    answer = json.loads(MessageToJson(what_if))
    ends = [answer["intervalLower"], answer["intervalUpper"], *(each["value"] for each in answer["quantiles"])]
    assert all(end == int(end) for end in ends)
    assert answer["pointForecast"] != int(answer["pointForecast"])
    verify(ledger_url(tmp_path))
