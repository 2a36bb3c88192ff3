"""Errors of model stores.

DejavuError
├── InvalidModelStore         the address of a store cannot be used
└── ModelStoreUnavailable     the storage cannot be read or written at present
"""

from __future__ import annotations

from dejavu_models.errors import DejavuError


class InvalidModelStore(DejavuError):
    """The address of a model store cannot be used."""

    reason = "INVALID_MODEL_STORE"


class ModelStoreUnavailable(DejavuError):
    """The storage of the models cannot be read or written at present."""

    reason = "MODEL_STORE_UNAVAILABLE"
