"""All workers of a server see at once that one of them cleared the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dejavu_server.forecasting.cache.generation import CacheGeneration

PROGRAM = """
import sys
from pathlib import Path
from dejavu_server.forecasting.cache.generation import CacheGeneration
generation = CacheGeneration(Path(sys.argv[1]))
for _ in range(1000):
    generation.advance()
"""


def test_no_clearing_is_lost_between_processes(tmp_path: Path) -> None:
    mine = CacheGeneration(tmp_path)
    assert mine.value == 0
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command) as one, subprocess.Popen(command) as other:
        for _ in range(1000):
            mine.advance()
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert mine.value == 3000
    mine.close()
    mine.close()
