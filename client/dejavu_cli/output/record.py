"""Prints recorded forecasts and outcomes for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Final

from rich.table import Table
from rich.text import Text

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.market_pb2 import MARKET_KIND_TOTAL
from dejavu.v1.record_pb2 import MarketResult, Outcome, RecordedPrediction
from dejavu.v1.record_service_pb2 import GetPredictionResponse, ReportOutcomeResponse, WithdrawOutcomeResponse
from dejavu_cli.output.forecast import home_chance, lead_with_sign, local_time, matchup, print_forecast, title
from dejavu_cli.output.market import print_market, profit_text
from dejavu_cli.output.responsive_table import Column, ResponsiveTable, name_value_rows
from dejavu_client.formatting import (
    after_overtime,
    enum_word,
    horizon_label,
    is_played_out,
    last_differential,
    outcome_range,
    percent,
    play_time,
    pluralize,
    signed,
    total_range,
)
from dejavu_common.clock import game_day, utc_now
from dejavu_common.rich_console import Console

REPLAYS_LEFT_OUT: Final = "Replays are left out: --replays includes them."


def print_predictions(predictions: Sequence[RecordedPrediction], *, cut: bool, without_replays: bool = False) -> None:
    """Print a table of recorded forecasts.

    Args:
        predictions: the forecasts to show, newest first.
        cut: whether there are more forecasts than these.
        without_replays: whether forecasts of replays were left out.
    """
    console = Console()
    if not predictions:
        console.print(f"No recorded forecasts match.{f' {REPLAYS_LEFT_OUT}' * without_replays}")
        return
    levels = {percent(each.forecast.coverage_probability) for each in predictions}
    later = any(_made(each) != _game_date(each) for each in predictions)
    console.print(ResponsiveTable(_columns(level=len(levels) > 1, later=later), predictions))
    notes = [f"intervals of {levels.pop()}"] if len(levels) == 1 else []
    settled = [each.settlement for each in predictions if each.HasField("settlement") and not each.forecast.late]
    if settled:
        held = sum(each.covered for each in settled)
        notes.append(f"{held} of {pluralize(len(settled), 'interval')} held")
    if late := sum(bool(each.forecast.late) for each in predictions):
        notes.append(f"{late:,} late, which {'does' if late == 1 else 'do'} not count")
    if cut:
        notes.append(f"the newest {len(predictions):,}; use --limit for more")
    notes.append("points are home − away, intervals the outcomes in them")
    console.print(Text(" · ".join(notes), style="dim"))


def print_prediction(answer: GetPredictionResponse) -> None:
    """Print a recorded forecast in full, its outcome and its other revisions."""
    newest = answer.prediction
    print_forecast(newest.forecast, pattern=newest.pattern)
    console = Console()
    for each in newest.markets:
        print_market(each.answer, each.market, newest.forecast)
    console.print(_result(newest))
    if answer.revisions:
        console.print()
        console.print(Text(f"{pluralize(len(answer.revisions), 'other revision')}, oldest first", style="bold"))
        console.print(ResponsiveTable(_REVISION_COLUMNS, answer.revisions))
    if len(answer.outcomes) > 1:
        console.print()
        console.print(Text("revisions of the outcome", style="bold"))
        console.print(ResponsiveTable(_OUTCOME_COLUMNS, answer.outcomes))


def print_report(answer: ReportOutcomeResponse, *, known: bool = False) -> None:
    """Print an outcome as recorded in the ledger.

    Args:
        answer: the answer to the report.
        known: whether the ledger already had this outcome, so that the report changed nothing.
    """
    outcome = answer.outcome
    corrected = f", revision {outcome.revision}" if outcome.revision else ""
    settled = pluralize(answer.settled_forecasts, "forecast") if answer.settled_forecasts else "no forecasts"
    line = f"{title(outcome)}: {lead_with_sign(outcome.differential, outcome)} at the {horizon_label(outcome.horizon)}"
    line += after_overtime(outcome)
    line += f", {outcome.total_points} points of both teams" * outcome.HasField("total_points")
    if known:
        Console().print(f"{line}, already recorded as {outcome.sequence}, nothing changed", highlight=False)
        return
    Console().print(f"{line}, recorded as {outcome.sequence}{corrected}; settles {settled}", highlight=False)


def correction(before: Outcome, after: Outcome) -> str:
    """Describe the previous and the corrected outcome."""
    recorded = f"recorded {local_time(before.recorded_time)} as {before.sequence}"
    was, now = lead_with_sign(before.differential, before), lead_with_sign(after.differential, after)
    return f"Corrected: {was}, {recorded}, is now {now}"


def print_withdrawal(answer: WithdrawOutcomeResponse) -> None:
    """Print a withdrawn outcome."""
    outcome = answer.outcome
    left = pluralize(answer.unsettled_forecasts, "forecast") if answer.unsettled_forecasts else "no forecasts"
    result = lead_with_sign(outcome.differential, outcome)
    line = f"{title(outcome)}: {result} at the {horizon_label(outcome.horizon)} is withdrawn"
    Console().print(f"{line}, recorded as {outcome.sequence}; it had settled {left}", highlight=False)


def _points(prediction: RecordedPrediction) -> str:
    forecast = prediction.forecast
    return f"{forecast.total.point_forecast:.1f}" if forecast.HasField("total") else ""


def _points_off_by(prediction: RecordedPrediction) -> str:
    settled = prediction.settlement
    return f"{settled.total.absolute_error:.1f}" if settled.HasField("total") else ""


def _off_by(prediction: RecordedPrediction) -> str:
    return f"{prediction.settlement.absolute_error:.1f}"


def _persistence_off_by(prediction: RecordedPrediction) -> str:
    return f"{prediction.settlement.persistence_absolute_error:.1f}"


def _counts(prediction: RecordedPrediction) -> str:
    return "late" if prediction.forecast.late else ""


def _total_points(outcome: Outcome) -> str:
    return f"{outcome.total_points}" if outcome.HasField("total_points") else ""


def _columns(*, level: bool, later: bool) -> Sequence[Column[RecordedPrediction]]:
    """Return the columns of recorded forecasts.

    Args:
        level: whether intervals show their level.
        later: whether some forecasts were made on a day other than that of their game, so that both dates are shown.
    """
    return (
        *([Column("made", "left", 8, _made, "dim")] if later else []),
        Column("game of" if later else "date", "left", 8 if later else 5, _game_date, "dim"),
        Column("game", "left", 9, lambda each: _teams(each.forecast)),
        Column("game id", "left", 7, lambda each: each.forecast.game_id, "dim"),
        Column("min", "right", 8, lambda each: play_time(each.forecast, "").strip()),
        Column("horizon", "left", 8, lambda each: horizon_label(each.forecast.horizon)),
        Column("forecast", "right", 9, _point_forecast),
        Column("interval", "center", 6, lambda each: _interval(each.forecast, level=level)),
        Column("home ahead", "right", 5, lambda each: home_chance(each.forecast)),
        Column("outcome", "right", 9, _outcome),
        Column("off by", "right", 6, _off_by, of="settlement"),
        Column("persistence", "right", 2, _persistence_off_by, "dim", "settlement"),
        Column("held", "left", 6, _held, of="settlement"),
        Column("counts", "left", 9, _counts, "yellow"),
        Column("points", "right", 4, _points),
        Column("points then", "right", 3, lambda each: _total_points(each.outcome), of="outcome"),
        Column("points off by", "right", 3, _points_off_by, of="settlement"),
        Column("#", "right", 1, lambda each: f"{each.forecast.sequence}", "dim"),
    )


def _point_forecast(prediction: RecordedPrediction) -> Text:
    style = "strike dim" if prediction.superseded or prediction.forecast.late else "bold"
    return Text(signed(prediction.forecast.point_forecast), style=style)


def _outcome(prediction: RecordedPrediction) -> Text:
    """Return the outcome, with a mark for overtime; without an outcome, a mark if no forecast can follow."""
    if not prediction.HasField("outcome"):
        return Text("last min/OT" if is_played_out(prediction.forecast, utc_now()) else "", style="dim")
    outcome = prediction.outcome
    return Text.assemble((signed(outcome.differential, 0), "bold"), " OT" if outcome.overtimes else "")


def _made(prediction: RecordedPrediction) -> str:
    return f"{game_day(prediction.forecast.generated_time.ToDatetime(tzinfo=UTC))}"


def _game_date(prediction: RecordedPrediction) -> str:
    return prediction.forecast.game_date or _made(prediction)


def _held(prediction: RecordedPrediction) -> Text:
    return Text("yes", style="green") if prediction.settlement.covered else Text("no", style="yellow")


def _lead_then(prediction: RecordedPrediction) -> str:
    lead = last_differential(prediction)
    return "" if lead is None else signed(lead, 0)


_REVISION_COLUMNS: Final[Sequence[Column[RecordedPrediction]]] = (
    Column("created", "left", 3, lambda each: local_time(each.forecast.generated_time), "dim"),
    Column("lead then", "right", 6, _lead_then),
    Column("forecast", "right", 9, lambda each: signed(each.forecast.point_forecast)),
    Column("interval", "center", 6, lambda each: _interval(each.forecast, level=False)),
    Column("off by", "right", 5, _off_by, of="settlement"),
    Column("held", "left", 5, _held, of="settlement"),
    Column("#", "right", 4, lambda each: f"{each.forecast.sequence}", "dim"),
    Column("counts", "left", 4, _counts, "yellow"),
)
_OUTCOME_COLUMNS: Final[Sequence[Column[Outcome]]] = (
    Column("recorded", "left", 3, lambda each: local_time(each.recorded_time), "dim"),
    Column("outcome", "right", 9, lambda each: signed(each.differential, 0)),
    Column("points", "right", 6, _total_points),
    Column("#", "right", 4, lambda each: f"{each.sequence}", "dim"),
    Column("stands", "left", 5, lambda each: "withdrawn" if each.withdrawn else "", "yellow"),
)


def _result(prediction: RecordedPrediction) -> Table | Text:
    if not prediction.HasField("outcome"):
        text = f"No outcome of the {horizon_label(prediction.forecast.horizon)} stands."
        if is_played_out(prediction.forecast, utc_now()):
            text += " The game is in its last minute or overtime."
        return Text(text, style="dim")
    rows = name_value_rows(no_wrap=True)
    outcome = prediction.outcome
    came = lead_with_sign(outcome.differential, outcome)
    rows.add_row("outcome", Text.assemble((came, "bold"), after_overtime(outcome)))
    rows.add_row("recorded", f"{local_time(outcome.recorded_time)} as {outcome.sequence}")
    if prediction.HasField("settlement"):
        score = prediction.settlement
        rows.add_row("off by", f"{score.absolute_error:.1f} points, persistence {score.persistence_absolute_error:.1f}")
        rows.add_row("the interval", "held" if score.covered else "did not hold")
        rows.add_row("Brier score", f"{score.brier:.3f}")
        if score.HasField("crps"):
            rows.add_row("CRPS", f"{score.crps:.2f} points")
        if score.HasField("total"):
            total, ends = score.total, prediction.forecast.total
            rows.add_row("points of both teams", f"{outcome.total_points}")
            rows.add_row("  off by", f"{total.absolute_error:.1f} points, pace × time {total.pace_absolute_error:.1f}")
            held = "held" if total.covered else "did not hold"
            rows.add_row("  the interval", f"{total_range(ends)} {held}")
            rows.add_row("  CRPS", f"{total.crps:.2f} points")
        for each in prediction.markets:
            of_total = each.market.kind == MARKET_KIND_TOTAL
            scored = score.total if of_total else score
            if result := enum_word(MarketResult.DESCRIPTOR, scored.market_result):
                profit = profit_text(scored.market_profit, each.market)
                rows.add_row("the bet on the points" if of_total else "the bet", f"{result}, {profit}")
    return rows


def _interval(forecast: Forecast, *, level: bool) -> str:
    ends = outcome_range(forecast.interval_lower, forecast.interval_upper)
    return f"{ends} {percent(forecast.coverage_probability)}" if level else ends


def _teams(forecast: Forecast) -> str:
    return matchup(forecast) if forecast.home_team or forecast.away_team else ""
