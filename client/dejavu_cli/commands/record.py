"""The commands of the track record: they read the ledger and its scores, and report outcomes to the ledger."""

from __future__ import annotations

import itertools
from dataclasses import fields
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from google.protobuf.json_format import MessageToJson

from dejavu.v1.forecast_pb2 import HORIZON_UNSPECIFIED
from dejavu.v1.forecast_pb2 import Horizon as ProtoHorizon
from dejavu.v1.record_pb2 import Outcome
from dejavu.v1.record_service_pb2 import LeaderboardMetric
from dejavu_cli.errors import exit_on_os_error, failure
from dejavu_cli.options import (
    HORIZONS,
    Call,
    Files,
    GameOptions,
    HorizonName,
    Model,
    ScoredGames,
    ScoresCall,
    argument,
    choice,
    flag,
    option,
    points,
    refuse,
    team_option,
)
from dejavu_cli.output.forecast import print_json
from dejavu_cli.output.record import correction, print_prediction, print_predictions, print_report, print_withdrawal
from dejavu_cli.output.scores import print_leaderboard, print_scorecard
from dejavu_client.client import DejavuClient
from dejavu_client.errors import DejavuClientError, FailedPreconditionError
from dejavu_client.export import FIGURE_COLUMNS, PREDICTION_COLUMNS, figure_rows, leaderboard_rows
from dejavu_client.requests import ModelScope, score_filter
from dejavu_common.files import atomic_replace
from dejavu_feed.horizon import MAX_OVERTIMES

SHOWN: Final = 50
"""Default number of forecasts in a table."""
LARGEST_PAGE: Final = 500

GameId = Annotated[str, argument("GAME_ID", text="NBA game id, ten digits.")]
Metric = Literal["crps", "mae", "brier", "mae-difference", "coverage-gap", "accuracy", "roc-auc", "roi"]
"""Leaderboard metrics as typed on the command line."""


def predictions(
    ctx: typer.Context,
    games: GameOptions,
    files: Files,
    call: Call,
    game_id: Annotated[str, argument("[GAME_ID]")] = "",
    *,
    horizon: Annotated[HorizonName | None, choice()] = None,
    settled: Annotated[bool | None, flag("--settled/--unsettled")] = None,
    model: Model = "",
    superseded: Annotated[bool, flag("--superseded")] = False,
    limit: Annotated[
        int | None,
        option(
            "N",
            text=f"Maximum number to list, 0 for all; default {SHOWN} on the terminal, all as JSON and in files.",
            min=0,
        ),
    ] = None,
    explain: Annotated[bool, flag("--explain")] = False,
) -> None:
    """List recorded forecasts and their results, newest first; or show one of a game in full.

    Args:
        game_id: Show the newest forecast of this game in full, with its revisions and outcome.
        horizon: Only forecasts of this horizon: the half, or the end; of a GAME_ID, the half by default.
        settled: Only forecasts whose outcome is known, or is not.
        superseded: Include earlier revisions that were superseded.
        explain: Include the explanations; only with --json.
    """
    if game_id:
        others = {each.name for group in (GameOptions, Files) for each in fields(group)} - {"minute"}
        refuse(ctx, "not with GAME_ID", *others, "settled", "superseded", "limit", "explain")
        at = HORIZONS[horizon or "half"]
        with call.connect() as client:
            answer = client.get_prediction(game_id, horizon=at, elapsed_minutes=games.minute, model_version=model)
        call.show(answer, print_prediction)
        return
    files.check(call)
    if explain and not call.as_json:
        raise typer.BadParameter("give it with --json", param_hint="--explain")
    from_date, to_date = games.days
    to_terminal = not (call.as_json or files.path)
    most = (SHOWN if to_terminal else None) if limit is None else (limit or None)
    # Fetch one more than is shown, to know whether there are more.
    page = LARGEST_PAGE if most is None else min(LARGEST_PAGE, most + to_terminal)
    with call.connect() as client:
        results = client.list_predictions(
            page_size=page,
            explain=explain,
            game_id=games.game,
            from_date=from_date,
            to_date=to_date,
            team=games.team,
            horizon=HORIZONS[horizon] if horizon else HORIZON_UNSPECIFIED,
            min_confidence=games.min_confidence,
            settled=settled,
            model_version=model,
            elapsed_minutes=games.minute,
            include_superseded=superseded,
            include_replays=games.replays,
        )
        limited = itertools.islice(results, most)
        if files.write(PREDICTION_COLUMNS, limited, "forecast"):
            return
        if call.as_json:
            for prediction in limited:
                print_json(prediction)
        else:
            shown = list(limited)
            without_replays = not (games.replays or games.game)
            print_predictions(shown, cut=next(results, None) is not None, without_replays=without_replays)


