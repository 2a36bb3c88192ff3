"""Entry point of `python -m bench.cache`; see run.py."""

from __future__ import annotations

import sys

from bench.cache.run import main

if __name__ == "__main__":
    sys.exit(main())
