"""What a notifier knows of a game, when each kind of rule holds, and the text of its notification.

A rule of a game looks at what is current only: a state or a forecast of more than two minutes ago tells nothing about
now. So a moment that passed while no notifier ran, or while the server was away, is not told afterwards, unless it
still holds. A final stays true, and is told up to an hour after it was reported. A swing or a half that was told and
then corrected is followed by one correction.

A silent feed or poller is reported once. A live game's state is published again every 15 seconds while a poller reads
the feed. Once these states are old, the report of the poller to the server tells which of the two is silent. Games that
should have begun are published rarely: their silence shows only by a report, which one of several servers has. A
silence begins with the newest state of a live game, or else with the tip-off that passed, so all notifiers give it the
same id.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.ops.v1.operations_service_pb2 import FeedStatus
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, LATE_REASON_UNSPECIFIED, Forecast
from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu.v1.record_pb2 import Outcome, RecordedPrediction
from dejavu_client.formatting import (
    after_overtime,
    chance,
    clock,
    elapsed_seconds,
    lead_text,
    outcome_range,
    percent,
    play_time,
    pluralize,
    seconds_text,
)
from dejavu_common.shown_text import visible
from dejavu_poller.notify import rules

MAX_READ: Final = 1000
"""Maximum number of recorded forecasts that are read of a game."""

_HALF: Final = 24
"""Minute of play of the forecast that a final is compared with."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of the intervals of a game's final.

    Attributes:
        forecasts: number of minutes with a forecast that counts.
        covered: number of them whose interval held.
        reference: the forecast at half-time or, without one, the last before it; None without.
        reference_covered: whether its interval held.
    """

    forecasts: int
    covered: int
    reference: Forecast | None
    reference_covered: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A rule that holds for a game.

    Attributes:
        title, text: title and text of its notification.
        forecast: the forecast for which it holds; None if a correction of none would change it.
        before: the win probability of the home team from which it swung.
    """

    title: str
    text: str
    forecast: Forecast | None = None
    before: float = 0.0


class Told(NamedTuple):
    """A rule that was told, and the game then: its teams and score (home, away)."""

    found: Found
    teams: tuple[str, str]
    score: tuple[int, int]


@dataclass(slots=True)
class GameView:
    """A game.

    Attributes:
        game_id: its id.
        published: its newest published state; None if there is none.
        final: newest forecast of the end; None if there is none.
        half: newest forecast of the half; None if there is none.
        course: win probabilities by seconds of play.
        outcome: outcome at the end; None if none is reported.
        judged: set with the outcome, if there are forecasts.
        was_read: whether the record was read.
        told: the rules that were told, by name.
        corrected: names of those of them whose correction was told.
    """

    game_id: str
    published: Game | None = None
    final: Forecast | None = None
    half: Forecast | None = None
    course: dict[float, float] = field(default_factory=dict)
    outcome: Outcome | None = None
    judged: Judged | None = None
    was_read: bool = False
    told: dict[str, Told] = field(default_factory=dict)
    corrected: set[str] = field(default_factory=set)

    @property
    def teams(self) -> tuple[str, str]:
        """Home and away team; empty if not known."""
        for source in (self.final, self.half, self.published, self.outcome):
            if source is not None and source.home_team:
                return _teams(source)
        return "", ""

    @property
    def state(self) -> Game | None:
        """The newest published state; None if there is none, or if its teams are not those of the forecasts."""
        state = self.published
        return state if state is not None and _teams(state) == self.teams else None

    @property
    def score(self) -> tuple[int, int]:
        """The newest published score (home, away); 0 and 0 if there is none."""
        return (0, 0) if self.state is None else (self.state.home_score, self.state.away_score)

    def add(self, forecast: Forecast) -> None:
        """Note a recorded forecast. One that was late does not count, and one before the newest is only a chance."""
        if forecast.late != LATE_REASON_UNSPECIFIED:
            return
        standing = self.final or self.half
        if standing is not None and _teams(forecast) != _teams(standing):
            if forecast.sequence < standing.sequence:
                return
            # The feed corrected the teams: probabilities of before are not those of the same side.
            self.final = self.half = None
            self.course.clear()
        if forecast.horizon == HORIZON_HALFTIME:
            if self.half is None or forecast.sequence > self.half.sequence:
                self.half = forecast
            return
        self.course[elapsed_seconds(forecast)] = forecast.home_lead_probability
        if self.final is None or forecast.sequence > self.final.sequence:
            self.final = forecast

    async def read(self, record: AsyncIterable[RecordedPrediction]) -> None:
        """Note what the record has of the end of the game, newest first."""
        recorded = list[RecordedPrediction]()
        async for each in record:
            recorded.append(each)
            if len(recorded) == MAX_READ:
                break
        for each in recorded:
            self.add(each.forecast)
        if recorded and recorded[0].HasField("outcome"):
            self.outcome = recorded[0].outcome
            self.judged = _judged(recorded)
        self.was_read = True


