"""Player ratings from box scores, and the effect of the players of a game on its margin.

A rating is an adjusted plus-minus (Rosenbaum, Measuring how NBA players help their teams win, 2004), filtered game by
game: a player's plus-minus is compared with its expectation from the ratings of all players on court, and each rating
is updated separately, as if the others were known (a Kalman filter with a diagonal covariance). Part of a game's
surprise is attributed to the team instead of the player, and is left to the teams' ratings. A player's worth also has a
part for his minutes, since coaches give better players more minutes.

A team's usual line-up consists of its players' usual shares of minutes. In a game, players not yet seen are expected to
play as often as similar players did in earlier seasons. The margin changes by the difference between the expected and
the usual line-up, and by the value of the usual line-ups beyond the teams' results, as after a trade.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Self

import numpy as np

from dejavu_feed.box_score import MARKS, STARTERS, Lineups, PlayerLine, lines_of_team, mark_of
from dejavu_feed.teams import TEAMS
from dejavu_models.arrays import Floats, check_array, from_npz, to_npz

# Chosen on the seasons 2016 to 2019 (docs/decisions/0071-who-plays.md).
_VARIANCE: Final = 6.0
"""Variance of the ratings of players, and of a new one, in points squared per 48 minutes."""
_NOISE: Final = 160.0
"""Variance of a plus-minus of 48 minutes, in points squared."""
_CARRY: Final = 0.95
"""Share of a rating that is carried into the next season."""
_TEAM_SHARE: Final = 0.5
"""Share of a game's surprise that is the team's."""
_MINUTES_WORTH: Final = 7.0
"""Points per 48 minutes that a player's worth gains if he plays 48 minutes a game."""
_NEW_MINUTES: Final = 0.15
"""Share of a game that a new player is expected to play."""
_MINUTES_PACE: Final = 0.06
_USUAL_PACE: Final = 0.06
_STARTS_PACE: Final = 0.15
"""Weights of the newest game in the means of minutes, usual shares, and starts."""
_USUAL_CARRY: Final = 0.4
"""Share of the usual shares that is carried into the next season."""
_EARLY_GAMES: Final = 4
"""Weight of the usual shares of the earlier season, in games."""
_HOME: Final = 2.5
"""Home advantage in the expectation of a plus-minus, in points per 48 minutes."""
_LEAST_SHARE: Final = 0.004
"""Least usual share of a player of the usual line-up."""

MAX_MISSING: Final = 12.0
"""Largest effect of missing players, in points. In 2014 to 2019, effects up to this were as expected; ten games had
larger ones (docs/decisions/0071-who-plays.md)."""
MAX_USUAL: Final = 8.0
"""Largest effect of the usual line-ups, in points; in 2014 to 2024 it was within 7."""
KNOWN_AFTER: Final = 3
"""Games of the season that both teams need before line-ups affect the margin."""
MAX_RATED: Final = 2000
"""Maximum number of rated players; a further one replaces another (`_with_room`). A season has 600."""
_MAX_RATING: Final = 100.0
"""Bound of a rating, in points per 48 minutes; those of a bundle are within 10."""

SHAPE: Final = (len(MARKS), 7, 2, 4)
"""Shape of the probabilities to play: mark, minutes in steps of 6, usual starter or not, availability in quarters."""


_CODES: Final = tuple(TEAMS)


class PlayerRating(NamedTuple):
    """Rating and usual minutes of a player.

    Attributes:
        team: NBA code of the team of his newest game.
        rating: in points per 48 minutes on court with average players, without the part for his minutes.
        variance: of the rating, in points squared.
        minutes: mean share of a game in the games that he plays.
        starts: mean share of the games that he starts.
        usual: mean share of the minutes of his team's games, including those that he misses.
        season: season of his newest game, as the year in which it ends.
    """

    team: str
    rating: float
    variance: float
    minutes: float
    starts: float
    usual: float
    season: int

    @property
    def worth(self) -> float:
        """Rating with the part for his minutes, in points per 48 minutes."""
        return self.rating + _MINUTES_WORTH * self.minutes


