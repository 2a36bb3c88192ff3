"""The commands of the track record: they read the ledger and its scores, and report outcomes to the ledger."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, cast

import typer
from google.protobuf.json_format import MessageToJson
from rich.table import Table
from rich.text import Text

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_UNSPECIFIED, Forecast
from dejavu.v1.forecast_pb2 import Horizon as ProtoHorizon
from dejavu.v1.market_pb2 import MARKET_KIND_TOTAL
from dejavu.v1.record_pb2 import MarketResult, Outcome, RecordedPrediction
from dejavu_cli import options as opt
from dejavu_cli.errors import exit_on_os_error, failure
from dejavu_cli.output.forecast import (
    REPLAYS_LEFT_OUT,
    home_chance,
    lead_with_sign,
    local_time,
    matchup,
    print_forecast,
    print_json,
    title,
)
from dejavu_cli.output.market import print_market, profit_text
from dejavu_cli.output.responsive_table import Column, ResponsiveTable, name_value_rows
from dejavu_cli.output.scores import print_leaderboard, print_scorecard
from dejavu_client import formatting as fmt
from dejavu_client.client import DejavuClient
from dejavu_client.errors import DejavuClientError, FailedPreconditionError
from dejavu_client.export import FIGURE_COLUMNS, PREDICTION_COLUMNS, figure_rows, leaderboard_rows
from dejavu_client.requests import Conditions, ModelScope, score_filter
from dejavu_common.clock import game_day, utc_now
from dejavu_common.files import atomic_replace
from dejavu_common.rich_console import Console
from dejavu_feed.horizon import MAX_OVERTIMES

SHOWN: Final = 50
"""Default number of forecasts in a table."""
LARGEST_PAGE: Final = 500

GameId = Annotated[str, opt.argument("GAME_ID", text="NBA game id, ten digits.")]
Metric = Literal["crps", "mae", "brier", "mae-difference", "coverage-gap", "accuracy", "roc-auc", "roi"]
"""Leaderboard metrics as typed on the command line."""


def predictions(
    ctx: typer.Context,
    games: opt.GameOptions,
    files: opt.Files,
    call: opt.Call,
    game_id: Annotated[str, opt.argument("[GAME_ID]")] = "",
    *,
    horizon: Annotated[opt.HorizonName | None, opt.choice()] = None,
    settled: Annotated[bool | None, opt.flag("--settled/--unsettled")] = None,
    model: opt.Model = "",
    superseded: Annotated[bool, opt.flag("--superseded")] = False,
    limit: Annotated[int | None, opt.option("N", min=0)] = None,
    explain: Annotated[bool, opt.flag("--explain")] = False,
) -> None:
    """List recorded forecasts and their results, newest first; or show one of a game in full.

    Args:
        game_id: Show the newest forecast of this game in full, with its revisions and outcome.
        horizon: Only forecasts of this horizon: the half, or the end; of a GAME_ID, the half by default.
        settled: Only forecasts whose outcome is known, or is not.
        superseded: Include earlier revisions that were superseded.
        limit: Maximum number to list, 0 for all; default 50 on the terminal, all as JSON and in files.
        explain: Include the explanations; only with --json.
    """
    if game_id:
        others = {each.name for group in (opt.GameOptions, opt.Files) for each in fields(group)} - {"minute"}
        opt.refuse(ctx, "not with GAME_ID", *others, "settled", "superseded", "limit", "explain")
        at = opt.HORIZONS[horizon or "half"]
        with call.connect() as client:
            answer = client.get_prediction(game_id, horizon=at, elapsed_minutes=games.minute, model_version=model)
        call.show(answer, print_prediction)
        return
    files.check(call)
    if explain and not call.as_json:
        raise typer.BadParameter("give it with --json", param_hint="--explain")
    conditions: Conditions = {"settled": settled, "model_version": model, "include_superseded": superseded}
    conditions |= {"elapsed_minutes": games.minute, **cast("Conditions", games.conditions)}
    conditions["horizon"] = opt.HORIZONS[horizon] if horizon else HORIZON_UNSPECIFIED
    to_terminal = not (call.as_json or files.path)
    most = (SHOWN if to_terminal else None) if limit is None else (limit or None)
    # Fetch one more than is shown, to know whether there are more.
    page = LARGEST_PAGE if most is None else min(LARGEST_PAGE, most + to_terminal)
    with call.connect() as client:
        results = client.list_predictions(page_size=page, explain=explain, **conditions)
        limited = itertools.islice(results, most)
        if files.write(PREDICTION_COLUMNS, limited, "forecast"):
            return
        if call.as_json:
            for prediction in limited:
                print_json(prediction)
            return
        shown, without_replays = list(limited), not (games.replays or games.game)
        print_predictions(shown, cut=next(results, None) is not None, without_replays=without_replays)


def scorecard(
    ctx: typer.Context,
    games: opt.ScoredGames,
    files: opt.Files,
    call: opt.ScoresCall,
    *,
    model: opt.Model = "",
    limit: Annotated[int, opt.option("N", min=0)] = 0,
    by_model: Annotated[bool, opt.flag("--by-model")] = False,
    metric: Annotated[Metric, opt.choice()] = "crps",
    min_games: Annotated[int, opt.option("N", min=0)] = 0,
) -> None:
    """Show the scores of settled forecasts, compared with persistence on the same games. Each game has equal weight.

    Args:
        limit: Only the N games with the newest outcomes; 0 for all.
        by_model: Rank the model versions instead; those with too few games are excluded.
        metric: With --by-model: metric to rank by.
        min_games: With --by-model: fewest games of a version; 0: the server's default, 100.
    """
    files.check(call)
    if by_model:
        opt.refuse(ctx, "not with --by-model", "model", "limit")
        scope = games.scope
        code = pb.LeaderboardMetric.Value(f"LEADERBOARD_METRIC_{metric.replace('-', '_').upper()}")
        with call.connect() as client:
            board = client.get_leaderboard(metric=code, min_games=min_games, timeout=call.timeout, **scope)
        counted = score_filter(**scope)
        if not files.write(FIGURE_COLUMNS, leaderboard_rows(counted, board.rows), "figure"):
            call.show(board, partial(print_leaderboard, scope=counted))
        return
    opt.refuse(ctx, "needs --by-model", "metric", "min_games")
    of_model = ModelScope(**games.scope, model_version=model)
    with call.connect() as client:
        card = client.get_scorecard(limit=limit, timeout=call.timeout, **of_model)
    counted = score_filter(**of_model)
    if not files.write(FIGURE_COLUMNS, figure_rows(counted, card), "figure"):
        call.show(card, partial(print_scorecard, scope=counted))


def report(
    call: opt.Call,
    game_id: GameId,
    horizon: Annotated[opt.HorizonName, opt.choice(show_default=False)],
    differential: Annotated[int | None, opt.argument("[DIFFERENTIAL]")] = None,
    *,
    home: Annotated[str, opt.team_option()] = "",
    away: Annotated[str, opt.team_option()] = "",
    observed: Annotated[str, opt.option("TIME")] = "",
    total_points: Annotated[int | None, opt.points()] = None,
    overtimes: Annotated[int | None, opt.option("N", min=0, max=MAX_OVERTIMES)] = None,
    correct: Annotated[bool, opt.flag("--correct")] = False,
    withdraw: Annotated[bool, opt.flag("--withdraw")] = False,
) -> None:
    """Report the lead at the half or the end of a game, which settles its forecasts; or take a report back.

    A report of another value than the one that stands is refused without --correct.

    Args:
        horizon: Horizon reported: the half, or the end.
        differential: Home team's lead at the horizon, in points; negative if behind.
        home: Home team; with both teams, ratings learn from the final score.
        away: Away team.
        observed: When it was observed, ISO 8601; local time unless it has an offset; now by default.
        total_points: Points of both teams together at the horizon, which settle forecasts of totals.
        overtimes: Overtimes that the game had; with --horizon final.
        correct: Overturn the outcome that stands; it is named, and stays as a revision.
        withdraw: Take the outcome back, as if it had never been reported.
    """
    if withdraw:
        given = (differential, total_points, overtimes)
        if home or away or observed or correct or any(each is not None for each in given):
            raise typer.BadParameter("--withdraw takes only the game and --horizon", param_hint="--withdraw")
        with call.connect() as client:
            call.show(client.withdraw_outcome(game_id, horizon=opt.HORIZONS[horizon]), print_withdrawal)
        return
    if differential is None:
        raise typer.BadParameter("missing; expected the home team's lead, or --withdraw", param_hint="DIFFERENTIAL")
    observed_time = _parse_time(observed) if observed else None
    with call.connect() as client:
        send = partial(
            client.report_outcome,
            game_id,
            differential,
            horizon=opt.HORIZONS[horizon],
            home_team=home,
            away_team=away,
            observed_time=observed_time,
            total_points=total_points,
            overtimes=overtimes,
        )
        head = 0 if call.as_json else _head(client)
        try:
            answer = send(refuse_correction=True)
        except FailedPreconditionError as error:
            if error.reason != "OUTCOME_STANDS":
                raise
            if not correct:
                typer.echo("Nothing was changed. --correct overturns the outcome, --withdraw takes it back.", err=True)
                raise
            before = _standing(client, game_id, opt.HORIZONS[horizon])
            answer = send()
            stood = error.message.partition(": ")[2] or error.message
            said = f"Corrected; the previous outcome was {stood}"
            typer.echo(said if before is None else correction(before, answer.outcome), err=True)
    known = answer.outcome.sequence <= head  # only a new entry is beyond `head`
    call.show(answer, partial(print_report, known=known))


def checkpoint(
    call: opt.Call,
    out: Annotated[Path | None, opt.option("FILE")] = None,
    force: Annotated[bool, opt.flag("--force")] = False,
) -> None:
    """Fetch the signed head of the ledger. A saved copy proves later that no entry up to it was changed.

    The output is always JSON. `dejavu-server ledger verify --checkpoint FILE` verifies a ledger against it.

    Args:
        out: Write to a new file; standard output by default.
        force: Overwrite the file of --out; an older checkpoint proves more.
    """
    if out is not None and out.exists() and not force:
        raise failure(f"{out} exists, and an earlier checkpoint proves more: use another name, or --force")
    with call.connect() as client:
        head = client.get_checkpoint()
    text = MessageToJson(head, always_print_fields_with_no_presence=True)
    if out is None:
        call.show(head, lambda _: typer.echo(text))
        return
    with exit_on_os_error(f"cannot write {out}"), atomic_replace(out) as new:
        new.write_text(text + "\n", encoding="utf-8")
    typer.echo(f"checkpoint of the ledger up to entry {head.sequence} in {out}", err=True)


def _head(client: DejavuClient) -> int:
    """Return the sequence of the newest entry; 0 if it cannot be read, e.g. without a key to sign checkpoints."""
    try:
        return client.get_checkpoint().sequence
    except DejavuClientError:
        return 0  # a repeated report then looks like a new one, but reporting works


def _standing(client: DejavuClient, game_id: str, horizon: ProtoHorizon.ValueType) -> Outcome | None:
    """Return the current outcome, read from a forecast of the game; None if there is no such forecast."""
    try:
        outcomes = client.get_prediction(game_id, horizon=horizon).outcomes
    except DejavuClientError:
        return None
    return outcomes[-1] if outcomes and not outcomes[-1].withdrawn else None


def _parse_time(text: str) -> datetime:
    """Parse an ISO 8601 time; local time if it has no offset."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        message = f"{text!r} is not a time; expected for example 2026-01-15T21:40:00-05:00"
        raise typer.BadParameter(message, param_hint="--observed") from None


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
    levels = {fmt.percent(each.forecast.coverage_probability) for each in predictions}
    later = any(_made(each) != _game_date(each) for each in predictions)
    console.print(ResponsiveTable(_columns(level=len(levels) > 1, later=later), predictions))
    notes = [f"intervals of {levels.pop()}"] if len(levels) == 1 else []
    settled = [each.settlement for each in predictions if each.HasField("settlement") and not each.forecast.late]
    if settled:
        held = sum(each.covered for each in settled)
        notes.append(f"{held} of {fmt.pluralize(len(settled), 'interval')} held")
    if late := sum(bool(each.forecast.late) for each in predictions):
        notes.append(f"{late:,} late, which {'does' if late == 1 else 'do'} not count")
    if cut:
        notes.append(f"the newest {len(predictions):,}; use --limit for more")
    notes.append("points are home − away, intervals the outcomes in them")
    console.print(Text(" · ".join(notes), style="dim"))


