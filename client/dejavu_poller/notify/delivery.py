"""Delivery: each notification is claimed, sent and confirmed, so that of all notifiers one sends it.

A notifier that ends between the answer of a target and its confirmation leaves a claim behind: another one takes it
over when it expires, and sends the same notification again, with the same `webhook-id`. Nothing else is sent twice.

A target that fails is tried again with growing pauses, after its Retry-After at the earliest. Each target has its own
tasks and limits, so one that is dead delays no other. Requests are JSON of ours, of a template, or of Slack, Discord or
ntfy; those to programs can be signed as Standard Webhooks say.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from string import Template
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import httpx2 as httpx
from standardwebhooks import Webhook

from dejavu.ops.v1.notification_service_pb2 import (
    NOTIFICATION_STATUS_FAILED,
    NOTIFICATION_STATUS_SENT,
    NOTIFICATION_STATUS_WAITING,
    Notification,
)
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import PASSING, DejavuClientError
from dejavu_client.logs import get_logger
from dejavu_common.clock import Backoff, rfc3339, utc_now
from dejavu_common.shown_text import visible
from dejavu_poller.leadership import holder_name, steady_time
from dejavu_poller.notify.conditions import Message
from dejavu_poller.notify.rules import TEMPLATE_FIELDS, DiscordTarget, NtfyTarget, SlackTarget, Target, WebhookTarget

VERSION: Final = 1
"""Version of our JSON: fields may be added to it, and none is changed."""


class Request(NamedTuple):
    """A POST request.

    Attributes:
        url: address.
        headers: headers.
        body: body.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes


def request(target: Target, message: Message, now: datetime) -> Request:
    """Return the request that sends a message to a target.

    Args:
        target: the target.
        message: the message.
        now: time of the request, by which a receiver refuses old copies of it; aware.
    """
    url, body = _addressed(target, message)
    headers = {"content-type": "application/json", "user-agent": "dejavu", "webhook-id": message.id}
    if target.token is not None:
        headers["authorization"] = f"Bearer {target.token.get_secret_value()}"
    if isinstance(target, WebhookTarget):
        headers["content-type"] = target.content_type
        if target.secret is not None:
            signature = Webhook(target.secret.get_secret_value()).sign(message.id, now, body.decode())
            headers |= {"webhook-timestamp": f"{int(now.timestamp())}", "webhook-signature": signature}
    return Request(url, headers, body)


def _addressed(target: Target, message: Message) -> tuple[str, bytes]:
    """Return address and body."""
    url = target.url.get_secret_value()
    match target:
        case WebhookTarget(body=str(template)):
            return url, _filled(template, message, target.is_json)
        case WebhookTarget():
            return url, _json(_ours(message))
        case SlackTarget():
            link = f"\n<{_slack(message.link)}>" if message.link else ""
            return url, _json({"text": f"*{_slack(message.title)}*\n{_slack(message.text)}{link}"})
        case DiscordTarget():
            content = f"**{message.title}**\n{message.text}" + (f"\n{message.link}" if message.link else "")
            # A text never mentions anybody, whatever it contains.
            return url, _json({"content": content, "allowed_mentions": {"parse": []}})
        case NtfyTarget():
            address = urlsplit(url)
            path, _, topic = address.path.rstrip("/").rpartition("/")
            return urlunsplit(address._replace(path=f"{path}/")), _json(_ntfy(target, topic, message))


def _ours(message: Message) -> dict[str, Any]:
    return {
        "type": f"dejavu.{message.kind}",
        "timestamp": rfc3339(message.time),
        "data": {
            "version": VERSION,
            "id": message.id,
            "rule": message.rule,
            "title": message.title,
            "text": message.text,
            "link": message.link,
            "game_id": message.game_id,
            **message.values,
        },
    }


def _filled(template: str, message: Message, is_json: bool) -> bytes:
    """Return the body of a template: values are escaped for JSON, so that none ends its text."""
    values = {name: getattr(message, name, message.values.get(name, "")) for name in TEMPLATE_FIELDS}
    values["time"] = message.time.isoformat(timespec="seconds")
    texts = {name: f"{value}" for name, value in values.items()}
    if is_json:
        texts = {name: json.dumps(text, ensure_ascii=False)[1:-1] for name, text in texts.items()}
    return Template(template).substitute(texts).encode()


