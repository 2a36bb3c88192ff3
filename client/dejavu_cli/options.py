"""Options that several commands share, with equal names and help texts, and their parsing."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import typer
from google.protobuf import json_format
from google.protobuf.message import Message

from dejavu.v1.market_pb2 import Staking
from dejavu_cli.errors import JSON_KEY, exit_on_os_error, failure
from dejavu_cli.output.forecast import print_json
from dejavu_client import config
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.client import DejavuClient
from dejavu_client.connection_options import ConnectionOptions
from dejavu_client.export import STANDARD_OUTPUT, ExportColumn, has_pyarrow, write_csv, write_parquet
from dejavu_client.formatting import pluralize
from dejavu_client.requests import FINAL, HALFTIME, CommonConditions, Scope
from dejavu_common.build import install
from dejavu_common.clock import parse_day
from dejavu_feed.files.source_rows import Source
from dejavu_feed.printed_numbers import number
from dejavu_feed.teams import team_code

RowT = TypeVar("RowT")
BoundT = TypeVar("BoundT", int, date)
ValueT = TypeVar("ValueT")
ReadT = TypeVar("ReadT")
MessageT = TypeVar("MessageT", bound=Message)

HorizonName = Literal["half", "halftime", "final", "end"]
"""Horizons as typed on the command line; the tables call the final "end"."""
HORIZONS: Final = {"half": HALFTIME, "halftime": HALFTIME, "final": FINAL, "end": FINAL}


def _note_json(ctx: typer.Context, requested: bool) -> bool:
    ctx.meta[JSON_KEY] = requested
    return requested


def message_lines(source: str, kind: type[MessageT], hint: str, expected: str = "") -> Iterator[tuple[int, MessageT]]:
    """Yield the messages of a file with one a line as JSON, each with the number of its line.

    Args:
        source: path of the file; - for standard input.
        kind: type of the messages.
        hint: option or argument that names the file.
        expected: what a line should be, for the error.

    Raises:
        typer.BadParameter: if a line is no such message.
        typer.Exit: if the file cannot be read.
    """
    with exit_on_os_error(f"cannot read {source}"):
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8", errors="replace")
    for place, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                message = json_format.Parse(line, kind())
            except (json_format.ParseError, RecursionError) as error:
                problem = "; ".join(filter(None, (f"line {place}: {error}", expected)))
                raise typer.BadParameter(problem, param_hint=hint) from None
            yield place, message


def refuse(ctx: typer.Context, why: str, *names: str) -> None:
    """Refuse options of a view that was not asked for.

    Raises:
        typer.BadParameter: if one of these parameters was given on the command line.
    """
    for each in ctx.command.params:
        source = ctx.get_parameter_source(each.name or "")
        if each.name in names and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(why, param_hint=each.opts[0])


def checked(read: Callable[[ValueT], ReadT]) -> Callable[[ValueT], ReadT]:
    """Return the parser or the callback of an option: as a function that raises ValueError, which is wrong usage.

    Args:
        read: reads the value of the option.

    Raises:
        typer.BadParameter: if `read` raises ValueError; names the option.
    """

    def check(value: ValueT) -> ReadT:
        try:
            return read(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return check


def team_of(text: str) -> str:
    """Return the NBA code of the team with this name.

    Raises:
        ValueError: if the name is unknown.
    """
    try:
        return team_code(text)
    except ValueError as error:
        raise ValueError(f"{error}; `dejavu games --teams` lists them") from None


def _known_team(text: str) -> str:
    """Return a team's name unchanged, after checking that it is known."""
    if text:
        team_of(text)
    return text


def _day(text: str) -> datetime:
    try:
        return datetime.combine(parse_day(text), time(), UTC)
    except ValueError:
        raise ValueError(f"{text!r} is not a day; expected YYYY-MM-DD") from None


def option(metavar: str, *names: str, text: str | None = None, **more: Any) -> Any:
    """Declare an option with a value; `more` are arguments of `typer.Option`.

    The help of an option is its text, or else what the docstring of the command says about the argument.
    """
    return typer.Option(*names, metavar=metavar, help=text, **more)


def flag(name: str, text: str | None = None, **more: Any) -> Any:
    """Declare an option without a value, or one whose type names its values."""
    return typer.Option(name, help=text, **more)


def choice(**more: Any) -> Any:
    """Declare an option whose type lists its values, in upper or lower case."""
    return typer.Option(case_sensitive=False, **more)


def argument(metavar: str, text: str | None = None, **more: Any) -> Any:
    """Declare an argument."""
    return typer.Argument(metavar=metavar, help=text, **more)


def parsed(metavar: str, read: Callable[[str], object], *names: str, text: str | None = None) -> Any:
    """Declare an option that a function reads, which raises ValueError."""
    return option(metavar, *names, text=text, parser=checked(read))


def amount(metavar: str, text: str | None = None) -> Any:
    """Declare an option for a number, as people type it."""
    return parsed(metavar, number, text=text)


