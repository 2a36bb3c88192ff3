"""Errors of model stores and of uploads into them.

DejavuError
├── InvalidModelStore         the address of a store cannot be used
├── ModelStoreUnavailable     the storage cannot be read or written at present
├── TooManyUploads            the maximum number of uploads is in progress
├── UploadInProgress          another upload of the same bundle is in progress
├── UploadTooLarge            a bundle, or its manifest, is larger than a server accepts
└── InvalidInput
    └── InvalidChunk          a chunk does not belong to a missing file, or is not the next one of its file
"""

from __future__ import annotations

from dejavu_models.errors import DejavuError, InvalidInput


class InvalidModelStore(DejavuError):
    """The address of a model store cannot be used."""

    reason = "INVALID_MODEL_STORE"


class ModelStoreUnavailable(DejavuError):
    """The storage of the models cannot be read or written at present."""

    reason = "MODEL_STORE_UNAVAILABLE"


class TooManyUploads(DejavuError):
    """The maximum number of uploads is in progress; a later retry may succeed."""

    reason = "TOO_MANY_UPLOADS"


class UploadInProgress(DejavuError):
    """Another upload of the same bundle is in progress; a later retry may succeed."""

    reason = "UPLOAD_IN_PROGRESS"


class UploadTooLarge(DejavuError):
    """A bundle, or its manifest, is larger than a server accepts."""

    reason = "UPLOAD_TOO_LARGE"


class InvalidChunk(InvalidInput):
    """A chunk of an upload does not belong to a missing file, or is not the next one of its file."""

    reason = "INVALID_CHUNK"
    default_field = "chunk"
