"""`dejavu scorecard` and `dejavu leaderboard`: how settled forecasts fared."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from dejavu.v1.record_service_pb2 import (
    LEADERBOARD_METRIC_BRIER,
    LEADERBOARD_METRIC_COVERAGE_GAP,
    LEADERBOARD_METRIC_CRPS,
    LEADERBOARD_METRIC_MAE,
    LEADERBOARD_METRIC_MAE_DIFFERENCE,
)
from dejavu_client.cli.options.common import DEFAULT_TARGET, Json, Target, Timeout, connect
from dejavu_client.cli.options.record import (
    Csv,
    Date,
    From,
    Minute,
    Model,
    Parquet,
    Replays,
    To,
    days,
    minutes,
    one_form,
    written,
)
from dejavu_client.cli.predict import HORIZONS, HorizonName
from dejavu_client.config import SCORES_TIMEOUT
from dejavu_client.output.columns import FIGURE_COLUMNS, figure_rows, leaderboard_rows
from dejavu_client.output.export import write_csv, write_parquet
from dejavu_client.output.forecast import print_json
from dejavu_client.output.scores import print_leaderboard, print_scorecard
from dejavu_client.record_requests import ModelScope, Scope, score_filter


class MetricChoice(enum.StrEnum):
    """The metrics of a leaderboard as one types them."""

    CRPS = "crps"
    MAE = "mae"
    BRIER = "brier"
    DIFFERENCE = "mae-difference"
    COVERAGE = "coverage-gap"


METRICS = {
    MetricChoice.CRPS: LEADERBOARD_METRIC_CRPS,
    MetricChoice.MAE: LEADERBOARD_METRIC_MAE,
    MetricChoice.BRIER: LEADERBOARD_METRIC_BRIER,
    MetricChoice.DIFFERENCE: LEADERBOARD_METRIC_MAE_DIFFERENCE,
    MetricChoice.COVERAGE: LEADERBOARD_METRIC_COVERAGE_GAP,
}

Horizon = Annotated[HorizonName, typer.Option(case_sensitive=False, help="The moment forecast: the half, or the end.")]
MinMinute = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Only forecasts made after this minute of play or a later one.")
]
MaxMinute = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Only forecasts made after this minute of play or an earlier one."),
]


def scorecard(
    *,
    date: Date = None,
    first: From = None,
    last: To = None,
    horizon: Horizon = HorizonName.HALF,
    minute: Minute = None,
    min_minute: MinMinute = None,
    max_minute: MaxMinute = None,
    model: Model = "",
    replays: Replays = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = SCORES_TIMEOUT,
    as_json: Json = False,
    csv: Csv = None,
    parquet: Parquet = None,
) -> None:
    """Show how settled forecasts fared, beside persistence on the same games; a game counts once."""
    one_form(as_json=as_json, csv=csv, parquet=parquet)
    from_date, to_date = days(date, first, last)
    min_minutes, max_minutes = minutes(minute, min_minute, max_minute)
    scope = ModelScope(
        model_version=model,
        horizon=HORIZONS[horizon],
        from_date=from_date,
        to_date=to_date,
        min_minutes=min_minutes,
        max_minutes=max_minutes,
        include_replays=replays,
    )
    with connect(target, timeout) as client:
        card = client.get_scorecard(timeout=timeout, **scope)
    counted = score_filter(**scope)
    if csv is not None:
        written(csv, "figure", lambda: write_csv(csv, FIGURE_COLUMNS, figure_rows(counted, card)))
    elif parquet is not None:
        written(parquet, "figure", lambda: write_parquet(parquet, FIGURE_COLUMNS, figure_rows(counted, card)))
    elif as_json:
        print_json(card)
    else:
        print_scorecard(card, counted)


def leaderboard(
    *,
    metric: Annotated[
        MetricChoice, typer.Option(case_sensitive=False, help="What to order by; of each, less is better.")
    ] = MetricChoice.CRPS,
    min_games: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="The fewest games of a version that is listed; 0: the server's, 100."),
    ] = 0,
    date: Date = None,
    first: From = None,
    last: To = None,
    horizon: Horizon = HorizonName.HALF,
    minute: Minute = None,
    min_minute: MinMinute = None,
    max_minute: MaxMinute = None,
    replays: Replays = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = SCORES_TIMEOUT,
    as_json: Json = False,
    csv: Csv = None,
    parquet: Parquet = None,
) -> None:
    """Rank the model versions by how their settled forecasts fared; those with too few games are left out."""
    one_form(as_json=as_json, csv=csv, parquet=parquet)
    from_date, to_date = days(date, first, last)
    min_minutes, max_minutes = minutes(minute, min_minute, max_minute)
    scope = Scope(
        horizon=HORIZONS[horizon],
        from_date=from_date,
        to_date=to_date,
        min_minutes=min_minutes,
        max_minutes=max_minutes,
        include_replays=replays,
    )
    with connect(target, timeout) as client:
        board = client.get_leaderboard(metric=METRICS[metric], min_games=min_games, timeout=timeout, **scope)
    counted = score_filter(**scope)
    rows = leaderboard_rows(counted, board.rows)
    if csv is not None:
        written(csv, "figure", lambda: write_csv(csv, FIGURE_COLUMNS, rows))
    elif parquet is not None:
        written(parquet, "figure", lambda: write_parquet(parquet, FIGURE_COLUMNS, rows))
    elif as_json:
        print_json(board)
    else:
        print_leaderboard(board, counted)
