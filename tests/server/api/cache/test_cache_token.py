"""All workers of a server see at once that one of them cleared the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dejavu_server.forecasting.cache_state import CacheToken

PROGRAM = """
import sys
from pathlib import Path
from dejavu_server.forecasting.cache_state import CacheToken
token = CacheToken(Path(sys.argv[1]))
assert token.value == 7
token.value = 2**64 - 1
"""


def test_another_process_sees_the_new_token_at_once(tmp_path: Path) -> None:
    mine = CacheToken(tmp_path)
    assert mine.value == 0
    mine.value = 7
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True, timeout=60)
    assert mine.value == CacheToken(tmp_path).value == 2**64 - 1
    assert CacheToken().value == 0, "of a worker that is alone"