def print_prediction(answer: pb.GetPredictionResponse) -> None:
    """Print a recorded forecast in full, its outcome and its other revisions."""
    newest = answer.prediction
    print_forecast(newest.forecast, pattern=newest.pattern)
    console = Console()
    for each in newest.markets:
        print_market(each.answer, each.market, newest.forecast)
    console.print(_result(newest))
    if answer.revisions:
        console.print()
        console.print(Text(f"{fmt.pluralize(len(answer.revisions), 'other revision')}, oldest first", style="bold"))
        console.print(ResponsiveTable(_REVISION_COLUMNS, answer.revisions))
    if len(answer.outcomes) > 1:
        console.print()
        console.print(Text("revisions of the outcome", style="bold"))
        console.print(ResponsiveTable(_OUTCOME_COLUMNS, answer.outcomes))


def print_report(answer: pb.ReportOutcomeResponse, *, known: bool = False) -> None:
    """Print an outcome as recorded in the ledger.

    Args:
        answer: the answer to the report.
        known: whether the ledger already had this outcome, so that the report changed nothing.
    """
    outcome = answer.outcome
    corrected = f", revision {outcome.revision}" if outcome.revision else ""
    settled = fmt.pluralize(answer.settled_forecasts, "forecast") if answer.settled_forecasts else "no forecasts"
    line = (
        f"{title(outcome)}: {lead_with_sign(outcome.differential, outcome)} at the {fmt.horizon_label(outcome.horizon)}"
    )
    line += fmt.after_overtime(outcome)
    line += f", {outcome.total_points} points of both teams" * outcome.HasField("total_points")
    recorded = f"recorded as {outcome.sequence}{corrected}; settles {settled}"
    said = f"already recorded as {outcome.sequence}, nothing changed" if known else recorded
    Console().print(f"{line}, {said}", highlight=False)


