"""Formats a poller's events as lines for people and records for programs. Leads are home − away, in points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.model_service_pb2 import Model
from dejavu_client import formatting as fmt
from dejavu_client.requests import FINAL
from dejavu_client.transport.statistics import percentile
from dejavu_feed.files.prices import PricedMarket
from dejavu_feed.game_ids import is_replay
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_poller import events
from dejavu_poller.horizons import HORIZON_RULES, overtimes_by
from dejavu_poller.inputs import GameLine, GamePrices
from dejavu_poller.leadership import LeaderRole, Leadership
from dejavu_poller.predictor import ALPHA
from dejavu_poller.summary import HorizonSummary, Summary

LEGEND = "half, end, intervals: home − away, in points · score: away–home · persistence: the lead stays as it is"
"""Explains the values in the lines and the table."""


class Opening(NamedTuple):
    """What an evening begins with.

    Attributes:
        model: the server's active model; None if it is not known.
        games: number of games that the feed shows; None if it is not known.
    """

    model: Model | None
    games: int | None

    @property
    def weights(self) -> dict[str, tuple[float, float]]:
        """The least and the greatest weight of each component, over horizons, quarters and sources of the margin."""
        found: dict[str, list[float]] = {}
        for each in self.model.weights if self.model is not None else ():
            found.setdefault(each.component, []).append(each.weight)
        return {name: (min(weights), max(weights)) for name, weights in found.items()}


def opening_line(opening: Opening) -> str:
    """Describe what an evening begins with."""
    model = opening.model
    parts = ["model not known yet"]
    if model is not None:
        parts = [f"model {model.version[:12]}, database of {fmt.pluralize(model.past_games, 'past game')}"]
    if opening.weights:
        ends = {name: dict.fromkeys(f"{100 * end:.0f}" for end in each) for name, each in opening.weights.items()}
        parts.append(", ".join(f"{fmt.component_label(name)} {'–'.join(each)} %" for name, each in ends.items()))
    parts.append(f"alpha {ALPHA:g}")
    parts += [] if opening.games is None else [fmt.pluralize(opening.games, "game")]
    return " · ".join(parts)


def opening_record(opening: Opening, now: datetime) -> dict[str, Any]:
    """Return what an evening begins with as a JSON object."""
    model = opening.model
    return {
        "time": now.isoformat(timespec="milliseconds"),
        "event": "opening",
        "modelVersion": None if model is None else model.version,
        "pastGames": None if model is None else model.past_games,
        "weights": {name: {"lower": lower, "upper": upper} for name, (lower, upper) in opening.weights.items()},
        "alpha": ALPHA,
        "games": opening.games,
    }


def teams(game: GameState) -> str:
    """Return the matchup: away @ home."""
    return f"{game.away} @ {game.home}"


def score(game: GameState) -> str:
    """Return the score, away first as in `teams`; "" before tip-off."""
    return "" if game.status is GameStatus.SCHEDULED else f"{game.away_score}–{game.home_score}"


def minute_ranges(minutes: tuple[int, ...]) -> str:
    """Format minutes, consecutive ones as ranges: minute 9, minutes 6–8, 12."""
    runs: list[list[int]] = []
    for minute in minutes:
        if runs and minute == runs[-1][-1] + 1:
            runs[-1].append(minute)
        else:
            runs.append([minute])
    text = ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
    return f"minute{'s' * (len(minutes) > 1)} {text}"


def event_line(event: events.Event) -> str:
    """Format an event on one line."""
    text = _KINDS[type(event)].text(event)
    game: GameState | None = getattr(event, "game", None)
    return text if game is None else "  ".join(filter(None, (teams(game), game.text, score(game), text)))


def event_record(event: events.Event, now: datetime) -> dict[str, Any]:
    """Return an event as a JSON object, with forecasts in protobuf's JSON form."""
    kind = _KINDS[type(event)]
    game = {"game": _game_record(event.game)} if hasattr(event, "game") else {}
    return {"time": now.isoformat(timespec="milliseconds"), **game, "event": kind.name, **_record(event, kind.fields)}


class _Kind(NamedTuple):
    """A kind of event.

    Attributes:
        name: its name in JSON.
        fields: the attributes in JSON.
        text: returns the text that follows the game in the line of an event.
    """

    name: str
    fields: str
    text: Callable[[Any], str]


_NAMES: Final = {
    "away": "awayTeam",
    "clock": "clockSeconds",
    "count": "forecasts",
    "covered": "held",
    "error": "meanAbsoluteError",
    "home": "homeTeam",
    "latency": "latencySeconds",
    "margin": "pregameMargin",
    "nominal": "nominalCoverage",
    "persistence_error": "persistenceMeanAbsoluteError",
    "settled": "settledForecasts",
    "text": "statusText",
    "total": "pregameTotal",
}
"""Names in JSON of attributes; those of others are the same in camel case."""


