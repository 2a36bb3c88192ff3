"""`dejavu scorecard` and `dejavu leaderboard`: scores of settled forecasts."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import typer

from dejavu.v1.record_service_pb2 import LeaderboardMetric
from dejavu_client.cli.options import record as options
from dejavu_client.cli.options.common import DEFAULT_TARGET, Json, Target, Timeout, connect
from dejavu_client.cli.predict import HORIZONS, HorizonName
from dejavu_client.config import SCORES_TIMEOUT
from dejavu_client.output.export_columns import FIGURE_COLUMNS, figure_rows, leaderboard_rows
from dejavu_client.output.forecast import show
from dejavu_client.output.scores import print_leaderboard, print_scorecard
from dejavu_client.requests import ModelScope, Scope, score_filter

Metric = Literal["crps", "mae", "brier", "mae-difference", "coverage-gap"]
"""Leaderboard metrics as typed on the command line."""

Horizon = Annotated[
    HorizonName, typer.Option(case_sensitive=False, help="Horizon of the forecasts: the half, or the end.")
]
MinMinute = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Only forecasts made after this minute of play or later.")
]
MaxMinute = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Only forecasts made after this minute of play or earlier."),
]


def scorecard(
    *,
    date: options.Date = None,
    first: options.From = None,
    last: options.To = None,
    team: options.Team = "",
    game: options.Game = "",
    horizon: Horizon = "half",
    model: options.Model = "",
    minute: options.Minute = None,
    min_minute: MinMinute = None,
    max_minute: MaxMinute = None,
    min_confidence: options.MinConfidence = None,
    replays: options.Replays = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = SCORES_TIMEOUT,
    as_json: Json = False,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
) -> None:
    """Show the scores of settled forecasts, compared with persistence on the same games. Each game has equal weight."""
    options.check_output_format(as_json=as_json, csv=csv, parquet=parquet)
    scope = ModelScope(
        game_id=game, team=team, horizon=HORIZONS[horizon], min_confidence=min_confidence, include_replays=replays
    )
    scope["from_date"], scope["to_date"] = options.days(date, first, last)
    scope["min_minutes"], scope["max_minutes"] = options.minutes(minute, min_minute, max_minute)
    scope["model_version"] = model
    with connect(target, timeout) as client:
        card = client.get_scorecard(timeout=timeout, **scope)
    counted = score_filter(**scope)
    if not options.write_rows(FIGURE_COLUMNS, figure_rows(counted, card), "figure", csv, parquet):
        show(card, partial(print_scorecard, scope=counted), as_json=as_json)


def leaderboard(
    *,
    date: options.Date = None,
    first: options.From = None,
    last: options.To = None,
    team: options.Team = "",
    game: options.Game = "",
    horizon: Horizon = "half",
    minute: options.Minute = None,
    min_minute: MinMinute = None,
    max_minute: MaxMinute = None,
    min_confidence: options.MinConfidence = None,
    metric: Annotated[Metric, typer.Option(case_sensitive=False, help="Metric to rank by; lower is better.")] = "crps",
    min_games: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Minimum number of games of a listed version; 0: the server's default, 100."
        ),
    ] = 0,
    replays: options.Replays = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = SCORES_TIMEOUT,
    as_json: Json = False,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
) -> None:
    """Rank the model versions by the scores of their settled forecasts. Versions with too few games are excluded."""
    options.check_output_format(as_json=as_json, csv=csv, parquet=parquet)
    scope = Scope(
        game_id=game, team=team, horizon=HORIZONS[horizon], min_confidence=min_confidence, include_replays=replays
    )
    scope["from_date"], scope["to_date"] = options.days(date, first, last)
    scope["min_minutes"], scope["max_minutes"] = options.minutes(minute, min_minute, max_minute)
    code = LeaderboardMetric.Value(f"LEADERBOARD_METRIC_{metric.replace('-', '_').upper()}")
    with connect(target, timeout) as client:
        board = client.get_leaderboard(metric=code, min_games=min_games, timeout=timeout, **scope)
    counted = score_filter(**scope)
    if not options.write_rows(FIGURE_COLUMNS, leaderboard_rows(counted, board.rows), "figure", csv, parquet):
        show(board, partial(print_leaderboard, scope=counted), as_json=as_json)
