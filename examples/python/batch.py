"""Requests fifty forecasts in one call. One invalid request fails; the others succeed.

python examples/python/batch.py       (server: DEJAVU_TARGET, default 127.0.0.1:50051)
"""

import os

from dejavu_client import DejavuClient, predict_request


def main() -> None:
    """Request what-ifs with linearly growing leads of −24 to +24 points at minute 18, and one invalid what-if."""
    leads = range(-24, 25)
    requests = [predict_request([lead * minute / 18 for minute in range(1, 19)]) for lead in leads]
    requests.append(predict_request([999]))
    with DejavuClient(os.environ.get("DEJAVU_TARGET", "127.0.0.1:50051")) as client:
        results = client.predict_batch(requests)
    for index, result in enumerate(results):  # in the order of the requests
        if result.HasField("forecast"):
            forecast = result.forecast
            print(f"{leads[index]:+3d}: {forecast.point_forecast:+5.1f}, leads: {forecast.home_lead_probability:.0%}")
        else:
            print(f"request {index} was refused: {result.error.reason}: {result.error.message}")


if __name__ == "__main__":
    main()
