"""A command with commands of its own."""

from __future__ import annotations

from typing import Any

import typer
import typer.core

from dejavu_client.cli.access import options_given
from dejavu_common import interrupts


class CommandFamily(typer.core.TyperGroup):
    """A command with commands of its own."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that is named, or the one for none."""
        interrupts.raise_again()
        with options_given(ctx):
            return super().invoke(ctx)
