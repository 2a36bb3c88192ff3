"""A poller keeps the events of its games, and goes on where it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.builders.evenings import END, watching

from dejavu_feed.event_table import read_events
from dejavu_feed.nba.event_rows import live_event
from dejavu_feed.pattern import slots
from dejavu_poller.event_files import MAX_GAMES_A_DAY, EventFiles
from dejavu_poller.events import Fault, FaultKind, Prediction


async def test_the_events_of_each_game_are_kept_and_have_its_pattern(tmp_path: Path) -> None:
    async with watching(event_files=EventFiles(tmp_path / "kept")) as watch:
        path = tmp_path / "kept" / f"events_{watch.id}.parquet"
        await watch.minutes(18)
        before = read_events(path).to_pylist()
        (*_, last) = watch.told(Prediction)
        scores = [(event["elapsed_s"], event["home_score"], event["away_score"]) for event in before]
        assert slots(scores, 18) == last.pattern
        await watch.at(END)
    after = read_events(path).to_pylist()
    assert after[: len(before)] == before
    assert after[-1]["elapsed_s"] == END


def test_fewer_events_replace_more_and_any_number_and_text_is_kept(tmp_path: Path) -> None:
    """The feed withdraws plays, and can contain numbers and text that no file can store."""
    files, path = EventFiles(tmp_path), tmp_path / "events_0022500001.parquet"
    rows = [{"actionType": "foul", "subType": "\ud800 x"}, {"actionType": "timeout"}]
    events = [live_event(row, 1, 10.0, 2**70) for row in rows]
    files.write("0022500001", events)
    assert [(event["number"], event["detail"]) for event in read_events(path).to_pylist()] == [(0, "? x"), (0, None)]
    files.write("0022500001", events[:1])
    assert len(read_events(path)) == 1


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(
    ("given", "beside", "logged"),
    [
        ([380, 360], None, 0),
        ([359], 400, 1),
        ([380, 350], 380, 1),
        ([1, 0], 400, 1),
        ([1, 401, 402], 400, 1),  # one truncated answer
        ([100, 20], 400, 1),  # several
        ([2_000, 401, 402], 2_000, 1),  # one wrong larger answer
    ],
)
def test_the_last_answer_counts_and_the_file_of_many_more_events_stays_beside(
    tmp_path: Path, given: list[int], beside: int | None, logged: int, restarts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    files, path = EventFiles(tmp_path), tmp_path / "events_0022500001.parquet"
    events = [live_event({"actionType": "timeout"}, 1, 10.0, number) for number in range(2_000)]
    files.write("0022500001", events[:400])
    if restarts:
        files = EventFiles(tmp_path)
    for number in given:
        files.write("0022500001", events[:number])
    assert len(read_events(path)) == given[-1]
    more = path.with_name(f"{path.name}.more")
    assert (len(read_events(more)) if more.exists() else None) == beside
    assert caplog.text.count("poll.fewer_events") == logged


@pytest.mark.parametrize("kind", ["damaged", "pipe"])
def test_a_file_that_is_not_one_of_events_is_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "events_0022500001.parquet"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"PAR1 damaged PAR1")
    EventFiles(tmp_path).write("0022500001", [live_event({"actionType": "timeout"}, 1, 10.0, 1)])
    assert len(read_events(path)) == 1


def test_a_day_has_room_for_a_hundred_games(tmp_path: Path) -> None:
    files = EventFiles(tmp_path)
    events = [live_event({"actionType": "timeout"}, 1, 10.0, 1)]
    for number in range(MAX_GAMES_A_DAY):
        files.write(f"00225{number:05d}", events)
    with pytest.raises(OSError, match="more than 100 games in a day"):
        files.write("0022599999", events)
    files.write("0022500000", [*events, *events])


async def test_a_folder_that_is_gone_is_said_once_and_the_game_is_forecast(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    async with watching(event_files=EventFiles(folder)) as watch:
        folder.rmdir()
        folder.write_text("a file in its place")
        await watch.minutes(18, 19)
        assert len(watch.told(Prediction)) == 4
        (fault,) = watch.told(Fault)
        assert (fault.source, fault.kind) == (watch.id, FaultKind.INTERNAL)
        assert fault.reason.startswith("its events are not kept: ")
