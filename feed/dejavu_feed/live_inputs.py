"""Live inputs: optional facts of a game at the end of a pattern or before it, in addition to its differentials.

Each is declared once, in `LIVE_INPUTS`. Converters of messages, tensors, exported columns, printed rows and the columns
of the trainer are derived from this declaration, ledger entries from the types of its values (`LiveInputs`). To add
one, see docs/architecture.md.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

MAX_TOTAL_POINTS: Final = 500
"""Maximum points of both teams together; the NBA record is 370."""

EARLY_POINTS: Final = 40
POINTS_A_MINUTE: Final = 7
"""The maximum points of both teams together are EARLY_POINTS plus POINTS_A_MINUTE for each minute of play: 124 after a
quarter, 208 after the half. In the seasons 2014 to 2024 one game in 10,000 had more than 90 and 160."""


PREGAME_TOTALS: Final = (100.0, 400.0)
"""Bounds of the points that a market expects of both teams together; closing lines of 2014 to 2024 lie between 165 and
261."""


POSSESSION_FROM: Final = 41
"""Minute from which possession is read from plays and used by models; earlier it is worth nothing."""


class Side(enum.IntEnum):
    """Team of a game; the value is the sign of its points in a differential."""

    HOME = 1
    AWAY = -1


@dataclass(frozen=True, slots=True)
class LastScore:
    """The last points of a game up to the end of a minute.

    Attributes:
        side: the team that scored them.
        seconds: whole game seconds from these points to the end of the minute, rounded down.
    """

    side: Side
    seconds: int


@dataclass(frozen=True, slots=True)
class Possession:
    """Possession at the end of a minute.

    Attributes:
        side: the team that has it; of a shot in the air, the team of the shooter.
        shot_in_air: whether a shot has missed, and nobody has the rebound yet.
    """

    side: Side
    shot_in_air: bool = False


@dataclass(frozen=True, slots=True)
class LiveInputs:
    """The live inputs of a pattern, at the end of its last minute; None for each that is not known.

    Attributes:
        total_points: points of both teams together.
        last_score: the last score; None also before the first score.
        pregame_total: final points of both teams together as a betting market expected them before tip-off.
        neutral_site: whether the game is at a neutral site.
        possession: the side that has the ball.
    """

    total_points: int | None = None
    last_score: LastScore | None = None
    pregame_total: float | None = None
    neutral_site: bool | None = None
    possession: Possession | None = None

    def known(self) -> Iterator[tuple[LiveInput, Any]]:
        """Yield the inputs that are known, with their values."""
        if self is not NO_LIVE_INPUTS:
            for each in LIVE_INPUTS:
                value = getattr(self, each.name)
                if value is not None:
                    yield each, value

    def given(self) -> dict[str, Any]:
        """Return the inputs that are known, by name."""
        return {each.name: value for each, value in self.known()}

    def agrees_with(self, other: LiveInputs) -> bool:
        """Return whether `other` has the same value for every input that is known here."""
        return all(getattr(other, name) == value for name, value in self.given().items())

    def unused(self, minute: int) -> dict[str, str]:
        """Return the inputs that no model uses after a minute, by name, with the reason."""
        late = {"possession": f"not used before minute {POSSESSION_FROM}"} if minute < POSSESSION_FROM else {}
        alone = "not used without the points of both teams"
        without = dict.fromkeys(("last_score", "possession"), alone) if self.total_points is None else {}
        return {name: why for name, why in (late | without).items() if getattr(self, name) is not None}


NO_LIVE_INPUTS: Final = LiveInputs()


class InputFault(NamedTuple):
    """A value out of bounds, or one that contradicts the pattern or another input.

    Attributes:
        found, expected: the value, and the values accepted.
        field: field of the contract that has the value: `last_score.seconds`.
    """

    found: str
    expected: str
    field: str


class InputPart(NamedTuple):
    """One of the values that an input consists of.

    Attributes:
        name: attribute of the input; empty for an input that is a single value.
        kind: int, float, bool, or, for one of several values, an enum. Texts have the names of its members in lower
            case; messages have the contract's enum of the same name.
        unit: meaning and unit, for error messages.
        bounds: minimum and maximum of the number, in the trainer's form.
    """

    name: str
    kind: type[int] | type[float] | type[enum.IntEnum]
    unit: str
    bounds: tuple[float, float]

    @property
    def is_enum(self) -> bool:
        """Whether its values are those of an enum."""
        return issubclass(self.kind, enum.IntEnum)

    def choices(self) -> dict[str, Any]:
        """Return the values of an enum by their texts; empty for numbers."""
        return {each.name.lower(): each for each in self.kind} if issubclass(self.kind, enum.IntEnum) else {}


@dataclass(frozen=True, slots=True)
class LiveInput:
    """Declaration of a live input.

    Attributes:
        name: field of PredictRequest and Forecast, and of `LiveInputs`.
        parts: its values; an optional input is given if the first one is.
        make: type of the input, made of its values in order.
        check: return the fault of a value, given all live inputs and the differentials of the pattern. Without
            differentials (an invalid pattern), check only what needs none.
        numbers: return the input as numbers in the order of the parts, in the form that tables of models and the
            trainer take, given all live inputs and the minute at which the pattern ends; NaN for each unknown number.
        label, text: name and text of a printed row; called with the value, the names of home and away team, and the
            time of the inputs: "the end of minute 18".
    """

    name: str
    parts: tuple[InputPart, ...]
    make: type[Any]
    check: Callable[[Any, LiveInputs, Sequence[float]], InputFault | None]
    numbers: Callable[[LiveInputs, int], tuple[float, ...]]
    label: str
    text: Callable[[Any, str, str, str], str]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its parts as columns: `last_score_side`, `last_score_seconds`."""
        return tuple(f"{self.name}_{part.name}" if part.name else self.name for part in self.parts)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of its parts as fields of the contract: `last_score.side`, `last_score.seconds`."""
        return tuple(f"{self.name}.{part.name}" if part.name else self.name for part in self.parts)

    def fault(self, part: int, found: str, expected: str) -> InputFault:
        """Return the fault of a part."""
        return InputFault(found, expected, self.fields[part])

    def from_message(self, message: Any) -> Any | InputFault:
        """Return the value in a message of the contract that has the field, or the fault of its first unknown enum."""
        field = getattr(message, self.name)
        if not self.parts[0].name:
            return self.make(field)
        values = []
        for index, part in enumerate(self.parts):
            value = getattr(field, part.name)
            if part.is_enum:
                kind = field.DESCRIPTOR.fields_by_name[part.name].enum_type
                known = _choices_of_enum(part, kind)
                if value not in known:
                    return self.fault(index, f"{value}", f"a value of {kind.full_name}: {', '.join(map(str, known))}")
                value = known[value]
            values.append(value)
        return self.make(*values)

    def put(self, message: Any, value: Any) -> None:
        """Set the field of a message of the contract.

        Raises:
            TypeError, ValueError: if a part does not fit its field.
        """
        if not self.parts[0].name:
            setattr(message, self.name, value)
            return
        field = getattr(message, self.name)
        for part in self.parts:
            each = getattr(value, part.name)
            if part.is_enum:
                kind = field.DESCRIPTOR.fields_by_name[part.name].enum_type
                each = {choice: number for number, choice in _choices_of_enum(part, kind).items()}[each]
            setattr(field, part.name, each)
        field.SetInParent()  # all parts may be 0


@cache
def _choices_of_enum(part: InputPart, kind: Any) -> dict[int, Any]:
    """Return the values of a part by their numbers in the contract; `kind` describes its enum there."""
    name = part.kind.__name__.upper()
    return {kind.values_by_name[f"{name}_{each.name}"].number: each for each in part.choices().values()}


def from_message(message: Any) -> tuple[LiveInputs, tuple[InputFault, ...]]:
    """Return the live inputs of a PredictRequest or a Forecast, and the errors of unreadable ones."""
    given: dict[str, Any] = {
        each.name: each.from_message(message) for each in LIVE_INPUTS if message.HasField(each.name)
    }
    if not given:
        return NO_LIVE_INPUTS, ()
    faults = tuple(value for value in given.values() if isinstance(value, InputFault))
    if faults:
        given = {name: value for name, value in given.items() if not isinstance(value, InputFault)}
    return LiveInputs(**given), faults


def put(message: Any, live: LiveInputs) -> None:
    """Set the live inputs of a PredictRequest or a Forecast."""
    for each, value in live.known():
        each.put(message, value)


def numbers(live: LiveInputs, minute: int) -> tuple[float, ...]:
    """Return the live inputs as numbers in the order of COLUMNS; NaN for each unknown number.

    Args:
        live: the live inputs.
        minute: the minute at whose end the inputs were taken.
    """
    return tuple(number for each in LIVE_INPUTS for number in each.numbers(live, minute))


def faults_of(live: LiveInputs, differentials: Sequence[float]) -> Iterator[InputFault]:
    """Yield the fault of each live input that is out of bounds, or contradicts the pattern or another input.

    Args:
        live: the live inputs.
        differentials: the pattern, in points; empty if it is invalid.
    """
    for each, value in live.known():
        fault = each.check(value, live, differentials)
        if fault is not None:
            yield fault


def most_total_points(minutes: int, lead: float) -> int:
    """Return the maximum points of both teams together after minutes of play, given the lead, in points."""
    return min(MAX_TOTAL_POINTS, max(EARLY_POINTS + POINTS_A_MINUTE * minutes, math.ceil(abs(lead))))


def total_points_fault(
    total_points: int, lead: float, minutes: int | None = None, *, check_parity: bool = True
) -> InputFault | None:
    """Return the fault of total points, None without one.

    They must not be fewer than the lead, more than `most_total_points`, or of a parity other than the lead's.

    Args:
        total_points: points of both teams together.
        lead: differential at that time, in points.
        minutes: minutes of play up to that time; None if not known: then up to MAX_TOTAL_POINTS are accepted.
        check_parity: whether to check that the points are odd if and only if the lead is; ignored if the lead is not
            whole.
    """
    least = math.ceil(abs(lead))
    most = MAX_TOTAL_POINTS if minutes is None else most_total_points(minutes, lead)
    if not least <= total_points <= most:
        reason = " (the lead)" if least else ""
        limit = (
            f"{most}" if minutes is None else f"{most} (after {minutes} minute{'' if minutes == 1 else 's'} of play)"
        )
        return InputFault(f"{total_points}", f"{least}{reason} to {limit}", "total_points")
    if check_parity and lead == int(lead) and (total_points - int(lead)) % 2:
        parity = "even" if total_points % 2 else "odd"
        expected = f"an {parity} number, as the last differential, {lead:g}, is {parity}"
        return InputFault(f"{total_points}", expected, "total_points")
    return None


def _check_total_points(total: int, _live: LiveInputs, differentials: Sequence[float]) -> InputFault | None:
    if not differentials:
        return total_points_fault(total, 0.0, check_parity=False)
    return total_points_fault(total, differentials[-1], len(differentials))


def _check_last_score(last: LastScore, live: LiveInputs, differentials: Sequence[float]) -> InputFault | None:
    if not differentials:
        return None
    longest, total, side = 60 * len(differentials), live.total_points, last.side.name.lower()
    if not 0 <= last.seconds <= longest:
        expected = f"0 to {longest}, the seconds since tip-off"
        return InputFault(f"{last.seconds}", expected, "last_score.seconds")
    if total is not None and total + last.side * differentials[-1] <= 0:
        expected = f"a side with points: by total_points, {total}, and the pattern {side} has none"
        return InputFault(side, expected, "last_score.side")
    return None


def _check_pregame_total(total: float, _live: LiveInputs, _differentials: Sequence[float]) -> InputFault | None:
    least, most = PREGAME_TOTALS
    if least <= total <= most:
        return None
    return InputFault(f"{total:g}", f"{least:g} to {most:g}, the line of a market", "pregame_total")


def _last_score_numbers(live: LiveInputs, minute: int) -> tuple[float, float]:
    """Return side and seconds; before the first score, no side and the seconds since tip-off."""
    if live.last_score is not None:
        return float(live.last_score.side), float(live.last_score.seconds)
    return (0.0, 60.0 * minute) if live.total_points == 0 else (math.nan, math.nan)


def _possession_text(possession: Possession, home: str, away: str, _time: str) -> str:
    team = home if possession.side is Side.HOME else away
    return f"{team}, a shot in the air" if possession.shot_in_air else team


def _last_score_text(last: LastScore, home: str, away: str, time: str) -> str:
    return f"{home if last.side is Side.HOME else away}, {last.seconds} s before {time}"


LIVE_INPUTS: Final = (
    LiveInput(
        name="total_points",
        parts=(InputPart("", int, "the points of both teams", (0, MAX_TOTAL_POINTS)),),
        make=int,
        check=_check_total_points,
        numbers=lambda live, _minute: (math.nan if live.total_points is None else float(live.total_points),),
        label="points of both teams",
        text=lambda total, *_: f"{total}",
    ),
    LiveInput(
        name="last_score",
        parts=(
            InputPart("side", Side, "the side that scored last", (-1, 1)),
            InputPart("seconds", int, "the seconds since the last score", (0, 48 * 60)),
        ),
        make=LastScore,
        check=_check_last_score,
        numbers=_last_score_numbers,
        label="last score",
        text=_last_score_text,
    ),
    LiveInput(
        name="pregame_total",
        parts=(InputPart("", float, "the market's line of the total", PREGAME_TOTALS),),
        make=float,
        check=_check_pregame_total,
        numbers=lambda live, _minute: (math.nan if live.pregame_total is None else live.pregame_total,),
        label="line of the total",
        text=lambda total, *_: f"{total:g}",
    ),
    LiveInput(
        name="neutral_site",
        parts=(InputPart("", bool, "whether the game is at a neutral site", (0, 1)),),
        make=bool,
        check=lambda *_: None,
        numbers=lambda live, _minute: (math.nan if live.neutral_site is None else float(live.neutral_site),),
        label="neutral site",
        text=lambda neutral, *_: "yes" if neutral else "no",
    ),
    LiveInput(
        name="possession",
        parts=(
            InputPart("side", Side, "the side that has the ball", (-1, 1)),
            InputPart("shot_in_air", bool, "whether its shot has missed and nobody has the rebound", (0, 1)),
        ),
        make=Possession,
        check=lambda *_: None,
        numbers=lambda live, _minute: (
            (math.nan, math.nan)
            if live.possession is None
            else (float(live.possession.side), float(live.possession.shot_in_air))
        ),
        label="possession",
        text=_possession_text,
    ),
)
"""All live inputs, in the order of their columns."""

COLUMNS: Final = {column: part for each in LIVE_INPUTS for column, part in zip(each.columns, each.parts, strict=True)}
"""The parts of all live inputs by the names of their columns."""