_PARTS: Final[Mapping[type, str]] = {
    events.MinuteForecast: "pattern forecast",
    GameLine: "margin total source time",
    PricedMarket: "kind line first second time",
}
"""The attributes in JSON of the objects in events."""


def _record(of: object, attributes: str) -> dict[str, Any]:
    """Return attributes of an object as a JSON object."""
    record = {}
    for path in attributes.split():
        attribute = path.rpartition(".")[2]
        first, *others = attribute.split("_")
        name = _NAMES.get(attribute) or first + "".join(map(str.title, others))
        record[name] = _value(name, attrgetter(path)(of))
    return record


def _value(name: str, value: Any) -> Any:
    """Return a value in JSON: a horizon and a status by name, an object by the attributes that matter."""
    if name == "horizon":
        return Horizon.Name(value)
    match value:
        case GameStatus():
            return value.name
        case Message():
            return MessageToDict(value, always_print_fields_with_no_presence=True)
        case datetime():
            return value.isoformat(timespec="seconds")
        case GamePrices(lead=lead, total=total):
            return [_value("", each) for each in (lead, total) if each is not None]
        case tuple() if type(value) not in _PARTS:
            return list(value)
    return _record(value, _PARTS[type(value)]) if type(value) in _PARTS else value


def _game_record(game: GameState) -> dict[str, Any]:
    attributes = "game_id home away status text period clock home_score away_score"
    return {"replay": is_replay(game.game_id), **_record(game, attributes)}


def _changed(event: events.GameChanged) -> str:
    return "overtime" if event.game.status is GameStatus.LIVE and overtimes_by(event.game.period) > 0 else ""


def _prediction(event: events.Prediction) -> str:
    forecast = event.forecast
    revision = f", revision {forecast.revision}" if forecast.revision else ""
    warnings = "".join(f", {fmt.warning_label(each.reason)}" for each in forecast.warnings)
    return (
        f"{fmt.signed(event.pattern[-1], 0)} after {fmt.pluralize(forecast.elapsed_minutes, 'minute')}, "
        f"{fmt.horizon_label(forecast.horizon)} {fmt.signed(forecast.point_forecast)} "
        f"[{fmt.signed(forecast.interval_lower)} … {fmt.signed(forecast.interval_upper)}] "
        f"at {fmt.percent(forecast.coverage_probability)}, "
        f"{event.game.home} {fmt.outcome_verb(forecast.horizon)} {fmt.chance(forecast.home_lead_probability)}"
        f"{fmt.total_text(forecast)}{revision}{warnings}"
    )


def _result(event: events.HorizonResult) -> str:
    return (
        f"{fmt.horizon_label(event.horizon)} {fmt.signed(event.differential, 0)}: "
        f"{event.covered} of {fmt.pluralize(event.count, 'interval')} held, "
        f"mean absolute error {event.error:.1f} (persistence {event.persistence_error:.1f})"
    )


def _reported(event: events.OutcomeReported) -> str:
    again = f", correction {event.outcome.revision}" if event.outcome.revision else ""
    return (
        f"{fmt.horizon_label(event.horizon)} {fmt.signed(event.differential, 0)} is in the record, "
        f"settles {fmt.pluralize(event.settled, 'forecast')}{again}"
    )


def _closed(event: events.HorizonClosed) -> str:
    until = f" before minute {event.minute}" if event.minute < HORIZON_RULES[event.horizon].minutes else ""
    return f"{fmt.horizon_label(event.horizon)} closed{until}: outcome already recorded"


def _missed(event: events.ForecastMissed) -> str:
    return f"{fmt.horizon_label(event.horizon)}, {minute_ranges(event.minutes)} missed: {event.reason}"


def _prices(event: events.PricesTaken) -> str:
    return f"prices are recorded beside its forecasts: {prices_text(event.game, event.prices)}"


def _line(event: events.LineTaken) -> str:
    if event.line is not None:
        return line_text(event.game, event.line)
    return (
        "no line: the ratings are used"
        if event.rated
        else "no line and no usable ratings: forecasts use only the score"
    )


def _fault(event: events.Fault) -> str:
    again = f" (failure {event.failures} in a row)" if event.failures > 1 else ""
    return f"{event.source}: {event.reason}{again}"


def line_text(game: GameState, line: GameLine) -> str:
    """Describe the line of a game: line BOS by 5.5, total 221.5, of the file of lines. The odds feed has no totals."""
    total = "" if line.total is None else f"total {line.total:g}"
    source = f"of the {_LINE_SOURCES[line.source]}"
    if line.margin is None:
        return f"line {total}, {source}"
    margin = margin_text(game, line.margin)
    if total and line.source == "feed":
        return f"line {margin}, {source}; {total}, of the {_LINE_SOURCES['file']}"
    return f"line {', '.join(filter(None, (margin, total)))}, {source}"


