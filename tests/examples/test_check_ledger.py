"""The program that checks a record without code of ours: it agrees with a real server, and finds what was changed."""

from __future__ import annotations

import ast
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from tests.ledger.copies.evenings import write_evenings
from tests.ledger.test_record_laws import Step, steps, take
from tests.ledger.test_rules import GAMES as RULES
from tests.support.builders.calls import current_game
from tests.support.builders.record_book import answers, new_book, said
from tests.support.harness import laws
from tests.support.harness.documents import ROOT
from tests.support.processes.postgres import ledger_url, on_postgres
from tests.support.processes.recorded_games import Record
from tests.support.processes.restartable_server import address_of
from tests.support.processes.servers import running_worker, spawned_server
from tests.support.programs import examples
from tests.support.tampering.tamper_kinds import KINDS
from tests.support.tampering.tampering import full_specimen

from dejavu.v1.forecast_pb2 import LateReason
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.record_service_pb2 import (
    GetLeaderboardResponse,
    GetScorecardResponse,
    ListPredictionsRequest,
    ListPredictionsResponse,
)
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_client import FINAL, DejavuClient
from dejavu_common.clock import microseconds, utc_now
from dejavu_feed.live_inputs import LIVE_INPUTS, LiveInputs
from dejavu_ledger.entries import canonical_json, codec
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope
from dejavu_server.cli import checkpoint_files
from dejavu_server.cli.export_entries import export_entries

PROGRAM = ROOT / "examples" / "python" / "check_ledger"
AGREES = r"\d+ values of \d+ scorecards and 32 leaderboards are those of the entries\n"


