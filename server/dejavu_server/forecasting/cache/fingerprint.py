"""Inputs of an answer in the shared cache other than its request and state: release, models and settings.

Servers that share a cache use each other's answers only if these are equal. A setting counts unless it is listed here,
so a setting that a later release adds separates servers instead of mixing their answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from dejavu_models.types import ModelInfo
from dejavu_server.settings import Settings

FORMAT: Final = 1
"""Version of the cached format."""

WITHOUT_EFFECT: Final = frozenset(
    {
        "listen",
        "tls_cert",
        "tls_key",
        "tls_client_ca",
        "tokens",
        "jwks",
        "jwt_issuer",
        "jwt_audience",
        "insecure",
        "workers",
        "standby",
        "channelz",
        "bundles",  # the versions of the loaded models count
        "allow_unfit",  # whether a model is fit counts
        "model_store",  # which version answers counts
        "load_on_demand",
        "max_models",
        "gate",
        "gate_rollback",
        "gate_crps_margin",
        "ledger",  # the applied outcomes count instead
        "durability",
        "metrics_listen",
        "grace_seconds",
        "hang_seconds",
        "max_rss",
        "heartbeat_seconds",
        "late_seconds",
        "max_game_forecasts",
        "backup_folder",
        "ledger_reserve_mib",
        "max_in_flight",
        "max_streams",
        "caller_calls",
        "caller_rate",
        "caller_streams",
        "caller_games",
        "caller_model_changes",
        "caller_ledger_mib",
        "caller_loopback",
        "header_floods",
        "connection_age_seconds",
        "connection_grace_seconds",
        "connection_idle_seconds",
        "cache",
        "cache_seconds",
        "cache_mebibytes",
        "cache_secret",
        "signing_key",
        "checkpoint_seconds",
        "log_level",
        "log_format",
    }
)
"""Settings that do not change the answer to a what-if."""


def fingerprint(release: str, settings: Settings, models: Sequence[ModelInfo]) -> bytes:
    """Return a digest of the inputs of a worker's answers.

    Args:
        release: version of the server's software.
        settings: its settings.
        models: its models, first the active one, which answers requests that name no model.
    """
    named = {
        "format": FORMAT,
        "release": release,
        "settings": settings.model_dump(exclude=set(WITHOUT_EFFECT)),
        "models": [(model.version, model.approved) for model in models],
    }
    return hashlib.blake2b(json.dumps(named, sort_keys=True, default=str).encode(), digest_size=16).digest()