def points() -> Any:
    """Declare an option for the points of both teams."""
    return option("POINTS", min=0, max=2**31 - 1)


def day_option(*names: str) -> Any:
    """Declare an option for a local date."""
    return parsed("YYYY-MM-DD", _day, *names)


def team_option(*names: str) -> Any:
    """Declare an option for a team."""
    return option("TEAM", *names, callback=checked(_known_team))


Timeout = Annotated[
    float,
    option(
        "SECONDS",
        "--timeout",
        text=f"How long to wait for a response, including retries; scores {config.SCORES_TIMEOUT:g}, "
        f"changes of models {config.MODELS_TIMEOUT:g} by default.",
        envvar="DEJAVU_TIMEOUT",
        callback=checked(partial(config.seconds, "timeout")),
    ),
]
Json = Annotated[bool, flag("--json", text="Print JSON, one object per line.", callback=_note_json)]
Model = Annotated[str, option("VERSION", text="Only forecasts of this model version; all by default.")]
Replays = Annotated[bool, flag("--replays", text="Include games of replays and simulated seasons.")]
PlaysSource = Annotated[
    Source, flag("--from", text="Format of the file of plays; plays: the columns that the trainer stores.")
]
GameList = Annotated[
    Path | None,
    option(
        "FILE",
        text="List of games with GAME_ID, GAME_DATE and MATCHUP (nba_api's LeagueGameLog), for ids and dates; "
        "games that contradict it are excluded.",
    ),
]
Bankroll = Annotated[float | None, amount("AMOUNT", text="Amount available for stakes; without it, they are shares.")]
EveningStaked = Annotated[
    float | None, amount("AMOUNT", text="What you have staked on all games of this evening already, this one included.")
]
PageOption = Annotated[
    bool, flag("--page", text="Serve the page too, and open it if there is a screen (extra dashboard).")
]


@dataclass(frozen=True, kw_only=True)
class ServerOptions(ConnectionOptions):
    """Options of commands that call a server: its address, TLS, token, and the deadline of a call."""

    timeout: Timeout = config.DEFAULT_TIMEOUT

    def connect(self, target: str = "") -> DejavuClient:
        """Return a client for the running command: one connection, and no log messages about slow calls.

        Args:
            target: address of the server; empty for that of the options.

        Raises:
            typer.BadParameter: if an option of TLS or of the token is wrong.
        """
        access = self.client_options(target)
        return DejavuClient(target or self.target, timeout=self.timeout, channels=1, slow=math.inf, **access)

    def connect_async(self, slow: float = math.inf) -> Callable[[], AsyncDejavuClient]:
        """Return a function that connects to the server, in the event loop; see `connect`.

        Args:
            slow: duration of calls in seconds above which a line is logged; none is by default.
        """
        access = self.client_options()
        return lambda: AsyncDejavuClient(self.target, timeout=self.timeout, slow=slow, **access)


@dataclass(frozen=True, kw_only=True)
class Call(ServerOptions):
    """Options of commands that print the answer of a server, for people or as JSON."""

    as_json: Json = False

    def show(self, message: MessageT, print_text: Callable[[MessageT], object]) -> None:
        """Print a message: for programs by `print_json`, for people by `print_text`."""
        (print_json if self.as_json else print_text)(message)

    def show_all(self, messages: Sequence[MessageT], print_text: Callable[[Sequence[MessageT]], object]) -> None:
        """Print messages: for programs one a line, for people together."""
        if not self.as_json:
            print_text(messages)
            return
        for each in messages:
            print_json(each)


@dataclass(frozen=True, kw_only=True)
class ScoresCall(Call):
    """The same for scores, which take longer."""

    timeout: Timeout = config.SCORES_TIMEOUT


@dataclass(frozen=True, kw_only=True)
class GameOptions:
    """Options that select forecasts by their games.

    Attributes:
        on: Only games of this local date (an evening is one day).
        first: Only games of this local date or later.
        last: Only games of this local date or earlier.
        team: Only games of this team, home or away (dejavu games --teams).
        game: Only forecasts of this game.
        minute: Only forecasts made after this minute of play.
        min_confidence: Only forecasts that give the likelier side at least this probability.
    """

    on: Annotated[datetime | None, day_option("--date")] = None
    first: Annotated[datetime | None, day_option("--from")] = None
    last: Annotated[datetime | None, day_option("--to")] = None
    team: Annotated[str, team_option()] = ""
    game: Annotated[str, option("GAME_ID")] = ""
    minute: Annotated[int | None, option("N", min=1)] = None
    min_confidence: Annotated[float | None, option("P")] = None
    replays: Replays = False

    @property
    def conditions(self) -> CommonConditions:
        """The conditions on the games.

        Raises:
            typer.BadParameter: if the options contradict each other.
        """
        only, first, last = (each and each.date() for each in (self.on, self.first, self.last))
        from_date, to_date = _bounds(only, first, last, "day", ("--date", "--from", "--to"))
        return {
            "game_id": self.game,
            "from_date": from_date,
            "to_date": to_date,
            "team": self.team,
            "min_confidence": self.min_confidence,
            "include_replays": self.replays,
        }