def checked(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program in this process: test_document_commands.py runs it as readers do."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", [str(PROGRAM), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(PROGRAM), run_name="__main__")
    code = ended.value.code
    return subprocess.CompletedProcess(sys.argv, code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


class Export(NamedTuple):
    """A server, and an export of its ledger.

    Attributes:
        address: HOST:PORT of the server.
        entries: the export.
        kept: a checkpoint that a client stored before the last entries.
    """

    address: str
    entries: Path
    kept: Path

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.entries.read_text().splitlines()]


@contextmanager
def serving(ledger: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Run a server on a copy of a ledger, on the database of the tests; yield its address and the export."""
    url = f"sqlite:///{ledger}"
    if on_postgres():
        source, url = url, ledger_url(folder)
        done = examples.run("dejavu-server", "ledger", "copy", "--ledger", source, "--to", url, address="")
        assert done.returncode == 0, done.stderr
    export_entries(url, folder / "entries.jsonl")
    with spawned_server("--workers", "1", "--ledger", url) as server:
        yield address_of(server), folder / "entries.jsonl"


@pytest.fixture(scope="module")
def export(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Export]:
    folder = tmp_path_factory.mktemp("export")
    shutil.copy(record.kept, folder / "kept.json")
    with serving(record.ledger, folder) as (address, entries):
        yield Export(address, entries, folder / "kept.json")


def test_the_program_imports_nothing_of_ours_but_the_contract() -> None:
    own, allowed = {file.stem for file in PROGRAM.glob("*.py")}, {"numpy", "grpc", "cryptography", "dejavu"}
    for file in PROGRAM.glob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not {name.partition(".")[0] for name in names} - own - allowed - sys.stdlib_module_names
        assert all(name.startswith("dejavu.v1") for name in names if name.startswith("dejavu"))


def test_hashes_and_rules_need_the_standard_library_alone(export: Export) -> None:
    command = [sys.executable, "-S", str(PROGRAM), str(export.entries)]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stdout + done.stderr


def test_a_sound_export_is_what_the_server_lists_and_scores(export: Export) -> None:
    done = checked(export.entries, "--checkpoint", export.kept, "--target", export.address)
    assert done.returncode == 0, done.stdout + done.stderr
    chained, signed, listed, scored = done.stdout.splitlines(keepends=True)
    assert chained.startswith(f"{len(export.lines) - 1} entries, chained; ")
    assert signed.startswith("nothing up to entry ")
    assert listed.endswith(" forecasts, as the server lists them, are those of the entries\n")
    assert re.fullmatch(AGREES, scored)


def listed(address: str) -> list[RecordedPrediction]:
    """Return the newest 500 forecasts."""
    with grpc.insecure_channel(address) as channel:
        everything = ListPredictionsRequest(page_size=500, include_superseded=True)
        return list(RecordServiceStub(channel).ListPredictions(everything).predictions)


def test_every_rule_of_the_record_is_the_servers(tmp_path: Path) -> None:
    """The events of each rule, one after another, of games of their own."""
    with new_book(tmp_path) as book:
        for number, (events, *_) in enumerate(RULES.values()):
            book.rename = lambda game_id, number=number: f"{game_id[:5]}{number:03}{game_id[-2:]}"  # type: ignore[misc]
            answers(book, *events)
            book.run("DELETE FROM leases")
    with serving(tmp_path / "ledger.db", tmp_path) as (address, entries):
        done = checked(entries, "--target", address)
        forecasts = listed(address)
        with DejavuClient(address, timeout=60.0) as client:
            card = client.get_scorecard(horizon=FINAL)
    assert (done.returncode, bool(re.search(AGREES, done.stdout))) == (0, True), done.stdout + done.stderr
    assert {each.forecast.late for each in forecasts} == set(LateReason.values())
    left = card.left_out
    assert min(left.others, left.sides, left.observed, card.revised_late, card.corrected_games) > 0


def test_every_live_input_that_is_added_makes_a_revision(tmp_path: Path) -> None:
    """The program has a list of its own of the inputs, since it uses nothing of the server."""
    values = {each.name: each.make(*(part.kind(part.bounds[1]) for part in each.parts)) for each in LIVE_INPUTS}
    asked = [LiveInputs(**dict(list(values.items())[:count])) for count in range(len(values) + 1)]
    with new_book(tmp_path) as book:
        answers(book, *(said(18, live=live) for live in asked))
    assert_keeps_the_rules(tmp_path)


def test_the_rules_of_the_document_name_every_live_input() -> None:
    document = " ".join((ROOT / "docs/record.md").read_text().split())
    names = [each.name for each in LIVE_INPUTS]
    assert f"a live input that it has (`{'`, `'.join(names)}`)" in document


@settings(deadline=None, max_examples=laws.examples(8))
@given(steps)
def test_what_two_servers_record_in_any_order_keeps_the_rules(taken: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        with new_book(Path(folder)) as book:
            for number, step in enumerate(taken):
                take(book, step, number, None)
        assert_keeps_the_rules(Path(folder))


def assert_keeps_the_rules(folder: Path) -> None:
    export_entries(f"sqlite:///{folder}/ledger.db", folder / "entries.jsonl")
    done = checked(folder / "entries.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.nightly
def test_a_server_that_asks_for_a_token_gets_it_from_a_file(record: Record, export: Export, tmp_path: Path) -> None:
    tokens, secret = tmp_path / "tokens.json", tmp_path / "reader.token"
    secret.write_text(f"{token_file.create(tokens, 'reader', (AccessScope.READ,), utc_now())}\n")
    with running_worker(tmp_path, ledger=f"sqlite:///{record.ledger}", tokens=str(tokens)) as address:
        refused = checked(export.entries, "--target", address)
        done = checked(export.entries, "--target", address, "--token-file", secret)
    assert (refused.returncode, "UNAUTHENTICATED" in refused.stderr) == (2, True)
    assert done.returncode == 0, done.stdout + done.stderr


# What a server answers falsely.

Answer = Callable[[str, bytes, Callable[[], bytes], grpc.ServicerContext], bytes]
"""Answers a method, given the request, a function that forwards it, and the context."""

ANSWERED: dict[tuple[str, str, bytes], bytes] = {}
"""Server, method and request → the server's answer: each page is requested once."""


@contextmanager
def answering(address: str, answer: Answer) -> Iterator[str]:
    """Run a proxy of a server whose answers do not change."""

    class Proxy(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
            ask: Any = channel.unary_unary(call.method)

            def forward(request: bytes) -> bytes:
                key = (address, call.method, request)
                if key not in ANSWERED:
                    ANSWERED[key] = ask(request)
                return ANSWERED[key]

            method = call.method.rpartition("/")[2]
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: answer(method, request, partial(forward, request), context)
            )

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Proxy()])
    port = server.add_insecure_port("127.0.0.1:0")
    with grpc.insecure_channel(address) as channel:
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


def answered(export: Export, answer: Answer) -> subprocess.CompletedProcess[str]:
    """Run the program on the answers of a proxy."""
    with answering(export.address, answer) as address:
        return checked(export.entries, "--target", address)


def relisted(export: Export, change: Callable[[ListPredictionsResponse], object]) -> subprocess.CompletedProcess[str]:
    """Run the program on lists with changed pages."""

    def answer(method: str, _: bytes, forward: Callable[[], bytes], __: grpc.ServicerContext) -> bytes:
        if method != "ListPredictions":
            return forward()
        page = ListPredictionsResponse.FromString(forward())
        change(page)
        return page.SerializeToString()

    return answered(export, answer)