def prices_text(game: GameState, prices: GamePrices) -> str:
    """Format the prices of a game: BOS by 5.5 at −110/−110, total 221.5 at 1.91/1.91, BOS wins traded at 0.63."""
    parts = []
    if (lead := prices.lead) is not None:
        bet = f"{game.home} wins" if lead.kind == "moneyline" else margin_text(game, lead.line)
        parts.append(f"{bet} {_both_text(lead)}")
    if (total := prices.total) is not None:
        parts.append(f"total {total.line:g} {_both_text(total)}")
    return ", ".join(parts)


def _both_text(priced: PricedMarket) -> str:
    if priced.traded:
        return f"traded at {1 / priced.first:.3g}"
    return f"at {fmt.price_text(priced.first)}/{fmt.price_text(priced.second)}"


def margin_text(game: GameState, margin: float) -> str:
    """Format the margin of a line as a lead: BOS by 5.5; level."""
    return fmt.lead_text(margin, game.home, game.away, digits=2)


_LINE_SOURCES: Final = {"feed": "NBA's odds feed", "file": "file of lines", "published": "published game"}


def leadership_line(status: Leadership) -> str:
    """Describe the role of this poller, with the leader or the reason."""
    match status.role:
        case LeaderRole.LEADING:
            return "leads: this poller forecasts, others stand by"
        case LeaderRole.STANDBY:
            return f"stands by: {status.leader} leads"
        case LeaderRole.WAITING:
            return f"stands by: {status.reason or 'waiting for the lease'}"


_KINDS: Final[Mapping[type, _Kind]] = {
    events.GameChanged: _Kind("game", "", _changed),
    events.ForecastMissed: _Kind("missed", "horizon minutes reason", _missed),
    events.Prediction: _Kind("forecast", "pattern forecast latency", _prediction),
    events.HorizonResult: _Kind(
        "outcome", "horizon differential count covered error persistence_error brier leader_brier newest", _result
    ),
    events.OutcomeReported: _Kind("reported", "horizon differential outcome settled", _reported),
    events.GameSkipped: _Kind("skipped", "reason", lambda event: f"not forecast: {event.reason}"),
    events.LineTaken: _Kind("line", "line", _line),
    events.PricesTaken: _Kind("prices", "prices", _prices),
    events.HorizonClosed: _Kind("closed", "horizon minute", _closed),
    events.Fault: _Kind("fault", "source kind reason failures", _fault),
    events.Recovered: _Kind("recovered", "source", lambda event: f"{event.source}: answers again"),
    events.ModelLimits: _Kind("limits", "model_version reason", lambda event: str(event.reason)),
    events.RatingsOutdated: _Kind("ratings", "model_version reason", lambda event: str(event.reason)),
    events.LeadershipChanged: _Kind(
        "leadership", "status.role status.leader status.reason", lambda event: leadership_line(event.status)
    ),
}


_SUMMARY: Final = (
    "horizon games forecasts missed settled_games settled covered nominal error persistence_error brier leader_brier"
)


def summary_record(summary: Summary, now: datetime) -> dict[str, Any]:
    """Return the evening's metrics as a JSON object."""
    return {
        "time": now.isoformat(timespec="milliseconds"),
        "event": "summary",
        **_record(summary, "games forecasts missed"),
        "horizons": [_record(of, _SUMMARY) for of in summary.horizons],
        "latencySecondsP50": percentile(summary.latencies, 0.5) if summary.latencies else None,
        "latencySecondsP95": percentile(summary.latencies, 0.95) if summary.latencies else None,
    }


def summary_lines(summary: Summary) -> list[str]:
    """Return the evening's metrics: a line for the total and one for each horizon with outcomes."""
    parts = [fmt.pluralize(summary.games, "game"), fmt.pluralize(summary.forecasts, "forecast")]
    if summary.missed:
        parts.append(f"{summary.missed} missed")
    if summary.latencies:
        p50, p95 = percentile(summary.latencies, 0.5), percentile(summary.latencies, 0.95)
        parts.append(f"from the feed in {p50:.2f} s (p50), {p95:.2f} s (p95)")
    return [" · ".join(parts), *filter(None, map(horizon_line, summary.horizons))]


def horizon_line(of: HorizonSummary) -> str:
    """Format a horizon's metrics: coverage, and MAE (half) or Brier score (end); "" if nothing is settled."""
    if of.nominal is None:
        return ""
    held = f"{of.covered} of {fmt.pluralize(of.settled, 'interval')} at {fmt.percent(of.nominal)} held"
    if of.horizon == FINAL:
        error = f"Brier {of.brier:.3f} (leader {of.leader_brier:.3f})"
    else:
        error = f"MAE {of.error:.2f} (persistence {of.persistence_error:.2f})"
    return f"{fmt.horizon_label(of.horizon)}, {fmt.pluralize(of.settled_games, 'game')}: {held} · {error}"
