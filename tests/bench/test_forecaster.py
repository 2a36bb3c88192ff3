from __future__ import annotations

import json

import pytest
from bench.forecaster import BATCH, GAMES, MINUTES, evening, horizons, query

from bench import forecaster
from dejavu_models.types import Horizon


def test_every_minute_is_measured_alone_and_in_company_beside_its_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    assert forecaster.main(["--rounds", "1", "--calls", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    names = {(row["minute"], row["name"]) for row in rows}
    for minute in MINUTES:
        assert (minute, "the libraries alone") in names
        for horizon in horizons(minute):
            for told in (horizon.value, f"{horizon.value}, every extra"):
                assert {(minute, f"one, {told}"), (minute, f"one of {BATCH}, {told}")} <= names
    assert any("evening" in row["name"] for row in rows)
    assert all(row["us"] > 0 and row["ratio"] > 0 for row in rows)


def test_an_evening_is_fifty_games_each_for_both_horizons() -> None:
    asked = evening(extras=True)
    assert len(asked) == 2 * GAMES == len(set(asked))
    assert len({each.pattern for each in asked}) == GAMES
    assert {each.horizon for each in asked} == set(Horizon)


@pytest.mark.parametrize("extras", [False, True])
def test_a_query_has_every_extra_or_none(extras: bool) -> None:
    asked = query(3, 18, Horizon.FINAL, extras=extras)
    assert (asked.explain, bool(asked.home_team), len(asked.quantile_levels)) == (extras, extras, 9 * extras)
