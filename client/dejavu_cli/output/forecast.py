"""Prints forecasts with their explanations and tables of rows for people, and messages for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from dejavu.v1 import forecast_pb2 as pb
from dejavu.v1.model_service_pb2 import Model
from dejavu.v1.record_pb2 import Outcome
from dejavu_cli.output.responsive_table import Column, ResponsiveTable, name_value_rows, titled_table
from dejavu_client import formatting as fmt
from dejavu_client.requests import FEED_HORIZONS
from dejavu_client.similar_games import name_of, seen_before, seen_forecast, seen_together, story_of
from dejavu_common.clock import game_day
from dejavu_common.rich_console import Console, titled_panel
from dejavu_feed import live_inputs
from dejavu_feed import moment as moments
from dejavu_feed.horizon import Horizon
from dejavu_feed.moment import TABLES_FROM

MessageT = TypeVar("MessageT", bound=Message)
RowT = TypeVar("RowT")

REPLAYS_LEFT_OUT: Final = "Replays are left out: --replays includes them."

MINUTES_SHOWN = 3
"""Number of minutes named as those that moved a forecast most."""
_BAR = 16
"""Maximum width of a bar to one side, in characters."""


def print_json(message: Message, **more: str) -> None:
    """Print a message as one line of protobuf JSON with sorted keys, including fields that have default values.

    Args:
        message: the message.
        more: fields to add to it.
    """
    fields = MessageToDict(message, always_print_fields_with_no_presence=True)
    sys.stdout.write(json.dumps(more | fields, ensure_ascii=False, sort_keys=True) + "\n")
    sys.stdout.flush()


def print_rows(columns: Sequence[Column[RowT]], rows: Sequence[RowT], none: str) -> None:
    """Print a table of rows; without rows, the text `none`."""
    Console().print(ResponsiveTable(columns, rows) if rows else none, highlight=False)


def print_forecast(forecast: pb.Forecast, *, pattern: Sequence[float] = (), explain: bool = True) -> None:
    """Print a forecast in full, with the date of its game unless it is today.

    Args:
        forecast: the forecast.
        pattern: its input: home − away at the end of each minute, in points.
        explain: whether to print more of its explanation than the most similar game.
    """
    rows = name_value_rows()
    if forecast.game_date and forecast.game_date != game_day(datetime.now(UTC)).isoformat():
        rows.add_row("game date", forecast.game_date)
    _add_expected_margin(rows, forecast)
    if pattern:
        rows.add_row(f"after {fmt.pluralize(forecast.elapsed_minutes, 'minute')}", lead(pattern[-1], forecast))
    if forecast.HasField("moment"):
        moment = forecast.moment
        throws = f", {fmt.pluralize(moment.free_throws, 'free throw')} to come" if moment.free_throws else ""
        rows.add_row(
            f"at {fmt.clock(moment.period, moment.seconds_left)}", lead(moment.differential, forecast) + throws
        )
    _add_live_inputs(rows, forecast)
    rows.add_row(
        f"at the {fmt.horizon_label(forecast.horizon)}", Text(lead(forecast.point_forecast, forecast), style="bold")
    )
    rows.add_row(
        f"{fmt.percent(forecast.coverage_probability)} interval",
        f"{_ends(forecast.interval_lower, forecast.interval_upper)}  (home − away, points)",
    )
    _add_adaptation(rows, forecast)
    _add_total(rows, forecast)
    if forecast.quantiles:
        quantiles = (f"{fmt.percent(each.level)}: {fmt.signed(each.value)}" for each in forecast.quantiles)
        rows.add_row("quantiles", "  ".join(quantiles))
    then = fmt.outcome_verb(forecast.horizon)
    rows.add_row(f"{_home(forecast)} {then}{' then' * (then == 'leads')}", fmt.chance(forecast.home_lead_probability))
    if explain and forecast.HasField("explanation"):
        _add_parts(rows, forecast)
    _add_ratings(rows, forecast)
    rows.add_row("model", forecast.model_version)
    if forecast.sequence:
        revision = f", revision {forecast.revision}" if forecast.revision else ""
        rows.add_row("recorded as", f"{forecast.sequence}{revision}")
        if forecast.late:
            rows.add_row("late", Text(f"does not count: {fmt.late_text(forecast)}", style="yellow"))
    else:
        rows.add_row("recorded", "no (what-if)")
    console = Console()
    console.print(titled_panel(rows, title(forecast)))
    print_warnings(console, forecast.warnings)
    console.print(seen_before(forecast), highlight=False, end="\n" * forecast.HasField("explanation"))
    for part in _explained(forecast) if explain else ():
        console.print(part, highlight=False)


def print_warnings(console: Console, warnings: Iterable[pb.ReliabilityWarning]) -> None:
    """Print the reasons why an answer is less reliable than usual."""
    for warning in warnings:
        text = warning.text or fmt.warning_label(warning.reason)
        console.print(f"Warning: {text}", style="yellow", highlight=False)


def _add_ratings(rows: Table, forecast: pb.Forecast) -> None:
    if forecast.ratings_date:
        unused = "" if forecast.HasField("expected_margin") else ", not used"
        rows.add_row("team ratings", f"{ratings_text(forecast)}{unused}")
    # With a given margin, ratings are used for the total alone.
    name = "" if forecast.ratings_date else "ratings of totals"
    teams = ((forecast.home_known, forecast.home_team), (forecast.away_known, forecast.away_team))
    for known, team in teams if forecast.HasField("home_known") else ():
        rows.add_row(name, f"{fmt.team_knowledge(known, team)} (± {known.deviation:.1f} points)")
        name = ""


def ratings_text(rated: pb.Forecast | Model) -> str:
    """Describe the newest final in the teams' ratings, and the number of finals reported to the server."""
    since = f", with {fmt.pluralize(rated.finals_since, 'reported final')}" if rated.finals_since else ""
    return f"as of {rated.ratings_date}{since}"


