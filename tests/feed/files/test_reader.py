"""An import and a replay read the same games from files of any format."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.builders.plays_files import (
    ELAPSED,
    GAME,
    LISTED,
    hoopr,
    nba_api,
    own,
    pbpstats,
    written_as,
)

from dejavu_feed.errors import FeedNotInstalled
from dejavu_feed.files.reader import read_games
from dejavu_feed.files.source_rows import Source
from dejavu_feed.pattern import Score
from dejavu_feed.replay.games import recorded_evening

DAY = date(2023, 10, 24)


def changes(scores: Sequence[Score]) -> list[Score]:
    """Return the scores that differ from the one before; a replay has rows without a change between them."""
    return [*scores[:1], *(then for now, then in pairwise(scores) if then[1:] != now[1:])]


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet", "json"])
@pytest.mark.parametrize(
    ("source", "rows"),
    [(Source.PLAYS, own), (Source.HOOPR, hoopr), (Source.PBPSTATS, pbpstats), (Source.NBA_API, nba_api)],
)
def test_an_import_and_a_replay_read_the_same_game_from_every_format(
    source: Source, rows: Callable[[], list[dict[str, object]]], form: str, tmp_path: Path
) -> None:
    path = written_as(form, tmp_path / "plays", [{**row, "score_value": 0} for row in rows()])
    game_list = None
    if source is not Source.PLAYS:
        game_list = tmp_path / "games.csv"
        game_list.write_text(LISTED)
    [imported] = read_games([path], source, 2024, game_list).games
    [replayed], excluded = recorded_evening(path, DAY, source, game_list)
    assert (imported.game_id, imported.home, imported.away, imported.day) == (GAME, "DEN", "LAL", DAY)
    assert (replayed.source, replayed.home, replayed.away, replayed.day) == (GAME, "DEN", "LAL", DAY)
    assert changes(imported.scores) == changes(replayed.scores) == ELAPSED
    assert excluded == ()


def test_a_folder_of_another_project_is_read_and_only_the_games_of_the_day_are_returned(tmp_path: Path) -> None:
    folder = tmp_path / "plays"
    folder.mkdir()
    written_as("csv", folder / "first", [*hoopr(), *hoopr(game_id=2, game_date="2023-10-25")])
    written_as("json", folder / "second", hoopr(game_id=3, home_team_abbrev="MIA", home_team_id=14))
    games, excluded = recorded_evening(folder, DAY, Source.HOOPR)
    assert [game.source for game in games] == ["202310240DEN", "202310240MIA"]
    assert excluded == ()
    assert len(read_games([folder], Source.HOOPR, 2024).games) == 3


def test_without_pyarrow_the_extra_is_named_for_parquet_and_other_forms_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {form: written_as(form, tmp_path / "plays", own()) for form in ("csv", "json", "parquet")}
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FeedNotInstalled, match=r"dejavu-forecast\[live\]"):
        recorded_evening(paths["parquet"], DAY)
    for form in ("csv", "json"):
        [game], _ = recorded_evening(paths[form], DAY)
        assert game.source == GAME
