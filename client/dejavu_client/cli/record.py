"""`dejavu predictions`, `prediction`, `report` and `checkpoint`: what the ledger holds, and what it is told."""

from __future__ import annotations

import itertools
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from google.protobuf.json_format import MessageToJson

from dejavu.v1.forecast_pb2 import HORIZON_UNSPECIFIED
from dejavu_client.cli.options.common import DEFAULT_TARGET, DEFAULT_TIMEOUT, Json, Target, Timeout, connect
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
    one_form,
    record_errors,
    written,
)
from dejavu_client.cli.predict import HORIZONS, HorizonName
from dejavu_client.output.columns import PREDICTION_COLUMNS
from dejavu_client.output.export import replacing, write_csv, write_parquet
from dejavu_client.output.forecast import print_json
from dejavu_client.output.record import print_prediction, print_predictions, print_report

SHOWN: Final = 50
"""How many forecasts a table has if nobody says."""
LARGEST_PAGE: Final = 500

GameId = Annotated[str, typer.Argument(metavar="GAME_ID", help="The NBA's id of the game, ten digits.")]


def predictions(
    *,
    date: Date = None,
    first: From = None,
    last: To = None,
    team: Annotated[str, typer.Option(metavar="TEAM", help="Only games of this team, home or away.")] = "",
    horizon: Annotated[
        HorizonName | None, typer.Option(case_sensitive=False, help="Only forecasts of the half, or of the end.")
    ] = None,
    minute: Minute = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(metavar="P", help="Only those that give the likelier side at least this probability."),
    ] = None,
    settled: Annotated[
        bool | None, typer.Option("--settled/--unsettled", help="Only those whose outcome is known, or is not.")
    ] = None,
    model: Model = "",
    game: Annotated[str, typer.Option(metavar="GAME_ID", help="Only forecasts of this game.")] = "",
    replays: Replays = False,
    superseded: Annotated[
        bool, typer.Option("--superseded", help="Show earlier revisions too, which later ones took the place of.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help=f"The most to list, 0 for all; {SHOWN} by default on the terminal, all as JSON and in files.",
        ),
    ] = None,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
    csv: Csv = None,
    parquet: Parquet = None,
) -> None:
    """List recorded forecasts, newest first, and how they fared."""
    one_form(as_json=as_json, csv=csv, parquet=parquet)
    from_date, to_date = days(date, first, last)
    to_terminal = not (as_json or csv or parquet)
    most = (SHOWN if to_terminal else None) if limit is None else (limit or None)
    # One more than is shown tells whether there are more.
    page = LARGEST_PAGE if most is None else min(LARGEST_PAGE, most + to_terminal)
    with connect(target, timeout) as client:
        found = client.list_predictions(
            page_size=page,
            game_id=game,
            from_date=from_date,
            to_date=to_date,
            team=team,
            horizon=HORIZONS[horizon] if horizon else HORIZON_UNSPECIFIED,
            min_confidence=min_confidence,
            settled=settled,
            model_version=model,
            elapsed_minutes=minute,
            include_superseded=superseded,
            include_replays=replays,
        )
        wanted = itertools.islice(found, most)
        if csv is not None:
            written(csv, "forecast", lambda: write_csv(csv, PREDICTION_COLUMNS, wanted))
        elif parquet is not None:
            written(parquet, "forecast", lambda: write_parquet(parquet, PREDICTION_COLUMNS, wanted))
        elif as_json:
            for prediction in wanted:
                print_json(prediction)
        else:
            shown = list(wanted)
            print_predictions(shown, cut=next(found, None) is not None)


def prediction(
    game_id: GameId,
    horizon: Annotated[
        HorizonName, typer.Option(case_sensitive=False, help="The moment forecast: the half, or the end.")
    ] = HorizonName.HALF,
    minute: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="The minute of play it was made after; the latest by default."),
    ] = None,
    model: Annotated[str, typer.Option(metavar="VERSION", help="The model that made it; any by default.")] = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show the latest recorded forecast of a game, its earlier revisions, and what became of it."""
    with connect(target, timeout) as client:
        answer = client.get_prediction(game_id, horizon=HORIZONS[horizon], elapsed_minutes=minute, model_version=model)
    if as_json:
        print_json(answer)
    else:
        print_prediction(answer)


def report(
    game_id: GameId,
    differential: Annotated[
        int,
        typer.Argument(metavar="DIFFERENTIAL", help="The home team's lead then, in points; negative if it was behind."),
    ],
    horizon: Annotated[
        HorizonName, typer.Option(case_sensitive=False, help="What came: the half, or the end.", show_default=False)
    ],
    home: Annotated[
        str, typer.Option(metavar="TEAM", help="The home team; with both, ratings learn from the end of the game.")
    ] = "",
    away: Annotated[str, typer.Option(metavar="TEAM", help="The away team.")] = "",
    observed: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="When it was seen, ISO 8601, on this machine's clock unless it says; now by default."
        ),
    ] = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Report how a game stood at the half or at its end, which settles its forecasts. Again, otherwise, corrects it."""
    seen = _moment(observed) if observed else None
    with connect(target, timeout) as client:
        answer = client.report_outcome(
            game_id,
            differential,
            horizon=HORIZONS[horizon],
            home_team=home,
            away_team=away,
            observed_time=seen,
        )
    if as_json:
        print_json(answer)
    else:
        print_report(answer)


def checkpoint(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to a file; to standard output by default.")
    ] = None,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Fetch the signed head of the ledger: kept, it proves later that nothing up to it was changed.

    It is JSON in any case. `dejavu-server ledger verify --checkpoint FILE` holds a ledger against it.
    """
    with connect(target, timeout) as client:
        head = client.get_checkpoint()
    text = MessageToJson(head, always_print_fields_with_no_presence=True)
    if out is None:
        if as_json:
            print_json(head)
        else:
            typer.echo(text)
        return
    with record_errors(out), replacing(out) as new:
        new.write_text(text + "\n", encoding="utf-8")
    typer.echo(f"the ledger up to {head.sequence} in {out}", err=True)


def _moment(text: str) -> datetime:
    """A moment as one types it.

    Raises:
        typer.BadParameter: if it is none.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        wanted = f"{text!r} is no time; expected for instance 2026-01-15T21:40:00-05:00"
        raise typer.BadParameter(wanted, param_hint="--observed") from None
