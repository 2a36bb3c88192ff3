from __future__ import annotations

from tests.support.harness.ledgers import ledger, url  # noqa: F401 - fixtures