def title(forecast: pb.Forecast | Outcome) -> str:
    """Return the teams and the game id, if there is one; only the id if no team is named."""
    if not forecast.game_id:
        return matchup(forecast)
    named = forecast.home_team or forecast.away_team
    return f"{matchup(forecast)} · {forecast.game_id}" if named else forecast.game_id


def matchup(forecast: pb.Forecast | Outcome) -> str:
    """Return the teams: away @ home."""
    return f"{forecast.away_team or 'away'} @ {forecast.home_team or 'home'}"


def lead(differential: float, of: pb.Forecast | Outcome) -> str:
    """Describe the lead: BOS by 6; level."""
    return fmt.lead_text(differential, of.home_team or "home", of.away_team or "away")


def lead_with_sign(differential: float, of: pb.Forecast | Outcome) -> str:
    """Describe a past lead with the differential home − away: LAL by 4 (−4); level (0)."""
    return f"{lead(differential, of)} ({fmt.signed(differential, 0)})"


def _add_live_inputs(rows: Table, forecast: pb.Forecast) -> None:
    live, _ = live_inputs.from_message(forecast)
    home, away = forecast.home_team or "home", forecast.away_team or "away"
    moment = moments.from_message(forecast)
    horizon = FEED_HORIZONS.get(forecast.horizon, Horizon.HALFTIME)
    if moment is None:
        unused = live.unused(forecast.elapsed_minutes)
    elif moment.slots >= TABLES_FROM[horizon]:
        # The tables of seconds know possession and free throws alone.
        unused = dict.fromkeys(("total_points", "last_score"), "not used in last minutes and overtime")
    else:
        unused = live.unused(moment.begun)  # the minute after it has a part
        if moment.is_late(horizon):
            unused.pop("possession", None)
    time = "the moment" if moment else f"the end of minute {forecast.elapsed_minutes}"
    for each, value in live.known():
        why = f" ({unused[each.name]})" if each.name in unused else ""
        rows.add_row(each.label, each.text(value, home, away, time) + why)


def _add_total(rows: Table, forecast: pb.Forecast) -> None:
    """Add the forecast of total points, with the total expected before the game."""
    if not forecast.HasField("total"):
        return
    total = forecast.total
    ends = f"{total.interval_lower:.0f} to {total.interval_upper:.0f}"
    rows.add_row(
        f"points at the {fmt.horizon_label(forecast.horizon)}",
        f"{total.point_forecast:.1f}, {ends} with {fmt.percent(forecast.coverage_probability)}  (home + away)",
    )
    if total.HasField("expected_total"):
        rows.add_row("  before tip-off", f"{total.expected_total:.1f} expected at the end")


