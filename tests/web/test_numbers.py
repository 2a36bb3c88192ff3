"""The numbers of the page equal those of the RPCs, to the last digit shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.processes.browser import Tab
from tests.web.conftest import COURSE, END, IN_PLAY, MINUTES, OVER, Evening

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import FINAL, HALFTIME, DejavuClient

if TYPE_CHECKING:
    from playwright.sync_api import Response

HOME, AWAY = "DEN", "MIA"


def shown_lead(text: str, home: str, away: str) -> tuple[float, int]:
    """The differential that a text such as "DEN +7.3" states, and its number of decimals."""
    if text == "even":
        return 0.0, 1
    match = re.fullmatch(rf"({home}|{away}) \+(\d+(?:\.(\d+))?)", text)
    assert match is not None, text
    return float(match[2]) * (1 if match[1] == home else -1), len(match[3] or "")


def assert_shows(text: str, value: float, home: str = HOME, away: str = AWAY) -> None:
    shown, digits = shown_lead(text.strip(), home, away)
    assert abs(shown - value) <= 0.5 * 10**-digits + 1e-9, (text, value)
    assert digits == 1 or shown == value


def assert_interval(text: str, forecast: Forecast, home: str = HOME, away: str = AWAY) -> None:
    match = re.search(r"95 %: (.+) to (.+)", text.splitlines()[0].strip())
    assert match is not None, text
    assert_shows(match[1], forecast.interval_lower, home, away)
    assert_shows(match[2], forecast.interval_upper, home, away)


def assert_percent(text: str, probability: float) -> None:
    match = re.match(r"([<>]?)(\d+) %", text)
    assert match is not None, text
    if match[1] == ">":
        assert 0.99 < probability < 1
    else:
        assert abs(float(match[2]) - 100 * probability) <= 0.5 + 1e-9, (text, probability)


def test_the_board_shows_the_newest_forecasts(opened: Tab, evening: Evening) -> None:
    with DejavuClient(evening.server) as client:
        opened.open("/", f'[data-game="{IN_PLAY}"] .chance')
        card = opened.page.locator(f'[data-game="{IN_PLAY}"]')
        for name, horizon in (("half", HALFTIME), ("final", FINAL)):
            forecast = client.get_prediction(IN_PLAY, horizon=horizon).prediction.forecast
            row = card.locator(f'[data-horizon="{name}"]')
            assert_shows(row.locator(".figure-number").inner_text(), forecast.point_forecast)
            assert_interval(row.locator(".interval-text").inner_text(), forecast)
            if horizon == FINAL:
                likelier = max(forecast.home_lead_probability, 1 - forecast.home_lead_probability)
                assert_percent(card.locator(".chance-number").inner_text(), likelier)
        assert card.locator(".lead-now").inner_text() == f"{HOME} +{COURSE[MINUTES[-1] - 1]}"
        over = opened.page.locator(f'[data-game="{OVER}"]')
        assert over.locator(".lead-now").inner_text() == f"LAL +{-END}"
        assert "LAL won" not in over.locator(".story").inner_text(), "nobody watched its second half"


def test_the_board_draws_what_was_forecast_before_it_was_opened(opened: Tab, evening: Evening) -> None:
    with DejavuClient(evening.server) as client:
        opened.open("/", f'[data-game="{IN_PLAY}"] .sparkline-line')
        drawn = opened.page.locator(f'[data-game="{IN_PLAY}"] .sparkline-line').get_attribute("d")
        steps = re.findall(r"(\d+)[ V](\d+\.\d\d)", drawn or "")
        assert [int(minute) for minute, _ in steps] == list(MINUTES)
        for minute, y in steps:
            forecast = client.get_prediction(IN_PLAY, horizon=FINAL, elapsed_minutes=int(minute)).prediction.forecast
            assert abs(float(y) - 20 * (1 - forecast.home_lead_probability)) <= 0.005 + 1e-9


def test_a_game_shows_what_was_forecast_after_each_minute(opened: Tab, evening: Evening) -> None:
    with DejavuClient(evening.server) as client:
        for minute in MINUTES:
            opened.open(f"/game/{IN_PLAY}?minute={minute}", ".scoreboard [data-horizon]")
            for name, horizon in (("half", HALFTIME), ("final", FINAL)):
                forecast = client.get_prediction(IN_PLAY, horizon=horizon, elapsed_minutes=minute).prediction.forecast
                shown = opened.page.locator(f'.scoreboard [data-horizon="{name}"]')
                assert_shows(shown.locator("strong").inner_text(), forecast.point_forecast)
                assert_interval(shown.locator("dd .sub").inner_text(), forecast)
                if horizon == FINAL:
                    home = opened.page.locator('.winbar > [data-side="home"]').inner_text()
                    assert_percent(home.removeprefix(f"{HOME} wins").strip(), forecast.home_lead_probability)


def test_a_what_if_shows_the_answer_to_what_was_typed(opened: Tab, evening: Evening) -> None:
    pattern = [0.0, -2, -5, -4, -9, -7]
    with DejavuClient(evening.server) as client:
        opened.open("/what-if", '[data-answer="point"]')
        opened.page.get_by_label("Home team").select_option(HOME)
        opened.page.get_by_label("Away team").select_option(AWAY)
        opened.page.get_by_role("radio", name="half").check()
        opened.page.get_by_label("Points of both so far").fill("25")

        def answers(response: Response) -> bool:
            asked = response.request.post_data_json if response.url.endswith("/api/predict") else None
            expected = (pattern, "HORIZON_HALFTIME", 25)
            return asked is not None and (asked["pattern"], asked["horizon"], asked.get("totalPoints")) == expected

        with opened.page.expect_response(answers):
            opened.page.get_by_label("Lead at the end").fill(" ".join(f"{value:g}" for value in pattern))
        forecast = client.predict(pattern, home_team=HOME, away_team=AWAY, total_points=25)
        opened.page.wait_for_selector('.stat dt:text-is("Points of both at the half")')
        total = opened.page.locator('[data-answer="total"] strong').inner_text()
        assert abs(float(total) - forecast.total.point_forecast) < 0.051
        assert_shows(opened.page.locator('[data-answer="point"] strong').inner_text(), forecast.point_forecast)
        assert_interval(opened.page.locator('[data-answer="point"] dd .sub').inner_text(), forecast)
        assert_percent(
            opened.page.locator('[data-answer="probability"] strong').inner_text(), forecast.home_lead_probability
        )


def test_the_record_shows_the_scorecard(opened: Tab, evening: Evening) -> None:
    with DejavuClient(evening.server) as client:
        card = client.get_scorecard(horizon=FINAL, include_replays=True)
        opened.open("/record", ".stats")
        opened.page.wait_for_selector(".checks")  # the checkpoint is asked for after the figures
        text = opened.page.locator("main").inner_text()
        assert f"{card.games} games, {card.forecasts} forecasts" in text
        assert opened.page.locator(".opening").inner_text().endswith("too few to say how often it is right.")
        for value, digits in ((card.mae.value, 2), (card.crps.value, 2), (card.brier.value, 3)):
            assert f"{value:.{digits}f}" in text
        assert f"{100 * card.coverage[0].coverage:.1f} %" in text
        opened.page.locator(".figure").first.get_by_role("button", name="Show as table").click()
        rows = opened.page.locator(".figure").first.locator("tbody tr").all_inner_texts()
        assert [row.split("\t") for row in rows] == [
            [
                *(f"{100 * value:.1f} %" for value in (each.mean_probability, each.rate)),
                f"{100 * each.lower:.1f} % – {100 * each.upper:.1f} %",
                str(each.forecasts),
                str(each.games),
            ]
            for each in card.reliability
        ]
        assert f"if the leader wins: {card.leader_brier.value:.3f}" in text
        head = client.get_checkpoint()
        assert head.hash.hex() in text
        assert head.ledger_id in text
