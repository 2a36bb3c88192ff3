"""Formats numbers for display."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Final

from google.protobuf.descriptor import EnumDescriptor

from dejavu.ops.v1.operations_service_pb2 import MethodStats
from dejavu.v1 import forecast_pb2, prediction_service_pb2
from dejavu.v1.market_pb2 import MarketKind
from dejavu.v1.record_pb2 import Outcome, RecordedMarket, RecordedPrediction
from dejavu_feed import moment as moments
from dejavu_feed.horizon import MAX_SLOTS
from dejavu_feed.printed_numbers import is_american
from dejavu_feed.teams import knowledge_text

_LONGEST_END: Final = timedelta(hours=2)
"""Upper bound of the time from the last minute of regulation to the end of the game, overtimes included."""


def price_text(price: float) -> str:
    """Format a price in the form in which it was given: American odds, or decimal ones."""
    return signed(price, 0) if is_american(price) else f"{price:.2f}"


def signed(points: float, digits: int = 1) -> str:
    """Format points with a sign, or without one if they round to zero: +6.3, −4.0, 0.0."""
    text = f"{abs(points):.{digits}f}"
    return text if not float(text) else ("−" if points < 0 else "+") + text


def lead_text(points: float, home: str, away: str, digits: int = 1) -> str:
    """Describe a lead or a line: BOS by 6; level.

    Args:
        points: home − away.
        home: the home team.
        away: the away team.
        digits: most digits after the point.
    """
    shown = round(points, digits)
    return f"{home if shown > 0 else away} by {abs(shown):g}" if shown else "level"


def short_lead(points: float, home: str, away: str, digits: int = 1) -> str:
    """Describe a lead as the page does, with all digits: BOS +7.3; even. See `lead_text` for the arguments."""
    shown = round(points, digits)
    return f"{home if shown > 0 else away} +{abs(shown):.{digits}f}" if shown else "even"


def outcome_range(lower: float, upper: float) -> str:
    """Format an interval by its smallest and largest outcome, both included: −28…−10.

    Outcomes are whole points, so rounding the ends could show an outcome outside the interval as inside, or the
    reverse. If there is no whole number between the ends, the ends themselves are shown, with one decimal.

    Args:
        lower: lower end of the interval, in points, included.
        upper: upper end of the interval, in points, included.
    """
    first, last = math.ceil(lower), math.floor(upper)
    return f"{signed(first, 0)}…{signed(last, 0)}" if first <= last else f"{signed(lower)}…{signed(upper)}"


def total_text(forecast: forecast_pb2.Forecast) -> str:
    """Format the forecast of total points as the end of a line: ", 225.3 points of both 208…243"; "" without one."""
    if not forecast.HasField("total"):
        return ""
    return f", {forecast.total.point_forecast:.1f} points of both {total_range(forecast.total)}"


def total_range(total: forecast_pb2.TotalForecast) -> str:
    """Format the interval of a total, whose ends are whole numbers: 208…243."""
    return f"{total.interval_lower:.0f}…{total.interval_upper:.0f}"


def percent(share: float) -> str:
    """Format a share in percent, with a decimal only if it is not zero: 95 %, 62.5 %."""
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def chance(probability: float) -> str:
    """Format a probability in whole percent; only exactly 0 and 1 show as 0 % and 100 %."""
    if 0 < probability < 0.01:
        return "<1 %"
    if 0.99 < probability < 1:
        return ">99 %"
    return f"{100 * probability:.0f} %"


def horizon_label(horizon: forecast_pb2.Horizon.ValueType) -> str:
    """Return the short name of a horizon: half or end."""
    return "end" if horizon == forecast_pb2.HORIZON_FINAL else "half"


def clock(period: int, seconds_left: float) -> str:
    """Format a period and its clock: Q4 0:42.5, OT 2:10, OT2 5:00."""
    minutes, tenths = divmod(math.floor(10 * seconds_left), 600)
    seconds = f"{tenths / 10:04.1f}".removesuffix(".0")
    return f"{period_name(period)} {minutes}:{seconds}"


def period_name(period: int) -> str:
    """Return the name of a period: Q1 to Q4, OT, OT2 and so on."""
    overtime = period - 4
    return f"Q{period}" if overtime < 1 else "OT" if overtime == 1 else f"OT{overtime}"


def play_time(forecast: forecast_pb2.Forecast, minute: str = "minute") -> str:
    """Describe when in the game a forecast was made: its minute, or the clock of its moment."""
    if forecast.HasField("moment"):
        return clock(forecast.moment.period, forecast.moment.seconds_left)
    return f"{minute} {forecast.elapsed_minutes}"


def elapsed_seconds(forecast: forecast_pb2.Forecast) -> float:
    """Return the seconds of play since tip-off at which a forecast was made, overtimes included."""
    moment = moments.from_message(forecast)
    return 60.0 * forecast.elapsed_minutes if moment is None else moment.elapsed


def last_differential(prediction: RecordedPrediction) -> float | None:
    """Return the differential from which a forecast was made, in points; None if the record does not say."""
    if prediction.forecast.HasField("moment"):
        return float(prediction.forecast.moment.differential)
    return prediction.pattern[-1] if prediction.pattern else None


def recorded_market(prediction: RecordedPrediction, kind: MarketKind.ValueType) -> RecordedMarket | None:
    """Return the market of a kind that was recorded with a forecast; None without one."""
    return next((each for each in prediction.markets if each.market.kind == kind), None)


_LATE: Final = {
    forecast_pb2.LATE_REASON_LATER_SECOND: "a later second of the game was already recorded",
    forecast_pb2.LATE_REASON_CLOCK: "the game was more than a minute and a half further",
    forecast_pb2.LATE_REASON_TIME: "its minute of play had long been recorded",
    forecast_pb2.LATE_REASON_REPORTED: "an outcome had been reported, and withdrawn",
    forecast_pb2.LATE_REASON_GAME_DATE: "made after the day of the game",
    forecast_pb2.LATE_REASON_OBSERVED: "made after the outcome was observed",
    forecast_pb2.LATE_REASON_SIDES: "its home and away teams were exchanged",
}


def late_text(forecast: forecast_pb2.Forecast) -> str:
    """Return the reason why a forecast is late, in words."""
    return _LATE.get(forecast.late, "made with hindsight")


def outcome_verb(horizon: forecast_pb2.Horizon.ValueType) -> str:
    """Return the verb for the team ahead at a horizon: it leads at the half and wins at the end."""
    return "wins" if horizon == forecast_pb2.HORIZON_FINAL else "leads"


def is_last(forecast: forecast_pb2.Forecast) -> bool:
    """Return whether only moments of the last minute and of overtimes can follow."""
    return forecast.horizon == forecast_pb2.HORIZON_FINAL and forecast.elapsed_minutes == MAX_SLOTS


def is_played_out(forecast: forecast_pb2.Forecast, now: datetime) -> bool:
    """Return whether a game without an outcome is in its last minute or overtime, by its newest forecast.

    False if this forecast was made too long ago: then the game is over, and its outcome was not reported.
    """
    return is_last(forecast) and not is_given_up(forecast, now)


def is_given_up(forecast: forecast_pb2.Forecast, now: datetime) -> bool:
    """Return whether the newest forecast of a game is so old that the game must be over, reported or not."""
    return now - forecast.generated_time.ToDatetime(tzinfo=UTC) >= _LONGEST_END


def after_overtime(outcome: Outcome) -> str:
    """Return the end of a text on overtime: " after overtime", " after 2 overtimes"; "" if none is known."""
    if not outcome.overtimes:
        return ""
    return " after overtime" if outcome.overtimes == 1 else f" after {outcome.overtimes} overtimes"


def enum_word(enum: EnumDescriptor, value: int) -> str | None:
    """Return the last word of an enum value's name, in lower case; None if the value is unspecified or unknown."""
    values = enum.values_by_number
    return values[value].name.rpartition("_")[2].lower() if value in values and value else None


