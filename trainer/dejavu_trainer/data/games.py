"""Loads seasons of games as arrays for training, calibration and evaluation, and splits them into parts by date.

A game has live inputs at the end of each minute, from its plays or from a ledger, and states before the half, before
the end and in overtime, after each play that changes one.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dejavu_feed import live_inputs
from dejavu_feed.errors import DataError
from dejavu_feed.event_table import late_events
from dejavu_feed.events import Event, free_throws_to_come, possessions
from dejavu_feed.files.checked_games import exclusion_reason
from dejavu_feed.files.lines import read_lines
from dejavu_feed.files.plays_format import DATE, game_date
from dejavu_feed.lines import NO_LINE
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, numbers
from dejavu_feed.pattern import OVERTIME_SECONDS, REGULATION_MINUTES, Score, inputs_from_scores, slots
from dejavu_feed.teams import team_code
from dejavu_models.arrays import Floats, Singles
from dejavu_models.components.component import Advance, ignore
from dejavu_models.types import MAX_SLOTS, Horizon
from dejavu_trainer.data.events import no_box_scores, read_box_scores
from dejavu_trainer.data.plays import NEUTRAL, RECORDED, SeasonFile, complete, read_plays, season_files, season_path

UNKNOWN: Final = -1
"""Total points that are not known."""


Scoring = tuple[tuple[tuple[float, ...], ...], int]
"""The fields `live` and `final_total` of `dejavu_trainer.data.games.Games`."""

_MINUTES: Final = range(1, REGULATION_MINUTES + 1)
_NOTHING: Final = (math.nan,) * len(live_inputs.COLUMNS)
_TOTAL: Final = list(live_inputs.COLUMNS).index("total_points")


def scoring_of(scores: Sequence[Score], neutral_site: float | None = None) -> Scoring:
    """Derive the live inputs from a game's plays.

    If every row is at the end of a minute, the scores are reconstructed: the lowest with the game's differentials.
    The inputs that depend on the score are then unknown.

    Args:
        scores: the plays.
        neutral_site: 1 if the game was at a neutral site, 0 if not; None if that is not known.
    """
    known = any(score.elapsed % 60 for score in scores)
    inputs = inputs_from_scores(scores, REGULATION_MINUTES) if known else (NO_LIVE_INPUTS,) * REGULATION_MINUTES
    if neutral_site is not None:
        inputs = tuple(replace(live, neutral_site=bool(neutral_site)) for live in inputs)
    rows = tuple(numbers(live, minute) for minute, live in zip(_MINUTES, inputs, strict=True))
    return rows, scores[-1].home + scores[-1].away if known else UNKNOWN


def recorded_scoring(elapsed: Sequence[float], recorded: Sequence[tuple[float, ...]]) -> Scoring:
    """Return the live inputs as they were recorded; unknown for minutes without a row at their end.

    Args:
        elapsed: time of each row, in game seconds.
        recorded: the live inputs of each row in the order of their columns, NaN where not recorded. The total points of
            the last row are those of the whole game.
    """
    rows = dict(zip(elapsed, recorded, strict=True))
    final = recorded[-1][_TOTAL]
    of_minutes = tuple(rows.get(60.0 * minute, _NOTHING) for minute in _MINUTES)
    return of_minutes, UNKNOWN if math.isnan(final) else int(final)


COLUMNS: Final = ("elapsed_s", "differential", "total_points", "side", "shot_in_air", "free_throws")
"""Columns of a game's states: seconds of play since tip-off, home − away and points of both after the play, the side
with the ball (1 home, −1 away, 0 unknown), whether a shot of it is in the air (1, else 0), and how many free throws it
has before the clock runs again."""

WINDOWS: Final = {Horizon.HALFTIME: 180, Horizon.FINAL: 360}
"""Seconds before a horizon from which the states are kept; for the final, also all of overtime."""


def no_moments(count: int) -> NDArray[np.object_]:
    """Return the states of games that have none, (n,)."""
    result = np.empty(count, np.object_)
    for row in range(count):
        result[row] = np.empty((0, len(COLUMNS)), np.float32)
    return result


def moments_of(scores: Sequence[Score], events: Sequence[Event], home: str) -> Singles:
    """Return the states of a game, (k, COLUMNS), in order of time; none if its scores are out of order.

    A state at the end of a period is left out: the next period starts from the score alone. So is one before free
    throws of which it is not clear who has the ball after them. Without events in order that lead to the same final
    score, the states are those after the scores, and who has the ball is unknown.

    Args:
        scores: the score after each play.
        events: events of the second quarter, the fourth and overtimes, in order, with the possession after each.
        home: NBA code of the home team.
    """
    if any(after.elapsed < before.elapsed for before, after in pairwise(scores)):
        return np.empty((0, len(COLUMNS)), np.float32)
    rows = [(score.elapsed, score.home, score.away, 0, 0, 0) for score in scores]
    if _are_in_order(events) and (events[-1].home, events[-1].away) == scores[-1][1:]:
        rows = [
            (
                event.elapsed, event.home, event.away,
                0 if not event.possession else 1 if event.possession == home else -1, event.shot_in_air, coming,
            )
            for event, coming in zip(events, free_throws_to_come(events), strict=True)
            if coming is not None
        ]  # fmt: skip
    at, home_points, away_points, *ball = np.array(rows, dtype=np.float64).T
    result = np.stack([at, home_points - away_points, home_points + away_points, *ball], axis=1)
    result = result[_in_windows(at)].astype(np.float32)
    changed: NDArray[np.bool_] = (np.diff(result, axis=0, prepend=np.nan) != 0).any(axis=1)
    return result[changed]


def _are_in_order(events: Sequence[Event]) -> bool:
    return bool(events) and all(after.elapsed >= before.elapsed for before, after in pairwise(events))


def moments_to_array(moments: NDArray[np.object_]) -> Singles:
    """Return the states of n games as rows, (states, 1 + COLUMNS), the game's index first."""
    rows = [np.insert(of_game, 0, game, axis=1) for game, of_game in enumerate(moments) if len(of_game)]
    return np.concatenate(rows) if rows else np.empty((0, 1 + len(COLUMNS)), np.float32)


