from __future__ import annotations

from tests.support.processes.ledgers import ledger, url  # noqa: F401 - fixtures
