"""All workers of a server see at once that one of them cleared the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dejavu_server.api.cache.cache_state import CacheToken

PROGRAM = r"""
import sys
from pathlib import Path
from dejavu_server.api.cache.cache_state import CacheToken
token = CacheToken(Path(sys.argv[1]))
assert token.value == b'7' * 8
token.value = b'\xff' * 8
"""


def test_another_process_sees_the_new_token_at_once(tmp_path: Path) -> None:
    mine = CacheToken(tmp_path)
    assert mine.value == bytes(8)
    mine.value = b"7" * 8
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True, timeout=60)
    assert mine.value == CacheToken(tmp_path).value == b"\xff" * 8
    assert CacheToken().value == bytes(8), "of a worker that is alone"
