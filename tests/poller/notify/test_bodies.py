"""Requests to each kind of target; no text ends a field, mentions anybody or leaves its signature."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from standardwebhooks import Webhook, WebhookVerificationError

from dejavu_common.clock import utc_now
from dejavu_poller.notify.conditions import Message
from dejavu_poller.notify.delivery import Request, request
from dejavu_poller.notify.rules import Target

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = Message(
    "dejavu/close_late/0022600001",
    "close_late",
    "close_late",
    "Close: NYK @ BOS",
    "NYK 99, BOS 101, Q4 4:12 left.",
    datetime(2026, 11, 28, 3, 12, 30, tzinfo=UTC),
    "0022600001",
    "https://example.com/game/0022600001",
    {"home_team": "BOS", "away_team": "NYK", "home_score": 101, "away_score": 99, "home_win_probability": 0.58},
)


def made(kind: str, message: Message = MESSAGE, **fields: Any) -> Request:
    target: Target = TypeAdapter(Target).validate_python({"kind": kind, "url": "https://example.com/a/b", **fields})
    return request(target, message, utc_now())


ADDRESS = "https://example.com/a/b"
TEXT = "NYK 99, BOS 101, Q4 4:12 left."


def test_a_webhook_is_json_of_ours_and_its_signature_holds() -> None:
    sent = made("webhook", secret=SECRET, token="t0ken")
    assert Webhook(SECRET).verify(sent.body, dict(sent.headers)) == {
        "type": "dejavu.close_late",
        "timestamp": "2026-11-28T03:12:30.000Z",
        "data": {
            "version": 1,
            "id": MESSAGE.id,
            "rule": "close_late",
            "title": MESSAGE.title,
            "text": TEXT,
            "link": MESSAGE.link,
            "game_id": "0022600001",
            **MESSAGE.values,
        },
    }
    assert sent.headers["authorization"] == "Bearer t0ken"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(sent.body.replace(b"101", b"111"), dict(sent.headers))


@pytest.mark.parametrize(
    ("kind", "fields", "url", "body"),
    [
        ("slack", {}, ADDRESS, {"text": f"*Close: NYK @ BOS*\n{TEXT}\n<{MESSAGE.link}>"}),
        (
            "discord",
            {},
            ADDRESS,
            {"content": f"**Close: NYK @ BOS**\n{TEXT}\n{MESSAGE.link}", "allowed_mentions": {"parse": []}},
        ),
        (
            "ntfy",
            {"priority": 4, "email": "me@example.com"},
            "https://example.com/a/",
            {
                "topic": "b",
                "title": "Close: NYK @ BOS",
                "message": TEXT,
                "click": MESSAGE.link,
                "priority": 4,
                "email": "me@example.com",
            },
        ),
        (
            "webhook",
            {"body": '{"say": "$text", "p": $home_win_probability, "none": "$interval_lower"}'},
            ADDRESS,
            {"say": TEXT, "p": 0.58, "none": ""},
        ),
    ],
)
def test_each_kind_gets_its_form(kind: str, fields: dict[str, Any], url: str, body: dict[str, Any]) -> None:
    sent = made(kind, **fields)
    assert sent.url == url
    assert json.loads(sent.body) == body
    assert sent.headers["webhook-id"] == MESSAGE.id


@given(st.text())
def test_no_text_ends_its_field_or_marks_anything(text: str) -> None:
    text = text.encode(errors="surrogatepass").decode(errors="replace")
    message = MESSAGE._replace(title=text, link="")
    assert json.loads(made("webhook", message, body='{"say": "$title"}').body) == {"say": text}
    slack = json.loads(made("slack", message).body)["text"]
    assert not {"<", ">"} & {*slack}
    discord = json.loads(made("discord", message._replace(title=f"@everyone{text}")).body)
    assert discord["allowed_mentions"] == {"parse": []}
