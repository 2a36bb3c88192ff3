"""The verification of a bundle: its answers, and the process of its own in which they are checked."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.builders.folds import steady_lstm
from typing_extensions import override

from dejavu_models.components.ensemble import Ensemble
from dejavu_models.components.linear import INTERCEPT, LinearModels
from dejavu_models.errors import BundleCorrupt
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import HORIZONS, Horizon
from dejavu_store import bundle, verification
from dejavu_store.bundle import check_answers, load_bundle, read_files, read_manifest, read_manifest_text
from dejavu_store.default_bundles import default_bundle
from dejavu_store.verification import verify


def with_parts(sound: Forecaster, kind: type[Forecaster] = Forecaster, **parts: Any) -> Forecaster:
    """Return a forecaster with some parts exchanged, and without golden answers."""
    manifest = sound.manifest.model_copy(update={"golden": ()})
    kept: dict[str, Any] = {"models": sound.models, "ratings": sound.rating_filter, "totals": sound.totals}
    models, ratings, totals = (kept | parts).values()
    return kind(manifest, models, sound.calibration, ratings, totals)


class SlowCourses(Forecaster):
    """A forecaster whose courses of similar games, which count as part of an answer, take too long."""

    @override
    def course(self, *_: object) -> tuple[float, ...]:
        begun = time.process_time()
        while time.process_time() < begun + bundle.MAX_ANSWER_SECONDS:
            pass
        return ()


def test_answers_that_take_too_long_are_refused(small: Forecaster) -> None:
    """A single call of such a model once kept a worker from its heartbeat until it was killed."""
    with pytest.raises(BundleCorrupt, match=r"takes more than 0.02 s"):
        check_answers(with_parts(small, SlowCourses))


def test_a_bundle_that_cannot_learn_from_the_next_final_is_refused() -> None:
    sound = load_bundle(default_bundle())
    assert sound.totals is not None
    check_answers(sound)
    assert sound.info.finals_since == 0, "it keeps what it learned from finals that were none"
    for wrong, said in (
        ({"season": -30_000}, "year -30000 is out of range"),
        ({"mean": np.full(34, np.inf)}, "finite"),
    ):
        totals = replace(sound.totals, ratings=replace(sound.totals.ratings, **wrong))
        with pytest.raises(BundleCorrupt, match=said):
            check_answers(with_parts(sound, totals=totals))


def test_a_bundle_whose_outermost_answers_are_too_large_is_refused() -> None:
    """At the leads of games its points are within the bound; at a lead of 200 they are not."""
    sound = load_bundle(default_bundle())
    coefficients = np.zeros_like(sound.models.linear.coefficients)
    coefficients[HORIZONS.index(Horizon.FINAL), 1:, :, INTERCEPT] = 9900.0
    models = replace(sound.models, linear=replace(sound.models.linear, coefficients=coefficients))
    with pytest.raises(BundleCorrupt, match="the final from minute 1 is beyond ±10000 points"):
        check_answers(with_parts(sound, models=models))


def test_a_bundle_whose_components_forecast_too_much_is_refused_whatever_their_weight(small: Forecaster) -> None:
    """No point depends on one without a weight, but the page and every recorded explanation show it."""
    coefficients = np.zeros_like(small.models.linear.coefficients)
    coefficients[..., INTERCEPT] = 9700.0
    for lstm, said in ((steady_lstm(0.1), ""), (steady_lstm(3.0), r"is beyond ±10000 points")):
        models = Ensemble(LinearModels(coefficients), (lstm,))
        with pytest.raises(BundleCorrupt, match=said) if said else contextlib.nullcontext():
            check_answers(with_parts(small, models=models))


def verify_in(folder: Path) -> None:
    verify("x", read_manifest_text(folder), read_files(folder, read_manifest(folder)))


def run_at_start(program: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make new interpreters run a program when they start."""
    (folder / "sitecustomize.py").write_text(program)
    patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def test_a_bundle_that_ends_the_process_is_refused(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a bundle crashes the verification, the bundle is refused, and nothing else."""
    run_at_start("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", tmp_path, monkeypatch)
    with pytest.raises(BundleCorrupt, match="x: loading it ends the process: Segmentation fault"):
        verify_in(small_bundle)
    monkeypatch.setattr(verification, "MAX_WAIT_SECONDS", 0.001)
    with pytest.raises(BundleCorrupt, match="longer than"):
        verify_in(small_bundle)


def test_the_process_has_an_empty_working_directory_and_no_secrets_of_the_environment(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    program = f"import os; open({str(told)!r}, 'w').write(f'{{os.listdir()}} {{dict(os.environ)}}')"
    run_at_start(program, tmp_path, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("DEJAVU_CACHE_SECRET", "hidden")
    verify_in(small_bundle)
    assert told.read_text().startswith("[] {")
    assert "hidden" not in told.read_text()


LIMITED = """
import os, socket
from dejavu_store.verification import MAX_MEMORY, limit_memory, open_no_more
modules = bytearray(2 * MAX_MEMORY)
limit_memory()
open_no_more()
def allocate(share): bytearray(int(share * MAX_MEMORY))
attempts = (lambda: open("signing.key"), lambda: open("new", "w"), socket.socket, os.pipe,
    lambda: allocate(0.9), lambda: allocate(1.1))
for attempt in attempts:
    try:
        attempt()
        print("done")
    except OSError as error:
        print(error.errno)
    except MemoryError:
        print("no memory")
"""


def test_the_process_opens_writes_and_starts_nothing_and_its_memory_is_limited_whatever_its_modules_take(
    tmp_path: Path,
) -> None:
    (tmp_path / "signing.key").write_text("secret")
    run = subprocess.run((sys.executable, "-c", LIMITED), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [*[str(errno.EMFILE)] * 4, "done", "no memory"]
    assert verification.MAX_MEMORY <= 2**29, "a container of a server has 1 GiB, for its workers too"
