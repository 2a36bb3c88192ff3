"""Ratings that start where a bundle's ratings end and advance with reported finals, and the schedule of the season.

Online state of a model: live ratings and interval trackers, updated by the outcomes in a ledger.

A forecaster uses one online state at a time; the state records its ledger sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, NamedTuple, Self

from dejavu_feed.box_score import PlayerLine
from dejavu_feed.off_season import playing_days
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import CODES, MAX_RATINGS_DAYS, RatingFilter, TotalFilter
from dejavu_models.schedule import NO_TERMS, GameTerms, ScheduleHistory, TotalTerms, game_terms, total_terms
from dejavu_models.types import AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import Tracker

KNOWN_GAMES: Final = 10
"""Reported games of the season that both teams need before their expected margin counts as KNOWN instead of RATED.
With fewer games, a rating is mostly the bundle's own."""


class GameResult(NamedTuple):
    """Result of a finished game.

    Attributes:
        home, away: NBA codes.
        season: the year in which the season ends.
        day: local date.
        differential: final, home − away, in points.
        is_playoffs: whether it is of the play-in or the playoffs.
        total: final, home + away, in points; None if it is not known.
        neutral_site: whether it was at a neutral site; None to decide by the list in `dejavu_feed.sites`.
        box_score: lines of the players; empty if unknown.
    """

    home: str
    away: str
    season: int
    day: date
    differential: float
    is_playoffs: bool = False
    total: float | None = None
    neutral_site: bool | None = None
    box_score: tuple[PlayerLine, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveRatings:
    """Team ratings that start at a bundle's and are updated by reported results; immutable.

    Attributes:
        filter: state of the rating filter.
        since: local date of the last game included in the bundle's own ratings.
        games: NBA code → number of reported games of the filter's season; teams without any are omitted. Reported games
            that the bundle's ratings include count as well: for a bundle made during a season, they tell how well its
            ratings know a team.
        finals: number of reported games by which the filter was updated, of all seasons.
        unseen: NBA code → date on which the knowledge of the team ends, before a gap (see `after`); without the teams
            that have had a result since, and empty without a gap.
        seen: NBA code → local date of the newest result of the team; teams without any are known up to `since`.
        earlier: NBA code → the team's date in `seen` (else `since`) before its first result of the filter's season;
            teams without such a result are omitted.
    """

    filter: RatingFilter
    since: date
    games: Mapping[str, int] = field(default_factory=dict)
    finals: int = 0
    unseen: Mapping[str, date] = field(default_factory=dict)
    seen: Mapping[str, date] = field(default_factory=dict)
    earlier: Mapping[str, date] = field(default_factory=dict)

    @classmethod
    def start(cls, ratings: RatingFilter) -> Self:
        """Create the state before the first result, from a bundle's ratings.

        Raises:
            ValueError: if the ratings include no game.
        """
        return cls(ratings, ratings.newest)

    @property
    def newest(self) -> date:
        """Local date of the newest game included."""
        return self.filter.newest

    def after(self, result: GameResult, terms: GameTerms = NO_TERMS) -> Self:
        """Return the state after a result.

        The terms come from `RatedSchedule.after`; by default the game has none.

        Games of an earlier season are ignored. Games on or before `since`, which the filter already includes, are only
        added to the number of games. A game reported late is applied at the newest date seen, so the date never moves
        backwards.

        A result more than MAX_RATINGS_DAYS after the newest one, summers not counted, leaves a gap: after it, only
        teams with a new result are known. The other teams have played unseen games, about which this result says next
        to nothing.

        Raises:
            KeyError: if a team is not an NBA code.
        """
        state = self.filter
        if state.season is not None and result.season < state.season:
            return self
        games = self.games if result.season == state.season else {}
        if result.day <= self.since:
            return replace(self, games=_counted(games, result)) if result.season == state.season else self
        state = state.predict(result.season, result.day)
        updated = state.update(result.home, result.away, result.differential, terms)
        seen = {code: self.seen.get(code, self.since) for code in (result.home, result.away)}
        return replace(
            self,
            filter=updated,
            games=_counted(games, result),
            finals=self.finals + 1,
            unseen=self._unseen_after(result),
            seen={**self.seen, **{code: max(day, result.day) for code, day in seen.items()}},
            earlier={**self.earlier, **{code: day for code, day in seen.items() if code not in games}},
        )

    def _unseen_after(self, result: GameResult) -> Mapping[str, date]:
        newest, unseen = self.newest, dict(self.unseen)
        if playing_days(newest, result.day) > MAX_RATINGS_DAYS:
            unseen = {code: unseen.get(code, newest) for code in CODES}
        for code in {result.home, result.away} & unseen.keys():
            if playing_days(result.day, newest) <= MAX_RATINGS_DAYS:
                del unseen[code]
            else:  # a game from before or within the gap that was reported late
                unseen[code] = max(unseen[code], result.day)
        return unseen

    def finals_on(self, code: str, game_date: date | None) -> tuple[int, date | None]:
        """Return the number of a team's known finals in a game's season, and the date up to which it was known before.

        The date is None if the team is known only from these finals.
        """
        finals = 0 if self.filter.is_of_earlier_season(game_date) else self.games.get(code, 0)
        return finals, self.earlier.get(code) if finals else self.seen.get(code, self.since)


@dataclass(frozen=True, slots=True)
class LiveTotals:
    """Ratings of totals that start at a bundle's and are updated by reported totals; immutable.

    Attributes:
        filter: state of the filter of totals.
        games: NBA code → number of games of the filter's season with a reported total; without teams that have none.
    """

    filter: TotalFilter
    games: Mapping[str, int] = field(default_factory=dict)

    def after(self, result: GameResult, terms: TotalTerms | None) -> Self:
        """Return the state after a result that `LiveRatings` does not ignore; unchanged if its total is not known.

        Args:
            result: the result.
            terms: terms of its total; None if the filter includes it already: then it is only counted.
        """
        state = self.filter
        if result.total is None or (terms is None and result.season != state.season):
            return self
        games = self.games if result.season == state.season else {}
        if terms is not None:
            predicted = state.predict(result.season, result.day)
            state = predicted.update(result.home, result.away, result.total, terms)
        return replace(self, filter=state, games=_counted(games, result))


@dataclass(frozen=True, slots=True)
class RatedSchedule:
    """Ratings and the schedule of the season, which advance together: each result counts with its game's terms.

    Attributes:
        ratings: the ratings.
        schedule: games of the season, including reported games that the bundle's own ratings include: they count for
            the days after them.
        totals: the ratings of totals; None if the bundle has none.
        players: the ratings of players; None if the bundle has none.
        players_since: local date of the last game included in the bundle's ratings of players; None: that of `ratings`.
    """

    ratings: LiveRatings
    schedule: ScheduleHistory = field(default_factory=ScheduleHistory)
    totals: LiveTotals | None = None
    players: PlayerRatings | None = None
    players_since: date | None = None

    @classmethod
    def start(
        cls,
        ratings: RatingFilter,
        totals: TotalFilter | None = None,
        players: PlayerRatings | None = None,
        players_since: date | None = None,
    ) -> Self:
        """Create the state before the first result, from a bundle's ratings of teams and, if any, totals and players.

        Raises:
            ValueError: if the ratings include no game.
        """
        of_totals = None if totals is None else LiveTotals(totals)
        return cls(LiveRatings.start(ratings), totals=of_totals, players=players, players_since=players_since)

    def after(self, result: GameResult) -> Self:
        """Return the state after a result; its terms follow from the games reported before it. See `LiveRatings`.

        Raises:
            KeyError: if a team is not an NBA code.
        """
        schedule = self.schedule.before(result.day, result.home, result.away, neutral_site=result.neutral_site)
        terms = game_terms(schedule, result.home, is_playoffs=result.is_playoffs)
        ratings, totals = self.ratings.after(result, terms), self.totals
        if totals is not None and ratings is not self.ratings:
            is_new = ratings.finals > self.ratings.finals
            totals = totals.after(
                result, total_terms(schedule, result.home, is_playoffs=result.is_playoffs) if is_new else None
            )
        players = self.players
        # A refreshed bundle's ratings of teams are newer than those of players.
        if players is not None and result.day > (self.players_since or self.ratings.since):
            players = players.after(*result[:3], result.differential, result.box_score)
        return replace(
            self,
            ratings=ratings,
            schedule=self.schedule.after(result.day, result.home, result.away),
            totals=totals,
            players=players,
        )


def _counted(games: Mapping[str, int], result: GameResult) -> Mapping[str, int]:
    return {**games, **{code: games.get(code, 0) + 1 for code in (result.home, result.away)}}


def have_known_games(games: Mapping[str, int], home: str, away: str) -> bool:
    """Return whether both teams have at least KNOWN_GAMES of these games, by team."""
    return min(games.get(home, 0), games.get(away, 0)) >= KNOWN_GAMES


@dataclass(frozen=True, slots=True)
class OnlineState:
    """State that a forecaster uses in addition to its bundle.

    Attributes:
        sequence: ledger sequence of the newest outcome applied; 0 if none.
        mode: adaptation mode; None if adaptation is off.
        trackers: by horizon and quarter; without a tracker, intervals are those of the model as calibrated.
        rated: ratings and schedule of the season; None to use those of the bundle.
    """

    sequence: int = 0
    mode: AdaptationMode | None = None
    trackers: Mapping[tuple[Horizon, int], Tracker] = field(default_factory=dict)
    rated: RatedSchedule | None = None


INITIAL: Final = OnlineState()