def _ntfy(target: NtfyTarget, topic: str, message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {"topic": topic, "title": message.title, "message": message.text}
    fields["priority"] = target.priority
    if message.link:
        fields["click"] = message.link
    if target.email:
        fields["email"] = target.email
    return fields


def _slack(text: str) -> str:
    """Escape the three characters with which Slack marks mentions and links."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


CLAIM_SECONDS: Final = 20.0
"""Time to live of a claim: a notification of a notifier that was killed is taken over at most this long after it."""

SEND_SECONDS: Final = 10.0
"""Deadline of a request to a target: half of a claim, so that it ends before the claim does."""

MAX_ATTEMPTS: Final = 8
"""Attempts of all notifiers together after which a notification is given up."""

GIVE_UP_SECONDS: Final = 600.0
"""Time after which a notification is given up, whatever it waits for."""

MAX_WAITING: Final = 100
"""Maximum number of notifications that wait for a target; further ones are given up."""

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_LONGEST_RETRY_AFTER: Final = 300.0
_LONGEST_FAILURE: Final = 200
_PASSING: Final = {408, 425, 429}

_log = get_logger()


class Result(StrEnum):
    """How a delivery went."""

    SENT = "sent"
    RETRY = "retry"
    FAILED = "failed"


_STATUSES: Final = {
    Result.SENT: NOTIFICATION_STATUS_SENT,
    Result.RETRY: NOTIFICATION_STATUS_WAITING,
    Result.FAILED: NOTIFICATION_STATUS_FAILED,
}


class DeliveryAttempt(NamedTuple):
    """How an attempt ended.

    Attributes:
        result: how.
        failure: why it failed.
        retry_after: seconds that the target asks for before the next attempt.
    """

    result: Result
    failure: str = ""
    retry_after: float = 0.0


class Report(NamedTuple):
    """What a notifier did for a message at a target."""

    message: Message
    target: str
    attempt: DeliveryAttempt


class _Channel:
    """A target: one request at a time, with pauses.

    Args:
        target: the target.
        minute: length of a minute, in seconds.
    """

    def __init__(self, target: Target, minute: float) -> None:
        self.target = target
        self._minute = minute
        self.waiting = set[asyncio.Task[None]]()
        self.turn = asyncio.Lock()
        self._sent = deque[float](maxlen=target.per_minute)
        self._not_before = 0.0

    async def pause(self) -> None:
        """Wait until the target may get a request. Call it with the turn."""
        if len(self._sent) == self._sent.maxlen:
            self._not_before = max(self._not_before, self._sent[0] + self._minute)
        await asyncio.sleep(max(0.0, self._not_before - steady_time()))

    def sent(self, attempt: DeliveryAttempt) -> None:
        """Note a request."""
        self._sent.append(steady_time())
        if attempt.retry_after:
            self._not_before = steady_time() + attempt.retry_after


class Sender:
    """Sends requests to targets, without claims; follows no redirects, and trusts the system's authorities."""

    def __init__(self) -> None:
        self._http = httpx.AsyncClient(timeout=SEND_SECONDS, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, target: Target, message: Message) -> DeliveryAttempt:
        """Send a message once; the answer's body is not read."""
        made = request(target, message, utc_now())
        try:
            async with (
                asyncio.timeout(SEND_SECONDS),
                self._http.stream("POST", made.url, content=made.body, headers=made.headers) as response,
            ):
                status, retry_after = response.status_code, response.headers.get("retry-after", "")
        except TimeoutError:
            return DeliveryAttempt(Result.RETRY, f"no answer within {SEND_SECONDS:.0f} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # An error about the protocol repeats bytes of the request or of the target, escaped as Python does.
            text = "" if isinstance(error, httpx.ProtocolError) else f": {error}"
            reason = visible(_without_secrets(f"{type(error).__name__}{text}", target, made.url), line=True)
            return DeliveryAttempt(
                Result.RETRY, "".join(each for each in reason if each.isprintable())[:_LONGEST_FAILURE]
            )
        if 200 <= status < 300:
            return DeliveryAttempt(Result.SENT)
        failure = f"HTTP {status}" + (" (redirects are not followed)" if 300 <= status < 400 else "")
        if status in _PASSING or status >= 500:
            return DeliveryAttempt(Result.RETRY, failure, _retry_seconds(retry_after))
        return DeliveryAttempt(Result.FAILED, failure)


class Deliverer:
    """Delivers messages to targets; use it in one event loop.

    Args:
        client: claims and confirms.
        targets: targets by name.
        sender: sends the requests.
        told: called with what this notifier did.
        delay: seconds for which messages of games wait, so that nobody is told before a delayed picture shows it.
        claim_seconds: time to live of a claim.
        minute: length of the minute of `per_minute`, in seconds.
    """

    def __init__(
        self,
        client: AsyncDejavuClient,
        targets: dict[str, Target],
        sender: Sender,
        told: Callable[[Report], None] = lambda _: None,
        *,
        delay: float = 0.0,
        claim_seconds: float = CLAIM_SECONDS,
        minute: float = 60.0,
    ) -> None:
        self._delay = delay
        self._claim_seconds = claim_seconds
        self._client = client
        self._channels = {name: _Channel(target, minute) for name, target in targets.items()}
        self._sender = sender
        self._told = told
        self._name = holder_name()
        self._attempting = set[asyncio.Task[None] | None]()
        self._closing = False

    def put(self, message: Message, target: str) -> None:
        """Deliver a message to a target, in a task of its own."""
        channel = self._channels[target]
        if len(channel.waiting) >= MAX_WAITING:
            self._give_up(message, target, f"{MAX_WAITING} notifications wait for the target")
            return
        task = asyncio.create_task(self._deliver(message, target, channel), name=f"notify {target}")
        channel.waiting.add(task)
        task.add_done_callback(channel.waiting.discard)

    async def drained(self) -> None:
        """Wait until nothing waits."""
        while waiting := [task for channel in self._channels.values() for task in channel.waiting]:
            await asyncio.wait(waiting)

    async def close(self) -> None:
        """End the deliveries, after the attempts in progress. Another notifier sends what waits."""
        self._closing = True
        waiting = [task for channel in self._channels.values() for task in channel.waiting]
        for task in waiting:
            if task not in self._attempting:
                task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _deliver(self, message: Message, target: str, channel: _Channel) -> None:
        if message.game_id:
            await asyncio.sleep(self._delay)
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, chance=random.random)  # spreads out notifiers
        give_up = steady_time() + GIVE_UP_SECONDS
        task = asyncio.current_task()
        while steady_time() < give_up:
            try:
                async with channel.turn:
                    await channel.pause()
                    self._attempting.add(task)
                    pause = await self._attempt(message, target, channel, backoff, give_up)
            except PASSING:
                pause = backoff.next()
            except DejavuClientError as error:
                self._give_up(message, target, f"not claimed: {error.message}")
                return
            except Exception as error:  # a bug: other targets and messages go on, and this one is not lost in silence
                _log.exception("notify.delivery_failed", id=message.id, target=target)
                self._give_up(message, target, f"{type(error).__name__}, see the log")
                return
            finally:
                self._attempting.discard(task)
            if pause is None or self._closing:
                return
            await asyncio.sleep(pause)
        self._give_up(message, target, f"not sent within {GIVE_UP_SECONDS / 60:.0f} minutes")

    async def _attempt(
        self, message: Message, target: str, channel: _Channel, backoff: Backoff, give_up: float
    ) -> float | None:
        """Claim, send and confirm once; return the seconds until the next attempt, or None if there is none."""
        asked = steady_time()
        draft = Notification(id=message.id, target=target, rule=message.rule, game_id=message.game_id)
        draft.text = f"{message.title}. {message.text}"[:500]
        claim = await self._client.claim_notification(draft, self._name, self._claim_seconds)
        if not claim.claimed:
            return claim.remaining_seconds + 0.05 if claim.HasField("remaining_seconds") else None
        if steady_time() - asked > self._claim_seconds / 2:  # this process was stopped: it may be another's by now
            return 0.0
        attempt = await self._sender.send(channel.target, message)
        channel.sent(attempt)
        pause = max(backoff.next(), attempt.retry_after)
        if attempt.result is Result.RETRY and (
            claim.notification.attempts >= MAX_ATTEMPTS or steady_time() + pause >= give_up
        ):
            attempt = attempt._replace(result=Result.FAILED)
        await self._confirm(message, target, attempt, pause)
        self._report(message, target, attempt)
        return pause if attempt.result is Result.RETRY else None

    async def _confirm(self, message: Message, target: str, attempt: DeliveryAttempt, pause: float) -> None:
        """Confirm, again and again while the claim lasts: without it, another notifier sends the message again."""
        until = steady_time() + self._claim_seconds / 2
        while True:
            try:
                await self._client.confirm_notification(
                    message.id,
                    target,
                    self._name,
                    _STATUSES[attempt.result],
                    failure=attempt.failure,
                    retry_delay=pause if attempt.result is Result.RETRY else None,
                )
            except PASSING:
                if steady_time() < until:
                    await asyncio.sleep(_FIRST_PAUSE / 4)
                    continue
                _log.warning("notify.not_confirmed", id=message.id, target=target)
            return

    def _give_up(self, message: Message, target: str, why: str) -> None:
        self._report(message, target, DeliveryAttempt(Result.FAILED, why))

    def _report(self, message: Message, target: str, attempt: DeliveryAttempt) -> None:
        level = _log.info if attempt.result is Result.SENT else _log.warning
        level("notify.attempt", id=message.id, target=target, result=attempt.result, failure=attempt.failure)
        self._told(Report(message, target, attempt))


def _without_secrets(text: str, target: Target, url: str) -> str:
    """Return an error's text without the target's address, token and secret; a library may repeat them."""
    secrets = [url, *(each.get_secret_value() for each in (target.token, getattr(target, "secret", None)) if each)]
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def _retry_seconds(text: str) -> float:
    """Return the seconds of a Retry-After header, a number or a date; 0 if it is neither."""
    try:
        if text.isdecimal():
            seconds = float(text)
        else:
            seconds = (parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):  # a date in the year 9999 in a zone west of Greenwich
        return 0.0
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER)
