"""Seasons of games as arrays: what models are trained, calibrated and evaluated on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dejavu_feed.eligibility import exclusion_reason
from dejavu_feed.names import is_game_id, team_code
from dejavu_feed.pattern import HALFTIME_MINUTES, REGULATION_MINUTES, Score, slots
from dejavu_models.arrays import Floats
from dejavu_models.types import HORIZONS, MAX_SLOTS, Horizon
from dejavu_trainer.data.plays import DATE, DataError, plays_file, read_plays

__all__ = ["SLOTS", "DataError", "Games", "count_games", "game_date", "load_games", "parse_seasons"]

SLOTS = 18
"""Minutes that a pattern covers: to 6:00 of the second quarter."""

_GAME_ID = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})0[A-Z]{3}", re.ASCII)
_SEASONS = re.compile(r"([0-9]{4})(?:-([0-9]{4}))?", re.ASCII)


@dataclass(frozen=True, eq=False)
class Games:
    """n games, ordered by (date, game_id).

    Attributes:
        game_id: (n,) as in the file of plays.
        season: (n,) year in which the season ends.
        date: (n,) datetime64[D], local date of the game.
        phase: (n,) of the season: RS (regular season), PI (play-in) or PO (playoffs).
        home, away: (n,) NBA codes of the teams.
        differentials: (n, 48) home − away at the end of minutes 1 … 48, in points.
        final: (n,) final home − away, overtime included, in points; never 0.
    """

    game_id: NDArray[np.str_]
    season: NDArray[np.int16]
    date: NDArray[np.datetime64]
    phase: NDArray[np.str_]
    home: NDArray[np.str_]
    away: NDArray[np.str_]
    differentials: NDArray[np.int16]
    final: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.game_id)

    def select(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Games:
        """The games that a mask or an array of ascending indices picks."""
        return Games(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Games]) -> Games:
        """Several parts in a row, each later than the one before; at least one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def of_seasons(self, seasons: Sequence[int]) -> Games:
        """The games of some seasons."""
        return self.select(np.isin(self.season, seasons))

    @property
    def levels(self) -> Floats:
        """(n, 47), the differentials that a pattern can hold, in points: column m − 1 is that after minute m."""
        return self.differentials[:, :MAX_SLOTS].astype(np.float64)

    @property
    def outcomes(self) -> Floats:
        """(n, 2), the differentials that are forecast, by horizon (`dejavu_models.types.HORIZONS`), in points."""
        result = np.empty((len(self), len(HORIZONS)))
        for column, horizon in enumerate(HORIZONS):
            result[:, column] = self.halftime if horizon is Horizon.HALFTIME else self.final
        return result

    @property
    def patterns(self) -> Floats:
        """(n, SLOTS), what the models are asked at 6:00 of the second quarter, in points."""
        return self.differentials[:, :SLOTS].astype(np.float64)

    @property
    def halftime(self) -> Floats:
        """(n,), the differential at the half, in points."""
        return self.differentials[:, HALFTIME_MINUTES - 1].astype(np.float64)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the content: equal for the same games, whatever file and machine they came from."""
        digest = hashlib.sha256()
        for field in fields(self):
            values = getattr(self, field.name)
            text = values.dtype.kind in "UM"
            content = "\n".join(values.astype(str)).encode() if text else values.astype("<i2").tobytes()
            digest.update(f"{field.name} {values.shape} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()


class _Game(NamedTuple):
    """One game, in the order of the fields of `Games`."""

    game_id: str
    season: int
    date: date
    phase: str
    home: str
    away: str
    differentials: tuple[int, ...]
    final: int


def load_games(folder: Path, seasons: Sequence[int], advance: Callable[[int], object] | None = None) -> Games:
    """Reads plays_{season}.parquet of each season, from `folder` or its subfolder nba/.

    Games are left out by the rule of dejavu_feed.eligibility.

    Args:
        folder: where the files lie.
        seasons: years in which the seasons end.
        advance: called with 1 after each season, to show progress.

    Raises:
        DataError: if a file is missing or malformed, holds no game that counts, or a game occurs twice.
    """
    games = list[_Game]()
    for season in seasons:
        path = plays_file(folder, season)
        games += _games_of(path, read_plays(path), season)
        if advance is not None:
            advance(1)
    games.sort(key=lambda game: (game.date, game.game_id))
    seen = set[str]()
    for game in games:
        if game.game_id in seen:
            raise DataError(f"{folder}: game {game.game_id} occurs in more than one season")
        seen.add(game.game_id)
    columns: list[Any] = list(zip(*games, strict=True)) or [()] * len(_Game._fields)
    return Games(
        game_id=np.array(columns[0], dtype=np.str_),
        season=np.array(columns[1], dtype=np.int16),
        date=np.array(columns[2], dtype="datetime64[D]"),
        phase=np.array(columns[3], dtype=np.str_),
        home=np.array(columns[4], dtype=np.str_),
        away=np.array(columns[5], dtype=np.str_),
        differentials=np.array(columns[6], dtype=np.int16).reshape(-1, REGULATION_MINUTES),
        final=np.array(columns[7], dtype=np.int16),
    )


def count_games(source: Path, plays: pa.Table) -> int:
    """How many games of a table of plays `load_games` would return.

    Args:
        source: named in errors.
        plays: in the columns of dejavu_trainer.data.plays.

    Raises:
        DataError: if there is none, or one is malformed.
    """
    return len(_games_of(source, plays, season=0))


def _games_of(source: Path, plays: pa.Table, season: int) -> list[_Game]:
    ids = plays["game_id"].combine_chunks().dictionary_encode()
    codes = ids.indices.to_numpy()
    order = np.argsort(codes, kind="stable")  # the rows of a game together, in the order of the file
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    elapsed = plays["elapsed_s"].to_numpy()[order]
    home_score = plays["home_score"].to_numpy()[order]
    away_score = plays["away_score"].to_numpy()[order]
    no_away = plays["away"].is_null().to_numpy()[order]
    labels = ["type", "home", "away", *([DATE] if DATE in plays.column_names else [])]
    names = plays.select(labels).take(order[starts]).to_pylist()

    games = []
    for game_id, team, start, end in zip(
        ids.dictionary.to_pylist(), names, starts, [*starts[1:], len(order)], strict=True
    ):
        rows = slice(start, end)
        columns = (elapsed[rows].tolist(), home_score[rows].tolist(), away_score[rows].tolist())
        scores = [Score(*row) for row in zip(*columns, strict=True)]
        if exclusion_reason(None if no_away[rows].any() else team["away"], scores):
            continue
        try:
            day, home, away = game_date(game_id, team.get(DATE)), team_code(team["home"]), team_code(team["away"])
        except ValueError as error:
            raise DataError(f"{source}: game {game_id}: {error}") from None
        differentials = slots(scores, REGULATION_MINUTES)
        final = scores[-1].home - scores[-1].away
        games.append(_Game(game_id, season, day, team["type"], home, away, differentials, final))
    if not games:
        raise DataError(f"{source}: holds no complete game")
    return games


@lru_cache(maxsize=4096)
def game_date(game_id: str, told: date | None = None) -> date:
    """The local date of a game: by its id, yyyymmdd + 0 + home team's code, or as told beside an id of the NBA.

    Raises:
        ValueError: if the id is neither, names no date, needs one told or contradicts it.
    """
    if is_game_id(game_id):
        if told is None:
            raise ValueError(f"{game_id!r}, an id of the NBA, tells no date; expected one in a column {DATE}")
        return told
    match = _GAME_ID.fullmatch(game_id)
    if match is None:
        raise ValueError(
            f"{game_id!r} is no game id; expected yyyymmdd, 0 and the home team's code, or ten digits of the NBA"
        )
    try:
        named = date(*map(int, match.groups()))
    except ValueError:
        raise ValueError(f"{game_id!r} begins with no date") from None
    if told not in (None, named):
        raise ValueError(f"{game_id!r} begins with another date than {told}")
    return named


def parse_seasons(text: str) -> tuple[int, ...]:
    """The seasons that a text such as "2015-2021" or "2015,2017-2019" names, ascending, each once.

    Raises:
        ValueError: if it names none, or a part is neither a year nor a range of years that ascends.
    """
    seasons = set[int]()
    for part in text.split(","):
        match = _SEASONS.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is neither a season such as 2015 nor a range such as 2015-2021")
        first = int(match[1])
        last = int(match[2] or first)
        if last < first:
            raise ValueError(f"{part.strip()!r} runs backwards")
        seasons.update(range(first, last + 1))
    return tuple(sorted(seasons))
