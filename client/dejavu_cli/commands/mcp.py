"""`dejavu mcp`: tools for assistants on standard input and output."""

from __future__ import annotations

import asyncio

from dejavu_cli.options import Replays, ServerOptions
from dejavu_common.build import release


def mcp(server: ServerOptions, replays: Replays = False) -> None:
    """Serve tools for assistants (Model Context Protocol): games, a forecast, the record.

    An assistant's program starts it, and speaks with it on standard input and
    output. The tools only read.
    """
    from dejavu_cli.mcp_tools import mcp_server  # noqa: PLC0415 - an extra

    connect = server.connect_async()

    async def run() -> None:
        async with connect() as client:
            await mcp_server(client, release(), replays=replays).run_stdio_async()

    asyncio.run(run())