def correction(before: Outcome, after: Outcome) -> str:
    """Describe the previous and the corrected outcome."""
    recorded = f"recorded {local_time(before.recorded_time)} as {before.sequence}"
    was, now = lead_with_sign(before.differential, before), lead_with_sign(after.differential, after)
    return f"Corrected: {was}, {recorded}, is now {now}"


def print_withdrawal(answer: pb.WithdrawOutcomeResponse) -> None:
    """Print a withdrawn outcome."""
    outcome = answer.outcome
    left = fmt.pluralize(answer.unsettled_forecasts, "forecast") if answer.unsettled_forecasts else "no forecasts"
    result = lead_with_sign(outcome.differential, outcome)
    line = f"{title(outcome)}: {result} at the {fmt.horizon_label(outcome.horizon)} is withdrawn"
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
        Column("min", "right", 8, lambda each: fmt.play_time(each.forecast, "").strip()),
        Column("horizon", "left", 8, lambda each: fmt.horizon_label(each.forecast.horizon)),
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
    return Text(fmt.signed(prediction.forecast.point_forecast), style=style)


def _outcome(prediction: RecordedPrediction) -> Text:
    """Return the outcome, with a mark for overtime; without an outcome, a mark if no forecast can follow."""
    if not prediction.HasField("outcome"):
        return Text("last min/OT" if fmt.is_played_out(prediction.forecast, utc_now()) else "", style="dim")
    outcome = prediction.outcome
    return Text.assemble((fmt.signed(outcome.differential, 0), "bold"), " OT" if outcome.overtimes else "")


