"""Checks an export of a ledger and what a server answers from it: hashes, checkpoint, rules, lists and scorecards.

dejavu checkpoint --out monday.json                           # some day; keep it where the operator cannot write
dejavu-server ledger export-entries --out entries.jsonl       # any later day
python examples/python/check_ledger entries.jsonl --checkpoint monday.json --target 127.0.0.1:50051

Hashes and rules need the standard library alone; the signature of the checkpoint (Ed25519) needs the package
cryptography. With --target it also computes the server's lists, under every filter, and its scorecards and leaderboards
from the entries; this needs numpy, grpcio and the code that protoc generates from protos/. The program was written from
docs/record.md and needs nothing else of this project.

Exit codes: 0 sound · 1 something was changed; the first change found is printed · 2 wrong usage, or the export can't be
read, or is older than the server's answers.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from chain import ChangedError, check_chain, check_checkpoint
from rules import Record


def main() -> int:
    """Check the files and the server of the command line, and print the result; return the exit code."""
    parser = argparse.ArgumentParser(prog="check_ledger", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("entries", type=Path, help="file of dejavu-server ledger export-entries")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="file of dejavu checkpoint")
    parser.add_argument("--target", metavar="HOST:PORT", help="a server, whose answers to compare with the entries")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="its token, with the scope read")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificate of its authority, if it has TLS")
    options = parser.parse_args()
    try:
        first, *lines = options.entries.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        identity = json.loads(first)
        entries, hashes = check_chain(identity, lines)
        say(f"{len(entries)} entries, chained; the last hash is {hashes[max(hashes)].hex()}")
        record = Record(entries)
        if record.shadows:
            say(f"{record.shadows} shadows, each beside an earlier forecast of another model")
        if record.changes:
            champion = record.champion or "no model"
            say(f"{record.changes} changes of models; {champion} is champion since entry {record.since}")
        if options.checkpoint:
            say(check_checkpoint(json.loads(options.checkpoint.read_text()), identity, entries, hashes))
        if options.target:
            from comparison import check_server  # noqa: PLC0415 - needs packages that the other checks do not

            token = options.token_file.read_text().strip() if options.token_file else ""
            for line in check_server(options.target, token, options.ca, identity, record, max(entries, default=0)):
                say(line)
    except ChangedError as error:
        say(error)
        return 1
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, ModuleNotFoundError) as error:
        say(f"can't check: {type(error).__name__}: {error}", error=True)
        return 2
    return 0


def say(text: object, *, error: bool = False) -> None:
    """Print a line, with unprintable characters, such as a terminal's control sequences in foreign texts, escaped."""
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))
    print(line, file=sys.stderr if error else sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