@dataclass(frozen=True, kw_only=True)
class ScoredGames(GameOptions):
    """Options that select the forecasts to score.

    Attributes:
        horizon: Horizon of the forecasts: the half, or the end.
        recorded_by: Only forecasts that this caller recorded, such as token:poller.
        min_minute: Only forecasts made after this minute of play or later.
        max_minute: Only forecasts made after this minute of play or earlier.
        complete_minutes: Only forecasts after complete minutes, none of moments between them.
        min_difference: Only markets from which the model's probability differs at least so much, such as 0.05.
    """

    horizon: Annotated[HorizonName, choice()] = "half"
    recorded_by: Annotated[str, option("CALLER")] = ""
    min_minute: Annotated[int | None, option("N", min=1)] = None
    max_minute: Annotated[int | None, option("N", min=1)] = None
    complete_minutes: Annotated[bool, flag("--complete-minutes")] = False
    min_difference: Annotated[float, option("P", min=0, max=1)] = 0.0

    @property
    def scope(self) -> Scope:
        """The scope of the scores.

        Raises:
            typer.BadParameter: if the options contradict each other.
        """
        conditions, options = self.conditions, ("--minute", "--min-minute", "--max-minute")
        first, last = _bounds(self.minute, self.min_minute, self.max_minute, "minute", options)
        return {
            **conditions,
            "horizon": HORIZONS[self.horizon],
            "min_minutes": first,
            "max_minutes": last,
            "complete_minutes": self.complete_minutes,
            "recorded_by": self.recorded_by,
            "min_difference": self.min_difference,
        }


@dataclass(frozen=True, kw_only=True)
class Files:
    """Options that write rows to a file.

    Attributes:
        csv: Write a CSV file; - writes it to standard output.
        parquet: Write a parquet file.
    """

    csv: Annotated[Path | None, option("FILE")] = None
    parquet: Annotated[Path | None, option("FILE")] = None

    @property
    def path(self) -> Path | None:
        """The file; None if none was requested."""
        return self.csv or self.parquet

    def check(self, call: Call) -> None:
        """Check that at most one output format is requested and that it can be written.

        Raises:
            typer.BadParameter: if several formats are requested.
            typer.Exit: if parquet is requested but pyarrow is not installed.
        """
        formats = (("--json", call.as_json), ("--csv", self.csv), ("--parquet", self.parquet))
        requested = [name for name, given in formats if given]
        if len(requested) > 1:
            raise typer.BadParameter("give only one of them", param_hint=" and ".join(requested))
        if self.parquet is not None and not has_pyarrow():
            raise failure(f"parquet needs pyarrow, which is not installed: {install('live')}")

    def write(self, columns: Sequence[ExportColumn[RowT]], rows: Iterable[RowT], what: str) -> bool:
        """Write rows to the requested file, if any, and report their number on standard error.

        Args:
            columns: columns of the file.
            rows: the rows.
            what: name of a row, in the singular, for people.

        Returns:
            Whether a file was requested.

        Raises:
            typer.Exit: if the file cannot be written.
        """
        path = self.path
        if path is None:
            return False
        with exit_on_os_error(f"cannot write {path}"):
            count = write_csv(path, columns, rows) if self.csv else write_parquet(path, columns, rows)
        if path != STANDARD_OUTPUT:
            typer.echo(f"{pluralize(count, what)} in {path}", err=True)
        return True


def _bounds(
    only: BoundT | None, first: BoundT | None, last: BoundT | None, unit: str, options: tuple[str, str, str]
) -> tuple[BoundT | None, BoundT | None]:
    """Return the bounds given by three options: a single value, the first value and the last value."""
    if only is not None:
        if first is not None or last is not None:
            raise typer.BadParameter(f"give either one {unit} or a range of {unit}s", param_hint=options[0])
        return only, only
    if first is not None and last is not None and first > last:
        raise typer.BadParameter(f"{last} is before {options[1]} {first}", param_hint=options[2])
    return first, last


_RULES: Final = [each.name for each in Staking.DESCRIPTOR.fields]


def _rule(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    if name not in _RULES:
        raise ValueError(f"{text!r}; expected one of {', '.join(_RULES)}, and a share: kelly_fraction=0.5")
    return name, number(share)


StakingRules = Annotated[
    list[Any] | None,
    parsed(
        "RULE=SHARE", _rule, "--staking", text=f"A rule of the stakes, in place of its default: {', '.join(_RULES)}."
    ),
]
"""Pairs of a name and a share."""


def staking_of(rules: list[Any] | None) -> Staking | None:
    """Return the rules of stakes that the option names; None for none. The server checks their range."""
    return Staking(**dict(rules)) if rules else None
