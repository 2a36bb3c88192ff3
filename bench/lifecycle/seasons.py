"""Options and games of the programs that fit on earlier seasons and test on later seasons."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from dejavu_trainer.data.games import Games, load_games, parse_seasons
from dejavu_trainer.training.recipe import TrainingConfig


class TestedSeasons(NamedTuple):
    """The games of all seasons up to the last tested one, and the options of the test.

    Attributes:
        games: games of all seasons from the first one.
        seasons: the tested seasons, ascending.
        steps: maximum number of evaluations of a likelihood.
    """

    games: Games
    seasons: tuple[int, ...]
    steps: int


def read_tested_seasons(description: str | None, arguments: list[str] | None) -> TestedSeasons:
    """Read the options and load the games.

    Raises:
        SystemExit: an option is unknown or malformed, or help is asked for.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the games")
    parser.add_argument("--first", type=int, default=2015, metavar="SEASON", help="first season (default: 2015)")
    parser.add_argument("--steps", type=int, default=TrainingConfig().rating_steps, help="evaluations of a likelihood")
    parser.add_argument("--test", default="2019-2023", metavar="SEASONS", help="tested seasons (default: 2019-2023)")
    options = parser.parse_args(arguments)
    seasons = parse_seasons(options.test)
    return TestedSeasons(load_games(options.data, range(options.first, max(seasons) + 1)), seasons, options.steps)