def _teams(of: Game | Forecast | Outcome) -> tuple[str, str]:
    return of.home_team, of.away_team


def _judged(recorded: list[RecordedPrediction]) -> Judged:
    minutes = {
        each.forecast.elapsed_minutes: each
        for each in reversed(recorded)
        if each.HasField("settlement")
        and not each.superseded
        and not each.forecast.HasField("moment")
        and each.forecast.late == LATE_REASON_UNSPECIFIED
        and each.forecast.horizon == HORIZON_FINAL
        and _teams(each.forecast) == _teams(each.outcome)
    }
    until_half = [minute for minute in minutes if minute <= _HALF]
    reference = minutes[max(until_half)] if until_half else None
    return Judged(
        forecasts=len(minutes),
        covered=sum(each.settlement.covered for each in minutes.values()),
        reference=None if reference is None else reference.forecast,
        reference_covered=reference is not None and reference.settlement.covered,
    )


CURRENT: Final = timedelta(minutes=2)
"""Age up to which a state or a forecast is current."""

_LEFT_OF_A_SWING: Final = 0.5
"""Share of a swing that a correction must leave, or it is none any more."""

FINAL_CURRENT: Final = timedelta(hours=1)
"""Age up to which a final is told."""


class Message(NamedTuple):
    """What is told.

    Attributes:
        id: id, equal in all notifiers with the same name.
        rule: name of the rule.
        kind: kind of the rule.
        title: one short line.
        text: one line; not known to be better than the market, nor advice.
        time: when it was found, aware.
        game_id: id of the game; empty if it is of no game.
        link: address of the game on the page; empty if none is known.
        values: numbers and teams by name.
    """

    id: str
    rule: str
    kind: str
    title: str
    text: str
    time: datetime
    game_id: str = ""
    link: str = ""
    values: Mapping[str, str | float] = MappingProxyType({})


def message(rule: rules.GameRule | rules.SilenceRule, found: Found, name: str, subject: str, now: datetime) -> Message:
    """Return a message without a game.

    Args:
        rule: the rule that holds.
        found: title and text.
        name: name of the notifiers.
        subject: what the rule is told once for.
        now: the time, aware.
    """
    title, text = (visible(each, line=True) for each in (found.title, found.text))
    return Message(f"{name}/{rules.rule_name(rule)}/{subject}", rules.rule_name(rule), rule.kind, title, text, now)


def correction(rule: rules.GameRule, told: Told, game: GameView, now: datetime) -> Found | None:
    """Return title and text of the correction of a swing or a half that was told; None if it stands.

    A forecast is corrected by a revision of its second of play, by points that were taken back, or by exchanged teams;
    a swing only if less than half of it is left.

    Args:
        rule: the rule.
        told: what was told.
        game: the game.
        now: the time by the server's clock, aware.
    """
    was = told.found.forecast
    is_half = isinstance(rule, rules.HalfReadyRule)
    newest = _current(game.half if is_half else game.final, now)
    if was is None or newest is None or newest.sequence <= was.sequence:
        return None
    read = None if game.state is None else game.state.observed_time
    is_lower = any(score < before for score, before in zip(game.score, told.score, strict=True))
    is_taken_back = read is not None and is_lower and newest.generated_time.ToNanoseconds() >= read.ToNanoseconds()
    is_exchanged = game.teams != told.teams
    if not (is_exchanged or is_taken_back or elapsed_seconds(newest) == elapsed_seconds(was)):
        return None
    if is_half:
        if _shown(newest) == _shown(was) and not is_exchanged:
            return None
        instead = lead_text(was.point_forecast, *told.teams)
        by = f"{lead_text(newest.point_forecast, *game.teams)} at the half, not {instead}"
        return Found(f"Corrected half forecast: {_title(game)}", f"{by}. {_interval_text(game, newest)}")
    home, earlier = newest.home_lead_probability, told.found.before
    swing = was.home_lead_probability - earlier
    if not is_exchanged and (home - earlier) / swing >= _LEFT_OF_A_SWING:
        return None
    team = told.teams[swing < 0]
    chances = chance(home if team == game.teams[0] else 1 - home)
    return Found(f"Corrected, no swing: {_title(game)}", f"{_score(game)}. {team} to win: {chances}.")


def _shown(forecast: Forecast) -> tuple[object, ...]:
    """Return the numbers of a forecast that a notification shows."""
    bounds = forecast.interval_lower, forecast.interval_upper
    return (*bounds, round(forecast.point_forecast, 1), chance(forecast.home_lead_probability))