NOT_COMPARED = {"notice", "warnings", "text", "doubtful_games"}
"""Names of the fields that the program leaves out, as docs/record.md says."""


def values(message: Message, path: str = "") -> Iterator[tuple[Message, Any, str]]:
    """Yield each value of a message that can be compared, set or not: what has it, its field and path."""
    for field in message.DESCRIPTOR.fields:
        at, value = f"{path}{field.name}", getattr(message, field.name)
        if field.name in NOT_COMPARED and not (field.name == "warnings" and path == "forecast."):
            continue
        if field.containing_oneof and len(field.containing_oneof.fields) > 1 and not message.HasField(field.name):
            continue
        if field.message_type is None:
            yield message, field, at
        elif field.is_repeated:
            for place, each in enumerate(value):
                yield from values(each, f"{at}[{place}].")
        elif field.message_type.full_name == "google.protobuf.Timestamp":
            yield value, field.message_type.fields_by_name["seconds"], at
        elif message.HasField(field.name):
            yield from values(value, f"{at}.")


def alter(message: Message, path: str = "") -> set[str]:
    """Put other values into the fields of a message but the sequence of a forecast; return their paths."""
    altered = set[str]()
    for part, field, at in list(values(message, path)):
        if at == "forecast.sequence":
            continue
        altered.add(at)
        value = getattr(part, field.name)
        if field.is_repeated:
            value.append(1.5)
        elif isinstance(value, str | bool):
            setattr(part, field.name, not value if isinstance(value, bool) else f"{value}x")
        else:
            setattr(part, field.name, value + (0.25 if isinstance(value, float) else 1))
    return altered


