"""Rows of a game in any order, repeated or in part: the game that was played, or a contradiction."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fakes.stats_service import season_of_games

from dejavu_feed.pattern import Score
from dejavu_feed.score_changes import contradiction, score_changes

SIMULATED = [game.scores for game in season_of_games(4)]


def without_numbers(scores: Sequence[Score]) -> list[tuple[int | None, Score]]:
    return [(None, score) for score in scores]


@given(data=st.data())
def test_rows_shuffled_repeated_and_in_pages_are_the_same_game(data: st.DataObject) -> None:
    scores = data.draw(st.sampled_from(SIMULATED))
    chance = data.draw(st.randoms(use_true_random=False))
    assert score_changes(without_numbers(damaged(scores, chance))) == scores
    assert contradiction(scores) is None


def damaged(scores: Sequence[Score], chance: random.Random) -> list[Score]:
    """Return the rows of a game as overlapping downloads, in any order, also within a second."""
    cuts = sorted(chance.sample(range(1, len(scores)), chance.randint(0, 4)))
    pages = [
        scores[max(0, start - chance.randint(0, 30)) : end]
        for start, end in zip([0, *cuts], [*cuts, len(scores)], strict=True)
    ]
    if chance.random() < 0.3:
        pages.append(scores)
    chance.shuffle(pages)
    rows = [row for page in pages for row in page]
    rows.sort(key=lambda row: (row.elapsed if chance.random() < 0.5 else 0, chance.random()))
    return rows


@given(data=st.data())
def test_a_lost_page_is_a_contradiction(data: st.DataObject) -> None:
    scores = data.draw(st.sampled_from(SIMULATED))
    start = data.draw(st.integers(1, len(scores) - 12))
    lost = (*scores[:start], *scores[start + 10 :])
    assert contradiction(score_changes(without_numbers(lost))) is not None


def test_rows_of_another_game_are_a_contradiction() -> None:
    one, other = SIMULATED[:2]
    for start in range(0, len(other) - 20, 10):
        merged = score_changes(without_numbers((*one, *other[start : start + 20])))
        assert contradiction(merged) is not None


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(60.0, 2, 0), (70.0, 2, 3)], None),
        ([(60.0, 4, 0)], "the score goes from 0–0 to 4–0 at 11:00 of Q1, which no shot explains"),
        ([(60.0, 2, 0), (70.0, 4, 1)], "the score goes from 2–0 to 4–1 at 10:50 of Q1, which no shot explains"),
        ([(2881.0, 3, 0)], None),
        ([(60.0, 3, 0), (70.0, 2, 0), (80.0, 2, 3)], None),
        (
            [(60.0, 3, 0), (70.0, 3, 3), (75.0, 3, 6), (80.0, 3, 2)],
            "the score goes from 3–6 to 3–2 at 10:40 of Q1, which",
        ),
        (
            [(60.0 + 2 * n + fall, 3 - fall, 0) for n in range(7) for fall in (0, 1)],
            "the score goes from 3–0 to 2–0 at 10:55 of Q1: a score falls 3 times",
        ),
    ],
)
def test_points_without_a_shot_and_too_many_corrections_are_contradictions(
    rows: list[tuple[float, int, int]], reason: str | None
) -> None:
    found = contradiction((Score(0.0, 0, 0), *(Score(*row) for row in rows)))
    assert found is None if reason is None else found is not None and found.reason.startswith(reason)


@pytest.mark.real_data
def test_real_games_are_plausible_and_survive_damage(data_dir: Path) -> None:
    games: dict[str, list[Score]] = {}
    for row in pq.read_table(data_dir / "seasons" / "plays_2023.parquet").to_pylist():
        games.setdefault(row["game_id"], []).append(Score(row["elapsed_s"], row["home_score"], row["away_score"]))
    chance = random.Random(1)
    implausible = []
    for game_id, rows in games.items():
        scores = score_changes(without_numbers(rows))
        assert scores[-1][1:] == rows[-1][1:]
        assert score_changes(without_numbers(damaged(rows, chance))) == scores
        if contradiction(scores) is not None:
            implausible.append(game_id)
    assert (len(games), implausible) == (1_320, [])
