"""Small files that went wrong for other people: each gives the right game, or is left out with the reason."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from tests.trainer.harness import run

from dejavu_trainer.data.plays import read_plays

pytestmark = pytest.mark.real_data

BOSTON = ("202401050BOS", "BOS", "UTA", 51, 48, date(2024, 1, 5))
TURNED = "its plays have the teams the other way round; the list has BOS vs. UTA on 2024-01-05, 0022300493"


def final(folder: Path, season: int) -> tuple[object, ...]:
    [*_, last] = read_plays(folder / f"plays_{season}.parquet").to_pylist()
    return tuple(last[name] for name in ("game_id", "home", "away", "home_score", "away_score", "game_date"))


@pytest.mark.parametrize(
    "name",
    ["h_ft.csv", "h_ft_late.csv", "h_ft_twice.csv", "h_ft_same.csv", "h_ft_rev.csv", "h_date_tz.csv", "p_tz.parquet"],
)
def test_rows_in_any_order_and_instants_of_any_zone_are_the_game(name: str, tmp_path: Path, data_dir: Path) -> None:
    assert run("import", data_dir / "cases" / name, "--from", "hoopr", "--season", 2024, "--out", tmp_path) == 0
    assert final(tmp_path, 2024) == BOSTON


def test_a_game_that_agrees_with_its_list_is_imported(tmp_path: Path, data_dir: Path) -> None:
    cases = data_dir / "cases"
    arguments = ("import", cases / "v3_whole.csv", "--from", "nba_api", "--games", cases / "v3_list.csv", "--strict")
    assert run(*arguments, "--season", 2025, "--out", tmp_path) == 0
    assert final(tmp_path, 2025) == ("0022400001", "BOS", "LAL", 64, 48, date(2024, 10, 22))


@pytest.mark.parametrize(
    ("name", "source", "listing", "reason"),
    [
        (
            "v3_cut_in_q4.csv",
            "nba_api",
            "v3_list.csv",
            "its plays end with BOS 54, LAL 39; the list has BOS 64, LAL 48",
        ),
        (
            "v3_whole.csv",
            "nba_api",
            "v3_list_other_teams.csv",
            "its plays are of BOS and LAL; the list has MIA @ IND on 2024-10-22, 0022400001",
        ),
        ("h_sides.csv", "hoopr", "list_bos.csv", TURNED),
    ],
)
def test_a_game_that_contradicts_its_list_is_left_out_with_the_reason(
    name: str,
    source: str,
    listing: str,
    reason: str,
    tmp_path: Path,
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cases = data_dir / "cases"
    season = 2025 if source == "nba_api" else 2024
    arguments = ("import", cases / name, "--from", source, "--season", season, "--games", cases / listing)
    assert run(*arguments, "--out", tmp_path) == 1
    assert reason in capsys.readouterr().err
