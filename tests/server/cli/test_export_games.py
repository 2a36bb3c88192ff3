"""Export of completed games as training seasons, with the patterns of their forecasts."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.builders.issued_forecasts import issued
from typer.testing import CliRunner

from dejavu_feed.live_inputs import COLUMNS, LastScore, LiveInputs, Side
from dejavu_ledger import Ledger
from dejavu_ledger.records import IssuedForecast, ReportedOutcome
from dejavu_models.types import Horizon
from dejavu_server.cli import serve
from dejavu_server.cli.export_games import ExportError, export_games
from dejavu_trainer.data.games import load_games

EVENING = datetime(2024, 1, 15, 3, 30, tzinfo=UTC)
"""22:30 on the 14th in New York."""


def walk(seed: int, minutes: int = 47) -> list[float]:
    """Return the differentials of a random game."""
    steps = np.random.default_rng(seed).integers(-4, 5, minutes)
    return [float(value) for value in np.cumsum(steps)]


def at(game_id: str, pattern: list[float], horizon: Horizon = Horizon.FINAL, **more: Any) -> IssuedForecast:
    return issued(game_id, pattern, horizon=horizon, generated_time=EVENING, **more)


def ended(
    game_id: str, differential: int, horizon: Horizon = Horizon.FINAL, teams: tuple[str, str] = ("BKN", "GSW")
) -> ReportedOutcome:
    return ReportedOutcome(game_id, horizon, differential, *teams, EVENING, EVENING)


async def lived(ledger: Ledger, game_id: str, seed: int, *, minutes: int = 47, final: int = 7) -> list[float]:
    """Record forecasts and both outcomes of a game; return its differentials."""
    pattern = walk(seed, minutes)
    evening = EVENING + timedelta(days=seed)  # the teams meet once a day
    half, third, last = (
        replace(at(game_id, pattern[:minute], horizon), generated_time=evening)
        for minute, horizon in ((18, Horizon.HALFTIME), (30, Horizon.FINAL), (minutes, Horizon.FINAL))
    )
    await ledger.commit([half])
    await ledger.record_outcome(ended(game_id, int(pattern[23]), Horizon.HALFTIME))
    await ledger.commit([third, last])
    await ledger.record_outcome(ended(game_id, final))
    return pattern


async def played(ledger: Ledger, *forecasts: IssuedForecast) -> None:
    """Record forecasts of a game one after the other, and its outcome."""
    for each in forecasts:
        await ledger.commit([each])
    await ledger.record_outcome(ended(forecasts[-1].game_id, 5))


async def test_the_trainer_reads_forecast_patterns_and_their_outcomes(ledger: Ledger, url: str, tmp_path: Path) -> None:
    ids, finals = ("0022300001", "0042300101", "0052300101", "0022200009"), (1, 2, 3, -9)
    pattern = {
        game_id: await lived(ledger, game_id, n, final=final)
        for n, (game_id, final) in enumerate(zip(ids, finals, strict=True), 1)
    }
    done = export_games(url, tmp_path / "games", min_minutes=47)
    assert [(season.season, season.games) for season in done.seasons] == [(2023, 1), (2024, 3)]
    games = load_games(tmp_path / "games", [2023, 2024])
    for game in range(len(games)):
        assert games.levels[game].tolist() == pattern[games.game_id[game]]
    found = zip(games.game_id.tolist(), games.final.tolist(), games.phase.tolist(), strict=True)
    assert set(found) == set(zip(ids, finals, ("RS", "PO", "PI", "RS"), strict=True))
    assert games.final_total.tolist() == [-1] * 4, "they were not reported"
    assert games.date.tolist() == [date(2024, 1, 14 + n) for n in range(1, 5)]
    assert (set(games.home), set(games.away)) == ({"BKN"}, {"GSW"})


async def test_totals_and_last_scores_are_those_that_were_recorded(ledger: Ledger, url: str, tmp_path: Path) -> None:
    pattern = [0.0, *walk(1, 46)]
    known = {1: (0, None), 5: (21, LastScore(Side.AWAY, 9)), 6: (24, None), 47: (180, LastScore(Side.HOME, 75))}
    for minute, (about, last) in known.items():
        total = about + (about % 2 != abs(pattern[minute - 1]) % 2)
        known[minute] = total, last
        await ledger.commit([replace(at("0022300001", pattern[:minute]), live=LiveInputs(total, last))])
    await ledger.commit([replace(at("0022300001", [*pattern[:9], pattern[9] + 1]), live=LiveInputs(60))])
    await ledger.record_outcome(replace(ended("0022300001", 5), total_points=221))
    export_games(url, tmp_path, min_minutes=47)
    games = load_games(tmp_path, [2024])
    unknown = (math.nan,) * len(COLUMNS)
    of_minutes = {1: (0, 0, 60), 5: (known[5][0], -1, 9), 6: (known[6][0], *unknown[:2]), 47: (known[47][0], 1, 75)}
    for minute in range(1, 48):
        expected = (*of_minutes.get(minute, unknown[:3]), *unknown[3:])
        assert tuple(games.live[0, minute - 1].tolist()) == pytest.approx(expected, nan_ok=True), minute
    assert (games.final_total.tolist(), games.totals[0, 47]) == ([221], 221)


async def test_the_longest_pattern_and_the_newest_revisions_count(ledger: Ledger, url: str, tmp_path: Path) -> None:
    first, corrected = walk(1), [*walk(1)[:46], walk(1)[46] + 1]
    await played(ledger, *(at("0022300001", pattern) for pattern in (first, corrected, walk(2, 30))))
    await ledger.record_outcome(ended("0022300001", -6))
    for off in (2, 1):
        await ledger.record_outcome(ended("0022300001", int(first[23]) + off, Horizon.HALFTIME))
    export_games(url, tmp_path, min_minutes=47)
    games = load_games(tmp_path, [2024])
    assert games.outcomes[:, 0].tolist() == [first[23] + 1]
    assert games.levels[0].tolist() == [*corrected[:23], first[23] + 1, *corrected[24:]]
    assert games.final.tolist() == [-6]


async def test_what_cannot_be_a_game_to_train_on_is_left_out_and_told(ledger: Ledger, url: str, tmp_path: Path) -> None:
    told = walk(10)
    await lived(ledger, "0022300001", 1)
    await ledger.record_outcome(ended("0022300002", 5))
    await ledger.commit([at("0022300004", walk(4), home_team="", away_team="")])
    await ledger.record_outcome(ended("0022300004", 5, teams=("", "")))
    differing = at("0022300010", [*told[:11], told[11] + 9, *told[12:]], alpha=0.051)
    await played(ledger, at("0022300010", told[:30]), differing)
    for game_id, pattern in (
        ("0022300003", walk(3, 46)),
        ("0022300005", [0.5, *walk(5, 46)]),
        ("0012300006", walk(6)),
        ("0022300007", [200.0, -200.0] * 23 + [0.0]),
        ("0022399999", walk(11)),
    ):
        await played(ledger, at(game_id, pattern))
    await lived(ledger, "9900000008", 8)
    await ledger.commit([at("0022300009", walk(9))])  # still in progress
    done = export_games(url, tmp_path, min_minutes=47)
    assert [season.games for season in done.seasons] == [1]
    reasons = {
        "0022300002": "not forecast",
        "0022300003": "known up to 46",
        "0022300004": "teams",
        "0022300005": "whole number",
        "0012300006": "regular season",
        "0022300007": "400 points",
        "0022300010": "differ about minute 12",
        "0022399999": "no game such an id",
    }
    found = {skipped.game_id: skipped.reason for skipped in done.left_out}
    assert found.keys() == reasons.keys()
    assert [game_id for game_id, reason in reasons.items() if reason not in found[game_id]] == []


async def test_replays_and_fewer_minutes_count_only_if_told(ledger: Ledger, url: str, tmp_path: Path) -> None:
    """A replay is of the season of its date; the last minute that is known is carried forward."""
    pattern = walk(1, 37)
    await ledger.commit([replace(at("9900000009", pattern), generated_time=datetime(2024, 10, 30, 3, tzinfo=UTC))])
    await ledger.record_outcome(ended("9900000009", 5))
    rows: Any = ({"min_minutes": 37}, {"min_minutes": 47, "include_replays": True})
    for options in rows:
        with pytest.raises(ExportError, match="no game to export"):
            export_games(url, tmp_path, **options)
    export_games(url, tmp_path, min_minutes=37, include_replays=True)
    assert load_games(tmp_path, [2025]).levels[0].tolist() == pattern + [pattern[-1]] * 10


async def test_only_told_seasons_are_written_and_none_is_replaced(ledger: Ledger, url: str, tmp_path: Path) -> None:
    for number, game_id in enumerate(["0022200001", "0022300001", "0022300002"]):
        await lived(ledger, game_id, number)
    (tmp_path / "plays_2024.parquet").write_text("mine")
    with pytest.raises(ExportError, match=r"plays_2024\.parquet already exists"):
        export_games(url, tmp_path, min_minutes=47)
    assert not (tmp_path / "plays_2023.parquet").exists(), "nothing was written"
    export_games(url, tmp_path, seasons=[2023], min_minutes=47)
    assert (tmp_path / "plays_2024.parquet").read_text() == "mine"
    out = ["--out", str(tmp_path), "--overwrite", "--json", "--season", "2024"]
    told = CliRunner().invoke(serve.app, ["ledger", "export", "--ledger", url, *out])
    [season] = json.loads(told.stdout)["seasons"]
    assert (season["season"], season["games"]) == (2024, 2)
    assert len(load_games(tmp_path, [2023, 2024])) == 3


async def test_without_pyarrow_it_says_what_to_install(
    ledger: Ledger, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"pip install 'dejavu-forecast\[server,trainer\]'"):
        export_games(url, tmp_path, min_minutes=47)
