"""Fixtures: a fake server and both clients."""

from __future__ import annotations

from tests.support.fakes.service import authority, mutual, token_file  # noqa: F401 - fixtures
from tests.support.harness.clients import client_log_as_it_was, connect, server  # noqa: F401 - fixtures
