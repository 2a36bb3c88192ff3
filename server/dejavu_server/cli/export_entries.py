"""Exports the entries of a ledger with their hashes as JSON lines, for programs that recompute the chain.

docs/record.md describes the format.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from dejavu_common.files import atomic_replace
from dejavu_ledger.audit import chain, checkpoints
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.backends import read_only_ledger
from dejavu_ledger.database.store import ChainHead, Identity

STANDARD_OUTPUT = Path("-")


def export_entries(url: str, path: Path, *, overwrite: bool = False) -> ChainHead:
    """Write the identity of a ledger and then all its entries, one JSON object per line; `-` is standard output.

    The file is written completely or not at all. The ledger may be written to meanwhile: the file has the entries up to
    the newest one at the start of the export.

    Args:
        url: the ledger.
        path: output file.
        overwrite: whether to replace an existing file; an old export may be the only evidence that the ledger was
            changed after it.

    Returns:
        Sequence and hash of the last entry.

    Raises:
        LedgerError: if the ledger can't be read.
        FileExistsError: if the file exists and is not to be replaced.
        OSError: if the file can't be written.
    """
    if path != STANDARD_OUTPUT and not overwrite and path.exists():
        raise FileExistsError(f"{path} already exists; use --overwrite to replace it")
    with read_only_ledger(url) as backend, backend.read() as connection:
        identity, head = checkpoints.identity_and_head(connection)
        lines = _lines(connection, identity, head)
        if path == STANDARD_OUTPUT:
            sys.stdout.writelines(lines)
        else:
            with atomic_replace(path) as new, new.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(lines)
    return head


def _lines(connection: Connection, identity: Identity, head: ChainHead) -> Iterator[str]:
    yield _line({"ledger_id": identity.ledger_id, "epoch": identity.epoch})
    for page in chain.stored_pages(connection, "entries", through=head.sequence):
        for entry in page:
            chain.check_types(entry)
            yield _line({"sequence": entry["sequence"], "hash": entry["hash"].hex(), "canonical": entry["canonical"]})


def _line(value: dict[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
