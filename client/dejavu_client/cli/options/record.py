"""Options of the commands that read the record, and where their answers go: the terminal, JSON or a file."""

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
    typer.Option(metavar="YYYY-MM-DD", formats=_DAY, help="Only games of this day, by the date where they are played."),
]
From = Annotated[
    datetime | None, typer.Option("--from", metavar="YYYY-MM-DD", formats=_DAY, help="Only games from this day on.")
]
To = Annotated[
    datetime | None, typer.Option("--to", metavar="YYYY-MM-DD", formats=_DAY, help="Only games up to this day.")
]
Minute = Annotated[int | None, typer.Option(metavar="N", min=1, help="Only forecasts made after this minute of play.")]
Model = Annotated[str, typer.Option(metavar="VERSION", help="Only forecasts of this model; of all by default.")]
Replays = Annotated[bool, typer.Option("--replays", help="Count games of replays and simulated seasons too.")]
Csv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write a CSV file; - writes it to standard output.")
]
Parquet = Annotated[Path | None, typer.Option("--parquet", metavar="FILE", help="Write a parquet file.")]


def days(day: datetime | None, first: datetime | None, last: datetime | None) -> tuple[date | None, date | None]:
    """The first and the last day that options name.

    Raises:
        typer.BadParameter: if they contradict each other.
    """
    if day is not None:
        if first is not None or last is not None:
            raise typer.BadParameter("give either one day or where days begin and end", param_hint="--date")
        return day.date(), day.date()
    if first is not None and last is not None and first > last:
        raise typer.BadParameter(f"{last:%Y-%m-%d} is before --from {first:%Y-%m-%d}", param_hint="--to")
    return first and first.date(), last and last.date()


def minutes(only: int | None, first: int | None, last: int | None) -> tuple[int | None, int | None]:
    """The first and the last minute of play that options name.

    Raises:
        typer.BadParameter: if they contradict each other.
    """
    if only is not None:
        if first is not None or last is not None:
            raise typer.BadParameter("give either one minute or where minutes begin and end", param_hint="--minute")
        return only, only
    if first is not None and last is not None and first > last:
        raise typer.BadParameter(f"{last} is before --min-minute {first}", param_hint="--max-minute")
    return first, last


def one_form(*, as_json: bool, csv: Path | None, parquet: Path | None) -> None:
    """Makes sure that an answer is wanted in one form, and that it can be written.

    Raises:
        typer.BadParameter: if it is wanted in several.
        typer.Exit: if parquet is wanted and what writes it is missing.
    """
    wanted = [name for name, given in (("--json", as_json), ("--csv", csv), ("--parquet", parquet)) if given]
    if len(wanted) > 1:
        raise typer.BadParameter("give one of them", param_hint=" and ".join(wanted))
    if parquet is not None:
        try:
            need_parquet()
        except ParquetNotInstalled as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(FAILED) from None


def written(path: Path, what: str, write: Callable[[], int]) -> None:
    """Writes a file and says so on standard error.

    Args:
        path: where to.
        what: what its rows are, for people.
        write: does it and gives their number.

    Raises:
        typer.Exit: if it can't be written.
    """
    with record_errors(path):
        rows = write()
    if path != STANDARD_OUTPUT:
        typer.echo(f"{pluralize(rows, what)} in {path}", err=True)


@contextmanager
def record_errors(path: Path) -> Iterator[None]:
    """Turns an error of writing a file into a message and an exit code.

    Raises:
        typer.Exit: in the place of an OSError, but for a reader of standard output that has left.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        typer.echo(f"Error: cannot write {path}: {error.strerror or error}", err=True)
        raise typer.Exit(FAILED) from None
