"""Real games served by a fake NBA statistics service: fetching returns them unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.support.fakes.stats_service import PlayedOnce, StatsStandIn
from tests.support.harness.fetch import fetch_from
from tests.support.harness.real_games import real_games

from dejavu_feed.pattern import Score
from dejavu_feed.teams import team_code
from dejavu_trainer.data.fetch import Phase
from dejavu_trainer.data.games import game_date, load_games


def games_whose_score_falls(table: pa.Table) -> Any:
    ids = table["game_id"].to_numpy()
    fall = [np.diff(table[column].to_numpy()) < 0 for column in ("home_score", "away_score")]
    return np.unique(ids[1:][(fall[0] | fall[1]) & (ids[1:] == ids[:-1])].astype(str))


@pytest.mark.real_data
def test_real_games_come_through_as_they_were(data_dir: Path, tmp_path: Path) -> None:
    """Uses a sample of 2023, including games whose score falls: same patterns as from the original file."""
    table = pq.read_table(data_dir / "nba" / "plays_2023.parquet")
    true = real_games(data_dir, [2023])
    falling = np.intersect1d(games_whose_score_falls(table), true.game_id)
    assert len(falling)
    chosen = sorted({*falling[:8].tolist(), *true.game_id[::110].tolist()})
    rows: dict[str, list[dict[str, Any]]] = {source: [] for source in chosen}
    for row in table.filter(pc.field("game_id").isin(chosen)).to_pylist():
        rows[row["game_id"]].append(row)
    games = [
        PlayedOnce(
            game_id=f"00222{number:05d}",
            type="RS",
            day=game_date(source),
            home=team_code(rows[source][0]["home"]),
            away=team_code(rows[source][0]["away"]),
            scores=tuple(Score(row["elapsed_s"], row["home_score"], row["away_score"]) for row in rows[source]),
        )
        for number, source in enumerate(chosen, 1)
    ]
    with StatsStandIn(games) as service:
        (fetched,) = fetch_from(service, tmp_path, seasons=[2023], phases=[Phase.REGULAR])
    assert fetched.missing == ()
    found, true = load_games(tmp_path, [2023]), true.select(np.isin(true.game_id, chosen))
    assert len(found) == len(true) == len(chosen)
    places = found.game_id.tolist()
    order = [places.index(f"00222{chosen.index(source) + 1:05d}") for source in true.game_id.tolist()]
    assert (found.differentials[order] == true.differentials).all()
    assert (found.final[order] == true.final).all()
    assert (found.date[order] == true.date).all()
