"""Sends many concurrent calls from one event loop, each with its own deadline and result.

python examples/python/many_at_once.py       (server: DEJAVU_TARGET, default 127.0.0.1:50051)
"""

import asyncio
import itertools
import os
import random

from dejavu_client import AsyncDejavuClient, DejavuClientError


def random_game(rng: random.Random) -> list[int]:
    """Return home − away at the end of minutes 1 … 18 of a random game."""
    return list(itertools.accumulate(rng.randint(-3, 3) for _ in range(18)))


async def main() -> None:
    """Request a hundred what-ifs of random games."""
    patterns = [random_game(random.Random(seed)) for seed in range(100)]
    async with AsyncDejavuClient(os.environ.get("DEJAVU_TARGET", "127.0.0.1:50051")) as client:
        calls = [client.predict(pattern, timeout=10.0) for pattern in patterns]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        forecasts = [answer for answer in answers if not isinstance(answer, BaseException)]
        print(f"{len(forecasts)} of {len(patterns)} answered")
        print(f"workers that answered: {len(client.stats.workers)}")
        for answer in answers:
            if isinstance(answer, DejavuClientError):
                print(f"{answer.code} {answer.reason}: {answer}")


if __name__ == "__main__":
    asyncio.run(main())
