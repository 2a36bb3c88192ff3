"""Requests one forecast with its explanation, and shows the details of an error.

python examples/python/predict.py       (server: DEJAVU_TARGET, default 127.0.0.1:50051)
"""

import os

from dejavu_client import FINAL, DejavuClient, InvalidArgumentError

# Home − away at the end of minutes 1 … 18.
PATTERN = [0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6]


def main() -> None:
    """Request what-ifs, which are not recorded, and then send an invalid pattern."""
    with DejavuClient(os.environ.get("DEJAVU_TARGET", "127.0.0.1:50051")) as client:
        forecast = client.predict(
            PATTERN,
            home_team="BOS",
            away_team="LAL",
            game_date="2024-11-01",  # the ratings of the bundle that ships are of June 2024
            alpha=0.2,
            explain=True,
            quantile_levels=[0.1, 0.5, 0.9],
        )
        print(f"LAL @ BOS: {forecast.point_forecast:+.1f} at the half")
        lower, upper = forecast.interval_lower, forecast.interval_upper
        print(f"{forecast.coverage_probability:.0%} within [{lower:+.1f}, {upper:+.1f}]")
        print(f"the home team leads: {forecast.home_lead_probability:.0%}")
        print("quantiles: " + ", ".join(f"{each.level:.0%} {each.value:+.1f}" for each in forecast.quantiles))
        similar = forecast.explanation.similar_summary
        print(
            f"of {similar.same_lead} similar games with its lead, the home side led at the half in {similar.home_led}"
        )
        for game in forecast.explanation.similar_games[:3]:
            print(f"  {game.label}: {game.differential:+} then, {game.differential_at_horizon:+} at the half")
        for warning in forecast.warnings:
            print(f"  warning: {warning.text}")
        win = client.predict(PATTERN, home_team="BOS", away_team="LAL", game_date="2024-11-01", horizon=FINAL)
        print(f"the home team wins: {win.home_lead_probability:.0%}")

        try:
            client.predict([0, 2, float("nan")])
        except InvalidArgumentError as error:
            print(f"{error.reason}, call {error.request_id}:")
            for violation in error.field_violations:
                print(f"  {violation.field}: {violation.description}")


if __name__ == "__main__":
    main()
