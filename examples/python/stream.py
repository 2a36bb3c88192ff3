"""Streams every recorded forecast and outcome, and resumes after a restart from a token stored in a file.

python examples/python/stream.py [FILE]       (server: DEJAVU_TARGET, default 127.0.0.1:50051)

The client reconnects by itself when a worker or the server restarts. For restarts of this program, FILE (default
forecasts.token) stores the resume token of the last processed event. Stop with Ctrl-C.
"""

import contextlib
import os
import sys
from pathlib import Path

from dejavu_client import FINAL, DejavuClient, InvalidArgumentError, OutOfRangeError


def follow(client: DejavuClient, token_file: Path) -> None:
    """Print the events after the token in a file, and update the token."""
    token = token_file.read_text() if token_file.exists() else ""
    # Without a token, start with the newest forecasts of each game of the last 12 hours.
    for event in client.stream_predictions(resume_token=token, include_current=True, heartbeats=True):
        if event.HasField("forecast"):
            forecast = event.forecast
            moment = "end" if forecast.horizon == FINAL else "half"
            about = f"{forecast.sequence} {forecast.game_id}, minute {forecast.elapsed_minutes}"
            late = " (late: not the current forecast)" if forecast.late else ""
            print(f"{about}: {forecast.point_forecast:+.1f} at the {moment}{late}", flush=True)
        elif event.HasField("outcome"):
            outcome = event.outcome
            moment = "end" if outcome.horizon == FINAL else "half"
            # A withdrawn outcome still has its differential.
            result = "withdrawn" if outcome.withdrawn else f"{outcome.differential:+d}"
            print(f"{outcome.sequence} {outcome.game_id}: outcome {result} at the {moment}", flush=True)
        # Store the token after processing: after a crash an event may be repeated but is never lost.
        token_file.with_suffix(".new").write_text(event.resume_token)
        token_file.with_suffix(".new").replace(token_file)


def main() -> None:
    """Follow the stream; start again without a token if the token has expired."""
    token_file = Path(sys.argv[1] if len(sys.argv) > 1 else "forecasts.token")
    with DejavuClient(os.environ.get("DEJAVU_TARGET", "127.0.0.1:50051")) as client:
        try:
            follow(client, token_file)
        # The ledger was restored or is another one: events may be missing.
        except (OutOfRangeError, InvalidArgumentError) as error:
            print(f"restarting without a token: {error}", file=sys.stderr)
            token_file.unlink(missing_ok=True)
            follow(client, token_file)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