def _in_windows(at: NDArray[np.float64]) -> NDArray[np.bool_]:
    half, end = Horizon.HALFTIME.seconds, Horizon.FINAL.seconds
    before_half = (at >= half - WINDOWS[Horizon.HALFTIME]) & (at < half)
    late = (at >= end - WINDOWS[Horizon.FINAL]) & (np.where(at < end, 1.0, (at - end) % OVERTIME_SECONDS) > 0)
    return before_half | late


_LINES = frozenset({".csv", ".tsv", ".txt", ".parquet", ".json"})
"""Suffixes of files of lines."""
_CHANCE: Final = 3.0
"""Standard errors below 0 beyond which a mean is not attributed to chance, as in one of 700 seasons of random lines."""
_LIVE_COLUMNS = tuple(live_inputs.COLUMNS)
_SEASONS = re.compile(r"([0-9]{4})(?:-([0-9]{4}|[0-9]{2}))?", re.ASCII)


@dataclass(frozen=True, eq=False)
class Games:
    """n games, ordered by (date, game_id).

    Attributes:
        game_id: (n,) as in the file of plays.
        season: (n,) year in which the season ends.
        date: (n,) datetime64[D], local date of the game.
        phase: (n,) phase of the season: RS (regular season), PI (play-in) or PO (playoffs).
        home, away: (n,) NBA codes of the teams.
        differentials: (n, 48) home − away at the end of minutes 1 … 48, in points.
        final: (n,) final home − away, overtime included, in points; never 0.
        live: (n, 48, k) live inputs at the end of minutes 1 … 48, in the order of `dejavu_feed.live_inputs.COLUMNS`;
            NaN where unknown.
        final_total: (n,) points of both teams together at the end, overtime included; −1 if unknown.
        line: (n,) expected final home − away by the closing line of a betting market, in points; NaN if unknown.
        box_scores: (n,) tuples of `events.SeenLine`, empty if unknown.
        moments: (n,) arrays (states, COLUMNS), empty if only the ends of minutes are known.
    """

    game_id: NDArray[np.str_]
    season: NDArray[np.int16]
    date: NDArray[np.datetime64]
    phase: NDArray[np.str_]
    home: NDArray[np.str_]
    away: NDArray[np.str_]
    differentials: NDArray[np.int16]
    final: NDArray[np.int16]
    live: NDArray[np.float32]
    final_total: NDArray[np.int16]
    line: NDArray[np.float32]
    box_scores: NDArray[np.object_]
    moments: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.game_id)

    def select(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Games:
        """Select games by a mask or an array of ascending indices."""
        return Games(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Games]) -> Games:
        """Concatenate at least one part; each part must be later than the one before."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def of_seasons(self, seasons: Sequence[int]) -> Games:
        """Select the games of some seasons."""
        return self.select(np.isin(self.season, seasons))

    def live_column(self, name: str) -> NDArray[np.float32]:
        """Return a live input, (n, 48), by the name of its column; NaN where unknown."""
        return self.live[:, :, _LIVE_COLUMNS.index(name)]

    @property
    def totals(self) -> NDArray[np.int16]:
        """(n, 48), points of both teams together at the end of minutes 1 … 48; −1 where unknown."""
        return np.nan_to_num(self.live_column("total_points"), nan=UNKNOWN).astype(np.int16)

    @property
    def neutral(self) -> list[bool | None]:
        """Whether each game was at a neutral site; None where its source does not say."""
        known = np.nanmax(self.live_column("neutral_site"), axis=1, initial=-1.0)
        return [None if each < 0 else bool(each) for each in known.tolist()]

    @property
    def total_line(self) -> NDArray[np.float32]:
        """(n,), final points of both teams together by the market, NaN where unknown: the median over the minutes.

        In an export of a ledger, some minutes may have the line of another caller.
        """
        of_minutes = self.live_column("pregame_total")
        known = ~np.isnan(of_minutes).all(axis=1)
        result = np.full(len(self), np.nan, np.float32)
        result[known] = np.nanmedian(of_minutes[known], axis=1)
        return result

    @property
    def levels(self) -> Floats:
        """(n, 47), the differentials that a pattern can hold, in points; column m − 1 is the one after minute m."""
        return self.differentials[:, :MAX_SLOTS].astype(np.float64)

    @property
    def outcomes(self) -> Floats:
        """(n, 2), the target differentials by horizon (`dejavu_models.types.HORIZONS`), in points."""
        halftime = self.differentials[:, Horizon.HALFTIME.minutes - 1]
        return np.stack([halftime, self.final], axis=1).astype(np.float64)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content in hex; independent of files and machine. Inputs that no game has are ignored."""
        digest = hashlib.sha256()
        for name in (field.name for field in fields(self)):
            values = getattr(self, name)
            if name == "live":
                values = values[:, :, ~np.isnan(values).all(axis=(0, 1))]
            if name == "line" and np.isnan(values).all():
                continue
            if name == "box_scores":
                values = np.array([repr([tuple(each) for each in lines]) for lines in values if lines], np.str_)
                if not len(values):
                    continue
            if name == "moments":
                values = moments_to_array(values)
            text, form = values.dtype.kind in "UM", "<f4" if values.dtype.kind == "f" else "<i2"
            content = "\n".join(values.astype(str)).encode() if text else values.astype(form).tobytes()
            digest.update(f"{name} {values.shape} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each season by its name, such as "2023"."""
        return {f"{season}": self.of_seasons([season]).fingerprint for season in np.unique(self.season).tolist()}


class _Game(NamedTuple):
    """One game, in the order of the fields of `Games` before the line."""

    game_id: str
    season: int
    date: date
    phase: str
    home: str
    away: str
    differentials: tuple[int, ...]
    final: int
    live: tuple[tuple[float, ...], ...]
    final_total: int
    scores: tuple[Score, ...]


def load_games(path: Path, seasons: Sequence[int], advance: Advance = ignore) -> Games:
    """Read the games of seasons, with the lines, events and players beside their plays.

    Games are excluded by the rule of dejavu_feed.files.checked_games.

    Args:
        path: folder of plays_{season}.parquet, directly or in its subfolder seasons/, or one such file.
        seasons: years in which the seasons end.
        advance: called with 1 after each season, to show progress.

    Raises:
        DataError: if a file is missing or malformed, holds no eligible game, or a game occurs twice, also under two
            ids.
    """
    games, files = list[_Game](), season_files(path)
    for season in seasons:
        if season not in files:
            raise DataError(f"{path}: contains no {season_path(path, season).name}")
        games += _games_of(files[season], read_plays(files[season]), season)
        advance(1)
    games.sort(key=lambda game: (game.date, game.game_id))
    _refuse_twice(path, games)
    *columns, scores = list(zip(*games, strict=True)) or [()] * len(_Game._fields)
    dtypes: list[Any] = [np.str_, np.int16, "datetime64[D]", *[np.str_] * 3, np.int16, np.int16, np.float32, np.int16]
    no_lines = np.full(len(games), np.nan, np.float32)
    none = no_lines, no_box_scores(len(games)), no_moments(len(games))
    loaded = _with_lines(Games(*[*map(np.array, columns, dtypes), *none]), path.parent if path.is_file() else path)
    return _with_plays(loaded, scores, files)


def _with_lines(games: Games, folder: Path) -> Games:
    """Add lines to games, from the files of lines beside the plays: lines.csv or the like, and those in lines/.

    Raises:
        DataError: if a file can't be read, or the lines of a season in it have the wrong sign.
    """
    line, live = games.line.copy(), games.live.copy()
    of_total = live[:, :, _LIVE_COLUMNS.index("pregame_total")]
    files = [*folder.glob("lines.*"), *folder.glob("lines/*")]
    for path in sorted(path for path in files if path.suffix.lower() in _LINES):
        lines, of_file = read_lines(path), np.full(len(games), np.nan, np.float32)
        keys = zip(games.game_id.tolist(), games.date.tolist(), games.home.tolist(), games.away.tolist(), strict=True)
        for row, key in enumerate(keys):
            found = lines.of(*key) or NO_LINE
            if found.margin is not None:
                line[row] = of_file[row] = found.margin
            if found.total is not None:
                of_total[row] = found.total
        _refuse_wrong_sign(path, of_file, games)
    return replace(games, line=line, live=live)


def _refuse_wrong_sign(path: Path, line: NDArray[np.float32], games: Games) -> None:
    """Refuse lines of a season that are further from the finals, by more than chance, than the negated lines are.

    The squared distance of a negated line is greater by four times the product of line and final, so the mean of these
    products decides.
    """
    for season in np.unique(games.season).tolist():
        here = (games.season == season) & ~np.isnan(line)
        lines, finals = line[here].astype(float), games.final[here].astype(float)
        products = lines * finals
        if products.sum() < -_CHANCE * np.sqrt(np.square(products).sum()):
            found, negated = (float(np.sqrt(np.square(finals - sign * lines).mean())) for sign in (1, -1))
            raise DataError(
                f"{path}: the lines of {season} have the wrong sign: the finals of {len(lines):,} games are "
                f"{found:.1f} points off, and {negated:.1f} off the negated lines (root mean square); a "
                "favored home team has a negative spread, or a positive pregame_margin"
            )


def _with_plays(games: Games, scores: Sequence[Sequence[Score]], files: Mapping[int, Path]) -> Games:
    """Add box scores, who has the ball at the ends of minutes, and the states at moments.

    Box scores and who has the ball are known of those seasons that have a file of players, or events.

    Args:
        games: n games.
        scores: the scores after the plays of each game; none if they are known at the ends of minutes only.
        files: the files of the plays by season.

    Raises:
        DataError: if a file can't be read.
    """
    live, moments, box_scores = games.live.copy(), no_moments(len(games)), no_box_scores(len(games))
    columns = [_LIVE_COLUMNS.index(name) for name in ("possession_side", "possession_shot_in_air")]
    for season in np.unique(games.season).tolist():
        events_file, players_file = (
            season_path(files[season].parent, season, kind) for kind in (SeasonFile.EVENTS, SeasonFile.PLAYERS)
        )
        events = late_events(events_file) if events_file.is_file() else {}
        players = read_box_scores(players_file) if players_file.is_file() else {}
        for row in np.flatnonzero(games.season == season).tolist():
            game_id, home = str(games.game_id[row]), str(games.home[row])
            box_scores[row], of_game = players.get(game_id, ()), events.get(game_id, [])
            balls = ((event.elapsed, event.possession, event.shot_in_air) for event in of_game)
            for minute, ball in enumerate(possessions(balls, REGULATION_MINUTES, home)):
                if ball is not None:
                    live[row, minute, columns] = float(ball.side), float(ball.shot_in_air)
            if scores[row]:
                moments[row] = moments_of(scores[row], of_game, home)
    return replace(games, live=live, moments=moments, box_scores=box_scores)


def count_games(source: Path, plays: pa.Table) -> int:
    """Return the number of games of a table of plays that `load_games` would return.

    Args:
        source: path to name in errors.
        plays: plays in the columns of dejavu_trainer.data.plays.

    Raises:
        DataError: if there is no eligible game, one is malformed, or one has two ids.
    """
    games = _games_of(source, complete(plays), season=0)
    _refuse_twice(source, games)
    return len(games)


def _refuse_twice(source: Path, games: Iterable[_Game]) -> None:
    """Refuse a game that is there twice, also under two ids, such as the NBA's and one of its date.

    Raises:
        DataError: if two games have the same date and teams; the message names both ids and seasons.
    """
    seen: dict[tuple[date, str, str], _Game] = {}
    for game in games:
        first = seen.setdefault((game.date, game.home, game.away), game)
        if first is not game:
            seasons = f", in seasons {first.season} and {game.season}" * (first.season != game.season)
            raise DataError(
                f"{source}: games {first.game_id} and {game.game_id} are the same, {game.away} at {game.home} on"
                f" {game.date}{seasons}; expected one id per game, in one season"
            )


def _games_of(source: Path, plays: pa.Table, season: int) -> list[_Game]:
    ids = plays["game_id"].combine_chunks().dictionary_encode()
    codes = ids.indices.to_numpy()
    order = np.argsort(codes, kind="stable")  # groups the rows by game, in file order
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    elapsed = plays["elapsed_s"].to_numpy()[order]
    home_score = plays["home_score"].to_numpy()[order]
    away_score = plays["away_score"].to_numpy()[order]
    no_away = plays["away"].is_null().to_numpy()[order]
    names = plays.select(["type", "home", "away", DATE, NEUTRAL]).take(order[starts]).to_pylist()
    recorded = _recorded(plays, order)

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
            day, home, away = game_date(game_id, team[DATE]), team_code(team["home"]), team_code(team["away"])
        except ValueError as error:
            raise DataError(f"{source}: game {game_id}: {error}") from None
        differentials = slots(scores, REGULATION_MINUTES)
        final = scores[-1].home - scores[-1].away
        live, total = recorded_scoring(columns[0], recorded[rows]) if recorded else scoring_of(scores, team[NEUTRAL])
        kept = () if total == UNKNOWN or recorded else tuple(scores)
        games.append(_Game(game_id, season, day, team["type"], home, away, differentials, final, live, total, kept))
    if not games:
        raise DataError(f"{source}: holds no complete game")
    return games


def _recorded(plays: pa.Table, order: NDArray[np.intp]) -> list[tuple[float, ...]]:
    """Return the live inputs of each row, NaN where null, in the given order; empty if none was recorded."""
    if all(plays[name].null_count == len(plays) for name in RECORDED):
        return []
    columns = [plays[name].fill_null(np.nan) for name in _LIVE_COLUMNS]
    return list(zip(*(column.to_numpy()[order].tolist() for column in columns), strict=True))


def season_name(season: int) -> str:
    """Return the NBA's name of the season that ends in a year: "2024-25" for 2025."""
    return f"{season - 1}-{season % 100:02d}"


def parse_seasons(text: str) -> tuple[int, ...]:
    """Parse seasons into the years in which they end, ascending and without duplicates.

    Args:
        text: comma-separated parts: a year such as "2015", a range such as "2015-2021", or "2024-25" as the NBA writes
            it.

    Raises:
        ValueError: if a part is none of these.
    """
    seasons = set[int]()
    for part in map(str.strip, text.split(",")):
        match = _SEASONS.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is neither a season such as 2015 or 2014-15 nor a range such as 2015-2021")
        first, last = int(match[1]), match[2] or match[1]
        if len(last) == 2:
            first += 1
            if season_name(first) != part:
                raise ValueError(f"{part!r} is not a season; did you mean {season_name(first)}?")
            last = str(first)
        if int(last) < first:
            raise ValueError(f"{part!r} is a backwards range")
        seasons.update(range(first, int(last) + 1))
    return tuple(sorted(seasons))


def ranges(seasons: list[int]) -> str:
    """Format ascending seasons in the syntax of `parse_seasons`: 2015-2017,2019."""
    runs = list[list[int]]()
    for season in seasons:
        if runs and season == runs[-1][-1] + 1:
            runs[-1].append(season)
        else:
            runs.append([season])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def split_seasons(games: Games, train: Sequence[int], calibrate: Sequence[int]) -> tuple[Games, Games]:
    """Return the training games and the calibration games.

    Raises:
        DataError: if the parts share a season, one of them is empty, a season has no game, or a calibration game is
            not later than all training games.
    """
    if shared := sorted(set(train) & set(calibrate)):
        seasons = ", ".join(map(str, shared))
        raise DataError(f"{seasons}: calibrating on training games would make the intervals too narrow")
    if not train or not calibrate:
        raise DataError("expected at least one training season and one calibration season")
    for season in (*train, *calibrate):
        if not (games.season == season).any():
            raise DataError(f"no games of season {season}")
    to_train, to_calibrate = games.of_seasons(train), games.of_seasons(calibrate)
    if (first := to_calibrate.date.min()) <= (last := to_train.date.max()):
        raise DataError(
            f"the calibration games begin on {first}, the training games end on {last}: calibrate on later games, like"
            " those to be forecast"
        )
    return to_train, to_calibrate


def hold_out_last(dates: NDArray[np.datetime64], share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks of the earlier games and of the last ones, about `share` of all; a day's games stay together.

    Args:
        dates: (n,), ascending, datetime64[D].
        share: share of the games to hold out, in (0, 1).

    Returns:
        Two complementary masks, (n,) each.

    Raises:
        DataError: if one side would be empty.
    """
    cut = min(round(len(dates) * (1 - share)), len(dates) - 1)
    earlier = dates < dates[cut:][:1]
    if not earlier.any():
        raise DataError(f"{len(dates)} games are on too few days to hold out the last {share:.0%}")
    return earlier, ~earlier