def named(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the paths of the values that the program says to differ."""
    found = re.search(r" (\d+) of \d+ values differ: (.*)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    paths = {each.partition(" is ")[0] for each in found[2].split("; ")}
    assert (done.returncode, len(paths)) == (1, int(found[1]))
    return paths


def test_any_listed_value_that_is_not_as_recorded_is_named(export: Export) -> None:
    of = {each.forecast.sequence: {path for *_, path in values(each)} for each in listed(export.address)}
    seen = {"forecast.sequence"}
    while of[chosen := max(of, key=lambda sequence: len(of[sequence] - seen))] - seen:
        found = set[str]()

        def change(page: ListPredictionsResponse, chosen: int = chosen, found: set[str] = found) -> None:
            for each in page.predictions:
                if each.forecast.sequence == chosen:
                    found |= alter(each)

        assert named(relisted(export, change)) == found
        seen |= of[chosen]
    assert len(seen) > 150


@pytest.mark.parametrize(
    ("method", "response"),
    [("GetScorecard", GetScorecardResponse), ("GetLeaderboard", GetLeaderboardResponse)],
)
def test_any_figure_that_the_entries_do_not_give_is_named(
    export: Export, method: str, response: type[GetScorecardResponse | GetLeaderboardResponse]
) -> None:
    altered = set[str]()

    def answer(asked: str, _: bytes, forward: Callable[[], bytes], __: grpc.ServicerContext) -> bytes:
        if asked != method:
            return forward()
        message = response.FromString(forward())
        if getattr(message, "rows", ()) or getattr(message, "scorecard", Scorecard()).games:
            altered.update(alter(getattr(message, "scorecard", message)))
        return message.SerializeToString()

    done = answered(export, answer)
    assert named(done) == altered
    assert len(altered) > 80


def taken_out(name: str) -> Callable[[ListPredictionsResponse], object]:
    def change(page: ListPredictionsResponse) -> None:
        for each in page.predictions:
            each.ClearField(name)  # type: ignore[arg-type]

    return change


def invent(page: ListPredictionsResponse) -> None:
    page.predictions.add().CopyFrom(page.predictions[0])
    page.predictions[-1].forecast.sequence += 10**6


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (invent, r" is listed as a forecast; the last entry of the ledger is "),
        *((taken_out(name), rf"values differ: (.*; )?{name}\b") for name in ("settlement", "outcome", "markets")),
    ],
)
def test_a_list_with_more_or_less_than_was_recorded_is_refused(
    export: Export, change: Callable[[ListPredictionsResponse], object], complaint: str
) -> None:
    done = relisted(export, change)
    assert (done.returncode, bool(re.search(complaint, done.stdout.splitlines()[-1]))) == (1, True), done.stdout


@pytest.mark.parametrize(
    ("condition", "is_set"),
    [
        ("include_replays", False),
        ("team", True),
        *(
            pytest.param(name, True, marks=pytest.mark.nightly)
            for name in ("from_date", "elapsed_minutes", "model_version", "min_confidence", "owners_only")
        ),
    ],
)
def test_a_forecast_that_a_filter_leaves_out_is_found(export: Export, condition: str, is_set: bool) -> None:
    def answer(method: str, request: bytes, forward: Callable[[], bytes], _: grpc.ServicerContext) -> bytes:
        if method != "ListPredictions":
            return forward()
        if bool(getattr(ListPredictionsRequest.FromString(request), condition)) is not is_set:
            return forward()
        page = ListPredictionsResponse.FromString(forward())
        del page.predictions[:1]
        return page.SerializeToString()

    done = answered(export, answer)
    assert (done.returncode, f"not list this forecast with {condition} " in done.stdout) == (1, True), done.stdout


HOSTILE = "\x1b[2J\x1b]0;x\x07\u202e250 entries, chained\n"
SHOWN = r"\x1b[2J\x1b]0;x\x07\u202e250 entries, chained\n"


def endless(method: str, _: bytes, forward: Callable[[], bytes], __: grpc.ServicerContext) -> bytes:
    return ListPredictionsResponse(next_page_token="x").SerializeToString() if method[0] == "L" else forward()


def refusing(_: str, __: bytes, ___: Callable[[], bytes], context: grpc.ServicerContext) -> bytes:
    return context.abort(grpc.StatusCode.INTERNAL, HOSTILE)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [(endless, "1000 empty pages in a row and no last page\n"), (refusing, f": INTERNAL: {SHOWN}\n")],
)
def test_a_server_that_cannot_be_compared_is_one_line(export: Export, answer: Answer, complaint: str) -> None:
    done = answered(export, answer)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.endswith(complaint)


def test_an_export_that_is_older_than_the_list_is_no_proof_of_a_change(export: Export, tmp_path: Path) -> None:
    older = written(tmp_path / "older.jsonl", export.lines[:-1])
    done = checked(older, "--target", export.address)
    assert (done.returncode, done.stderr.endswith("which may be why: export again\n")) == (2, True)


# What was changed in an export.


def written(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return path


def appended(lines: list[Any], *entries: dict[str, Any]) -> list[Any]:
    """Add entries at the end, with hashes that fit."""
    lines = [*lines]
    for entry in entries:
        sequence = lines[-1].get("sequence", 0) + 1
        text = canonical_json.dumps(entry | {"sequence": sequence})
        hash_ = codec.chain_hash(bytes.fromhex(lines[-1]["hash"]), text)
        lines.append({"sequence": sequence, "hash": hash_.hex(), "canonical": text})
    return lines


SAID = {
    "chain": "its hash is not that|expected entry|not in canonical form",
    "time": "which was signed (later|earlier)|entries before it: game_date|is not the one that was signed",
    "hindsight": "hindsight|marked as late|late by then|min after it|not recorded with it|as of minute",
    "revision": "revision -?[0-9]+ after",
    "answer": "not an earlier forecast|not recorded with it|had learned from",
    "shadow": "not an earlier forecast",
    "models": "it replaces|is not the one that was signed",
    "choice": "its model was not chosen by",
    "kept checkpoint": "the checkpoint('s| is at)|is not the one that was signed",
}
"""Check of `ledger verify` → what the program says about what it finds with a kept checkpoint."""

ACCEPTED = (
    "without the row that follows|of an unknown kind|sent with it five days"
    "|of a model that is not there|of the model that serves"
)
"""Kinds that only `ledger verify` finds: it also checks rows, the arithmetic of answers and the stages of models."""


def test_tampering_with_entries_is_found_as_by_the_program_of_the_server(tmp_path: Path) -> None:
    specimen = full_specimen(tmp_path)
    kept, entries = tmp_path / "kept.json", tmp_path / "entries.jsonl"
    kept.write_text(checkpoint_files.to_json(specimen.kept))
    for kind in (each for each in KINDS if each.place == "entries" or "epoch" in each.what):
        with specimen.copy() as (url, database):
            kind.do(database, specimen.key)
            export_entries(url, entries, overwrite=True)
        done = checked(entries, "--checkpoint", kept)
        said_last = done.stdout.splitlines()[-1]
        if kind.held is None or re.search(ACCEPTED, kind.what):
            assert done.returncode == 0, (kind, said_last)
        else:
            assert (done.returncode, bool(re.search(SAID[kind.held], said_last))) == (1, True), (kind, said_last)


@pytest.mark.parametrize("sequence", [HOSTILE, True])
def test_the_texts_of_an_export_are_shown_without_what_a_terminal_obeys(
    export: Export, tmp_path: Path, sequence: object
) -> None:
    identity, line = export.lines[:2]
    done = checked(written(tmp_path / "export.jsonl", [identity, line | {"sequence": sequence}]))
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert "is no sequence; expected 1" in done.stdout
    assert done.stdout.removesuffix("\n").isprintable()


def test_an_export_that_is_nested_too_deeply_is_refused_in_one_line(export: Export, tmp_path: Path) -> None:
    hostile = tmp_path / "export.jsonl"
    hostile.write_text(f"{json.dumps(export.lines[0])}\n{'[' * 200_000}\n")
    done = checked(hostile)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_checkpoint_that_was_altered_is_not_signed(export: Export, tmp_path: Path) -> None:
    kept = json.loads(export.kept.read_text()) | {"signedTime": "2020-01-01T00:00:00.000001Z"}
    done = checked(export.entries, "--checkpoint", written(tmp_path / "kept.json", [kept]))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "the checkpoint's signature is not valid")


def test_what_no_server_records_is_found(export: Export, tmp_path: Path) -> None:
    """Otherwise later knowledge could count as a forecast, or replace one."""
    lines = export.lines
    signed = datetime.fromisoformat(json.loads(export.kept.read_text())["signedTime"])
    now, earlier = (microseconds(signed + timedelta(seconds=seconds)) for seconds in (-115, -125))
    number = len(lines)  # of the first entry that is appended

    def first(kind: str) -> dict[str, Any]:
        entry: dict[str, Any] = next(
            json.loads(line["canonical"]) for line in lines[1:] if f'"kind":"{kind}"' in line["canonical"]
        )
        return entry

    def made(time: object = now, *, entry: Any = None, **parts: object) -> dict[str, Any]:
        forecast = first("forecast") | (entry or {})
        forecast["payload"]["request"]["game_id"] = current_game(300)
        forecast["payload"]["forecast"] |= {"generated_us": time} | parts
        return forecast

    def priced(**parts: object) -> dict[str, Any]:
        market = first("market")
        market["payload"] |= {"forecast_sequence": number} | parts
        return market

    known = made(calibration_sequence=7)
    dated_twice = made(earlier)
    dated_twice["payload"]["recorded_us"] = now
    for complaint, entries in {
        "": [made()],
        f"entry {number + 2}: a second market of entry {number}": [made(), *[priced(requested_us=now)] * 2],
        "had learned from entry 7, its forecast from entry 7": [known, priced(calibration_sequence=7)],
        "had learned from entry 1, its forecast from entry 0": [
            made(calibration_sequence=0),
            priced(calibration_sequence=1),
        ],
        "which was signed later than the entry's time": [made(earlier)],
        f"entry {number} is after the checkpoint, which was signed later": [dated_twice],
        "states a published clock, but is not of the owner": [made(), made(entry={"made_by": "x", "published_s": 0.0})],
        "by the entries before it: clock": [made(entry={"published_s": 2880.0})],
        "the lease 'other' makes 'x' no owner": [
            made(entry={"lease": "poll"}),
            made(entry={"made_by": "x", "lease": "other"}),
        ],
        "revision 1 after one with its input": [made(), made(entry={"revision": 1})],
    }.items():
        forged = written(tmp_path / "forged.jsonl", appended(lines, *entries))
        done = checked(forged, "--checkpoint", export.kept)
        assert (done.returncode, complaint in done.stdout) == (int(complaint != ""), True), (complaint, done)
    timeless = appended(lines, made("NaN"))
    timeless[-1]["canonical"] = timeless[-1]["canonical"].replace('"NaN"', "NaN")
    timeless[-1]["hash"] = codec.chain_hash(bytes.fromhex(lines[-1]["hash"]), timeless[-1]["canonical"]).hex()
    assert "NaN in an entry, which is no number" in checked(written(tmp_path / "forged.jsonl", timeless)).stdout


def test_a_sound_export_says_who_is_champion(tmp_path: Path) -> None:
    write_evenings(tmp_path / "ledger.db", 3, seed=2, lifecycle=True)
    export_entries(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "entries.jsonl")
    done = checked(tmp_path / "entries.jsonl")
    chained, shadows, models = done.stdout.splitlines()
    assert (done.returncode, "entries, chained" in chained) == (0, True)
    assert shadows.endswith(" shadows, each beside an earlier forecast of another model")
    assert models == "5 changes of models; v1 is champion since entry 2"
