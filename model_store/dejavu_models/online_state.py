"""What the outcomes in a ledger have taught a model: ratings that advance with reported finals, intervals that adapt.

A forecaster answers by one set of lessons at a time, which says how far in the ledger it stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date
from typing import Final, NamedTuple, Self

import numpy as np

from dejavu_models.ratings import CODES, RatingFilter, Ratings, RatingSettings
from dejavu_models.types import AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import AdaptationMethod, ScoreMap, Tracker

KNOWN_GAMES: Final = 10
"""How many games of the season both teams must have had reported for their expected margin to count as carried from
game to game. Before that, what is known of a team is what its bundle knew."""

_FORMAT = 1


class GameResult(NamedTuple):
    """A game that has ended.

    Attributes:
        home, away: NBA codes.
        season: the year in which it ends.
        day: local date.
        differential: final, home − away, in points.
    """

    home: str
    away: str
    season: int
    day: date
    differential: float


@dataclass(frozen=True, slots=True)
class LiveRatings:
    """The teams' ratings, carried on from a bundle's by reported results. Each result gives a new one.

    Attributes:
        filter: the state of the ratings.
        since: local date of the last game that the bundle's own ratings count.
        games: NBA code → how many games of the filter's season were reported; a team without any is left out.
    """

    filter: RatingFilter
    since: date
    games: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def start(cls, ratings: RatingFilter) -> Self:
        """Before the first result: a bundle's ratings as they are.

        Raises:
            ValueError: if they are of no game.
        """
        return cls(ratings, ratings.ratings().date)

    def after(self, result: GameResult) -> Self:
        """Once a game has ended.

        Games that the bundle knows already and those of a season that is over change nothing. One that is told of late
        counts as if it were of the newest day known, so that the clock is never turned back.

        Raises:
            KeyError: if a team is no NBA code.
        """
        state = self.filter
        if result.day <= self.since or (state.season is not None and result.season < state.season):
            return self
        games = self.games if result.season == state.season else {}
        for season in range(state.season or result.season, result.season):
            state = state.at(season + 1)  # each season that nobody told of has drawn the teams together too
        day = np.datetime64(result.day)
        # `at` adds the days that strengths have wandered since; it is told of none if the day is not a later one.
        state = state.at(result.season, day if state.date is None or day > state.date else state.date)
        counted = {code: games.get(code, 0) + 1 for code in (result.home, result.away)}
        return replace(
            self,
            filter=state.after(result.home, result.away, result.differential),
            games={**games, **counted},
        )

    def ratings(self) -> Ratings:
        """The strengths as they stand."""
        return self.filter.ratings()

    def known(self, home: str, away: str) -> bool:
        """Whether both teams have had KNOWN_GAMES games of this season reported."""
        return min(self.games.get(home, 0), self.games.get(away, 0)) >= KNOWN_GAMES

    def to_bytes(self) -> bytes:
        """As JSON; equal ratings give equal bytes."""
        state = self.filter
        content = {
            "form": _FORMAT,
            "since": self.since.isoformat(),
            "games": {code: self.games[code] for code in sorted(self.games)},
            "settings": asdict(state.settings),
            "season": state.season,
            "date": str(state.date),
            "mean": state.mean.tolist(),
            "covariance": state.covariance.tolist(),
        }
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Back from `to_bytes`, to the last bit.

        Raises:
            ValueError: if it is not what that writes.
        """
        try:
            found = json.loads(content)
            if found["form"] != _FORMAT:
                raise ValueError(f"form {found['form']}; expected {_FORMAT}")
            mean, covariance = np.array(found["mean"], dtype=float), np.array(found["covariance"], dtype=float)
            size = len(CODES) + 1
            if mean.shape != (size,) or covariance.shape != (size, size):
                raise ValueError(
                    f"a mean of {mean.shape} and a covariance of {covariance.shape}; expected {size} teams"
                )
            return cls(
                RatingFilter(
                    RatingSettings(
                        **{each.name: float(found["settings"][each.name]) for each in fields(RatingSettings)}
                    ),
                    mean,
                    covariance,
                    None if found["season"] is None else int(found["season"]),
                    np.datetime64(date.fromisoformat(found["date"])),
                ),
                date.fromisoformat(found["since"]),
                {str(code): int(count) for code, count in found["games"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no state of ratings: {error!r}") from error


@dataclass(frozen=True, slots=True)
class OnlineState:
    """What a forecaster goes by beside its bundle.

    Attributes:
        sequence: place in the ledger of the newest outcome that went in; 0: none.
        mode: whether intervals follow; None: they do not adapt.
        method: how they adapt.
        trackers: by horizon and stage; without one, intervals are as the model was calibrated.
        ratings: None: as in the bundle.
    """

    sequence: int = 0
    mode: AdaptationMode | None = None
    method: AdaptationMethod = AdaptationMethod.PID
    trackers: Mapping[tuple[Horizon, int], Tracker] = field(default_factory=dict)
    ratings: LiveRatings | None = None


INITIAL: Final = OnlineState()


class IntervalAdapter:
    """A tracker as forecasts need it: each figure is computed once, as long as nothing new is learned.

    Args:
        tracker: what was learned.
        method: how intervals adapt.
    """

    def __init__(self, tracker: Tracker, method: AdaptationMethod) -> None:
        self.map: ScoreMap = tracker.map(method)
        self.games = len(tracker.recent)
        self._tracker = tracker
        self._method = method
        self._shares: dict[float, tuple[float | None, float | None]] = {}

    def rolling(self, alpha: float) -> tuple[float | None, float | None]:
        """The rolling coverage of intervals of an alpha: adapted, and as the model was calibrated."""
        shares = self._shares.get(alpha)
        if shares is None:
            tracker = self._tracker
            shares = tracker.rolling_coverage(alpha, self._method), tracker.static_rolling_coverage(alpha)
            if len(self._shares) < _ALPHAS_KEPT:
                self._shares[alpha] = shares
        return shares


_ALPHAS_KEPT = 64
"""For as many alphas are shares kept: whoever asks with others all the time must not fill the memory."""
