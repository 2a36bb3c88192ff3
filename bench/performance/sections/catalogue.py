"""All sections, in the order of the report."""

from __future__ import annotations

from bench.performance.sections import (
    batches,
    beside_batches,
    databases,
    entries,
    ledger_rows,
    memory,
    newcomer,
    page,
    single_calls,
    start,
    streams,
    workers,
)
from bench.performance.sections.section import Section

SECTIONS: dict[str, Section] = {
    module.SECTION.name: module.SECTION
    for module in (
        single_calls,
        batches,
        beside_batches,
        workers,
        streams,
        page,
        start,
        newcomer,
        memory,
        entries,
        ledger_rows,
        databases,
    )
}
"""Name → section."""
