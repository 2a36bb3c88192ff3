"""Programs that check a record without code of ours: they agree with a real server, and find what was changed."""

from __future__ import annotations

import ast
import io
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from tests.ledger.copies.evenings import write_evenings
from tests.support.builders.calls import current_game
from tests.support.harness.documents import ROOT
from tests.support.processes.recorded_games import GAMES, Record
from tests.support.processes.servers import running_worker
from tests.support.programs import examples
from tests.support.tampering.tamper_kinds import KINDS
from tests.support.tampering.tampering import Specimen, full_specimen

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.record_service_pb2 import GetScorecardResponse, ListPredictionsRequest, ListPredictionsResponse
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_client import FINAL, DejavuClient
from dejavu_common.clock import microseconds, utc_now
from dejavu_ledger.entries import canonical_json, codec
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope
from dejavu_server.cli import checkpoint_files
from dejavu_server.cli.export_entries import export_entries

FOLDER = ROOT / "examples" / "python"
SCORECARD, LEDGER = FOLDER / "recompute_scorecard.py", FOLDER / "check_ledger.py"
CHECKER = runpy.run_path(str(LEDGER))


def one_in(number: int, cases: Iterable[Any]) -> list[Any]:
    """Return the cases of a test, of which all but one in a number are nightly: each takes a quarter of a second."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else [case]), marks=[pytest.mark.nightly] if place % number else []
        )
        for place, case in enumerate(cases)
    ]


def checked(program: Path, address: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program in this process: test_document_commands.py runs both as readers do."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", [str(program), *map(str, arguments)])
        patch.setenv("DEJAVU_TARGET", address)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(program), run_name="__main__")
    code = ended.value.code
    return subprocess.CompletedProcess(sys.argv, code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


@pytest.mark.parametrize("program", [SCORECARD, LEDGER])
def test_the_programs_import_nothing_of_ours_but_the_contract(program: Path) -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(program.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    others = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    allowed = {"numpy", "grpc", "cryptography", "dejavu.v1"}
    assert {
        name for name in others if not any(name == each or name.startswith(f"{each}.") for each in allowed)
    } == set()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        pytest.param(("--min-minute", "20", "--max-minute", "40"), marks=pytest.mark.nightly),
        ("--team", "Celtics", "--min-confidence", "0.7"),
        pytest.param(("--game", GAMES[0]), marks=pytest.mark.nightly),
    ],
)
def test_the_scorecard_is_what_the_listed_forecasts_give(record: Record, arguments: tuple[str, ...]) -> None:
    done = checked(SCORECARD, record.address, "--horizon", "final", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("0 differ by more than 1e-09\n")


def test_nothing_to_compare_is_no_agreement(record: Record) -> None:
    done = checked(SCORECARD, record.address, "--horizon", "final", "--from", "2001-01-01", "--to", "2001-01-02")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "nothing to compare (replays need --replays)\n"


def test_the_record_has_all_that_a_scorecard_can_tell(record: Record) -> None:
    """Otherwise the comparison above would compare little."""
    with DejavuClient(record.address, timeout=60.0) as client:
        card = client.get_scorecard(horizon=FINAL)
    assert card.games == len(GAMES)
    assert min(card.left_out.superseded, card.left_out.later_minute, card.market.bets) > 3
    assert len(card.coverage) == 3
    assert card.market.max_drawdown > 0
    assert card.market.capped > 3


def test_any_figure_of_a_scorecard_that_the_list_does_not_give_is_named(record: Record) -> None:
    def answer(method: str, _: bytes, forward: Callable[[], bytes], __: grpc.ServicerContext) -> bytes:
        if method != "GetScorecard":
            return forward()
        told = GetScorecardResponse.FromString(forward())
        for part, field, path in list(values(told.scorecard)):
            names_figures = path.rpartition(".")[2] in ("alpha", "from_probability")
            if field.message_type is None and not names_figures:
                alter(part, field)
        return told.SerializeToString()

    with answering(record.address, answer) as address:
        done = checked(SCORECARD, address, "--horizon", "final")
    assert done.returncode == 1, done.stdout + done.stderr
    *_, counts = done.stdout.splitlines()
    found = re.fullmatch(r"(\d+) figures from .*: (\d+) differ by more than 1e-09", counts)
    assert found is not None
    assert int(found[1]) == int(found[2]) > 80


def test_a_server_that_is_not_there_is_one_line(record: Record) -> None:
    done = checked(SCORECARD, record.address, "--target", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("127.0.0.1:1: UNAVAILABLE: ")


@pytest.fixture(scope="module")
def entries(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "entries.jsonl"
    ledger = f"sqlite:///{record.ledger}"
    done = examples.run(
        "dejavu-server", "ledger", "export-entries", "--out", path, "--ledger", ledger, address=record.address
    )
    assert done.returncode == 0, done.stderr
    return path


def test_the_list_has_every_field_that_a_forecast_can_have(record: Record) -> None:
    """The programs refuse a record with a field that they do not know, so none can be added without them."""
    with grpc.insecure_channel(record.address) as channel:
        everything = ListPredictionsRequest(page_size=500, include_superseded=True)
        listed = RecordServiceStub(channel).ListPredictions(everything).predictions
    shown = {field.name for each in listed for field, _ in each.forecast.ListFields()}
    # Lists have no explanations or quantiles.
    assert set(Forecast.DESCRIPTOR.fields_by_name) - shown == {"explanation", "quantiles"}


def test_an_export_is_sound_and_holds_what_the_server_lists(record: Record, entries: Path) -> None:
    done = checked(LEDGER, record.address, entries, "--checkpoint", record.kept, "--target", record.address)
    assert done.returncode == 0, done.stdout + done.stderr
    chained, signed, listed = done.stdout.splitlines()
    assert chained.startswith(f"{len(entries.read_text().splitlines()) - 1} entries, chained; ")
    assert signed.startswith("nothing up to entry ")
    assert listed.endswith(" forecasts, as the server lists them, are those of the entries")


@pytest.mark.nightly
def test_a_server_that_asks_for_a_token_gets_it_from_a_file(record: Record, entries: Path, tmp_path: Path) -> None:
    tokens, secret = tmp_path / "tokens.json", tmp_path / "reader.token"
    secret.write_text(f"{token_file.create(tokens, 'reader', (AccessScope.READ,), utc_now())}\n")
    with running_worker(tmp_path, ledger=f"sqlite:///{record.ledger}", tokens=str(tokens)) as address:
        refused = checked(LEDGER, address, entries, "--target", address)
        done = checked(LEDGER, address, entries, "--target", address, "--token-file", secret)
    assert (refused.returncode, "UNAUTHENTICATED" in refused.stderr) == (2, True)
    assert done.returncode == 0, done.stdout + done.stderr


def rehashed(lines: list[Any]) -> list[Any]:
    """Make all hashes fit the entries again."""
    hash_ = codec.genesis_hash(lines[0]["ledger_id"])
    for line in lines[1:]:
        hash_ = codec.chain_hash(hash_, line["canonical"])
        line["hash"] = hash_.hex()
    return lines


def written(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    return full_specimen(tmp_path_factory.mktemp("ledger"))


SAID = {
    "chain": "its hash is not that|expected entry|not in canonical form",
    "time": "which was signed (later|earlier)|entries before it: game_date|is not the one that was signed",
    "hindsight": "hindsight|marked as late|late by then|min after it|not recorded with it|as of minute",
    "revision": "revision -?[0-9]+ after",
    "answer": "not an earlier forecast|not recorded with it|had learned from",
    "shadow": "not an earlier forecast",
    "models": "it replaces|is not the one that was signed",
    "kept checkpoint": "the checkpoint('s| is at)|is not the one that was signed",
}
"""Check of `ledger verify` → what the program says about what it finds with a kept checkpoint."""

ACCEPTED = (
    "without the row that follows|of an unknown kind|revision .* that equals the one|^a withdrawal"
    "|sent with it five days"
    "|of a model that is not (there|the champion)|of the model that serves"
)
"""Kinds that only `ledger verify` finds: it also checks rows, the arithmetic of answers and the choice of models."""


def test_tampering_with_entries_is_found_as_by_the_program_of_the_server(specimen: Specimen, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(checkpoint_files.to_json(specimen.kept))
    for kind in (each for each in KINDS if each.place == "entries" or "epoch" in each.what):
        with specimen.copy() as (url, database):
            kind.do(database, specimen.key)
            export_entries(url, tmp_path / "entries.jsonl", overwrite=True)
        done = checked(LEDGER, "", tmp_path / "entries.jsonl", "--checkpoint", kept)
        said = done.stdout.splitlines()[-1]
        if kind.held is None or re.search(ACCEPTED, kind.what):
            assert done.returncode == 0, (kind, said)
        else:
            assert (done.returncode, bool(re.search(SAID[kind.held], said))) == (1, True), (kind, said)


def invent(listed: RecordedPrediction) -> RecordedPrediction:
    invented = RecordedPrediction()
    invented.CopyFrom(listed)
    invented.forecast.sequence += 10**6
    return invented


def values(message: Message, path: str = "") -> Iterator[tuple[Message, Any, str]]:
    """Yield each part and value of a message that can be compared: what has it, its field and path.

    Values are yielded whether they are set or not, parts only if they are.
    """
    for field in message.DESCRIPTOR.fields:
        at = f"{path}{field.name}"
        if field.full_name in CHECKER["NOT_COMPARED"]:
            continue
        if field.message_type is None:
            yield message, field, at
        elif field.is_repeated:
            for place, each in enumerate(getattr(message, field.name)):
                yield from values(each, f"{at}[{place}].")
        elif field.message_type.full_name == "google.protobuf.Timestamp":
            yield getattr(message, field.name), field.message_type.fields_by_name["seconds"], at
        elif message.HasField(field.name):
            yield message, field, at
            yield from values(getattr(message, field.name), f"{at}.")


def alter(message: Message, field: Any) -> None:
    """Put another value into a field, or take out a part."""
    value = getattr(message, field.name)
    if isinstance(value, Message):
        message.ClearField(field.name)
        return
    if field.is_repeated:
        value.append(1.5)
    elif isinstance(value, str | bool):
        setattr(message, field.name, not value if isinstance(value, bool) else f"{value}x")
    else:
        setattr(message, field.name, value + (0.25 if isinstance(value, float) else 1))


def test_any_listed_value_that_is_not_as_recorded_is_found(record: Record, entries: Path) -> None:
    identity, *lines = entries.read_text().splitlines()
    recorded = CHECKER["Record"](CHECKER["check_chain"](json.loads(identity), lines)[0])
    with grpc.insecure_channel(record.address) as channel:
        everything = ListPredictionsRequest(page_size=500, include_superseded=True, include_replays=True)
        listed = RecordServiceStub(channel).ListPredictions(everything).predictions
    altered, unnoticed = set[str](), set[str]()
    for each in listed:
        for place, (_, _, path) in enumerate(values(each)):
            if path in altered:
                continue
            altered.add(path)
            other = RecordedPrediction.FromString(each.SerializeToString())
            part, field, _ = list(values(other))[place]
            alter(part, field)
            found = CHECKER["_differences"](other, recorded.listed(each.forecast.sequence))
            if not any(differs.startswith(path) for differs, _, _ in found):
                unnoticed.add(path)
    assert len(altered) > 150
    assert unnoticed == set()


def listing(address: str, change: Callable[[RecordedPrediction], object]) -> AbstractContextManager[str]:
    """Run a proxy of a server that applies a change to each listed forecast, and lists forecasts that it returns."""

    def answer(method: str, _: bytes, forward: Callable[[], bytes], __: grpc.ServicerContext) -> bytes:
        if method != "ListPredictions":
            return forward()
        page = ListPredictionsResponse.FromString(forward())
        added = [change(each) for each in page.predictions]
        page.predictions.extend(each for each in added if isinstance(each, RecordedPrediction))
        return page.SerializeToString()

    return answering(address, answer)


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


def test_a_listed_forecast_that_was_never_recorded_is_found(record: Record, entries: Path) -> None:
    with listing(record.address, invent) as address:
        done = checked(LEDGER, address, entries, "--target", address)
    assert done.returncode == 1, done.stdout + done.stderr
    assert " is listed as a forecast; the last entry of the ledger is " in done.stdout.splitlines()[-1]


FILTERS = [("include_replays", False)]
FILTERS += [(name, True) for name in ("from_date", "team", "elapsed_minutes", "model_version", "min_confidence")]


@pytest.mark.parametrize(("condition", "is_set"), one_in(5, FILTERS))
def test_a_forecast_that_a_filter_leaves_out_is_found(
    record: Record, entries: Path, condition: str, is_set: bool
) -> None:
    def answer(method: str, request: bytes, forward: Callable[[], bytes], _: grpc.ServicerContext) -> bytes:
        if method != "ListPredictions":
            return forward()
        if bool(getattr(ListPredictionsRequest.FromString(request), condition)) is not is_set:
            return forward()
        page = ListPredictionsResponse.FromString(forward())
        del page.predictions[:1]
        return page.SerializeToString()

    with answering(record.address, answer) as address:
        done = checked(LEDGER, address, entries, "--target", address)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"not list this forecast with {condition} " in done.stdout.splitlines()[-1]


def test_an_export_that_is_older_than_the_list_is_no_proof_of_a_change(
    record: Record, entries: Path, tmp_path: Path
) -> None:
    *older, _ = entries.read_text().splitlines(keepends=True)
    (tmp_path / "older.jsonl").write_text("".join(older))
    done = checked(LEDGER, record.address, tmp_path / "older.jsonl", "--target", record.address)
    assert done.returncode == 2
    assert done.stderr.endswith("which may be why: export again\n")


@pytest.mark.parametrize("program", [pytest.param(SCORECARD, marks=pytest.mark.nightly), LEDGER])
def test_a_list_of_empty_pages_without_end_is_given_up(record: Record, entries: Path, program: Path) -> None:
    def answer(method: str, _: bytes, forward: Callable[[], bytes], __: grpc.ServicerContext) -> bytes:
        more = ListPredictionsResponse(next_page_token="more")
        return more.SerializeToString() if method == "ListPredictions" else forward()

    with answering(record.address, answer) as address:
        done = checked(program, address, *([entries] if program == LEDGER else []), "--target", address)
    assert done.returncode == 2
    assert "1000 empty pages in a row" in done.stderr


def test_the_texts_of_an_export_or_a_server_are_shown_without_what_a_terminal_obeys(
    record: Record, entries: Path, tmp_path: Path
) -> None:
    hostile = "\x1b[2J\x1b]0;x\x07\u202e250 entries, chained\n"
    shown = r"\x1b[2J\x1b]0;x\x07\u202e250 entries, chained\n"
    identity, line, *_ = entries.read_text().splitlines()
    export = tmp_path / "export.jsonl"
    for row, said in (
        ({"sequence": hostile}, "is no sequence; expected 1"),
        ({"sequence": True}, "True is no sequence; expected 1"),
    ):
        export.write_text(f"{identity}\n{json.dumps(json.loads(line) | row)}\n")
        done = checked(LEDGER, record.address, export)
        assert (done.returncode, said in done.stdout) == (1, True)
        assert done.stdout.count("\n") == 1
        assert done.stdout.removesuffix("\n").isprintable()

    def refuse(_: str, __: bytes, ___: Callable[[], bytes], context: grpc.ServicerContext) -> bytes:
        return context.abort(grpc.StatusCode.INTERNAL, hostile)

    for program in (SCORECARD, LEDGER):
        with answering(record.address, refuse) as address:
            done = checked(program, address, *([entries] if program == LEDGER else []), "--target", address)
        assert done.returncode == 2
        assert done.stderr.endswith(f": INTERNAL: {shown}\n")


def test_a_checkpoint_that_was_altered_is_not_signed(record: Record, entries: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(json.loads(record.kept.read_text()) | {"signedTime": "2020-01-01T00:00:00.000001Z"}))
    done = checked(LEDGER, record.address, entries, "--checkpoint", kept)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "the checkpoint's signature is not valid")


def appended(lines: list[Any], entry: dict[str, Any]) -> list[Any]:
    """Add an entry at the end, with a hash that fits."""
    sequence = lines[-1]["sequence"] + 1
    text = canonical_json.dumps(entry | {"sequence": sequence})
    return rehashed([*lines, {"sequence": sequence, "hash": "", "canonical": text}])


@pytest.mark.parametrize(("seconds", "code"), [(-125, 1), (-115, 0)])
def test_an_entry_after_a_kept_checkpoint_is_not_from_before_it(
    record: Record, entries: Path, tmp_path: Path, seconds: int, code: int
) -> None:
    """Otherwise an operator could add forecasts of games after their end, with times before it."""
    lines = [json.loads(line) for line in entries.read_text().splitlines()]
    signed = datetime.fromisoformat(json.loads(record.kept.read_text())["signedTime"])
    entry = json.loads(lines[first(lines, "forecast")]["canonical"])
    entry["payload"]["request"]["game_id"] = current_game(300)
    entry["payload"]["forecast"]["generated_us"] = microseconds(signed + timedelta(seconds=seconds))
    forged = written(tmp_path / "forged.jsonl", appended(lines, entry))
    done = checked(LEDGER, record.address, forged, "--checkpoint", record.kept)
    assert done.returncode == code, done.stdout + done.stderr
    complaint = f"entry {len(lines)} is after the checkpoint, which was signed later than the entry's time"
    assert (complaint in done.stdout) == bool(code)


def first(lines: list[dict[str, Any]], kind: str) -> int:
    """Return the line of the first entry of a kind."""
    return next(at for at, line in enumerate(lines) if f'"kind":"{kind}"' in line.get("canonical", ""))


def test_what_no_server_records_is_found(record: Record, entries: Path, tmp_path: Path) -> None:
    """Otherwise later knowledge could count as a forecast, or replace one."""
    lines = [json.loads(line) for line in entries.read_text().splitlines()]
    signed = datetime.fromisoformat(json.loads(record.kept.read_text())["signedTime"])

    def forecast(made: object, **parts: object) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(lines[first(lines, "forecast")]["canonical"])
        entry["payload"]["request"]["game_id"] = current_game(300)
        entry["payload"]["forecast"] |= {"generated_us": made} | parts
        return entry

    now, earlier = (microseconds(signed + timedelta(days=days)) for days in (0, -5))
    market = json.loads(lines[first(lines, "market")]["canonical"])
    priced = appended(lines, forecast(now))
    for _ in range(2):
        market["payload"] |= {"forecast_sequence": len(lines), "requested_us": now}
        priced = appended(priced, market)
    unlearned = appended(lines, forecast(now, calibration_sequence=7))
    market["payload"] |= {"forecast_sequence": len(lines), "calibration_sequence": 7}
    of_forecast = json.loads(json.dumps(market))
    of_forecast["payload"]["calibration_sequence"] = learned = first(lines, "forecast")
    from_none = appended(appended(lines, forecast(now, calibration_sequence=0)), of_forecast)
    dated_twice = forecast(earlier)
    dated_twice["payload"]["recorded_us"] = now
    timeless = appended(lines, forecast(now))
    timeless[-1]["canonical"] = timeless[-1]["canonical"].replace(f'"generated_us":{now}', '"generated_us":NaN')
    faults = {
        f"entry {len(lines) + 2}: a second market of entry {len(lines)}": priced,
        "a market that had learned from entry 7, its forecast from entry 7": appended(unlearned, market),
        f"a market that had learned from entry {learned}, its forecast from entry 0": from_none,
        "NaN in an entry, which is no number": rehashed(timeless),
        "is after the checkpoint, which was signed later than the entry's time": appended(lines, dated_twice),
    }
    for complaint, forged in faults.items():
        forged_file = written(tmp_path / "forged.jsonl", forged)
        done = checked(LEDGER, record.address, forged_file, "--checkpoint", record.kept)
        assert done.returncode == 1, complaint + done.stdout + done.stderr
        assert complaint in done.stdout.splitlines()[-1]


def exported(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of an export of a ledger with changes of models and shadows."""
    write_evenings(folder / "ledger.db", 3, seed=2, lifecycle=True)
    export_entries(f"sqlite:///{folder / 'ledger.db'}", folder / "entries.jsonl")
    return [json.loads(line) for line in (folder / "entries.jsonl").read_text().splitlines()]


def test_a_sound_export_says_who_is_champion(tmp_path: Path) -> None:
    done = checked(LEDGER, "", written(tmp_path / "sound.jsonl", exported(tmp_path)))
    chained, shadows, models = done.stdout.splitlines()
    assert done.returncode == 0
    assert "entries, chained" in chained
    assert shadows.endswith(" shadows, each beside an earlier forecast of another model")
    assert models == "5 changes of models; v1 is champion since entry 2"
