"""Errors of requests of the Open Inference Protocol."""

from __future__ import annotations

from dejavu_models.errors import FieldError, InvalidInput


class InvalidTensor(InvalidInput, reason="INVALID_TENSOR", field="inputs"):
    """A tensor is missing, unknown or given twice, or its datatype, shape, contents or a value of it is wrong."""


class InvalidParameter(InvalidInput, reason="INVALID_PARAMETER", field="parameters"):
    """A parameter is unknown, or of the wrong type."""


class InvalidRequestId(InvalidInput, reason="INVALID_REQUEST_ID", field="id"):
    """The id of a request is too long."""


class UnknownModelName(FieldError, reason="UNKNOWN_MODEL", field="model_name", category="NOT_FOUND"):
    """There is no model of this name."""
