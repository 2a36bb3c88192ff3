"""Pictures, PNG, of drawings, SVG: programs with previews of links need them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from dejavu_gateway.logs import get_logger
from dejavu_gateway.messages.errors import RequestRefused

MAX_KEPT: Final = 128
"""Maximum number of pictures in memory, some 40 kB each: all games of an evening at their newest and a few earlier
moments."""

SECONDS: Final = 10.0
"""Time limit of a picture, which takes a tenth of a second."""

_PROGRAM: Final = Path(__file__).with_name("rasterize.py")

log = get_logger()


class Pictures:
    """Makes pictures of drawings, and keeps the newest by drawing: equal drawings have the same picture, byte by byte.

    One is made at a time, also of those whose browsers hang up: its process goes on until its picture is there.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, "pictures")

    def kept(self, drawing: str) -> bytes | None:
        """Return the kept picture of a drawing; None if there is none."""
        if drawing in self._kept:
            self._kept.move_to_end(drawing)
        return self._kept.get(drawing)

    async def make(self, drawing: str) -> bytes:
        """Return the picture of a drawing.

        Raises:
            RequestRefused: if it cannot be made, or takes too long.
        """
        if (kept := self.kept(drawing)) is not None:  # made while this request waited for its turn
            return kept
        picture = self._kept[drawing] = await asyncio.get_running_loop().run_in_executor(
            self._thread, _rasterized, drawing
        )
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return picture


def _rasterized(drawing: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - a program of ours
            [sys.executable, "-I", str(_PROGRAM)],
            input=drawing.encode(),
            capture_output=True,
            check=True,
            timeout=SECONDS,
        )
        return done.stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        log.error("picture_failed", reason=f"{error}: {said.decode(errors='replace').strip()[-500:]}")
        message = "the picture could not be made; the same drawing is at this path with .svg"
        raise RequestRefused("NO_PICTURE", message) from None
