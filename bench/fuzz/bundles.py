"""Mutates the files of a bundle by their structure and loads each: none may crash the process or raise unknown errors.

    python -m bench.fuzz.bundles [--mutations 10000] [--seed 0] [--file lstm.npz]

In an archive of arrays, an array gets other values, or another type, shape or name; in the manifest, a value at any
depth. A bundle that still loads is verified as usual: its golden queries, a forecast at every minute, and learning. It
is also a finding if a file is opened meanwhile. Each mutation is made from its seed, so `--seed N --mutations 1`
repeats one. Bundles are loaded in forked processes; if a signal ends one, its mutation is printed.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from bench.result import Result, program
from numpy.typing import NDArray

from dejavu_models.arrays import from_npz
from dejavu_models.errors import BundleError
from dejavu_store.bundle import MANIFEST, check_answers, load_contents, parse_manifest, read_manifest
from dejavu_store.default_bundles import default_bundle

MAX_MEMORY: Final = 4 * 1024**3
MAX_SECONDS: Final = 60
"""Maximum time of one mutation, in seconds; more is a finding."""

REFUSED, ACCEPTED, NO_MEMORY = "refused", "accepted", "out of memory"

_NUMBERS: Final = (0, 1, -1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, -(2**63))
_REALS: Final = (0.0, -0.0, 1e-320, 0.5, 1e30, -1e308, float("nan"), float("inf"), float("-inf"))
_TYPES: Final = (
    *("u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f2", "f4", "f8"),
    *("c8", "?", "M8[D]", "U3", ">i2", ">f8"),
)
_TEXTS: Final = (None, True, "", "x" * 10_000, "\x1b[31m", "2026-11-25")
_VALUES: Final[tuple[Any, ...]] = (*_NUMBERS, *_REALS, *_TEXTS, [], {}, [[]], [0] * 1000)


def mutated(content: bytes, name: str, rng: random.Random) -> bytes:
    """Return a file of a bundle, changed one to three times."""
    change = _manifest if name == MANIFEST else _arrays
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = change(content, rng)
    return content


def _arrays(content: bytes, rng: random.Random) -> bytes:
    try:
        columns = from_npz(content)
    except Exception:  # an earlier mutation broke it: numpy parses headers with tokenize, which has errors of its own
        columns = {}
    if not columns or rng.random() < 0.1:
        return _bytes(content, rng)
    name = rng.choice(list(columns))
    kind = rng.randrange(10)
    if kind == 0:
        del columns[name]
    elif kind == 1:
        columns[rng.choice([*columns, "more"])] = columns[name]
    else:
        with np.errstate(all="ignore"):
            columns[name] = rng.choice((_other_shape, _other_values))(columns[name], rng)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **columns)
    return file.getvalue()


def _other_shape(array: NDArray[Any], rng: random.Random) -> NDArray[Any]:
    """Return an array of another type, shape or length."""
    numbers = array.dtype.kind in "iufb"
    at_least_one = np.atleast_1d(array)
    shapes = [array.reshape(shape) for shape in ((-1,), (1, *array.shape), (*array.shape, 1), array.shape[::-1])]
    return rng.choice(
        [
            array.astype(np.dtype(rng.choice(_TYPES))) if numbers else at_least_one[:0],
            *shapes,
            at_least_one[: rng.randrange(len(at_least_one) + 1)],
            np.concatenate([at_least_one, at_least_one[-rng.randrange(1, 4) :]]),
            *(np.zeros(shape, array.dtype) for shape in (0, (), (2, 2, 2))),
        ]
    )


def _other_values(array: NDArray[Any], rng: random.Random) -> NDArray[Any]:
    """Return an array with some other values; without any if it has no numbers."""
    changed = np.array(array)
    flat = changed.reshape(-1)
    if not flat.size or array.dtype.kind not in "iuf":
        return np.atleast_1d(changed)[:0]
    places = [rng.randrange(flat.size) for _ in range(rng.choice((1, 1, 5, 50)))]
    kind = rng.randrange(4)
    if kind == 0:
        flat.view(np.uint8)[rng.randrange(flat.nbytes)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        flat[places] = flat[places[::-1]]
    elif array.dtype.kind == "f":
        flat[places] = rng.choice(_REALS)
    else:
        limits = np.iinfo(array.dtype)
        near = (int(flat[places[0]]) + rng.choice((-1, 1)), flat.size, flat.max(), limits.max, limits.min, 0, 1)
        flat[places] = np.clip(int(rng.choice(near)), limits.min, limits.max)
    return changed


def _bytes(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    if rng.random() < 0.3:
        del changed[rng.randrange(len(changed) + 1) :]
    for _ in range(rng.randrange(1, 9) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _manifest(content: bytes, rng: random.Random) -> bytes:
    try:
        document = json.loads(content)
    except ValueError:
        return content[: rng.randrange(len(content) + 1)]
    parents = [each for each in _containers(document) if each]
    if not parents:
        return json.dumps(rng.choice(_VALUES)).encode()
    parent, other = rng.choice(parents), rng.choice(parents)
    key = rng.choice(list(parent) if isinstance(parent, dict) else list(range(len(parent))))
    kind, value = rng.randrange(8), parent[key]
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(other, dict):
        other[rng.choice([*other, "more"])] = json.loads(json.dumps(value))
    elif kind == 1:
        other.extend(json.loads(json.dumps([value])) * rng.choice((1, 100)))
    elif isinstance(value, int | float) and rng.random() < 0.3:
        parent[key] = value + rng.choice((-1, 1))
    else:
        parent[key] = rng.choice(_VALUES)
    return json.dumps(document).encode()


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from _containers(each)


@cache
def _contents() -> dict[str, bytes]:
    bundle = default_bundle()
    return {each: (bundle / each).read_bytes() for each in (MANIFEST, *read_manifest(bundle).files)}


_opened: list[str] = []


def _prepare() -> None:
    """Limit this process, and note each file that it opens from now on, except modules."""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "socket.connect") and not str(arguments[0]).endswith((".py", ".pyc", ".so")):
            _opened.append(str(arguments[0]))

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if "ASAN_OPTIONS" not in os.environ:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    sys.addaudithook(note)


def load(name: str, seed: int) -> str:
    """Load the bundle with one mutation, and query it; return ACCEPTED, REFUSED or NO_MEMORY, or the finding."""
    signal.alarm(MAX_SECONDS)  # ends the process, also in the middle of a call of a library
    changed = mutated(_contents()[name], name, random.Random(f"{name} {seed}"))
    _opened.clear()
    try:
        end = _load({**_contents(), name: changed})
    except BundleError:
        end = REFUSED
    except MemoryError:
        end = NO_MEMORY
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return f"opened {', '.join(_opened)}" if _opened else end


def _load(contents: dict[str, bytes]) -> str:
    manifest = parse_manifest(contents[MANIFEST], "bundle")
    if set(manifest.files) - set(contents):
        return REFUSED  # a file that the manifest names does not exist: `load_bundle` would refuse
    check_answers(load_contents("bundle", manifest, contents))
    return ACCEPTED


def attack(name: str, seeds: range) -> Counter[str]:
    """Load the bundle with the mutation of each seed; return the number of each result, with a seed of each finding."""
    ends = Counter[str]()
    left = list(reversed(seeds))
    while left:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), _prepare) as process:
            while left:
                seed = left.pop()
                try:
                    end = process.submit(load, name, seed).result()
                except BrokenProcessPool:
                    ends[f"the process ended (seed {seed})"] += 1
                    break
                ends[end if end in (REFUSED, ACCEPTED, NO_MEMORY) else f"{end} (seed {seed})"] += 1
    return ends


@dataclass
class BundlesResult(Result):
    """Results of a run.

    Attributes:
        ends: file of the bundle → number of each result.
    """

    ends: dict[str, Counter[str]] = field(default_factory=dict)

    def breaches(self) -> list[str]:
        """Return the findings."""
        sound = {REFUSED, ACCEPTED, NO_MEMORY}
        return [f"{name}: {end}" for name, ends in self.ends.items() for end in ends if end not in sound]

    def report(self) -> str:
        """Return a line for each file."""
        return "\n".join(f"{name}: {dict(ends)}" for name, ends in self.ends.items())


def run(options: argparse.Namespace, _: Path) -> BundlesResult:
    """Mutate each file of the bundle, or one."""
    seeds = range(options.seed, options.seed + options.mutations)
    return BundlesResult({name: attack(name, seeds) for name in _contents() if options.file in ("", name)})


if __name__ == "__main__":
    sys.exit(program(__doc__, run, mutations=10_000, file=""))
