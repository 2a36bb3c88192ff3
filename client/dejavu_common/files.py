"""Atomic file writes: readers see the old file or the new one, never a partial one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_replace(path: Path, *, durable: bool = False, temporary: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path; replace `path` with the file written there, or remove the temporary file after an error.

    Args:
        path: the file to write.
        durable: whether the file must survive a power loss: it is synced to disk before the rename.
        temporary: the temporary path, on the same file system; by default a random hidden name in the folder of `path`.

    Raises:
        OSError: if `path` cannot be replaced.
    """
    new = temporary or path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        yield new
        if durable:
            sync(new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically and sync it to disk; see `atomic_replace`."""
    with atomic_replace(path, durable=True) as new:
        new.write_bytes(content)


def sync(path: Path) -> None:
    """Sync a file, or the entries of a folder, to disk, so that they survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
