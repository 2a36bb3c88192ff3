"""Delivery with a real server and a real target: once, retried, listed; one that fails delays no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from tests.support.processes.receiver import Answer, Receiver
from tests.support.processes.servers import async_worker

from dejavu.ops.v1.notification_service_pb2 import NotificationStatus
from dejavu_client import AsyncDejavuClient
from dejavu_common.clock import utc_now
from dejavu_poller.notify.conditions import Message
from dejavu_poller.notify.delivery import MAX_WAITING, Deliverer, Report, Result, Sender
from dejavu_poller.notify.rules import Target


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncDejavuClient]:
    async with async_worker(tmp_path) as worker, AsyncDejavuClient(worker.address, timeout=30.0) as client:
        yield client


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    sender = Sender()
    yield sender
    await sender.close()


def target(url: str, **fields: Any) -> Target:
    made: Target = TypeAdapter(Target).validate_python({"kind": "webhook", "url": url, **fields})
    return made


def message(number: int = 1) -> Message:
    return Message(f"dejavu/close/{number}", "close", "close_late", "Close", "BOS 101, NYK 99.", utc_now())


async def statuses(client: AsyncDejavuClient) -> dict[str, tuple[str, str]]:
    """Return status and failure of each notification by its target."""
    return {
        each.target: (NotificationStatus.Name(each.status).rpartition("_")[2].lower(), each.failure)
        for each in await client.list_notifications()
    }


async def test_of_several_notifiers_one_sends_each(
    client: AsyncDejavuClient, receiver: Receiver, sender: Sender
) -> None:
    deliverers = [Deliverer(client, {"a": target(receiver.url)}, sender, claim_seconds=1.0) for _ in range(3)]
    for number in range(5):
        for deliverer in deliverers:
            deliverer.put(message(number), "a")
    for deliverer in deliverers:
        await deliverer.drained()
    assert receiver.arrivals == {message(number).id: 1 for number in range(5)}


async def test_a_target_that_fails_is_tried_again_and_what_became_of_it_is_listed(
    client: AsyncDejavuClient, receiver: Receiver, sender: Sender
) -> None:
    receiver.answers = {
        "/soon": [Answer(503), Answer(429, (("retry-after", "1"),))],
        "/never": [Answer(404)],
        "/elsewhere": [Answer(302, (("location", f"{receiver.url}/trap"),))],
    }
    reports, sent = list[Report](), asyncio.Event()

    def note(report: Report) -> None:
        reports.append(report)
        if report.attempt.result is Result.SENT:
            sent.set()

    names = ("soon", "never", "elsewhere")
    dead = {"dead": target("http://127.0.0.1:9/")}
    deliverer = Deliverer(client, {name: target(f"{receiver.url}/{name}") for name in names} | dead, sender, note)
    for name in (*dead, *names):
        deliverer.put(message(), name)
    await asyncio.to_thread(receiver.wait_for, 5)
    await asyncio.wait_for(sent.wait(), 30)
    listed = await statuses(client)
    assert listed["never"] == ("failed", "HTTP 404")
    assert listed["elsewhere"] == ("failed", "HTTP 302 (redirects are not followed)")
    assert listed["soon"][0] == "sent"
    assert listed["dead"][0] in {"waiting", "claimed"}
    assert "ConnectError" in listed["dead"][1]
    await deliverer.close()
    assert sorted(post.path for post in receiver.posts) == ["/elsewhere", "/never", "/soon", "/soon", "/soon"]
    results = [each.attempt.result for each in reports if each.target == "soon"]
    assert results == [Result.RETRY, Result.RETRY, Result.SENT]


async def test_a_notifier_that_ends_while_it_sends_is_followed_by_another_with_the_same_id(
    client: AsyncDejavuClient, receiver: Receiver, sender: Sender
) -> None:
    ended = threading.Event()
    receiver.answers = {"/": [Answer(before=lambda: ended.wait(30))]}
    first, second = (Deliverer(client, {"a": target(f"{receiver.url}/")}, sender, claim_seconds=1.0) for _ in range(2))
    first.put(message(), "a")
    await asyncio.to_thread(receiver.wait_for, 1)
    second.put(message(), "a")
    await second.drained()
    ended.set()
    await first.drained()
    assert receiver.arrivals == {message().id: 2}, "the target knows it by its id"
    assert (await statuses(client))["a"] == ("sent", "")


async def test_an_attempt_in_progress_is_confirmed_before_the_end(
    client: AsyncDejavuClient, receiver: Receiver, sender: Sender
) -> None:
    going_on = threading.Event()
    receiver.answers = {"/": [Answer(before=lambda: going_on.wait(30))]}
    deliverer = Deliverer(client, {"a": target(f"{receiver.url}/")}, sender)
    deliverer.put(message(), "a")
    await asyncio.to_thread(receiver.wait_for, 1)
    closing = asyncio.create_task(deliverer.close())
    await asyncio.sleep(0)
    going_on.set()
    await closing
    assert (await statuses(client))["a"] == ("sent", "")


async def test_a_target_gets_so_many_a_minute(client: AsyncDejavuClient, receiver: Receiver, sender: Sender) -> None:
    deliverer = Deliverer(client, {"a": target(receiver.url, per_minute=2)}, sender, minute=1.0)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(5):
        deliverer.put(message(number), "a")
    await deliverer.drained()
    assert loop.time() - begun >= 2.0
    assert len(receiver.posts) == 5


async def test_moments_of_games_wait_for_a_delayed_picture(
    client: AsyncDejavuClient, receiver: Receiver, sender: Sender
) -> None:
    deliverer = Deliverer(client, {"a": target(receiver.url)}, sender, delay=1.0)
    begun = asyncio.get_running_loop().time()
    deliverer.put(message(1)._replace(game_id="0022600001"), "a")
    deliverer.put(message(2), "a")  # a silence
    await asyncio.to_thread(receiver.wait_for, 1)
    assert receiver.arrivals == {message(2).id: 1}
    await deliverer.drained()
    assert asyncio.get_running_loop().time() - begun >= 1.0
    assert receiver.arrivals == {message(number).id: 1 for number in (1, 2)}


async def test_what_waits_for_a_target_is_bounded(client: AsyncDejavuClient, sender: Sender) -> None:
    reports = list[Report]()
    deliverer = Deliverer(client, {"a": target("http://127.0.0.1:9/")}, sender, reports.append)
    for number in range(MAX_WAITING + 1):
        deliverer.put(message(number), "a")
    assert [(each.message.id, each.attempt.result) for each in reports] == [(message(MAX_WAITING).id, Result.FAILED)]
    await deliverer.close()
