"""Validation errors that the converters raise; each names its field."""

from __future__ import annotations

from dejavu_models.errors import InvalidInput


class InvalidBatch(InvalidInput, reason="INVALID_BATCH", field="requests"):
    """A batch has no requests, or too many."""


class NamesGame(InvalidInput, reason="INVALID_WHAT_IF", field="requests"):
    """A request that has to be a what-if names a game."""


class TooManyGames(InvalidInput, reason="INVALID_GAME_IDS", field="game_ids"):
    """A stream request names too many games."""


class InvalidDate(InvalidInput, reason="INVALID_DATE", field="from_date"):
    """A date is malformed, or the last date is before the first."""


class InvalidMinutes(InvalidInput, reason="INVALID_MINUTES", field="elapsed_minutes"):
    """A minute is outside 1 to 47, or the last minute is before the first."""


class InvalidConfidence(InvalidInput, reason="INVALID_CONFIDENCE", field="min_confidence"):
    """A confidence is not between 0.5 and 1, the range of the likelier side's probability."""


class InvalidMetric(InvalidInput, reason="INVALID_METRIC", field="metric"):
    """A metric is not specified, or not a value of the contract."""


class InvalidScoreFilter(InvalidInput, reason="INVALID_FILTER", field="filter"):
    """A filter has a field that its method does not allow, or a number of games is negative."""


class InvalidComparison(InvalidInput, reason="INVALID_COMPARISON", field="against_version"):
    """A model would be compared with itself."""
