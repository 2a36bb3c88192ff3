"""Takes the README's picture of the page: one game of the demo's evening, in play.

Run with `python -m bench.picture docs/images/game.png` from the project's folder; it needs Debian's chromium.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.processes.browser import running_browser

EVENING_SECONDS = 120
"""Length of the evening; at the demo's default, 55 s, a minute of a game would last less than a second."""

MINUTE = 18
"""Minute of play after which the picture is taken."""

WIDTH, HEIGHT = 1000, 800
"""Size of the window, in CSS pixels; the picture ends below the games seen before, whatever their height."""


@contextmanager
def evening() -> Iterator[str]:
    """Run the demo with its page; yield the address of the page."""
    command = [sys.executable, "-m", "dejavu_cli", "demo", "--page", "--json", "--seconds", str(EVENING_SECONDS)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if process.stderr is None:
        raise RuntimeError("the demo was started without a pipe")
    try:
        line = next((line for line in process.stderr if line.startswith("Page at ")), "")
        if not line:
            raise RuntimeError("the demo ended before it served the page")
        yield line.removeprefix("Page at ").strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def game_in_play(url: str) -> str:
    """Wait until a game has been forecast after MINUTE; return its id."""
    while True:
        with urllib.request.urlopen(f"{url}api/games", timeout=30) as answer:
            games: list[dict[str, Any]] = json.load(answer)["games"]
        for game in games:
            newest = game["newest"]["final"]
            if newest is not None and newest["forecast"]["elapsedMinutes"] >= MINUTE:
                return str(game["gameId"])
        time.sleep(0.2)


def main(file: Path) -> None:
    """Take the picture."""
    with evening() as url, running_browser() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1.25)
        page.goto(f"{url}game/{game_in_play(url)}")
        page.wait_for_selector(".course:not([data-own])")
        seen = page.locator(".dejavu").bounding_box()
        if seen is None:
            raise RuntimeError("the page shows no game seen before")
        clip: Any = {"x": 0, "y": 0, "width": WIDTH, "height": seen["y"] + seen["height"] + 16}
        page.screenshot(path=file, clip=clip, full_page=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
