"""`python -m dejavu_trainer.cli`: the same as the command `dejavu-trainer`."""

from __future__ import annotations

from dejavu_trainer.cli.main import main

if __name__ == "__main__":
    main()
