"""Options of the commands that read the track record, including the output format: terminal, JSON or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from dejavu_client.cli.errors import FAILED
from dejavu_client.formatting import pluralize
from dejavu_client.output.export import STANDARD_OUTPUT, ParquetNotInstalled, need_parquet

_DAY = ["%Y-%m-%d"]

Date = Annotated[
    datetime | None,
    typer.Option(metavar="YYYY-MM-DD", formats=_DAY, help="Only games of this day, by the local date of the venue."),
]
From = Annotated[
    datetime | None, typer.Option("--from", metavar="YYYY-MM-DD", formats=_DAY, help="Only games on or after this day.")
]
To = Annotated[
    datetime | None, typer.Option("--to", metavar="YYYY-MM-DD", formats=_DAY, help="Only games on or before this day.")
]
Minute = Annotated[int | None, typer.Option(metavar="N", min=1, help="Only forecasts made after this minute of play.")]
Team = Annotated[str, typer.Option(metavar="TEAM", help="Only games of this team, home or away.")]
Game = Annotated[str, typer.Option(metavar="GAME_ID", help="Only forecasts of this game.")]
MinConfidence = Annotated[
    float | None,
    typer.Option(metavar="P", help="Only forecasts that give the likelier side at least this probability."),
]
Model = Annotated[str, typer.Option(metavar="VERSION", help="Only forecasts of this model version; all by default.")]
Replays = Annotated[bool, typer.Option("--replays", help="Include games of replays and simulated seasons.")]
Csv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write a CSV file; - writes it to standard output.")
]
Parquet = Annotated[Path | None, typer.Option("--parquet", metavar="FILE", help="Write a parquet file.")]


def days(day: datetime | None, first: datetime | None, last: datetime | None) -> tuple[date | None, date | None]:
    """Returns the first and the last day selected by the options.

    Raises:
        typer.BadParameter: if the options contradict each other.
    """
    if day is not None:
        if first is not None or last is not None:
            raise typer.BadParameter("give either one day or a range of days", param_hint="--date")
        return day.date(), day.date()
    if first is not None and last is not None and first > last:
        raise typer.BadParameter(f"{last:%Y-%m-%d} is before --from {first:%Y-%m-%d}", param_hint="--to")
    return first and first.date(), last and last.date()


def minutes(only: int | None, first: int | None, last: int | None) -> tuple[int | None, int | None]:
    """Returns the first and the last minute of play selected by the options.

    Raises:
        typer.BadParameter: if the options contradict each other.
    """
    if only is not None:
        if first is not None or last is not None:
            raise typer.BadParameter("give either one minute or a range of minutes", param_hint="--minute")
        return only, only
    if first is not None and last is not None and first > last:
        raise typer.BadParameter(f"{last} is before --min-minute {first}", param_hint="--max-minute")
    return first, last


def check_output_format(*, as_json: bool, csv: Path | None, parquet: Path | None) -> None:
    """Checks that at most one output format is requested and that it can be written.

    Raises:
        typer.BadParameter: if several formats are requested.
        typer.Exit: if parquet is requested but pyarrow is not installed.
    """
    requested = [name for name, given in (("--json", as_json), ("--csv", csv), ("--parquet", parquet)) if given]
    if len(requested) > 1:
        raise typer.BadParameter("give only one of them", param_hint=" and ".join(requested))
    if parquet is not None:
        try:
            need_parquet()
        except ParquetNotInstalled as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(FAILED) from None


def write_and_report(path: Path, what: str, write: Callable[[], int]) -> None:
    """Writes a file and reports the number of rows on standard error.

    Args:
        path: destination of the file.
        what: what a row is, in the singular, for people.
        write: writes the file and returns the number of rows.

    Raises:
        typer.Exit: if the file cannot be written.
    """
    with exit_on_write_error(path):
        rows = write()
    if path != STANDARD_OUTPUT:
        typer.echo(f"{pluralize(rows, what)} in {path}", err=True)


@contextmanager
def exit_on_write_error(path: Path) -> Iterator[None]:
    """Turns a file write error into a message and an exit code.

    Raises:
        BrokenPipeError: if the reader of standard output closed the pipe.
        typer.Exit: instead of any other OSError.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        typer.echo(f"Error: cannot write {path}: {error.strerror or error}", err=True)
        raise typer.Exit(FAILED) from None
