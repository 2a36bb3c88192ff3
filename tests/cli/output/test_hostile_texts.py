"""Texts of a hostile server or feed on the terminal: visible, and without effect there."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from tests.support.builders.calls import PATTERN
from tests.support.builders.evenings import Evening, game
from tests.support.fakes.service import Abort, FakeServer, heartbeat
from tests.support.programs.commands import Terminal, python_m
from tests.support.programs.commands import dejavu as started

from dejavu.v1 import prediction_service_pb2 as predictions
from dejavu.v1 import record_service_pb2 as record
from dejavu_feed.replay.http_server import LocalServer, Response

HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e\u200b\x7f[bold red]x[/][link=https://evil.test]y[/link]\r\nforged"
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def filled(message: Message, text: str = HOSTILE, depth: int = 0) -> Any:
    """Return the message with the text in all its string fields, and one element in each repeated field."""
    for field in message.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            if field.is_repeated:
                getattr(message, field.name).append(text)
            else:
                setattr(message, field.name, text)
        elif (kind := field.message_type) is not None and depth < 4 and not kind.GetOptions().map_entry:
            if "google" in kind.full_name:
                continue
            part = getattr(message, field.name)
            filled(part.add() if field.is_repeated else part, text, depth + 1)
            if not field.is_repeated:
                part.SetInParent()
    return message


def dejavu(server: FakeServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*python_m("dejavu_cli"), *arguments]
    environment = {**os.environ, "DEJAVU_TARGET": server.target, "COLUMNS": "200", "DEJAVU_LOG_LEVEL": "debug"}
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False, timeout=60)


def stream_of(event: str) -> list[Any]:
    message = predictions.StreamPredictionsResponse(resume_token="after-1")
    filled(getattr(message, event)).sequence = 1
    return [heartbeat("now"), message, Abort(grpc.StatusCode.INVALID_ARGUMENT)]


SURFACES: dict[str, tuple[str, Callable[[], Any], tuple[str, ...]]] = {
    "a forecast": ("Predict", lambda: filled(predictions.PredictResponse()), ("predict", *map(str, PATTERN))),
    "recorded forecasts": ("ListPredictions", lambda: filled(record.ListPredictionsResponse()), ("predictions",)),
    "a streamed forecast": ("StreamPredictions", lambda: stream_of("forecast"), ("stream",)),
    "an error": (
        "Predict",
        lambda: Abort(grpc.StatusCode.INVALID_ARGUMENT, HOSTILE, HOSTILE, violations=[("pattern", HOSTILE)]),
        ("predict", *map(str, PATTERN)),
    ),
}


@pytest.mark.parametrize("surface", SURFACES)
def test_a_servers_texts_do_nothing_to_the_terminal(surface: str, server: FakeServer) -> None:
    method, answer, arguments = SURFACES[surface]
    server.answers(method, answer())
    ended = dejavu(server, *arguments)
    assert "]0;owned" in ended.stdout + ended.stderr, "it is shown"
    assert "Traceback" not in ended.stderr
    assert not UNSEEN.search(ended.stdout + ended.stderr)


def test_json_has_the_texts_as_they_are(server: FakeServer) -> None:
    server.answers("Predict", filled(predictions.PredictResponse()))
    ended = dejavu(server, "predict", *map(str, PATTERN), "--json")
    assert json.loads(ended.stdout)["modelVersion"] == HOSTILE
    assert not UNSEEN.search(ended.stdout)


def test_an_exported_table_runs_no_formula(server: FakeServer) -> None:
    response = filled(record.ListPredictionsResponse(), "=cmd|' /C calc'!A0\x1b[2J")
    response.next_page_token = ""
    response.predictions[0].forecast.point_forecast = -3.5
    server.answers("ListPredictions", response)
    ended = dejavu(server, "predictions", "--csv", "-")
    [row] = csv.DictReader(ended.stdout.splitlines())
    assert row["model_version"] == r"'=cmd|' /C calc'!A0\u001b[2J"
    assert row["point_forecast"] == "-3.5"
    assert not UNSEEN.search(ended.stdout)


@contextmanager
def hostile_evening() -> Iterator[tuple[str, ...]]:
    """Serve an evening whose feed is hostile; yield the arguments of a poller of it."""
    evening = Evening([game(run=2)])

    def respond(path: str) -> Response:
        response = evening.replay.respond(path)
        payload = json.loads(response.body)
        for each in payload.get("scoreboard", {}).get("games", []):
            each["gameStatusText"] = HOSTILE
            each["homeTeam"]["teamTricode"] = "B\x1b[2J\u202e\nX"
        return Response(response.status, json.dumps(payload).encode())

    evening.go_to(1081)
    with LocalServer(respond) as feed, FakeServer() as server:
        yield ("poll", "--feed-url", feed.url, "--target", server.target, "--interval", "0.05", "--until-final")


def test_a_feeds_texts_do_nothing_to_the_terminal() -> None:
    lines = []
    with hostile_evening() as arguments, started(*arguments) as program:
        for line in program.out:
            lines.append(line)
            if "owned" in line and sum("owned" in each for each in lines) == 1:
                program.process.terminate()  # once: a second signal would end it in the midst of its end
        errors = program.err.read()
        assert program.ended() == 0
    text = "".join(lines) + errors
    assert "owned" in text
    assert not UNSEEN.search(text)
    assert not any(line.startswith("forged") for line in lines), "a status text is no line of its own"


def test_a_feeds_texts_do_nothing_to_a_terminal_with_a_table() -> None:
    with hostile_evening() as arguments, Terminal(*python_m("dejavu_cli"), *arguments, columns=200) as terminal:
        terminal.draw_until("@ B")
        assert terminal.interrupt() == 0
    text = terminal.written.decode(errors="replace")
    assert "@ B\\u001b[2J\\u202e" in text
    assert "\x1b[" in text, "the table itself is drawn with escape sequences"
    assert not re.search("\x1b]|\x9b|\u202e|\u200b|\x1b\\[2J", text)
