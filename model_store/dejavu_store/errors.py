"""Errors of model stores."""

from __future__ import annotations

from dejavu_models.errors import DejavuError


class InvalidModelStore(DejavuError, reason="INVALID_MODEL_STORE"):
    """The address of a model store cannot be used."""


class ModelStoreUnavailable(DejavuError, reason="MODEL_STORE_UNAVAILABLE", category="UNAVAILABLE"):
    """The storage of the models cannot be read or written at present."""
