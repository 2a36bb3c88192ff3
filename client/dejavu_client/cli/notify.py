"""`dejavu notify`: tells moments of games."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dejavu.v1.notification_service_pb2 import NOTIFICATION_STATUS_SENT
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.cli.access import client_options
from dejavu_client.cli.errors import FAILED
from dejavu_client.cli.options import Json, Replays, Target, Timeout
from dejavu_client.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from dejavu_client.notify.bodies import request
from dejavu_client.notify.conditions import Message
from dejavu_client.notify.delivery import Deliverer, Report, Result, Sender
from dejavu_client.notify.notifier import RuleNotifier
from dejavu_client.notify.rules import InvalidRules, Rules, load_rules
from dejavu_client.output.notifier import print_report, print_request
from dejavu_client.output.poll_display import end_on_signals
from dejavu_client.poller.leadership import holder_name
from dejavu_common.clock import utc_now


def notify(
    file: Annotated[
        Path, typer.Argument(metavar="RULES", envvar="DEJAVU_RULES", help="File of rules and targets, TOML.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Send a test message to each target, and exit.")] = False,
    replays: Replays = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Tell moments of games: a close end, a swing, an upset, a forecast, a final, silence.

    Sends webhooks, and messages by Slack, Discord and ntfy, each once a game.
    Start it twice, and the two share the work: each sends what the other does
    not. Stop with Ctrl-C.
    """
    try:
        rules = load_rules(file)
    except InvalidRules as error:
        raise typer.BadParameter(str(error), param_hint="RULES") from None
    show = partial(print_report, as_json=as_json)
    if test:
        reports = asyncio.run(_send_tests(rules))
        for report in reports:
            show(report)
        if any(report.attempt.result is not Result.SENT for report in reports):
            raise typer.Exit(FAILED)
        return
    access = client_options(target)

    async def run() -> None:
        async with (
            AsyncDejavuClient(target, timeout=timeout, slow=math.inf, very_slow=math.inf, **access) as client,
            AsyncExitStack() as stack,
        ):
            tell: Callable[[Message, str], None]
            if dry_run:
                tell = partial(_print, rules)
            else:
                # A token that may not claim is refused here rather than in the middle of a game.
                await client.confirm_notification("start", "start", holder_name(), NOTIFICATION_STATUS_SENT)
                sender = Sender()
                stack.push_async_callback(sender.close)
                deliverer = Deliverer(client, rules.targets, sender, show)
                stack.push_async_callback(deliverer.close)
                tell = deliverer.put
            task = asyncio.create_task(RuleNotifier(client, rules, tell, replays=replays).run())
            end_on_signals(partial(_cancel, task))
            typer.echo(f"Watching for {len(rules.rules)} rules", err=True)
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(run())


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _print(rules: Rules, message: Message, target: str) -> None:
    print_request(target, request(rules.targets[target], message, utc_now()))


async def _send_tests(rules: Rules) -> list[Report]:
    sender = Sender()
    now = utc_now()
    told = Message(f"{rules.name}/test/{now:%Y%m%dT%H%M%S}", "test", "test", "Test", "Dejavu can reach this.", now)
    try:
        attempts = await asyncio.gather(*(sender.send(each, told) for each in rules.targets.values()))
    finally:
        await sender.close()
    return [
        Report(told, name, attempt._replace(result=Result.FAILED) if attempt.result is Result.RETRY else attempt)
        for name, attempt in zip(rules.targets, attempts, strict=True)
    ]