def holds(rule: rules.GameRule, game: GameView, now: datetime) -> Found | None:
    """Return title and text of a rule that holds for a game now; None if it does not hold.

    Args:
        rule: the rule.
        game: the game.
        now: the time by the server's clock, aware.
    """
    home, away = game.teams
    if not home or (rule.teams and not {home, away} & set(rule.teams)):
        return None
    match rule:
        case rules.CloseLateRule():
            return _close_late(rule, game, now)
        case rules.SwingRule():
            return _swing(rule, game, now)
        case rules.UpsetRule():
            return _upset(rule, game, now)
        case rules.HalfReadyRule():
            return _half_ready(rule, game, now)
        case rules.FinalRule():
            return _final(game, now)


def values_of(rule: rules.GameRule, game: GameView, now: datetime) -> dict[str, str | float]:
    """Return the numbers of a game by name, for programs and templates.

    The forecast is the one that the rule tells, if it is current; a final has the outcome's score, and no forecast.
    """
    home, away = game.teams
    values: dict[str, str | float] = {"home_team": home, "away_team": away}
    if isinstance(rule, rules.FinalRule):
        if game.outcome is not None and game.outcome.HasField("total_points"):
            home_score = (game.outcome.total_points + game.outcome.differential) // 2
            values |= {"home_score": home_score, "away_score": game.outcome.total_points - home_score}
        return values
    if game.state is not None:
        values |= {"home_score": game.state.home_score, "away_score": game.state.away_score}
    half = isinstance(rule, rules.HalfReadyRule)
    if (forecast := _current(game.half if half else game.final, now)) is not None:
        values |= {
            "horizon": "half" if half else "final",
            "home_win_probability": round(forecast.home_lead_probability, 4),
            "point_forecast": round(forecast.point_forecast, 1),
            "interval_lower": forecast.interval_lower,
            "interval_upper": forecast.interval_upper,
        }
    return values


def _is_current(time: Timestamp, now: datetime, within: timedelta = CURRENT) -> bool:
    return now - time.ToDatetime(UTC) <= within


def _current(forecast: Forecast | None, now: datetime) -> Forecast | None:
    return forecast if forecast is not None and _is_current(forecast.generated_time, now) else None


def _close_late(rule: rules.CloseLateRule, game: GameView, now: datetime) -> Found | None:
    state = game.state
    if (
        state is None
        or state.status != GameStatus.GAME_STATUS_LIVE
        or state.period < 4
        or not state.HasField("seconds_left")
        or state.seconds_left > 60 * rule.minutes
        or abs(state.home_score - state.away_score) > rule.points
        or not _is_current(state.observed_time, now)
    ):
        return None
    text = f"{_score(game)} left."
    if (forecast := _current(game.final, now)) is not None:
        text += f" {_forecast_text(game, forecast)}"
    return Found(f"Close: {_title(game)}", text)


def _swing(rule: rules.SwingRule, game: GameView, now: datetime) -> Found | None:
    forecast = _current(game.final, now)
    if forecast is None:
        return None
    elapsed, home = elapsed_seconds(forecast), forecast.home_lead_probability
    earlier = [
        (before, then)
        for before, then in game.course.items()
        if 0 < elapsed - before <= 60 * rule.minutes and abs(home - then) >= rule.change
    ]
    if not earlier:
        return None
    before, then = max(earlier, key=lambda each: abs(home - each[1]))
    team = game.teams[home < then]
    first, last = (chance(value if home > then else 1 - value) for value in (then, home))
    text = f"{_score(game)}. {team} to win: {first} → {last} in {(elapsed - before) / 60:.0f} minutes of play."
    return Found(f"Swing to {team}: {_title(game)}", f"{text} {_interval_text(game, forecast)}", forecast, then)


def _upset(rule: rules.UpsetRule, game: GameView, now: datetime) -> Found | None:
    forecast = _current(game.final, now)
    if forecast is None or not forecast.HasField("expected_margin"):
        return None
    margin, home = forecast.expected_margin, forecast.home_lead_probability
    other = 1 - home if margin > 0 else home
    if abs(margin) < rule.favorite_by or other < rule.probability or elapsed_seconds(forecast) < 60 * rule.from_minute:
        return None
    team = game.teams[margin > 0]
    text = f"{_score(game)}. {team} to win: {chance(other)}; {lead_text(margin, *game.teams)} was expected."
    return Found(f"Upset in the making: {_title(game)}", f"{text} {_interval_text(game, forecast)}")


def _half_ready(rule: rules.HalfReadyRule, game: GameView, now: datetime) -> Found | None:
    forecast = _current(game.half, now)
    if forecast is None or forecast.elapsed_minutes < rule.minute:
        return None
    text = f"After {play_time(forecast)}: {lead_text(forecast.point_forecast, *game.teams)} at the half."
    text += f" {game.teams[0]} to lead: {chance(forecast.home_lead_probability)}."
    return Found(f"Half forecast: {_title(game)}", f"{text} {_interval_text(game, forecast)}", forecast)