_LEAST_SHOWN: Final = 0.05
"""Least effect that is not shown as 0.0, in points."""

_ORIGINS: Final = {
    pb.MarginSource.MARGIN_SOURCE_RATINGS: ", by the ratings",
    pb.MarginSource.MARGIN_SOURCE_CALLER: ", as given: what a market knows",
    pb.MarginSource.MARGIN_SOURCE_FEED: ", the line of the NBA's odds feed",
    pb.MarginSource.MARGIN_SOURCE_FILE: ", the line of the poller's file",
}
"""Text after an expected margin, by its source."""


def _add_expected_margin(rows: Table, forecast: pb.Forecast) -> None:
    """Add the margin expected before the game, and its terms, to rows of name and value."""
    if forecast.HasField("expected_margin"):
        origin = _ORIGINS.get(forecast.margin_source, "")
        if forecast.expected_margin_terms.missing_players:  # some of these are known only after tip-off
            origin = ", by the ratings and who has played so far"
        if forecast.HasField("margin_time"):
            origin += f" of {local_time(forecast.margin_time)}"
        rows.add_row("before tip-off", f"{lead(forecast.expected_margin, forecast)} expected at the end{origin}")
    if forecast.HasField("expected_margin_terms"):
        rows.add_row("  made of", _margin_terms_text(forecast))


def _margin_terms_text(forecast: pb.Forecast) -> str:
    """Describe the terms of an expected margin: strength +1.2 · home +2.6 · schedule −1.5; leave out zeros."""
    terms = forecast.expected_margin_terms
    parts = [f"strength {fmt.signed(terms.strength_difference)}", f"home {fmt.signed(terms.home_advantage)}"]
    schedule = terms.schedule_known or terms.schedule
    parts.append(f"schedule {fmt.signed(terms.schedule)}" if schedule else "schedule not known")
    parts += [f"playoffs {fmt.signed(terms.playoffs)}"] * bool(terms.playoffs)
    parts += [f"altitude {fmt.signed(terms.altitude)}"] * bool(terms.altitude)
    parts += [f"usual players {fmt.signed(terms.usual_players)}"] * (abs(terms.usual_players) >= _LEAST_SHOWN)
    if terms.missing_players:
        missing = ((forecast.home_team, terms.home_missing), (forecast.away_team, terms.away_missing))
        unseen = " and ".join(f"{count} of {team}'s usual five" for team, count in missing if count)
        parts.append(f"who plays {fmt.signed(terms.missing_players)}{f' ({unseen} not seen yet)' if unseen else ''}")
    return " · ".join(parts)


def _add_adaptation(rows: Table, forecast: pb.Forecast) -> None:
    """Add the interval that the forecast does not use, if it differs, and the rolling coverage of both.

    A forecast uses either the adapted interval or the calibrated one.
    """
    if not forecast.HasField("adaptation"):
        return
    adaptation = forecast.adaptation
    if adaptation.mode == pb.ADAPTATION_MODE_ON:
        name, ends = "as calibrated", (adaptation.static_lower, adaptation.static_upper)
    else:
        name, ends = "if adapted", (adaptation.adapted_lower, adaptation.adapted_upper)
    if (other := _ends(*ends)) != _ends(forecast.interval_lower, forecast.interval_upper):
        rows.add_row(f"  {name}", other)
    if adaptation.rolling_games:
        variant = "adapted" if adaptation.mode == pb.ADAPTATION_MODE_ON else "if adapted"
        static, adapted = fmt.percent(adaptation.static_rolling_coverage), fmt.percent(adaptation.rolling_coverage)
        coverage = f"{adapted} of {fmt.pluralize(adaptation.rolling_games, 'game')} {variant}, {static} as calibrated"
        rows.add_row("  rolling coverage", coverage)


def _ends(lower: float, upper: float) -> str:
    return f"{fmt.signed(lower)} to {fmt.signed(upper)}"


