"""Mutates the files of a bundle by their structure and loads each: none may crash the process or raise unknown errors.

    python -m bench.fuzz.bundles [--mutations 10000] [--seed 0] [--file lstm.npz ...]

In an archive of arrays, an array gets other values, or another type, shape or name; in the manifest, a value at any
depth. A bundle that still loads is verified as usual: its golden queries, a forecast at every minute, and learning. It
is also a finding if a file is opened meanwhile. Each mutation is made from its seed, so `--seed N --mutations 1`
repeats one. Bundles are loaded in forked processes; if a signal ends one, its mutation is printed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import from_npz
from dejavu_models.errors import BundleError
from dejavu_models.manifest import Manifest
from dejavu_store.bundle import MANIFEST, check_answers, parse_manifest, read_manifest
from dejavu_store.contents import load_contents
from dejavu_store.default_bundles import default_bundle

MAX_MEMORY: Final = 4 * 1024**3
MAX_SECONDS: Final = 60
"""Maximum time of one mutation, in seconds; more is a finding."""

REFUSED, ACCEPTED, NO_MEMORY = "refused", "accepted", "out of memory"

_NUMBERS: Final = (0, 1, -1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, -(2**63))
_REALS: Final = (0.0, -0.0, 1e-320, 0.5, 1e30, -1e308, float("nan"), float("inf"), float("-inf"))
_TYPES: Final = (
    "u1",
    "i1",
    "u2",
    "i2",
    "u4",
    "i4",
    "i8",
    "u8",
    "f2",
    "f4",
    "f8",
    "c8",
    "?",
    "M8[D]",
    "U3",
    ">i2",
    ">f8",
)
_VALUES: Final[tuple[Any, ...]] = (
    *_NUMBERS,
    *_REALS,
    None,
    True,
    "",
    "x" * 10_000,
    "\x1b[31m",
    [],
    {},
    [[]],
    [0] * 1000,
    "2026-11-25",
)


def mutated(content: bytes, name: str, rng: random.Random) -> bytes:
    """Return a file of a bundle, changed one to three times."""
    change = _manifest if name == MANIFEST else _arrays
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = change(content, rng)
    return content


def _arrays(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return _bytes(content, rng)
    try:
        columns = from_npz(content)
    except Exception:  # an earlier mutation broke it: numpy parses headers with tokenize, which has errors of its own
        return _bytes(content, rng)
    if not columns:
        return _bytes(content, rng)
    name = rng.choice(list(columns))
    kind = rng.randrange(10)
    if kind == 0:
        columns.pop(name, None)
    elif kind == 1:
        columns[rng.choice([*columns, "more"])] = columns[name]
    else:
        columns[name] = _other(columns[name], rng)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **columns)
    return file.getvalue()


def _other(array: NDArray[Any], rng: random.Random) -> NDArray[Any]:
    """Return an array with changed values, type or shape."""
    kind = rng.randrange(9)
    with np.errstate(all="ignore"):
        if kind == 0:
            return (
                array.astype(np.dtype(rng.choice(_TYPES))) if array.dtype.kind in "iufb" else np.atleast_1d(array)[:0]
            )
        if kind == 1:
            return array.reshape(rng.choice([(-1,), (1, *array.shape), (*array.shape, 1), array.shape[::-1]]))
        if kind == 2:
            return array[: rng.randrange(len(array) + 1)] if array.ndim else array
        if kind == 3:
            return np.concatenate([array, array[-rng.randrange(1, 4) :]]) if array.ndim and len(array) else array
        if kind == 4:
            return rng.choice([np.zeros(0, array.dtype), np.zeros((), array.dtype), np.zeros((2, 2, 2), array.dtype)])
        changed = np.array(array)
        flat = changed.reshape(-1)
        if not flat.size or array.dtype.kind not in "iuf":
            return changed[:0] if changed.ndim else changed
        places = [rng.randrange(flat.size) for _ in range(rng.choice((1, 1, 5, 50)))]
        if kind == 5:
            flat.view(np.uint8)[rng.randrange(flat.nbytes)] ^= 1 << rng.randrange(8)
        elif kind == 6:
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
    if rng.random() < 0.3 and changed:
        del changed[rng.randrange(len(changed)) :]
    for _ in range(rng.randrange(1, 9)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _manifest(content: bytes, rng: random.Random) -> bytes:
    try:
        document = json.loads(content)
    except ValueError:
        return content[: rng.randrange(len(content) + 1)]
    parents = list(_containers(document))
    parent = rng.choice(parents) if parents else None
    if parent is None or not parent:
        return json.dumps(rng.choice(_VALUES)).encode()
    key = rng.choice(list(parent) if isinstance(parent, dict) else list(range(len(parent))))
    kind = rng.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1:
        other = rng.choice(parents)
        value = parent[key] if not isinstance(parent[key], dict | list) else None
        if isinstance(other, dict):
            other[rng.choice([*map(str, other), "more"])] = value
        else:
            other.extend([value] * rng.choice((1, 100)))
    else:
        number = isinstance(parent[key], int | float) and rng.random() < 0.3
        parent[key] = parent[key] + rng.choice((-1, 1)) if number else rng.choice(_VALUES)
    return json.dumps(document).encode()


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from _containers(each)


_opened: list[str] = []


def _watch_opened_files() -> None:
    """Note each file that this process opens from now on, except modules."""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "socket.connect") and not str(arguments[0]).endswith((".py", ".pyc", ".so")):
            _opened.append(str(arguments[0]))

    sys.addaudithook(note)


def load(name: str, seed: int, manifest: Manifest, contents: Mapping[str, bytes]) -> str:
    """Load the bundle with one mutation, and query it; return ACCEPTED, REFUSED or NO_MEMORY, or the finding."""
    rng = random.Random(f"{name} {seed}")
    changed = mutated(contents[name], name, rng)
    _opened.clear()
    try:
        end = _load(name, manifest, {**contents, name: changed})
    except BundleError:
        end = REFUSED
    except MemoryError:
        end = NO_MEMORY
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return f"opened {', '.join(_opened)}" if _opened else end


def _load(name: str, manifest: Manifest, contents: Mapping[str, bytes]) -> str:
    if name == MANIFEST:
        manifest = parse_manifest(contents[MANIFEST], "bundle")
        if set(manifest.files) - set(contents):
            return REFUSED  # a file that the manifest names does not exist: `load_bundle` would refuse
    check_answers(load_contents("bundle", manifest, contents))
    return ACCEPTED


def attack(name: str, seeds: range, bundle: Path) -> Counter[str]:
    """Load the bundle with the mutation of each seed; return the number of each result, with a seed of each finding."""
    manifest = read_manifest(bundle)
    contents = {each: (bundle / each).read_bytes() for each in (*manifest.files, MANIFEST)}
    ends: Counter[str] = Counter()
    left = list(seeds)
    while left:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if "ASAN_OPTIONS" not in os.environ:
                resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
            _watch_opened_files()
            with os.fdopen(writing, "w", buffering=1, errors="replace") as pipe:
                for seed in left:
                    signal.alarm(MAX_SECONDS)  # ends the process, also in the middle of a call of a library
                    pipe.write(json.dumps(load(name, seed, manifest, contents)) + "\n")
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            answers = [json.loads(line) for line in pipe]
        _, status = os.waitpid(child, 0)
        for seed, end in zip(left, answers, strict=False):
            ends[end if end in (REFUSED, ACCEPTED, NO_MEMORY) else f"{end} (seed {seed})"] += 1
        if len(answers) < len(left):
            ends[f"ended by {os.waitstatus_to_exitcode(status)} (seed {left[len(answers)]})"] += 1
        left = left[len(answers) + 1 :]
    return ends


def main(arguments: Sequence[str] | None = None, say: Callable[[str], object] = print) -> int:
    """Run the program; return 0 if nothing was found, else 1."""
    parser = argparse.ArgumentParser(description="Mutate the files of a bundle and load them.")
    parser.add_argument("--mutations", type=int, default=10_000, help="mutations of each file")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--file", nargs="*", help="files to mutate; all by default")
    options = parser.parse_args(arguments)
    found = 0
    for name in options.file or [MANIFEST, *read_manifest(options.bundle).files]:
        began = time.perf_counter()
        ends = attack(name, range(options.seed, options.seed + options.mutations), options.bundle)
        sound = {end: ends.pop(end, 0) for end in (REFUSED, ACCEPTED, NO_MEMORY)}
        found += sum(ends.values())
        counts = ", ".join(f"{number:,} {end}" for end, number in sound.items())
        say(f"{name}: {counts}; {sum(ends.values())} found, {time.perf_counter() - began:.0f} s")
        for end in ends:
            say(f"  {end}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
