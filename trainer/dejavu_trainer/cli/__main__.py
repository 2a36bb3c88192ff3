"""Runs the command `dejavu-trainer` as `python -m dejavu_trainer.cli`."""

from __future__ import annotations

from dejavu_trainer.cli.main import main

if __name__ == "__main__":
    main()
