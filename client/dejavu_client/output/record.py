"""Prints recorded forecasts and outcomes for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.record_pb2 import Outcome, RecordedPrediction
from dejavu.v1.record_service_pb2 import GetPredictionResponse, ReportOutcomeResponse
from dejavu_client.formatting import chance, horizon_label, percent, pluralize, signed
from dejavu_client.output.forecast import matchup, print_forecast, title
from dejavu_client.output.market import print_market
from dejavu_client.output.responsive_table import Columns, listing, name_value_rows

_COLUMNS: Final[Columns] = (
    ("created", "left", 5),
    ("game", "left", 9),
    ("game id", "left", 7),
    ("min", "right", 8),
    ("horizon", "left", 8),
    ("forecast", "right", 9),
    ("interval", "center", 6),
    ("home ahead", "right", 3),
    ("outcome", "right", 9),
    ("off by", "right", 6),
    ("persistence", "right", 2),
    ("held", "left", 6),
    ("#", "right", 1),
)


def print_predictions(predictions: Sequence[RecordedPrediction], *, cut: bool) -> None:
    """Prints a table of recorded forecasts.

    Args:
        predictions: the forecasts to show, newest first.
        cut: whether there are more.
    """
    console = Console()
    if not predictions:
        console.print("No recorded forecasts match.")
        return
    levels = {percent(each.forecast.coverage_probability) for each in predictions}
    rows = [_cells(each, level=len(levels) > 1) for each in predictions]
    console.print(listing(_COLUMNS, rows))
    notes = [f"intervals of {levels.pop()}"] if len(levels) == 1 else []
    settled = [each.settlement for each in predictions if each.HasField("settlement")]
    if settled:
        held = sum(each.covered for each in settled)
        notes.append(f"{held} of {pluralize(len(settled), 'interval')} held")
    notes.append("points are home − away")
    if cut:
        notes.append(f"the newest {len(predictions):,}; use --limit for more")
    console.print(Text(" · ".join(notes), style="dim"))


def print_prediction(answer: GetPredictionResponse) -> None:
    """Prints a recorded forecast in full, its outcome and its earlier revisions."""
    newest = answer.prediction
    print_forecast(newest.forecast, pattern=newest.pattern)
    console = Console()
    if newest.HasField("market_answer"):
        print_market(newest.market_answer, newest.market, newest.forecast)
    console.print(_result(newest))
    if answer.revisions:
        console.print()
        console.print(Text(f"{pluralize(len(answer.revisions), 'earlier revision')}, oldest first", style="bold"))
        console.print(listing(_REVISION_COLUMNS, [_revision_cells(each) for each in answer.revisions]))
    if len(answer.outcomes) > 1:
        console.print()
        console.print(Text("the outcome was corrected", style="bold"))
        console.print(listing(_OUTCOME_COLUMNS, [_outcome_cells(each) for each in answer.outcomes]))


def print_report(answer: ReportOutcomeResponse) -> None:
    """Prints an outcome as recorded in the ledger."""
    outcome = answer.outcome
    corrected = f", revision {outcome.revision}" if outcome.revision else ""
    settled = pluralize(answer.settled_forecasts, "forecast") if answer.settled_forecasts else "no forecasts"
    line = f"{title(outcome)}: {signed(outcome.differential, 0)} at the {horizon_label(outcome.horizon)}"
    Console().print(f"{line}, recorded as {outcome.sequence}{corrected}; settles {settled}", highlight=False)


def day_and_time(time: Timestamp) -> str:
    """Formats a date and time in the local time zone."""
    return f"{time.ToDatetime(tzinfo=UTC).astimezone():%Y-%m-%d %H:%M}"


_REVISION_COLUMNS: Final[Columns] = (
    ("created", "left", 3),
    ("lead then", "right", 6),
    ("forecast", "right", 9),
    ("interval", "center", 6),
    ("off by", "right", 5),
    ("held", "left", 5),
    ("#", "right", 4),
)
_OUTCOME_COLUMNS: Final[Columns] = (
    ("recorded", "left", 3),
    ("outcome", "right", 9),
    ("#", "right", 4),
)


def _cells(prediction: RecordedPrediction, *, level: bool) -> Mapping[str, Text]:
    forecast = prediction.forecast
    predicted = signed(forecast.point_forecast)
    cells = {
        "created": Text(day_and_time(forecast.generated_time).split()[0], style="dim"),
        "game": Text(_teams(forecast)),
        "game id": Text(forecast.game_id, style="dim"),
        "min": Text(f"{forecast.elapsed_minutes}"),
        "horizon": Text(horizon_label(forecast.horizon)),
        "forecast": Text(predicted, style="strike dim" if prediction.superseded else "bold"),
        "interval": _interval(forecast, level=level),
        "home ahead": Text(chance(forecast.home_lead_probability)),
        "#": Text(f"{forecast.sequence}", style="dim"),
    }
    if prediction.HasField("outcome"):
        cells["outcome"] = Text(signed(prediction.outcome.differential, 0), style="bold")
    return cells | _score_cells(prediction)


def _revision_cells(prediction: RecordedPrediction) -> Mapping[str, Text]:
    forecast = prediction.forecast
    return {
        "created": Text(day_and_time(forecast.generated_time), style="dim"),
        "lead then": Text(signed(prediction.pattern[-1], 0) if prediction.pattern else ""),
        "forecast": Text(signed(forecast.point_forecast)),
        "interval": _interval(forecast, level=False),
        "#": Text(f"{forecast.sequence}", style="dim"),
        **_score_cells(prediction),
    }


def _outcome_cells(outcome: Outcome) -> Mapping[str, Text]:
    return {
        "recorded": Text(day_and_time(outcome.recorded_time), style="dim"),
        "outcome": Text(signed(outcome.differential, 0)),
        "#": Text(f"{outcome.sequence}", style="dim"),
    }


def _score_cells(prediction: RecordedPrediction) -> dict[str, Text]:
    if not prediction.HasField("settlement"):
        return {}
    settlement = prediction.settlement
    return {
        "off by": Text(f"{settlement.absolute_error:.1f}"),
        "persistence": Text(f"{settlement.persistence_absolute_error:.1f}", style="dim"),
        "held": Text("yes", style="green") if settlement.covered else Text("no", style="yellow"),
    }


def _result(prediction: RecordedPrediction) -> Table | Text:
    """Returns a forecast's outcome and scores."""
    if not prediction.HasField("outcome"):
        return Text(f"No outcome of the {horizon_label(prediction.forecast.horizon)} has been reported.", style="dim")
    rows = name_value_rows(no_wrap=True)
    outcome = prediction.outcome
    rows.add_row("outcome", Text(signed(outcome.differential, 0), style="bold"))
    rows.add_row("recorded", f"{day_and_time(outcome.recorded_time)} as {outcome.sequence}")
    if prediction.HasField("settlement"):
        score = prediction.settlement
        rows.add_row("off by", f"{score.absolute_error:.1f} points, persistence {score.persistence_absolute_error:.1f}")
        rows.add_row("the interval", "held" if score.covered else "did not hold")
        rows.add_row("Brier score", f"{score.brier:.3f}")
        if score.HasField("crps"):
            rows.add_row("CRPS", f"{score.crps:.2f} points")
    return rows


def _interval(forecast: Forecast, *, level: bool) -> Text:
    ends = f"{signed(forecast.interval_lower, 0)}…{signed(forecast.interval_upper, 0)}"
    return Text(f"{ends} {percent(forecast.coverage_probability)}" if level else ends)


def _teams(forecast: Forecast) -> str:
    return matchup(forecast) if forecast.home_team or forecast.away_team else ""
