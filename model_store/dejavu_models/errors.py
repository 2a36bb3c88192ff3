"""Domain errors: of fields of requests, and of bundles that cannot be loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

Category = Literal[
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
    "DEADLINE_EXCEEDED",
    "UNAVAILABLE",
    "DATA_LOSS",
    "INTERNAL",
]
"""Kind of an error, as callers see it: the name of a google.rpc.Code."""

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

    A subclass gives its attributes as arguments of its class statement; it inherits what it does not give.

    Attributes:
        reason: stable machine-readable code, in UPPER_SNAKE_CASE.
        category: its kind; None if it is never sent to a caller, who gets an internal error without its text then.
    """

    reason: str = "DEJAVU_ERROR"
    category: ClassVar[Category | None] = None

    def __init_subclass__(cls, *, reason: str | None = None, category: Category | None = None) -> None:
        if reason is not None:
            cls.reason = reason
        if category is not None:
            cls.category = category


class FieldError(DejavuError, reason="FIELD_REFUSED"):
    """A field of a request is rejected.

    Args:
        field: name of the field as in the contract, with its index if repeated (`pattern[3]`).
        found: the value given, short enough to print.
        expected: the values accepted.

    Attributes:
        default_field: the field if none is given, as the argument `field` of the class statement.
        others: errors of further fields of the same request.
    """

    default_field: ClassVar[str] = ""

    def __init_subclass__(
        cls, *, field: str | None = None, reason: str | None = None, category: Category | None = None
    ) -> None:
        super().__init_subclass__(reason=reason, category=category)
        if field is not None:
            cls.default_field = field

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

    def rename(self, field: str) -> None:
        """Change the field that the error names, to that of a caller's request."""
        self.field = field
        self.args = (f"{field}: {self.description}",)


class InvalidInput(FieldError, reason="INVALID_INPUT", category="INVALID_ARGUMENT"):
    """A field is invalid for every model."""


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


class InvalidPattern(InvalidInput, reason="INVALID_PATTERN", field="pattern"):
    """The pattern is empty, too long, not finite or out of bounds."""


class InvalidAlpha(InvalidInput, reason="INVALID_ALPHA", field="alpha"):
    """The miscoverage rate is not a number strictly between 0 and 1."""


class InvalidGameId(InvalidInput, reason="INVALID_GAME_ID", field="game_id"):
    """The game id is not ten digits, or of another season than the outcome reported."""


class InvalidTeam(InvalidInput, reason="INVALID_TEAM", field="home_team"):
    """A team is not an NBA code or alias, both teams are the same, or they are not those recorded for the game."""


class InvalidGameDate(InvalidInput, reason="INVALID_GAME_DATE", field="game_date"):
    """The date of the game is malformed, out of bounds, or outside the season of the game id."""


class InvalidMargin(InvalidInput, reason="INVALID_PREGAME_MARGIN", field="pregame_margin"):
    """The expected margin is not finite or out of bounds."""


class InvalidQuantile(InvalidInput, reason="INVALID_QUANTILE_LEVELS", field="quantile_levels"):
    """A quantile level is not a number strictly between 0 and 1, or there are too many levels."""


class InvalidHorizon(InvalidInput, reason="INVALID_HORIZON", field="horizon"):
    """The horizon is not specified, or not defined in the contract."""


class InvalidMarket(InvalidInput, reason="INVALID_MARKET"):
    """A market has an invalid line, odds, bankroll, amount staked, threshold or horizon."""


class InvalidLiveInput(InvalidInput, reason="INVALID_LIVE_INPUT", field="live_input"):
    """A live input is out of bounds, or contradicts the pattern or another input; the reason is INVALID_ + its name."""

    def __init__(self, found: str, expected: str, field: str | None = None) -> None:
        super().__init__(found, expected, field)
        self.reason = f"INVALID_{self.field.partition('.')[0].upper()}"


class Unsupported(FieldError, reason="UNSUPPORTED", category="FAILED_PRECONDITION"):
    """A field is valid, but the requested model does not support it."""


class UnsupportedTotals(Unsupported, reason="UNSUPPORTED_TOTALS"):
    """The model does not forecast total points, so it cannot evaluate a market of total points."""


class UnsupportedMoment(Unsupported, reason="UNSUPPORTED_MOMENT", field="moment"):
    """The model has no tables of moments, and this one needs them."""


class AlphaTooSmall(Unsupported, reason="ALPHA_TOO_SMALL", field="alpha"):
    """The tables do not reach far enough into the tails for this small a miscoverage rate."""


class QuantileTooExtreme(Unsupported, reason="QUANTILE_TOO_EXTREME", field="quantile_levels"):
    """The tables do not reach as far as a quantile level this close to 0 or 1."""


class UnknownModel(FieldError, reason="UNKNOWN_MODEL_VERSION", field="model_version", category="NOT_FOUND"):
    """No bundle of the requested version is loaded.

    Args:
        version: the requested version.
        held: the loaded versions, the active one first.
    """

    def __init__(self, version: str, held: tuple[str, ...]) -> None:
        self.version = version
        self.held = held
        super().__init__(f"{quoted(version)} is not loaded", f"one of {', '.join(held)}, or empty")


class BundleError(DejavuError, reason="BUNDLE_REFUSED"):
    """A bundle cannot be loaded."""


class BundleNotFound(BundleError, reason="BUNDLE_NOT_FOUND", category="FAILED_PRECONDITION"):
    """The folder does not exist or has no manifest."""


class BundleIncomplete(BundleError, reason="BUNDLE_INCOMPLETE", category="FAILED_PRECONDITION"):
    """A file listed in the manifest is missing."""


class BundleCorrupt(BundleError, reason="BUNDLE_CORRUPT", category="FAILED_PRECONDITION"):
    """A file does not match the manifest, or cannot be read."""


class BundleTooNew(BundleError, reason="BUNDLE_TOO_NEW", category="FAILED_PRECONDITION"):
    """The bundle was written with a newer schema than this code reads."""


class BundleTooOld(BundleError, reason="BUNDLE_TOO_OLD", category="FAILED_PRECONDITION"):
    """The bundle was written with an older schema than this code reads: refit it."""


class ComponentMissing(BundleError, reason="COMPONENT_MISSING", category="FAILED_PRECONDITION"):
    """A component that a bundle or a recipe names is not installed."""


class BundleUnfit(BundleError, reason="BUNDLE_UNFIT", category="FAILED_PRECONDITION"):
    """The bundle's recipe failed its backtest on unseen games."""


class FitError(DejavuError):
    """A fit has failed or its result is unusable."""
