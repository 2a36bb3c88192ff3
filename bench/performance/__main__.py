"""Entry point of `python -m bench.performance`; see run.py."""

from __future__ import annotations

import sys

from bench.performance.run import main

if __name__ == "__main__":
    sys.exit(main())
