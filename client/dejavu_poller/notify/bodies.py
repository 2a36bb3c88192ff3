"""Requests to targets: JSON of ours, a template, Slack, Discord, ntfy; signed as Standard Webhooks say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from string import Template
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from standardwebhooks import Webhook

from dejavu_common.clock import rfc3339
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