def _made(prediction: RecordedPrediction) -> str:
    return f"{game_day(prediction.forecast.generated_time.ToDatetime(tzinfo=UTC))}"


def _game_date(prediction: RecordedPrediction) -> str:
    return prediction.forecast.game_date or _made(prediction)


def _held(prediction: RecordedPrediction) -> Text:
    return Text("yes", style="green") if prediction.settlement.covered else Text("no", style="yellow")


def _lead_then(prediction: RecordedPrediction) -> str:
    lead = fmt.last_differential(prediction)
    return "" if lead is None else fmt.signed(lead, 0)


_REVISION_COLUMNS: Final[Sequence[Column[RecordedPrediction]]] = (
    Column("created", "left", 3, lambda each: local_time(each.forecast.generated_time), "dim"),
    Column("lead then", "right", 6, _lead_then),
    Column("forecast", "right", 9, lambda each: fmt.signed(each.forecast.point_forecast)),
    Column("interval", "center", 6, lambda each: _interval(each.forecast, level=False)),
    Column("off by", "right", 5, _off_by, of="settlement"),
    Column("held", "left", 5, _held, of="settlement"),
    Column("#", "right", 4, lambda each: f"{each.forecast.sequence}", "dim"),
    Column("counts", "left", 4, _counts, "yellow"),
)
_OUTCOME_COLUMNS: Final[Sequence[Column[Outcome]]] = (
    Column("recorded", "left", 3, lambda each: local_time(each.recorded_time), "dim"),
    Column("outcome", "right", 9, lambda each: fmt.signed(each.differential, 0)),
    Column("points", "right", 6, _total_points),
    Column("#", "right", 4, lambda each: f"{each.sequence}", "dim"),
    Column("stands", "left", 5, lambda each: "withdrawn" if each.withdrawn else "", "yellow"),
)


