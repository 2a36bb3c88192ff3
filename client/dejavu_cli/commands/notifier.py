"""Runs the notifier of `dejavu notify`. Only that command imports it: its libraries are an extra."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import typer

from dejavu.ops.v1.notification_service_pb2 import NOTIFICATION_STATUS_SENT
from dejavu_cli.errors import FAILED
from dejavu_cli.options import Call
from dejavu_cli.output.poll_display import end_on_signals
from dejavu_common.clock import utc_now
from dejavu_poller.leadership import holder_name
from dejavu_poller.notify.conditions import Message
from dejavu_poller.notify.delivery import Deliverer, Report, Result, Sender, request
from dejavu_poller.notify.notifier import RuleNotifier
from dejavu_poller.notify.rules import InvalidRules, Rules, load_rules


def send_tests(file: Path, *, as_json: bool) -> None:
    """Send a test message to each target of a file of rules.

    Raises:
        typer.BadParameter: if the file is unusable.
        typer.Exit: if a target did not take it.
    """
    reports = asyncio.run(_send_tests(_load(file)))
    for report in reports:
        _print_report(report, as_json=as_json)
    if any(report.attempt.result is not Result.SENT for report in reports):
        raise typer.Exit(FAILED)


def run_notifier(file: Path, call: Call, *, delay: float, dry_run: bool, replays: bool) -> None:
    """Follow a server, and send what the rules of a file tell, until a signal; the arguments are those of the command.

    Raises:
        typer.BadParameter: if the file is unusable.
        DejavuClientError: if the server refuses the caller.
    """
    rules, connect = _load(file), call.connect_async()

    async def run() -> None:
        async with connect() as client, AsyncExitStack() as stack:
            tell: Callable[[Message, str], None]
            if dry_run:
                tell = partial(_print, rules)
            else:
                # A token that may not claim is refused here rather than in the middle of a game.
                await client.confirm_notification("start", "start", holder_name(), NOTIFICATION_STATUS_SENT)
                sender = Sender()
                stack.push_async_callback(sender.close)
                tell_report = partial(_print_report, as_json=call.as_json)
                deliverer = Deliverer(client, rules.targets, sender, tell_report, delay=delay)
                stack.push_async_callback(deliverer.close)
                tell = deliverer.put
            task = asyncio.create_task(RuleNotifier(client, rules, tell, replays=replays).run())
            end_on_signals(task.cancel)
            typer.echo(f"Watching for {len(rules.rules)} rules", err=True)
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(run())


def _load(file: Path) -> Rules:
    try:
        return load_rules(file)
    except InvalidRules as error:
        raise typer.BadParameter(str(error), param_hint="RULES") from None


def _print(rules: Rules, message: Message, target: str) -> None:
    """Print what would be sent, without the address, which may be a secret."""
    typer.echo(f"{_clock()} {target}: {request(rules.targets[target], message, utc_now()).body.decode()}")


def _clock() -> str:
    return f"{utc_now().astimezone():%H:%M:%S}"


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


def _print_report(report: Report, *, as_json: bool) -> None:
    """Print what a notifier did, as one line."""
    message, target, attempt = report
    if as_json:
        fields = {
            "time": utc_now().isoformat(timespec="milliseconds"),
            "id": message.id,
            "target": target,
            "result": attempt.result,
            "failure": attempt.failure,
            "text": f"{message.title}. {message.text}",
        }
        typer.echo(json.dumps(fields, ensure_ascii=False))
        return
    result = "failed, tried again" if attempt.result is Result.RETRY else attempt.result
    failure = f" ({attempt.failure})" if attempt.failure else ""
    typer.echo(f"{_clock()} {target}: {result}{failure} · {message.title}. {message.text}")
