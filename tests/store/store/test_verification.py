"""The verification of a bundle in a process of its own."""

from __future__ import annotations

import contextlib
import errno
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.builders.similar_games import steady_lstm
from tests.support.harness.stores import stored_versions

from dejavu_models.components.ensemble import Ensemble
from dejavu_models.components.linear import INTERCEPT, LinearModels
from dejavu_models.errors import BundleCorrupt
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import HORIZONS, Horizon
from dejavu_store import bundle, verification
from dejavu_store.bundle_store import ModelStore
from dejavu_store.folder import FolderFiles
from dejavu_store.registry import default_bundle
from dejavu_store.verification import verify


def test_a_file_that_ends_the_loading_process_is_refused(copy: Path, tmp_path: Path) -> None:
    """The verification runs in another process: if a bundle crashes it, the bundle is refused, and nothing else."""

    def crash(folder: Path) -> None:
        program = f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})"
        run = subprocess.run  # the module's own is the same function
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subprocess, "run", lambda _, **kw: run((sys.executable, "-c", program), **kw))
            verify(folder)

    folder = tmp_path / "store"
    store = ModelStore(FolderFiles(folder), folder / "work", check=crash)
    with pytest.raises(BundleCorrupt, match="ends the process: Segmentation fault"):
        store.put(copy)
    assert stored_versions(store) == []


def test_loading_that_takes_too_long_is_refused(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "MAX_WAIT_SECONDS", 0.001)
    with pytest.raises(BundleCorrupt, match="longer than"):
        verify(small_bundle)


def test_a_bundle_whose_answers_take_too_long_is_refused(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single call of such a model once kept a worker from its heartbeat until it was killed."""
    monkeypatch.setattr(bundle, "MAX_ANSWER_SECONDS", 1e-6)
    with pytest.raises(BundleCorrupt, match="takes more than 1e-06 s"):
        bundle.check_answers(bundle.load_bundle(small_bundle, allow_unfit=True))


def test_the_courses_of_similar_games_count_as_part_of_an_answer(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> tuple[float, ...]:
        begun = time.process_time()
        while time.process_time() < begun + bundle.MAX_ANSWER_SECONDS:
            pass
        return ()

    monkeypatch.setattr(Forecaster, "course", slow)
    with pytest.raises(BundleCorrupt, match=r"takes more than 0.02 s"):
        bundle.check_answers(bundle.load_bundle(small_bundle, allow_unfit=True))


def test_a_bundle_that_cannot_learn_from_the_next_final_is_refused() -> None:
    sound = bundle.load_bundle(default_bundle())
    assert sound.totals is not None
    bundle.check_answers(sound)
    assert sound.info.finals_since == 0, "it keeps what it learned from finals that were none"
    for wrong, said in (
        ({"season": -30_000}, "year -30000 is out of range"),
        ({"mean": np.full(34, np.inf)}, "finite"),
    ):
        totals = replace(sound.totals, ratings=replace(sound.totals.ratings, **wrong))
        forecaster = Forecaster(sound.manifest, sound.models, sound.calibration, sound.rating_filter, totals)
        with pytest.raises(BundleCorrupt, match=said):
            bundle.check_answers(forecaster)


def test_a_bundle_whose_outermost_answers_are_too_large_is_refused() -> None:
    """At the leads of games its points are within the bound; at a lead of 200 they are not."""
    sound = bundle.load_bundle(default_bundle())
    coefficients = np.zeros_like(sound.models.linear.coefficients)
    coefficients[HORIZONS.index(Horizon.FINAL), 1:, :, INTERCEPT] = 9900.0
    models = replace(sound.models, linear=replace(sound.models.linear, coefficients=coefficients))
    manifest = sound.manifest.model_copy(update={"golden": ()})
    forecaster = Forecaster(manifest, models, sound.calibration, sound.rating_filter, sound.totals)
    with pytest.raises(BundleCorrupt, match="the final from minute 1 is beyond ±10000 points"):
        bundle.check_answers(forecaster)


def test_a_bundle_whose_components_forecast_too_much_is_refused_whatever_their_weight(small: Forecaster) -> None:
    """No point depends on one without a weight, but the page and every recorded explanation show it."""
    coefficients = np.zeros_like(small.models.linear.coefficients)
    coefficients[..., INTERCEPT] = 9700.0
    manifest = small.manifest.model_copy(update={"golden": ()})
    for lstm, said in ((steady_lstm(0.1), ""), (steady_lstm(3.0), r"is beyond ±10000 points")):
        models = Ensemble(LinearModels(coefficients), lstm=lstm)
        forecaster = Forecaster(manifest, models, small.calibration, small.rating_filter)
        with pytest.raises(BundleCorrupt, match=said) if said else contextlib.nullcontext():
            bundle.check_answers(forecaster)


def test_once_the_files_are_read_the_process_opens_writes_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "signing.key").write_text("secret")
    program = """
import os, socket, sys
from dejavu_store.verification import open_no_more
open_no_more()
attempts = (lambda: open("signing.key"), lambda: open("new", "w"), lambda: socket.socket(), lambda: os.pipe())
for attempt in attempts:
    try:
        attempt()
    except OSError as error:
        print(error.errno)
"""
    run = subprocess.run((sys.executable, "-c", program), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(errno.EMFILE)] * 4


def test_the_memory_of_a_verification_is_limited_whatever_its_modules_take() -> None:
    program = """
from dejavu_store.verification import MAX_MEMORY, limit_memory
modules = bytearray(2 * MAX_MEMORY)
limit_memory()
for share in (0.9, 1.1):
    try:
        bytearray(int(share * MAX_MEMORY))
        print("enough")
    except MemoryError:
        print("too much")
"""
    run = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["enough", "too", "much"]
    assert verification.MAX_MEMORY <= 2**29, "a container of a server has 1 GiB, for its workers too"


def test_the_process_has_an_empty_working_directory_and_no_secrets_of_the_environment(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, options = subprocess.run, dict[str, Any]()

    def record(command: tuple[str, ...], **given: Any) -> Any:
        options.update(given, files=list(Path(given["cwd"]).iterdir()))
        return run(command, check=given.pop("check"), **given)

    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("DEJAVU_CACHE_SECRET", "secret")
    verify(small_bundle)
    assert options["files"] == []
    assert "secret" not in options["env"].values()


def test_a_refusal_does_not_name_the_folder_of_the_server(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "lstm.npz").write_bytes(b"another graph")
    monkeypatch.chdir(copy.parent)
    with pytest.raises(BundleCorrupt) as refusal:
        verify(Path(copy.name))
    assert str(refusal.value) == "lstm.npz does not match the manifest: its SHA-256 differs"
