"""Errors of requests of the Open Inference Protocol."""

from __future__ import annotations

from dejavu_models.errors import FieldError, InvalidInput


class InvalidTensor(InvalidInput):
    """A tensor is missing, unknown or given twice, or its datatype, shape, contents or a value of it is wrong."""

    reason = "INVALID_TENSOR"
    default_field = "inputs"


class InvalidParameter(InvalidInput):
    """A parameter is unknown, or of the wrong type."""

    reason = "INVALID_PARAMETER"
    default_field = "parameters"


class InvalidRequestId(InvalidInput):
    """The id of a request is too long."""

    reason = "INVALID_REQUEST_ID"
    default_field = "id"


class UnknownModelName(FieldError):
    """There is no model of this name."""

    reason = "UNKNOWN_MODEL"
    default_field = "model_name"


def rename(error: FieldError, field: str) -> None:
    """Change the field that an error names."""
    error.field = field
    error.args = (f"{field}: {error.description}",)