def _final(game: GameView, now: datetime) -> Found | None:
    outcome, judged = game.outcome, game.judged
    if outcome is None or outcome.withdrawn or not _is_current(outcome.recorded_time, now, FINAL_CURRENT):
        return None
    home, away = game.teams
    score = ""
    if outcome.HasField("total_points"):
        home_score = (outcome.total_points + outcome.differential) // 2
        score = f" ({away} {outcome.total_points - home_score}, {home} {home_score})"
    text = f"{lead_text(outcome.differential, *game.teams, digits=0)}{score}{after_overtime(outcome)}."
    if judged is not None and judged.reference is not None:
        held = "held" if judged.reference_covered else "did not hold"
        when = f" from {play_time(judged.reference)}"
        text += f" {_interval_text(game, judged.reference, when)[:-1]}, {held};"
        text += f" held in {judged.covered} of {judged.forecasts} minutes."
    return Found(f"Final: {_title(game)}", text)


def _title(game: GameView) -> str:
    home, away = game.teams
    return f"{away} @ {home}"


def _score(game: GameView) -> str:
    if game.state is None:
        return _title(game)
    home, away = game.teams
    score = f"{away} {game.state.away_score}, {home} {game.state.home_score}"
    if game.state.status != GameStatus.GAME_STATUS_LIVE or not game.state.HasField("seconds_left"):
        return score
    return f"{score}, {clock(game.state.period, game.state.seconds_left)}"


def _forecast_text(game: GameView, forecast: Forecast) -> str:
    lead = f"{game.teams[0]} to win: {chance(forecast.home_lead_probability)} ({play_time(forecast)})."
    return f"{lead} {_interval_text(game, forecast)}"


def _interval_text(game: GameView, forecast: Forecast, when: str = "") -> str:
    interval = outcome_range(forecast.interval_lower, forecast.interval_upper)
    return f"{percent(forecast.coverage_probability)} interval{when}: {game.teams[0]} {interval}."


_LATE_START: Final = timedelta(minutes=15)
"""Time after tip-off at which a game should have begun."""

_OLDEST: Final = timedelta(hours=2)
"""Length of a silence from which it is not told any more."""


def silence(
    rule: rules.SilenceRule, games: Collection[Game], reported: Collection[FeedStatus], now: datetime
) -> tuple[str, Found] | None:
    """Return the beginning of a silence, as text, with title and text of its notification; None if there is none.

    Publishers are judged one by one, by what they themselves report: nobody else says that a poller or its feed works.

    Args:
        rule: the rule.
        games: the published games.
        reported: the feeds that pollers reported to the server.
        now: the time by the server's clock, aware.
    """
    for publisher in sorted({game.published_by for game in games}):
        published = [game for game in games if game.published_by == publisher]
        own = [feed for feed in reported if feed.reported_by == publisher]
        if (found := _silence_of(rule, published, own, now)) is not None:
            return found
    return None


def _silence_of(
    rule: rules.SilenceRule, games: Collection[Game], feeds: Collection[FeedStatus], now: datetime
) -> tuple[str, Found] | None:
    """Return the silence of one publisher, given its games and its reports."""
    # A game that stayed live when its poller died, the evening before, says nothing about this evening.
    live = [game for game in games if game.status == GameStatus.GAME_STATUS_LIVE and now - _read(game) <= _OLDEST]
    due = [game for game in games if game.status == GameStatus.GAME_STATUS_SCHEDULED and _is_due(game, now)]
    if not live and not due:
        return None
    newest = max(map(_read, live or games))
    if now - newest > _OLDEST or (now - newest).total_seconds() <= rule.seconds or not (live or feeds):
        return None
    reported = min((each.report_age_seconds for each in feeds), default=float("inf"))
    read = min((each.read_age_seconds for each in feeds), default=float("inf"))
    poller_is_silent = reported > rule.seconds
    if poller_is_silent != isinstance(rule, rules.PollerSilentRule) or read <= rule.seconds:
        return None
    begun = f"{int((newest if live else min(game.tip_off_time.ToDatetime(UTC) for game in due)).timestamp())}"
    counts = ((live, "in play"), (due, "past tip-off"))
    games_text = " and ".join(f"{pluralize(len(found), 'game')} {where}" for found, where in counts if found)
    since = seconds_text((now - newest).total_seconds())
    text = f"{games_text}; the newest state is {since} old."
    if poller_is_silent:
        return begun, Found("No poller reports", text)
    return begun, Found("The feed is silent", f"{text} The poller runs.")


def _read(game: Game) -> datetime:
    return game.observed_time.ToDatetime(UTC)


def _is_due(game: Game, now: datetime) -> bool:
    return game.HasField("tip_off_time") and _LATE_START <= now - game.tip_off_time.ToDatetime(UTC) <= _OLDEST
