"""The domain's errors.

DejavuError
├── FieldError                a field of a request: names it, what was found, what was expected
│   ├── InvalidInput          it cannot be right, whatever model is asked
│   │   ├── InvalidPattern    length, NaN, infinity, out of bounds
│   │   ├── InvalidAlpha      not in (0, 1)
│   │   ├── InvalidGameId     not ten digits
│   │   ├── InvalidTeam       no NBA code or alias of one, or the same as the other
│   │   ├── InvalidMargin     pregame_margin not finite or out of bounds
│   │   ├── InvalidQuantile   a level not in (0, 1), or too many of them
│   │   ├── InvalidHorizon    not a horizon of the contract
│   │   ├── InvalidMarket     a line, odds, a bankroll or a threshold that can't be
│   │   └── InvalidTotalPoints  fewer than the lead, or too many
│   ├── Unsupported           well-formed, but this model can't: expected is what the model can
│   │   ├── UnsupportedHorizon
│   │   ├── UnsupportedSlots  the pattern has a number of slots that the model does not know
│   │   ├── AlphaTooSmall     fewer calibration games than the alpha needs
│   │   └── QuantileTooExtreme  fewer than the level needs
│   └── UnknownModel          no bundle of that version is held
└── BundleError               a bundle is refused: names the bundle and the file
    ├── BundleNotFound        no such folder, or no manifest in it
    ├── BundleIncomplete      a file that the manifest names is missing
    ├── BundleCorrupt         a file's hash or form is not what the manifest says, or it can't be read
    ├── BundleTooNew          written by a later schema than this code reads
    ├── BundleTooOld          written by an earlier one: it has to be fitted anew
    └── BundleUnfit           its recipe's backtest failed
"""

from __future__ import annotations

from typing import ClassVar

MAX_QUOTED = 64
"""Longest text of a caller's that an error repeats, in bytes of UTF-8 once it is quoted."""


def quoted(text: str) -> str:
    """A caller's text as an error may repeat it: quoted, with what cannot be printed escaped; if long, its length."""
    # Looked at only as far as it may be long: it may have megabytes.
    repeated = repr(text[: MAX_QUOTED + 1])
    if len(repeated.encode(errors="replace")) <= MAX_QUOTED:
        return repeated
    return f"a text of {len(text)} characters"


class DejavuError(Exception):
    """Base of all errors that this project raises on purpose.

    Attributes:
        reason: a stable name for programs, in UPPER_SNAKE_CASE.
    """

    reason: ClassVar[str] = "DEJAVU_ERROR"


class FieldError(DejavuError):
    """A field of a query that is refused.

    Args:
        field: name of the field as the contract spells it, with its index where it repeats (`pattern[3]`).
        found: what was given, short enough to print.
        expected: what would have been accepted.

    Attributes:
        others: what is wrong with further fields of the same request.
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
        """What was found and what was expected, without the field's name."""
        return f"{self.found}; expected {self.expected}"


class InvalidInput(FieldError):
    """A field that cannot be right, whatever model is asked."""

    reason = "INVALID_INPUT"


class InvalidPattern(InvalidInput):
    """The pattern is empty, too long, not finite or out of bounds."""

    reason = "INVALID_PATTERN"
    default_field = "pattern"


class InvalidAlpha(InvalidInput):
    """The miscoverage rate is not a number strictly between 0 and 1."""

    reason = "INVALID_ALPHA"
    default_field = "alpha"


class InvalidGameId(InvalidInput):
    """The game's id is not ten digits."""

    reason = "INVALID_GAME_ID"
    default_field = "game_id"


class InvalidTeam(InvalidInput):
    """A team is not named by an NBA code or an alias of one, or both teams are the same."""

    reason = "INVALID_TEAM"
    default_field = "home_team"


class InvalidMargin(InvalidInput):
    """The expected margin is not finite or out of bounds."""

    reason = "INVALID_PREGAME_MARGIN"
    default_field = "pregame_margin"


class InvalidQuantile(InvalidInput):
    """A quantile's level is not a number strictly between 0 and 1, or there are too many levels."""

    reason = "INVALID_QUANTILE_LEVELS"
    default_field = "quantile_levels"


class InvalidHorizon(InvalidInput):
    """The horizon is not one of the contract's."""

    reason = "INVALID_HORIZON"
    default_field = "horizon"


class InvalidMarket(InvalidInput):
    """A market has a line, odds, a bankroll, a threshold or a horizon that it cannot have."""

    reason = "INVALID_MARKET"
    default_field = "market"


class InvalidTotalPoints(InvalidInput):
    """The points of both teams together are fewer than the lead, or too many."""

    reason = "INVALID_TOTAL_POINTS"
    default_field = "total_points"


class Unsupported(FieldError):
    """A field that is well-formed, but that the model asked can't honour."""

    reason = "UNSUPPORTED"


class UnsupportedHorizon(Unsupported):
    """The model does not forecast this horizon."""

    reason = "UNSUPPORTED_HORIZON"
    default_field = "horizon"


class UnsupportedSlots(Unsupported):
    """The model does not know patterns with this number of slots."""

    reason = "UNSUPPORTED_SLOTS"
    default_field = "pattern"


class AlphaTooSmall(Unsupported):
    """The calibration has too few games for an interval with so small a miscoverage rate."""

    reason = "ALPHA_TOO_SMALL"
    default_field = "alpha"


class QuantileTooExtreme(Unsupported):
    """The calibration has too few games for a quantile so near to 0 or 1."""

    reason = "QUANTILE_TOO_EXTREME"
    default_field = "quantile_levels"


class UnknownModel(FieldError):
    """No bundle of the version asked for is held.

    Args:
        version: the version asked for.
        held: the versions that are held, the active one first.
    """

    reason = "UNKNOWN_MODEL_VERSION"
    default_field = "model_version"

    def __init__(self, version: str, held: tuple[str, ...]) -> None:
        self.version = version
        self.held = held
        super().__init__(f"{quoted(version)} is not held", f"one of {', '.join(held)}, or empty")


class BundleError(DejavuError):
    """A bundle that is refused."""

    reason = "BUNDLE_REFUSED"


class BundleNotFound(BundleError):
    """There is no bundle where one was looked for."""

    reason = "BUNDLE_NOT_FOUND"


class BundleIncomplete(BundleError):
    """A file that the manifest names is missing."""

    reason = "BUNDLE_INCOMPLETE"


class BundleCorrupt(BundleError):
    """A file is not what the manifest says, or can't be read."""

    reason = "BUNDLE_CORRUPT"


class BundleTooNew(BundleError):
    """The bundle was written by a later schema than this code reads."""

    reason = "BUNDLE_TOO_NEW"


class BundleTooOld(BundleError):
    """The bundle was written by an earlier schema than this code reads: it has to be fitted anew."""

    reason = "BUNDLE_TOO_OLD"


class BundleUnfit(BundleError):
    """The bundle's recipe did not prove itself on games that it had not seen."""

    reason = "BUNDLE_UNFIT"