def _result(prediction: RecordedPrediction) -> Table | Text:
    if not prediction.HasField("outcome"):
        text = f"No outcome of the {fmt.horizon_label(prediction.forecast.horizon)} stands."
        if fmt.is_played_out(prediction.forecast, utc_now()):
            text += " The game is in its last minute or overtime."
        return Text(text, style="dim")
    rows = name_value_rows(no_wrap=True)
    outcome = prediction.outcome
    came = lead_with_sign(outcome.differential, outcome)
    rows.add_row("outcome", Text.assemble((came, "bold"), fmt.after_overtime(outcome)))
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
            rows.add_row("  the interval", f"{fmt.total_range(ends)} {held}")
            rows.add_row("  CRPS", f"{total.crps:.2f} points")
        for each in prediction.markets:
            of_total = each.market.kind == MARKET_KIND_TOTAL
            scored = score.total if of_total else score
            if result := fmt.enum_word(MarketResult.DESCRIPTOR, scored.market_result):
                profit = profit_text(scored.market_profit, each.market)
                rows.add_row("the bet on the points" if of_total else "the bet", f"{result}, {profit}")
    return rows


def _interval(forecast: Forecast, *, level: bool) -> str:
    ends = fmt.outcome_range(forecast.interval_lower, forecast.interval_upper)
    return f"{ends} {fmt.percent(forecast.coverage_probability)}" if level else ends


def _teams(forecast: Forecast) -> str:
    return matchup(forecast) if forecast.home_team or forecast.away_team else ""