def scorecard(
    ctx: typer.Context,
    games: ScoredGames,
    files: Files,
    call: ScoresCall,
    *,
    model: Model = "",
    limit: Annotated[int, option("N", min=0)] = 0,
    by_model: Annotated[bool, flag("--by-model")] = False,
    metric: Annotated[Metric, choice()] = "crps",
    min_games: Annotated[int, option("N", min=0)] = 0,
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
        refuse(ctx, "not with --by-model", "model", "limit")
        scope = games.scope
        code = LeaderboardMetric.Value(f"LEADERBOARD_METRIC_{metric.replace('-', '_').upper()}")
        with call.connect() as client:
            board = client.get_leaderboard(metric=code, min_games=min_games, timeout=call.timeout, **scope)
        counted = score_filter(**scope)
        if not files.write(FIGURE_COLUMNS, leaderboard_rows(counted, board.rows), "figure"):
            call.show(board, partial(print_leaderboard, scope=counted))
        return
    refuse(ctx, "needs --by-model", "metric", "min_games")
    of_model = ModelScope(**games.scope, model_version=model)
    with call.connect() as client:
        card = client.get_scorecard(limit=limit, timeout=call.timeout, **of_model)
    counted = score_filter(**of_model)
    if not files.write(FIGURE_COLUMNS, figure_rows(counted, card), "figure"):
        call.show(card, partial(print_scorecard, scope=counted))


def report(
    call: Call,
    game_id: GameId,
    horizon: Annotated[HorizonName, choice(show_default=False)],
    differential: Annotated[int | None, argument("[DIFFERENTIAL]")] = None,
    *,
    home: Annotated[str, team_option()] = "",
    away: Annotated[str, team_option()] = "",
    observed: Annotated[str, option("TIME")] = "",
    total_points: Annotated[int | None, points()] = None,
    overtimes: Annotated[int | None, option("N", min=0, max=MAX_OVERTIMES)] = None,
    correct: Annotated[bool, flag("--correct")] = False,
    withdraw: Annotated[bool, flag("--withdraw")] = False,
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
            call.show(client.withdraw_outcome(game_id, horizon=HORIZONS[horizon]), print_withdrawal)
        return
    if differential is None:
        raise typer.BadParameter("missing; expected the home team's lead, or --withdraw", param_hint="DIFFERENTIAL")
    observed_time = _parse_time(observed) if observed else None
    with call.connect() as client:
        send = partial(
            client.report_outcome,
            game_id,
            differential,
            horizon=HORIZONS[horizon],
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
            before = _standing(client, game_id, HORIZONS[horizon])
            answer = send()
            stood = error.message.partition(": ")[2] or error.message
            said = (
                f"Corrected; the previous outcome was {stood}" if before is None else correction(before, answer.outcome)
            )
            typer.echo(said, err=True)
    known = answer.outcome.sequence <= head  # only a new entry is beyond `head`
    call.show(answer, partial(print_report, known=known))


def checkpoint(
    call: Call, out: Annotated[Path | None, option("FILE")] = None, force: Annotated[bool, flag("--force")] = False
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