_NEW: Final = PlayerRating("", 0.0, _VARIANCE, _NEW_MINUTES, 0.0, 0.0, 0)


class LineupDifferences(NamedTuple):
    """Values of the line-ups of one or more games, in points, home − away.

    Attributes:
        missing: expected line-ups minus usual ones.
        usual: usual line-ups.
    """

    missing: Floats | float
    usual: Floats | float


class LineupWeights(NamedTuple):
    """Coefficients of line-ups in the expected margin.

    Attributes:
        missing: of the difference between expected and usual line-ups, in points per point.
        usual: of the difference of the usual line-ups of home and away.
        margin: of the margin without players.
    """

    missing: float = 0.0
    usual: float = 0.0
    margin: float = 0.0

    def points(self, differences: LineupDifferences, margin: Floats | float) -> LineupDifferences:
        """Return the effects of line-ups on margins, in points, limited by MAX_MISSING and MAX_USUAL.

        Args:
            differences: of the line-ups; NaN where they are not known.
            margin: the margins without players, in points; broadcast against each difference.
        """
        usual = self.usual * differences.usual + self.margin * margin
        return LineupDifferences(
            np.clip(self.missing * differences.missing, -MAX_MISSING, MAX_MISSING),
            np.clip(usual, -MAX_USUAL, MAX_USUAL),
        )


NO_WEIGHTS: Final = LineupWeights()


