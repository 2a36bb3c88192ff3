"""Rasterize an SVG of standard input into a PNG on standard output: a program, which imports nothing of ours.

resvg holds Python's lock while it draws, so within the gateway every picture would make the browsers wait for their
events. A process of its own yields to them, can be stopped, and takes its memory along when it ends.
"""

import os
import resource
import sys
from pathlib import Path

FONTS = Path(__file__).parents[1] / "fonts"
MOST_BYTES = 512 * 1024 * 1024
"""Maximum address space of the process; a picture takes a fifth of it."""


def main() -> None:
    """Run the program."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    import resvg_py  # noqa: PLC0415 - within the limits

    drawing = sys.stdin.buffer.read().decode()
    picture = resvg_py.svg_to_bytes(
        svg_string=drawing,
        skip_system_fonts=True,
        font_files=[str(FONTS / "Inter-Regular.ttf"), str(FONTS / "Inter-Bold.ttf")],
        font_family="Inter",
        sans_serif_family="Inter",
    )
    sys.stdout.buffer.write(picture)


if __name__ == "__main__":
    main()
