"""Entry point of `python -m bench.fuzz`; see run.py."""

from __future__ import annotations

import sys

from bench.fuzz.run import main

if __name__ == "__main__":
    sys.exit(main())
