"""Validation errors that the converters raise; each names its field."""

from __future__ import annotations

from dejavu_models.errors import InvalidInput


class InvalidBatch(InvalidInput):
    """A batch has no requests, or too many."""

    reason = "INVALID_BATCH"
    default_field = "requests"


class NamesGame(InvalidInput):
    """A request that has to be a what-if names a game."""

    reason = "INVALID_WHAT_IF"
    default_field = "requests"


class TooManyGames(InvalidInput):
    """A stream request names too many games."""

    reason = "INVALID_GAME_IDS"
    default_field = "game_ids"


class InvalidDate(InvalidInput):
    """A date is malformed, or the last date is before the first."""

    reason = "INVALID_DATE"
    default_field = "from_date"


class InvalidMinutes(InvalidInput):
    """A minute is outside 1 to 47, or the last minute is before the first."""

    reason = "INVALID_MINUTES"
    default_field = "elapsed_minutes"


class InvalidConfidence(InvalidInput):
    """A confidence is not between 0.5 and 1, the range of the likelier side's probability."""

    reason = "INVALID_CONFIDENCE"
    default_field = "min_confidence"


class InvalidMetric(InvalidInput):
    """A metric is not specified, or not a value of the contract."""

    reason = "INVALID_METRIC"
    default_field = "metric"


class InvalidScoreFilter(InvalidInput):
    """A filter has a field that its method does not allow, or a number of games is negative."""

    reason = "INVALID_FILTER"
    default_field = "filter"


class InvalidComparison(InvalidInput):
    """A model would be compared with itself."""

    reason = "INVALID_COMPARISON"
    default_field = "against_version"
