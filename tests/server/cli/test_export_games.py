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
from dejavu_ledger.queries.completed_games import SkippedGame
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
    ids = ("0022300001", "0042300101", "0052300101")
    pattern = {game_id: await lived(ledger, game_id, n, final=n) for n, game_id in enumerate(ids, 1)}
    pattern["0022200009"] = await lived(ledger, "0022200009", 4, final=-9)
    done = export_games(url, tmp_path / "games", min_minutes=47)
    assert [(season.season, season.games) for season in done.seasons] == [(2023, 1), (2024, 3)]
    assert done.left_out == ()
    games = load_games(tmp_path / "games", [2023, 2024])
    assert set(games.game_id) == set(pattern)
    for game in range(len(games)):
        assert games.levels[game].tolist() == pattern[games.game_id[game]]
    found = dict(zip(games.game_id.tolist(), zip(games.final.tolist(), games.phase.tolist(), strict=True), strict=True))
    assert found == {
        "0022300001": (1, "RS"),
        "0042300101": (2, "PO"),
        "0052300101": (3, "PI"),
        "0022200009": (-9, "RS"),
    }
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
    await ledger.record_outcome(ended("0022300001", 5))
    export_games(url, tmp_path, min_minutes=47)
    games = load_games(tmp_path, [2024])
    assert games.levels[0].tolist() == pattern
    unknown = (math.nan,) * len(COLUMNS)
    of_minutes = {1: (0, 0, 60), 5: (known[5][0], -1, 9), 6: (known[6][0], *unknown[:2]), 47: (known[47][0], 1, 75)}
    expected = {minute: (*of_minute, *unknown[3:]) for minute, of_minute in of_minutes.items()}
    for minute in range(1, 49):
        found = tuple(games.live[0, minute - 1].tolist())
        assert found == pytest.approx(expected.get(minute, unknown), nan_ok=True), minute
    assert games.final_total.tolist() == [-1], "it was not reported"
    await ledger.record_outcome(replace(ended("0022300001", 5), total_points=221))
    export_games(url, tmp_path, min_minutes=47, overwrite=True)
    again = load_games(tmp_path, [2024])
    assert again.final_total.tolist() == [221]
    assert (again.totals[0, :47].tolist(), again.totals[0, 47]) == (games.totals[0, :47].tolist(), 221)


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
    await lived(ledger, "0022300001", 1)
    await ledger.record_outcome(ended("0022300002", 5))
    await played(ledger, at("0022300003", walk(3, 46)))
    await ledger.commit([at("0022300004", walk(4), home_team="", away_team="")])
    await ledger.record_outcome(ended("0022300004", 5, teams=("", "")))
    await played(ledger, at("0022300005", [0.5, *walk(5, 46)]))
    await played(ledger, at("0012300006", walk(6)))
    await played(ledger, at("0022300007", [200.0, -200.0] * 23 + [0.0]))
    told = walk(10)
    differing = at("0022300010", [*told[:11], told[11] + 9, *told[12:]], alpha=0.051)
    await played(ledger, at("0022300010", told[:30]), differing)
    await played(ledger, at("0022399999", walk(11)))
    await lived(ledger, "9900000008", 8)
    await ledger.commit([at("0022300009", walk(9))])  # still in progress
    done = export_games(url, tmp_path, min_minutes=47)
    assert [season.games for season in done.seasons] == [1]
    assert done.left_out == (
        SkippedGame("0022300002", "it was not forecast"),
        SkippedGame("0022300003", "its minutes are known up to 46; expected 47"),
        SkippedGame("0022300004", "its teams are not known"),
        SkippedGame("0022300005", "one of its differentials is not a whole number of points"),
        SkippedGame("0012300006", "it is not of the regular season, play-in or playoffs"),
        SkippedGame("0022300007", "its differentials move by more than 400 points"),
        SkippedGame("0022300010", f"its forecasts differ about minute 12: {told[11]:+g} and {told[11] + 9:+g}"),
        SkippedGame("0022399999", "the NBA gives no game such an id"),
    )


async def test_fewer_minutes_will_do_if_told_and_are_carried_forward(ledger: Ledger, url: str, tmp_path: Path) -> None:
    pattern = walk(1, 37)
    await played(ledger, at("0022300001", pattern))
    with pytest.raises(ExportError, match=r"no game to export, 1 skipped: 0022300001: .* up to 37; expected 47"):
        export_games(url, tmp_path, min_minutes=47)
    export_games(url, tmp_path, min_minutes=37)
    games = load_games(tmp_path, [2024])
    assert games.levels[0].tolist() == pattern + [pattern[-1]] * 10


async def test_replays_count_only_if_told_by_the_season_of_their_date(ledger: Ledger, url: str, tmp_path: Path) -> None:
    await lived(ledger, "9900000008", 8)
    later = replace(at("9900000009", walk(9)), generated_time=datetime(2024, 10, 30, 3, 0, tzinfo=UTC))
    await ledger.commit([later])
    await ledger.record_outcome(ended("9900000009", 5))
    with pytest.raises(ExportError, match=r"no game to export; games of replays do not count by default"):
        export_games(url, tmp_path, min_minutes=47)
    done = export_games(url, tmp_path, min_minutes=47, include_replays=True)
    assert [(season.season, season.games) for season in done.seasons] == [(2024, 1), (2025, 1)]
    assert load_games(tmp_path, [2024, 2025]).phase.tolist() == ["RS", "RS"]


async def test_only_told_seasons_are_written_and_none_is_replaced(ledger: Ledger, url: str, tmp_path: Path) -> None:
    for number, game_id in enumerate(["0022200001", "0022300001", "0022300002"]):
        await lived(ledger, game_id, number)
    (tmp_path / "plays_2024.parquet").write_text("mine")
    with pytest.raises(ExportError, match=r"plays_2024\.parquet already exists; use --overwrite"):
        export_games(url, tmp_path, min_minutes=47)
    assert not (tmp_path / "plays_2023.parquet").exists(), "nothing was written"
    export_games(url, tmp_path, seasons=[2023], min_minutes=47)
    assert (tmp_path / "plays_2024.parquet").read_text() == "mine"
    export_games(url, tmp_path, seasons=[2024], min_minutes=47, overwrite=True)
    assert len(load_games(tmp_path, [2023, 2024])) == 3


async def test_the_command_tells_people_and_programs(ledger: Ledger, url: str, tmp_path: Path) -> None:
    await lived(ledger, "0022300001", 1)
    await ledger.record_outcome(ended("0022300002", 5))
    out = tmp_path / "games"
    told = CliRunner().invoke(serve.app, ["ledger", "export", "--ledger", url, "--out", str(out)])
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines() == [
        f"{out}/plays_2024.parquet: 1 games, 49 rows",
        "1 skipped:",
        "  0022300002: it was not forecast",
    ]
    again = ["ledger", "export", "--ledger", url, "--out", str(out), "--overwrite", "--json", "--season", "2024"]
    document = json.loads(CliRunner().invoke(serve.app, again).stdout)
    assert document["seasons"] == [{"season": 2024, "path": f"{out}/plays_2024.parquet", "games": 1, "rows": 49}]
    assert document["left_out"] == [{"game_id": "0022300002", "reason": "it was not forecast"}]


async def test_without_pyarrow_it_says_what_to_install(
    ledger: Ledger, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"pip install 'dejavu-forecast\[server,trainer\]'"):
        export_games(url, tmp_path, min_minutes=47)
