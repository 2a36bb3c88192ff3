"""Every recorded forecast and outcome as it comes, also after a pause of hours: the place is kept in a file.

python examples/python/stream.py [FILE]       (the server: DEJAVU_TARGET, by default 127.0.0.1:50051)

A restart of a worker or of the server is the client's affair: the stream goes on by itself. For a restart of this
program the token of what was dealt with last is kept in FILE, by default forecasts.token. Ctrl-C ends it.
"""

import contextlib
import os
import sys
from pathlib import Path

from dejavu_client import FINAL, DejavuClient, OutOfRangeError


def follow(client: DejavuClient, place: Path) -> None:
    """Prints what comes after the place in a file, and moves the place along."""
    token = place.read_text() if place.exists() else ""
    # Without a token: begin with the newest forecasts of each game of the last 12 hours, for those who come late.
    for event in client.stream_predictions(resume_token=token, include_current=True, heartbeats=True):
        if event.HasField("forecast"):
            forecast = event.forecast
            moment = "end" if forecast.horizon == FINAL else "half"
            about = f"{forecast.sequence} {forecast.game_id}, minute {forecast.elapsed_minutes}"
            print(f"{about}: {forecast.point_forecast:+.1f} at the {moment}", flush=True)
        elif event.HasField("outcome"):
            came = event.outcome
            moment = "end" if came.horizon == FINAL else "half"
            print(f"{came.sequence} {came.game_id}: it stood {came.differential:+d} at the {moment}", flush=True)
        # Only now: what happened before a crash is told again, and never left out.
        place.with_suffix(".new").write_text(event.resume_token)
        place.with_suffix(".new").replace(place)


def main() -> None:
    """Follows the stream; begins anew where the place is gone."""
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "forecasts.token")
    with DejavuClient(os.environ.get("DEJAVU_TARGET", "127.0.0.1:50051")) as client:
        try:
            follow(client, place)
        except OutOfRangeError as error:  # pruned, or the ledger was restored: something may be missing
            print(f"beginning anew: {error}", file=sys.stderr)
            place.unlink()
            follow(client, place)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