def home_chance(forecast: pb.Forecast) -> str:
    """Return the home team with its probability to lead at the half, or to win: BOS 63 %."""
    return f"{_home(forecast)} {fmt.chance(forecast.home_lead_probability)}"


def _home(forecast: pb.Forecast) -> str:
    return forecast.home_team or "home"


def local_time(time: Timestamp, form: str = "%Y-%m-%d %H:%M") -> str:
    """Format a time in the local time zone."""
    return f"{time.ToDatetime(tzinfo=UTC).astimezone():{form}}"


def _add_parts(rows: Table, forecast: pb.Forecast) -> None:
    """Add the predictions of the components and the baseline to rows of name and value."""
    explanation = forecast.explanation
    for each in explanation.components:
        role = f"{100 * each.weight:.0f} % of the forecast" if each.weight else "no part in it"
        name = fmt.component_label(each.name)
        rows.add_row(f"  {name}", Text.assemble(f"{fmt.signed(each.prediction)}  ", (role, "dim")))
    baseline = Text.assemble(f"{fmt.signed(explanation.baseline_prediction)}  ", ("baseline: the current lead", "dim"))
    rows.add_row("  persistence", baseline)
    if explanation.calibration_games:
        rows.add_row("  interval from", fmt.pluralize(explanation.calibration_games, "game"))


def _explained(forecast: pb.Forecast) -> Iterator[Table | str]:
    """Yield what moved a forecast, what the similar games say together, and a table of the nearest."""
    games = forecast.explanation.similar_games
    if forecast.explanation.contributions:
        yield contributions(forecast)
    if together := seen_together(forecast):
        yield f"{together} {seen_forecast(forecast)}"
    table = titled_table("past games like this one", "game", "how it went", "distance")
    table.columns[1].justify = "left"
    for game in games:
        table.add_row(name_of(game), story_of(game, forecast.horizon), f"{game.distance:.1f}")
    if games:
        table.caption = "distance: 0 for equal course, lead, total points and expected margin"
        table.caption_justify = "left"
        yield table


_CONTRIBUTIONS: Final = {
    "ratings": "team strength and home advantage",
    "home": "home advantage",
    "players": "who plays",
    "line": "line of the market",
    "minutes": "the game so far",
    "live": "last score or possession",
    "dejavu": "similar games",
    "lstm": "LSTM",
}
"""Contributions as they are shown."""


def contributions(forecast: pb.Forecast) -> Table:
    """Return a table of what moved a forecast, the largest effect first, with bars. The terms sum to the forecast.

    Args:
        forecast: a forecast with an explanation.
    """
    terms = forecast.explanation.contributions
    largest = max((abs(each.points) for each in terms), default=0.0)
    table = titled_table("what moved the forecast, in points", "", "by", "")
    table.columns[2].justify = "left"
    for each in terms:
        table.add_row(_CONTRIBUTIONS.get(each.name, each.name), fmt.signed(each.points), _bar(each.points, largest))
    table.add_section()
    table.add_row("forecast", Text(fmt.signed(forecast.point_forecast), style="bold"), "")
    if most := _minutes_text(forecast):
        table.caption, table.caption_justify = most, "left"
    return table


def _minutes_text(forecast: pb.Forecast) -> str:
    """Name the minutes that moved the forecast most: 4 (+19.2), 3 (−8.0); return "" if none did."""
    minutes = list(enumerate(forecast.explanation.attribution.minutes, 1))
    most = sorted((each for each in minutes if abs(each[1]) >= _LEAST_SHOWN), key=lambda each: -abs(each[1]))
    now = len(minutes) if forecast.HasField("moment") else 0
    texts = [f"{'now' if minute == now else minute} ({fmt.signed(points)})" for minute, points in most[:MINUTES_SHOWN]]
    return f"minutes that moved it most: {', '.join(texts)}" if texts else ""


def _bar(points: float, largest: float) -> str:
    """Draw a bar: to the left if it favors the away team, else to the right; `largest` has full length."""
    length = round(_BAR * abs(points) / largest) if largest else 0
    blocks = "█" * length
    return f"{blocks:>{_BAR}}│" if points < 0 else f"{'':{_BAR}}│{blocks}"