def warning_label(reason: forecast_pb2.WarningReason.ValueType) -> str:
    """Return the reason of a warning in words, such as "ratings outdated".

    A reason of a later release is shown as its number.
    """
    values = forecast_pb2.WarningReason.DESCRIPTOR.values_by_number
    name = values[reason].name if reason in values else f"{reason}"
    return name.removeprefix("WARNING_REASON_").replace("_", " ").lower()


OLD_STATISTICS_SECONDS: Final = 15.0
"""Age from which the statistics of a server are called old: its supervisor samples them every second."""


def failed_calls(method: MethodStats) -> dict[str, int]:
    """Return the numbers of failed calls of a method by code; streams also end with their readers and workers."""
    is_stream = method.method.rpartition("/")[2].startswith(("Watch", "Stream"))
    ends = {"CANCELLED", "UNAVAILABLE"} if is_stream else set()
    return {error.code: error.calls for error in method.errors if error.code not in ends}


def pluralize(number: int, of: str) -> str:
    """Format a count with its noun, pluralized: 1 game, 2 games."""
    return f"{number:,} {of}{'' if number == 1 else 's'}"


def seconds_text(seconds: float) -> str:
    """Format a duration: 4.2 ms, 130 ms, 12.3 s, 5 min, 3 h."""
    if seconds < 1:
        return f"{1000 * seconds:.1f} ms" if seconds < 0.1 else f"{1000 * seconds:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"


def team_knowledge(known: forecast_pb2.TeamKnowledge, team: str) -> str:
    """Describe how well the ratings know a team: BOS: June 2023 and 2 finals, hardly known."""
    earlier = date.fromisoformat(known.earlier_date) if known.earlier_date else None
    return knowledge_text(team, known.deviation, known.finals, earlier)


_RISK_UNITS: Final = {
    prediction_service_pb2.RISK_FACTOR_KIND_VOLATILITY: "points",
    prediction_service_pb2.RISK_FACTOR_KIND_SWING: "points",
    prediction_service_pb2.RISK_FACTOR_KIND_PACE: "points a game",
    prediction_service_pb2.RISK_FACTOR_KIND_TREND: "points a minute",
}


def risk_value(factor: prediction_service_pb2.RiskFactor) -> str:
    """Format the measured value of a factor of a risk score with its unit: 4.2 points."""
    return f"{factor.value:.1f} {_RISK_UNITS.get(factor.kind, '')}".rstrip()


def component_label(name: str) -> str:
    """Return the name of a component of a model as it is shown."""
    return {"dejavu": "Dejavu", "lstm": "LSTM"}.get(name, name)
