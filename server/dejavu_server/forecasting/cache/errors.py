"""Errors of the cache that callers or operators see."""

from __future__ import annotations

from dejavu_models.errors import DejavuError


class CacheOff(DejavuError):
    """The cache is off."""

    reason = "CACHE_OFF"


class SharedCacheUnavailable(DejavuError):
    """The cache that servers share cannot be reached."""

    reason = "SHARED_CACHE_UNAVAILABLE"


class CacheSecretError(DejavuError):
    """The file of the secret that servers sign cached answers with cannot be used."""

    reason = "CACHE_SECRET"


class CacheNotInstalled(DejavuError):
    """What a shared cache needs is not installed."""

    reason = "CACHE_NOT_INSTALLED"
