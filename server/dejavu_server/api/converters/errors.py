"""What a request's fields are refused for, by the converters; each error names its field."""

from __future__ import annotations

from dejavu_models.errors import (
    InvalidInput,
)


class InvalidBatch(InvalidInput):
    """A batch holds no request, or too many."""

    reason = "INVALID_BATCH"
    default_field = "requests"


class TooManyGames(InvalidInput):
    """A stream was asked for more games than it can name one by one."""

    reason = "INVALID_GAME_IDS"
    default_field = "game_ids"


class InvalidDifferential(InvalidInput):
    """No game ends so: beyond ±200 points, or level."""

    reason = "INVALID_DIFFERENTIAL"
    default_field = "differential"


class InvalidTime(InvalidInput):
    """A time in the future, or none at all."""

    reason = "INVALID_TIME"
    default_field = "observed_time"


class InvalidDate(InvalidInput):
    """No date, or a last one before the first."""

    reason = "INVALID_DATE"
    default_field = "from_date"


class InvalidMinutes(InvalidInput):
    """No minute of play that a forecast can be made after, or a last one before the first."""

    reason = "INVALID_MINUTES"
    default_field = "elapsed_minutes"


class InvalidConfidence(InvalidInput):
    """Not the probability of the likelier side."""

    reason = "INVALID_CONFIDENCE"
    default_field = "min_confidence"


class InvalidPageSize(InvalidInput):
    """A page of too many forecasts."""

    reason = "INVALID_PAGE_SIZE"
    default_field = "page_size"


class InvalidMetric(InvalidInput):
    """Not a metric of the contract."""

    reason = "INVALID_METRIC"
    default_field = "metric"


class InvalidScoreFilter(InvalidInput):
    """A filter that contradicts what it is for."""

    reason = "INVALID_FILTER"
    default_field = "filter"
