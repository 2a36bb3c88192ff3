"""Domain errors.

DejavuError
├── FieldError                a field of a request is rejected: field, found and expected value
│   ├── InvalidInput          invalid for every model
│   │   ├── InvalidPattern    length, NaN, infinity, out of bounds
│   │   ├── InvalidAlpha      not in (0, 1)
│   │   ├── InvalidGameId     not ten digits, or of another season
│   │   ├── InvalidTeam       not an NBA code or alias, both teams are the same, or not those of the game
│   │   ├── InvalidGameDate   not a date, or not one on which the game can be played
│   │   ├── InvalidMargin     pregame_margin not finite or out of bounds
│   │   ├── InvalidQuantile   a level not in (0, 1), or too many of them
│   │   ├── InvalidHorizon    not a horizon of the contract
│   │   ├── InvalidMarket     invalid line, odds, bankroll, amount staked, threshold or horizon
│   │   └── InvalidLiveInput  out of bounds, or contradicts the pattern or another live input
│   ├── Unsupported           valid, but not supported by this model; `expected` is the supported value
│   │   ├── UnsupportedHorizon
│   │   ├── UnsupportedSlots  the model does not support this number of slots
│   │   ├── UnsupportedTotals  the model does not forecast total points
│   │   ├── UnsupportedMoment  the model has no tables for the moment
│   │   ├── AlphaTooSmall     the tables do not reach so far into the tails
│   │   └── QuantileTooExtreme  the same, of a quantile level
│   └── UnknownModel          no bundle of that version is loaded
└── BundleError               a bundle cannot be loaded: names the bundle and the file
    ├── BundleNotFound        no such folder, or no manifest in it
    ├── BundleIncomplete      a file listed in the manifest is missing
    ├── BundleCorrupt         a file does not match the manifest, or cannot be read
    ├── BundleTooNew          written with a newer schema than this code reads
    ├── BundleTooOld          written with an older schema: refit the bundle
    └── BundleUnfit           the backtest of its recipe failed
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

MAX_QUOTED = 64
"""Maximum length of caller text repeated in an error, in UTF-8 bytes after quoting."""


def quoted(text: str) -> str:
    """Quote caller text for an error message, escaping unprintable characters; long text is replaced by its length."""
    # The text may have megabytes: slice it before repr().
    repeated = repr(text[: MAX_QUOTED + 1])
    if len(repeated.encode(errors="replace")) <= MAX_QUOTED:
        return repeated
    return f"a text of {len(text)} characters"


class DejavuError(Exception):
    """Base class of all errors that this project raises.

    Attributes:
        reason: stable machine-readable code, in UPPER_SNAKE_CASE.
    """

    reason: str = "DEJAVU_ERROR"


class FieldError(DejavuError):
    """A field of a request is rejected.

    Args:
        field: name of the field as in the contract, with its index if repeated (`pattern[3]`).
        found: the value given, short enough to print.
        expected: the values accepted.

    Attributes:
        others: errors of further fields of the same request.
    """

    reason = "FIELD_REFUSED"
    default_field: ClassVar[str] = ""

    def __init__(self, found: str, expected: str, field: str | None = None) -> None:
        self.field = self.default_field if field is None else field
        self.found = found
        self.expected = expected
        self.others: tuple[FieldError, ...] = ()
        super().__init__(f"{self.field}: {found}; expected {expected}")

    @property
    def description(self) -> str:
        """Found and expected value, without the field name."""
        return f"{self.found}; expected {self.expected}"


class InvalidInput(FieldError):
    """A field is invalid for every model."""

    reason = "INVALID_INPUT"


class FieldErrors:
    """Collects the errors of all invalid fields of a request, the first one of each field.

    No frame of an error's traceback keeps the error: such a cycle would keep the request, which may be large, until
    garbage collection.
    """

    _errors: tuple[FieldError, ...] = ()

    def add(self, error: FieldError) -> None:
        """Add an error with its `others`."""
        for each in (error, *error.others):
            if all(each.field != earlier.field for earlier in self._errors):
                each.__traceback__ = each.__context__ = None
                self._errors += (each,)

    def read(self, read: Callable[_P, _T], default: _T, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a reader; return its value, or the default if it raises an InvalidInput, which is added."""
        try:
            return read(*args, **kwargs)
        except InvalidInput as error:
            self.add(error)
            return default

    def raise_first(self) -> None:
        """Raise the first error, if any, with the others attached, and forget them."""
        if self._errors:
            (first, *others), self._errors = self._errors, ()
            first.others = tuple(others)
            try:
                raise first
            finally:
                del first


class InvalidPattern(InvalidInput):
    """The pattern is empty, too long, not finite or out of bounds."""

    reason = "INVALID_PATTERN"
    default_field = "pattern"


