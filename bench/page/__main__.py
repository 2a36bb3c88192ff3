"""Entry point of `python -m bench.page`; see run.py."""

from __future__ import annotations

import sys

from bench.page.run import main

if __name__ == "__main__":
    sys.exit(main())
