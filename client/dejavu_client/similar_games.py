"""Tells in words of the past games that went like a game: the most similar one, and what all of them say together."""

from __future__ import annotations

from datetime import date

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, Forecast, Horizon, SimilarGame
from dejavu_client.formatting import horizon_label, percent, short_lead


def seen_before(forecast: Forecast) -> str:
    """Return a sentence on the most similar past game of a forecast; "" if it names none."""
    explanation = forecast.explanation
    if not explanation.similar_games:
        return ""
    game, here = explanation.similar_games[0], round(explanation.baseline_prediction)
    story = _told(game, forecast.horizon, _likeness(game, here, forecast))
    return f"Seen before: {name_of(game)}. After minute {forecast.elapsed_minutes} {story}."


def _likeness(game: SimilarGame, here: int, forecast: Forecast) -> str:
    """Tell the lead that the forecast's game had after the same minute; by now it may have another one."""
    side = (forecast.home_team or "the home team") if here > 0 else (forecast.away_team or "the away team")
    if game.differential == here:
        return f", as {side} did here," if here else ", as here,"
    return f" (here {side} led by {abs(here)})" if here else " (here it was level)"


def name_of(game: SimilarGame) -> str:
    """Name a past game: CLE at ATL, 31 March 2022."""
    day = date.fromisoformat(game.game_date)
    return f"{game.away_team} at {game.home_team}, {day.day} {day:%B %Y}"


def story_of(game: SimilarGame, horizon: Horizon.ValueType) -> str:
    """Tell how a past game stood, and how it went on to a horizon: CLE led by 6 (49–43) and lost by 4 (98–102)."""
    return _told(game, horizon, scores=True)


def _told(game: SimilarGame, horizon: Horizon.ValueType, like: str = "", *, scores: bool = False) -> str:
    """Tell it of the side that led then, or of the one that led at the horizon if it was level.

    Args:
        game: the past game.
        horizon: the horizon of the forecast that names it.
        like: its likeness to the forecast's game, inserted after its lead.
        scores: whether to tell its scores.
    """
    is_home_part = (game.differential or game.differential_at_horizon) >= 0
    is_home = is_home_part != game.mirrored
    team = game.home_team if is_home else game.away_team
    by = game.differential_at_horizon * (1 if is_home_part else -1)
    then = f"{team} led by {abs(game.differential)}" if game.differential else "it was level"
    ended = _ended(by, horizon) if game.differential else f"{team} {_ended(by, horizon)}"
    if scores and game.HasField("home_points"):
        then += _score(game.home_points, game.away_points, is_home=is_home)
    if scores and horizon == HORIZON_FINAL and game.HasField("final_home_points"):
        ended += _score(game.final_home_points, game.final_away_points, is_home=is_home)
    return f"{then}{like} and {ended}"


def seen_together(forecast: Forecast) -> str:
    """Return what the similar games of a forecast with its lead say together; "" if it names none."""
    of = forecast.explanation.similar_summary
    if not of.games:
        return ""
    if not of.same_lead:
        return f"None of the {of.games:,} similar games had a lead like this one."
    lead = forecast.explanation.baseline_prediction
    home, away = forecast.home_team or "the home side", forecast.away_team or "the away side"
    behind, ahead = (
        f"{each}'s side" if forecast.home_team else each for each in ((away, home) if lead > 0 else (home, away))
    )
    first, led = (f"{behind}, which was behind,", of.turned) if lead else (behind, of.home_led)
    found = f"Of the {of.same_lead:,} similar games with this lead {first}"
    if forecast.horizon != HORIZON_FINAL:  # a half may be level
        return f"{found} led in {led:,} at the half."
    return f"{found} won {led:,}, and {ahead} {of.same_lead - led:,}."


def seen_forecast(forecast: Forecast) -> str:
    """Return what Dejavu makes of similar games, and by what it corrects their mean; "" if a forecast names none."""
    explanation = forecast.explanation
    if not explanation.similar_summary.games:
        return ""
    dejavu = next((each for each in explanation.components if each.name == "dejavu" and each.weight), None)
    if dejavu is None:
        return "They are shown for comparison: this forecast is not made of them."
    if not explanation.similar_summary.same_lead:
        return "Similar games count by how their leads changed."
    # Of the numbers as they are shown, so that they sum.
    says, mean = (
        round(each, 1) for each in (dejavu.prediction, dejavu.prediction - explanation.similar_summary.correction)
    )
    strength = "team strength, " * forecast.HasField("expected_margin")
    return (
        f"Similar games, {percent(dejavu.weight)} of this forecast, say {_lead(says, forecast)} at the "
        f"{horizon_label(forecast.horizon)}: their mean is {_lead(mean, forecast)}, and "
        f"{_lead(round(says - mean, 1), forecast)} is for {strength}home advantage and what else differs here."
    )


def _ended(by: int, horizon: Horizon.ValueType) -> str:
    """Tell how a game ended for a side that was ahead by some points, or fewer than none, at a horizon."""
    if horizon == HORIZON_FINAL:
        return f"won by {by}" if by > 0 else f"lost by {-by}"
    return (
        f"led by {by} at the half" if by > 0 else f"was behind by {-by} at the half" if by else "was level at the half"
    )


def _score(home: int, away: int, *, is_home: bool) -> str:
    return f" ({home}–{away})" if is_home else f" ({away}–{home})"


def _lead(points: float, forecast: Forecast) -> str:
    digits = 0 if points == round(points) else 1
    return short_lead(points, forecast.home_team or "home", forecast.away_team or "away", digits)