class InvalidAlpha(InvalidInput):
    """The miscoverage rate is not a number strictly between 0 and 1."""

    reason = "INVALID_ALPHA"
    default_field = "alpha"


class InvalidGameId(InvalidInput):
    """The game id is not ten digits, or of another season than the outcome reported."""

    reason = "INVALID_GAME_ID"
    default_field = "game_id"


class InvalidTeam(InvalidInput):
    """A team is not an NBA code or alias, both teams are the same, or they are not those recorded for the game."""

    reason = "INVALID_TEAM"
    default_field = "home_team"


class InvalidGameDate(InvalidInput):
    """The date of the game is malformed, out of bounds, or outside the season of the game id."""

    reason = "INVALID_GAME_DATE"
    default_field = "game_date"


class InvalidMargin(InvalidInput):
    """The expected margin is not finite or out of bounds."""

    reason = "INVALID_PREGAME_MARGIN"
    default_field = "pregame_margin"


class InvalidQuantile(InvalidInput):
    """A quantile level is not a number strictly between 0 and 1, or there are too many levels."""

    reason = "INVALID_QUANTILE_LEVELS"
    default_field = "quantile_levels"


class InvalidHorizon(InvalidInput):
    """The horizon is not specified, or not defined in the contract."""

    reason = "INVALID_HORIZON"
    default_field = "horizon"


class InvalidMarket(InvalidInput):
    """A market has an invalid line, odds, bankroll, amount staked, threshold or horizon."""

    reason = "INVALID_MARKET"
    default_field = "market"


class InvalidLiveInput(InvalidInput):
    """A live input is out of bounds, or contradicts the pattern or another input; the reason is INVALID_ + its name."""

    reason = "INVALID_LIVE_INPUT"
    default_field = "live_input"

    def __init__(self, found: str, expected: str, field: str | None = None) -> None:
        super().__init__(found, expected, field)
        self.reason = f"INVALID_{self.field.partition('.')[0].upper()}"


class Unsupported(FieldError):
    """A field is valid, but the requested model does not support it."""

    reason = "UNSUPPORTED"


class UnsupportedHorizon(Unsupported):
    """The model does not forecast this horizon."""

    reason = "UNSUPPORTED_HORIZON"
    default_field = "horizon"


class UnsupportedSlots(Unsupported):
    """The model does not support patterns with this number of slots."""

    reason = "UNSUPPORTED_SLOTS"
    default_field = "pattern"


class UnsupportedTotals(Unsupported):
    """The model does not forecast total points, so it cannot evaluate a market of total points."""

    reason = "UNSUPPORTED_TOTALS"
    default_field = "markets"


class UnsupportedMoment(Unsupported):
    """The model has no tables of moments, and this one needs them."""

    reason = "UNSUPPORTED_MOMENT"
    default_field = "moment"


class AlphaTooSmall(Unsupported):
    """The tables do not reach far enough into the tails for this small a miscoverage rate."""

    reason = "ALPHA_TOO_SMALL"
    default_field = "alpha"


class QuantileTooExtreme(Unsupported):
    """The tables do not reach as far as a quantile level this close to 0 or 1."""

    reason = "QUANTILE_TOO_EXTREME"
    default_field = "quantile_levels"


class UnknownModel(FieldError):
    """No bundle of the requested version is loaded.

    Args:
        version: the requested version.
        held: the loaded versions, the active one first.
    """

    reason = "UNKNOWN_MODEL_VERSION"
    default_field = "model_version"

    def __init__(self, version: str, held: tuple[str, ...]) -> None:
        self.version = version
        self.held = held
        super().__init__(f"{quoted(version)} is not loaded", f"one of {', '.join(held)}, or empty")


class BundleError(DejavuError):
    """A bundle cannot be loaded."""

    reason = "BUNDLE_REFUSED"


class BundleNotFound(BundleError):
    """The folder does not exist or has no manifest."""

    reason = "BUNDLE_NOT_FOUND"


class BundleIncomplete(BundleError):
    """A file listed in the manifest is missing."""

    reason = "BUNDLE_INCOMPLETE"


class BundleCorrupt(BundleError):
    """A file does not match the manifest, or cannot be read."""

    reason = "BUNDLE_CORRUPT"


class BundleTooNew(BundleError):
    """The bundle was written with a newer schema than this code reads."""

    reason = "BUNDLE_TOO_NEW"


class BundleTooOld(BundleError):
    """The bundle was written with an older schema than this code reads: refit it."""

    reason = "BUNDLE_TOO_OLD"


class BundleUnfit(BundleError):
    """The bundle's recipe failed its backtest on unseen games."""

    reason = "BUNDLE_UNFIT"
