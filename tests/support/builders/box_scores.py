"""Made-up box scores: ten players of each team, of whom some are missing."""

from __future__ import annotations

import random
from dataclasses import replace

from dejavu_feed.box_score import PlayerLine
from dejavu_models.ratings import CODES
from dejavu_trainer.data.events import SeenLine, no_box_scores
from dejavu_trainer.data.games import Games


def with_box_scores(games: Games) -> Games:
    """Return games with a made-up box score each."""
    box_scores = no_box_scores(len(games))
    for row in range(len(games)):
        box_scores[row] = made_box_score(str(games.home[row]), str(games.away[row]), int(games.final[row]), row)
    return replace(games, box_scores=box_scores)


def made_box_score(home: str, away: str, differential: int, seed: int) -> tuple[SeenLine, ...]:
    """Return a box score: nine of ten players of each team, five of whom start and play 36 minutes."""
    lines = []
    for is_home, code in ((True, home), (False, away)):
        rng = random.Random(f"{seed} {code}")
        first = 100 * (1 + CODES.index(code))
        missing = rng.randrange(10)
        told = 0
        playing = [first + place for place in range(10) if place != missing]
        for place, player in enumerate(playing):
            started = place < 5
            points = round((differential if is_home else -differential) * (0.75 if started else 0.3)) + rng.randint(
                -6, 6
            )
            if place == len(playing) - 1:  # the plus-minus of a team is five times the differential
                points = 5 * (differential if is_home else -differential) - told
            told += points
            line = PlayerLine(player, is_home, 36 * 60 if started else 15 * 60, points, started)
            lines.append(SeenLine(line, 0.0 if started else rng.uniform(120.0, 1700.0)))
    return tuple(sorted(lines))