@dataclass(frozen=True, slots=True, eq=False)
class PlayerRatings:
    """Ratings of players after some game; immutable.

    Attributes:
        players: by the NBA's id.
        games: NBA code → games of the season with a box score.
        season: the newest season, as the year in which it ends; 0 before the first game.
        plays: probability that a player who has not been seen plays, of SHAPE.
        weights: coefficients for the expected margin.
    """

    players: Mapping[int, PlayerRating] = field(default_factory=dict)
    games: Mapping[str, int] = field(default_factory=dict)
    season: int = 0
    plays: Floats = field(default_factory=lambda: np.full(SHAPE, 0.5))
    weights: LineupWeights = NO_WEIGHTS
    _usual: Mapping[str, Sequence[tuple[int, PlayerRating]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        usual: dict[str, list[tuple[int, PlayerRating]]] = {code: [] for code in _CODES}
        for number, known in sorted(self.players.items()):
            if known.usual > 0:
                usual[known.team].append((number, known))
        object.__setattr__(self, "_usual", usual)

    def after(self, home: str, away: str, season: int, differential: float, lines: Sequence[PlayerLine]) -> Self:
        """Return the ratings after a game; unchanged without lines, or for a game of an earlier season.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            season: the year in which the season ends.
            differential: final, home − away, in points.
            lines: the lines of both teams.
        """
        if not lines or season < self.season:
            return self
        state, shares = self.before(season), _shares(lines)
        teams, players = (home, away), _with_room(state.players, shares)
        worth = {line.player: players.get(line.player, _NEW).worth for line in lines}
        totals = [
            sum(shares[line.player] * worth[line.player] for line in lines if line.home is is_home)
            for is_home in (True, False)
        ]
        surprise = differential - (totals[0] - totals[1] + _HOME)
        for line in sorted(lines, key=lambda line: line.player):
            mine, other, sign = (*totals, 1.0) if line.home else (totals[1], totals[0], -1.0)
            share, own = shares[line.player], worth[line.player]
            others = 4 * (mine - share * own) / (STARTERS - share)
            expected = share * (own + others - other + sign * _HOME)
            known = players.get(line.player, _NEW)
            gain = known.variance / (share * known.variance + _NOISE)
            unexpected = line.plus_minus - expected - _TEAM_SHARE * share * sign * surprise
            team, started = teams[not line.home], float(line.started)
            players[line.player] = PlayerRating(
                team=team,
                rating=max(-_MAX_RATING, min(_MAX_RATING, known.rating + gain * unexpected)),
                variance=known.variance * (1 - gain * share),
                minutes=known.minutes + _MINUTES_PACE * (share - known.minutes) if known.season else share,
                starts=known.starts + _STARTS_PACE * (started - known.starts) if known.season else started,
                usual=known.usual if known.team == team else 0.0,
                season=season,
            )
        games = {**state.games, **{team: state.games.get(team, 0) + 1 for team in teams}}
        for number, known in players.items():
            if known.team in teams and (known.usual or number in shares):
                pace = max(_USUAL_PACE, 1 / (games[known.team] + _EARLY_GAMES))
                usual = known.usual + pace * (shares.get(number, 0.0) - known.usual)
                kept = usual if usual >= _LEAST_SHARE or number in shares else 0.0
                players[number] = known._replace(usual=kept)
        return replace(state, players=players, games=games)

    def before(self, season: int) -> Self:
        """Return the ratings before the first game of a season; unchanged if it is not later than theirs."""
        if season <= self.season:
            return self
        if not self.season:
            return replace(self, season=season)
        if season > self.season + 2:  # the ratings of all players have expired
            return replace(self, players={}, games={}, season=season)
        if season > self.season + 1:  # a missed season counts as a change of season too
            return self.before(self.season + 1).before(season)
        players = {
            number: known._replace(
                rating=known.rating * _CARRY,
                variance=min(_VARIANCE, known.variance * _CARRY**2 + _VARIANCE * (1 - _CARRY**2)),
                usual=known.usual * _USUAL_CARRY,
            )
            for number, known in self.players.items()
            if known.season >= self.season - 1  # a player who missed a season may come back
        }
        return replace(self, players=players, games={}, season=season)

    def knows(self, home: str, away: str, season: int) -> bool:
        """Return whether both teams have at least KNOWN_AFTER games of a season with a box score."""
        return season == self.season and min(self.games.get(home, 0), self.games.get(away, 0)) >= KNOWN_AFTER

    def differences(self, home: str, away: str, lineups: Lineups) -> LineupDifferences:
        """Return the values of the line-ups of a game, in points, home − away.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            lineups: players on court so far.
        """
        mark = mark_of(lineups.minute)
        of_home, of_away = self._of_team(home, lineups.home_seen, mark), self._of_team(away, lineups.away_seen, mark)
        return LineupDifferences(of_home.missing - of_away.missing, of_home.usual - of_away.usual)

    def missing(self, team: str, seen: Iterable[int]) -> int:
        """Return the number of a team's five players with the most usual minutes who have not been seen."""
        five = sorted(self._usual[team], key=lambda each: (-each[1].usual, each[0]))[:STARTERS]
        return len({number for number, _ in five} - set(seen))

    def usual(self, team: str) -> Sequence[tuple[int, PlayerRating]]:
        """Return the players of a team's usual line-up, in ascending order of their ids."""
        return self._usual[team]

    def _of_team(self, team: str, seen: Sequence[int], mark: int) -> LineupDifferences:
        line_up, there = self.usual(team), set(seen)
        expected = [(self.players.get(number, _NEW), 1.0) for number in seen]
        expected += [
            (known, float(self.plays[mark, *place_of(known)])) for number, known in line_up if number not in there
        ]
        usual = _mean((known.usual, known.worth) for _, known in line_up)
        return LineupDifferences(
            _mean((known.minutes * plays, known.worth) for known, plays in expected) - usual, usual
        )

    def to_bytes(self) -> bytes:
        """Serialize the ratings to a .npz file."""
        ids = sorted(self.players)
        rows = [self.players[number] for number in ids]
        columns = {name: np.array([getattr(each, name) for each in rows], np.float64) for name in _NUMBERS}
        return to_npz(
            player=np.array(ids, np.int64),
            team=np.array([_CODES.index(each.team) for each in rows], np.int64),
            **columns,
            games=np.array([self.games.get(code, 0) for code in _CODES], np.int64),
            newest_season=np.array(self.season, np.int64),
            plays=self.plays,
            weights=np.array(self.weights),
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is invalid.
        """
        columns = from_npz(content)
        ids, teams, games = columns["player"], columns["team"], columns["games"]
        numbers = np.stack([columns[name] for name in _NUMBERS])
        plays, weights = columns["plays"], columns["weights"]
        if not 1 <= len(ids) <= MAX_RATED:
            raise ValueError(f"it holds {len(ids)} players; expected 1 to {MAX_RATED}")
        check_array("its ids", ids, np.integer, (len(ids),), 1, np.inf)
        check_array("its teams", teams, np.integer, ids.shape, 0, len(_CODES) - 1)
        if (np.diff(ids) <= 0).any():
            raise ValueError("its players must be in ascending order")
        most = _MAX_RATING, _VARIANCE, STARTERS, 1, STARTERS, 9999
        for name, column, bound in zip(_NUMBERS, numbers, most, strict=True):
            check_array(f"its {name}", column, np.floating, ids.shape, -bound if name == "rating" else 0, bound)
        newest_season = int(columns["newest_season"])
        if numbers[-1].max() > newest_season:
            raise ValueError(f"its players must be of no later season than its newest, {newest_season}")
        check_array("its games a team", games, np.integer, (len(_CODES),), 0, 200)
        check_array("its probabilities", plays, np.floating, SHAPE, np.nextafter(0, 1), 1)
        check_array("its weights", weights, np.floating, (3,), -2, 2)
        rows = [
            PlayerRating(_CODES[team], rating, variance, minutes, starts, usual, int(newest))
            for team, (rating, variance, minutes, starts, usual, newest) in zip(
                teams.tolist(), numbers.T.tolist(), strict=True
            )
        ]
        return cls(
            dict(zip(ids.tolist(), rows, strict=True)),
            {code: count for code, count in zip(_CODES, games.tolist(), strict=True) if count},
            newest_season,
            plays,
            LineupWeights(*weights.tolist()),
        )


_NUMBERS: Final = PlayerRating._fields[1:]


def place_of(known: PlayerRating) -> tuple[int, int, int]:
    """Return the indices of a player in the probabilities to play, after that of the mark; see SHAPE."""
    available = min(1.0, known.usual / max(known.minutes, 1e-6))
    return min(int(known.minutes * 8), SHAPE[1] - 1), int(known.starts > 0.5), int(available * (SHAPE[3] - 0.001))


def _with_room(players: Mapping[int, PlayerRating], seen: Iterable[int]) -> dict[int, PlayerRating]:
    """Drop players, those of the oldest season and the least usual first, so that those of a game fit in MAX_RATED."""
    others = players.keys() - set(seen)
    excess = len(others) + len(set(seen)) - MAX_RATED
    if excess <= 0:
        return dict(players)
    dropped = set(heapq.nsmallest(excess, others, key=lambda each: (players[each].season, players[each].usual, each)))
    return {number: known for number, known in players.items() if number not in dropped}


def _shares(lines: Sequence[PlayerLine]) -> dict[int, float]:
    """Return the share of the game that each player was on court; those of a team sum to STARTERS."""
    result = {}
    for is_home in (True, False):
        of_team = lines_of_team(lines, home=is_home)
        total = sum(line.seconds for line in of_team)
        result.update({line.player: STARTERS * line.seconds / total for line in of_team})
    return result


def _mean(weighted: Iterable[tuple[float, float]]) -> float:
    """Return the worth of a line-up of STARTERS in points, from (weight, worth) of its players; 0 without any."""
    weight = worth = 0.0
    for share, each in weighted:
        weight, worth = weight + share, worth + share * each
    return STARTERS * worth / weight if weight else 0.0
