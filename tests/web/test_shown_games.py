"""Games as the feed shows them: score and clock, tip-off and line on the pages, and over a moving picture."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from tests.support.processes.browser import Tab, tab
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import running_worker
from tests.web.conftest import COURSE, Evening

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client import FINAL, HALFTIME, DejavuClient
from dejavu_common.clock import utc_now

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LIVE, SCORING, EARLY, LATER, PUT_OFF, DELAYED, OLD = (f"99000000{number}" for number in range(11, 18))


def state(game_id: str, home: str, away: str, status: str, **fields: Any) -> Game:
    values: dict[str, Any] = {"tip_off_time": utc_now() - timedelta(hours=1), "observed_time": utc_now()}
    return Game(
        game_id=game_id,
        home_team=home,
        away_team=away,
        status=GameStatus.Value(f"GAME_STATUS_{status}"),
        **(values | fields),
    )


def scoring(home_score: int, seconds_left: float) -> Game:
    return state(
        SCORING, "GSW", "SAC", "LIVE", home_score=home_score, away_score=38, period=2, seconds_left=seconds_left
    )


def delayed(home_score: int) -> Game:
    return state(
        DELAYED, "CHI", "IND", "LIVE", home_score=home_score, away_score=38, period=2, seconds_left=409.0 - home_score
    )


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    with running_worker(tmp_path_factory.mktemp("server"), shipped=True) as server, DejavuClient(server) as client:
        for horizon in (HALFTIME, FINAL):
            client.predict(
                COURSE[:18], game_id=LIVE, horizon=horizon, home_team="BOS", away_team="LAL", total_points=87
            )
        client.predict(COURSE[:18], game_id=SCORING, horizon=FINAL, home_team="GSW", away_team="SAC")
        client.predict(COURSE[:18], game_id=DELAYED, horizon=FINAL, home_team="CHI", away_team="IND")
        client.predict(COURSE[:18], game_id=OLD, horizon=FINAL, home_team="DAL", away_team="DEN")
        read = utc_now() - timedelta(minutes=2)
        client.publish_games(
            [
                state(OLD, "DAL", "DEN", "LIVE", home_score=49, away_score=38, period=2, observed_time=read),
                state(LIVE, "BOS", "LAL", "LIVE", home_score=49, away_score=38, period=2, seconds_left=360.0),
                scoring(49, 360.0),
                delayed(49),
                state(EARLY, "MIA", "DEN", "LIVE", home_score=7, away_score=9, period=1, seconds_left=620.0),
                state(
                    LATER,
                    "NYK",
                    "CHI",
                    "SCHEDULED",
                    tip_off_time=utc_now() + timedelta(hours=1),
                    pregame_margin=-3.5,
                    pregame_total=221.5,
                ),
                state(PUT_OFF, "ATL", "ORL", "POSTPONED", status_text="PPD"),
            ]
        )
        with running_gateway(server, "--demo") as gateway:
            yield Evening(server, f"http://{gateway.address}")


def in_a_line(text: str) -> str:
    return " ".join(text.split()).replace("– ", "–")


def words(opened: Tab, game_id: str) -> str:
    return in_a_line(opened.page.locator(f'[data-game="{game_id}"]').inner_text())


def test_tonight_has_every_game_with_its_score_its_clock_or_its_tip_off_and_line(opened: Tab) -> None:
    opened.open("/", f'[data-game="{PUT_OFF}"]')
    assert "LAL 38–BOS 49 Q2 6:00" in words(opened, LIVE)
    assert "points of both: " in words(opened, LIVE)
    assert "DEN 9–MIA 7 Q1 10:20 Forecasts begin" in words(opened, EARLY)
    assert "Line before tip-off: CHI by 3.5 · 221.5 points" in words(opened, LATER)
    assert "tip-off " in words(opened, LATER)
    assert "postponed" in words(opened, PUT_OFF)
    groups = opened.page.locator(".board-group h2").all_inner_texts()
    assert groups == ["In play 5", "Later 1", "Postponed 1"]
    assert not opened.errors


def test_a_new_score_comes_by_itself_to_the_card_and_to_the_title_of_the_game(opened: Tab, evening: Evening) -> None:
    opened.open(f"/game/{SCORING}", ".scoreboard .score")
    assert opened.page.title() == "SAC 38 @ GSW 49 · Dejavu"
    with DejavuClient(evening.server) as client:
        client.publish_games([scoring(52, 312.0)])
    opened.page.wait_for_selector('.scoreboard .score:has-text("52")')
    assert opened.page.title() == "SAC 38 @ GSW 52 · Dejavu"
    assert "38–GSW 52 Q2 5:12" in in_a_line(opened.page.locator(".score").inner_text())
    opened.open(f"/game/{EARLY}", ".pending")
    opened.page.get_by_text("No forecast of this game is recorded yet.").wait_for()


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), pytest.param(1280, 720, marks=pytest.mark.nightly)])
def test_an_overlay_has_the_exact_frame_and_paints_nothing_but_its_box(
    browser: Browser, evening: Evening, width: int, height: int
) -> None:
    with tab(browser, evening.origin, viewport={"width": width, "height": height}) as opened:
        for kind, ready in (
            ("third", ".air-line"),
            ("bug", ".winbar"),
            ("fan", ".chart canvas"),
            ("win", ".chart canvas"),
        ):
            opened.open(f"/overlay/game/{LIVE}?frame={width}x{height}&show={kind}", ready)
            frame = opened.page.locator(".overlay").bounding_box()
            assert frame == {"x": 0, "y": 0, "width": width, "height": height}
            box = opened.page.locator(".overlay-box").bounding_box()
            assert box is not None
            assert 0 <= box["x"] < box["x"] + box["width"] <= width
            assert 0 <= box["y"] < box["y"] + box["height"] <= height
            picture = Image.open(io.BytesIO(opened.page.screenshot(omit_background=True)))
            assert picture.size == (width, height)
            painted = picture.getchannel("A").getbbox()
            assert painted is not None
            assert painted[0] >= box["x"] - 1  # its edge may be smoothed
            assert painted[1] >= box["y"] - 1
            assert painted[2] <= round(box["x"] + box["width"]) + 1
            assert painted[3] <= round(box["y"] + box["height"]) + 1
            assert not opened.errors
            assert not opened.foreign
        opened.open(f"/overlay/game/{LIVE}?x=10&y=20&width=600", ".air-line")
        placed = opened.page.locator(".overlay-box").bounding_box()
        assert placed is not None
        assert (placed["x"], placed["y"], placed["width"]) == (10, 20, 600)
        assert "BOS" in opened.page.locator(".winbar").inner_text()


def test_an_overlay_is_as_late_as_the_picture_that_it_lies_on(opened: Tab, evening: Evening) -> None:
    opened.open(f"/overlay/game/{DELAYED}?delay=3", ".air-side b")
    began = time.monotonic()
    with DejavuClient(evening.server) as client:
        client.publish_games([delayed(55)])
        client.predict([*COURSE[:18], 12.0], game_id=DELAYED, horizon=FINAL, home_team="CHI", away_team="IND")
    before = opened.page.locator(".air-line").first.inner_text()
    opened.page.wait_for_selector('.air-sides:has-text("55")')
    opened.page.wait_for_function("before => document.querySelector('.air-line').innerText !== before", arg=before)
    assert time.monotonic() - began >= 3.0
    assert not opened.errors


def test_a_what_if_is_in_its_address(opened: Tab) -> None:
    address = "/what-if?pattern=0,2,5&home=BOS&away=LAL&horizon=half&alpha=0.2&points=15"
    opened.open(address, '[data-answer="point"]')
    assert opened.page.locator("textarea, input[type=text]").first.input_value() == "0 2 5"
    assert "80 %" in opened.page.locator('[data-answer="point"] dd .sub').inner_text()
    assert opened.page.get_by_label("Points of both so far").input_value() == "15"
    assert "Points of both at the half" in opened.page.locator(".stats").inner_text()
    assert opened.page.url.endswith(address)
    opened.page.get_by_label("Points of both so far").fill("17")
    opened.page.wait_for_url("**" + address.replace("points=15", "points=17"))
    opened.page.reload()
    opened.page.wait_for_selector('[data-answer="point"]')
    assert opened.page.get_by_label("Points of both so far").input_value() == "17"


def test_a_what_if_says_what_prices_are_worth(opened: Tab) -> None:
    opened.open("/what-if?pattern=0,2,5&home=BOS&away=LAL&homePrice=1.5", '[data-answer="point"]')
    assert "Expected the prices of both" in opened.page.locator("#form-note").inner_text()
    opened.page.get_by_label("Price of LAL").fill("-110")
    opened.page.wait_for_selector(".market table")
    home, away = (row.split("\t") for row in opened.page.locator(".market tbody").inner_text().split("\n"))
    assert home[:2] == ["BOS wins", "1.50"]
    assert away[:2] == ["LAL wins", "−110"]
    market, model = (float(cell.removesuffix(" %")) / 100 for cell in home[2:4])
    returns = float(home[5].removesuffix(" %").replace("−", "-"))
    assert returns == pytest.approx(100 * (1.5 * (market + model) / 2 - 1), abs=0.2)


def test_an_embedded_chart_fits_a_frame_of_16_to_9(opened: Tab) -> None:
    width, height = 480, 270
    opened.page.set_viewport_size({"width": width, "height": height})
    opened.open(f"/embed/game/{LIVE}", ".chart canvas")
    # The chart is drawn again once its frame has its size: until then there may be none, or a larger one.
    opened.page.wait_for_function(
        """height => {
            const [chart, foot] = [".chart canvas", ".embed-foot"].map(
                (each) => document.querySelector(each)?.getBoundingClientRect());
            return chart?.height > 0 && chart.bottom <= foot.top && foot.top < foot.bottom && foot.bottom <= height &&
                document.documentElement.scrollHeight <= height;
        }""",
        arg=height,
    )


def test_an_evening_is_chosen_by_its_date(opened: Tab) -> None:
    opened.open("/", f'[data-game="{LIVE}"]')
    opened.page.get_by_label("Choose an evening").fill("2024-01-15")
    opened.page.wait_for_selector("text=No game of this evening is known.")
    assert opened.page.url.endswith("/?date=2024-01-15")
    assert opened.page.title() == "Monday, January 15, 2024 · Dejavu"


def test_the_evening_goes_on_the_air_by_itself(opened: Tab) -> None:
    opened.open("/overlay/closest", ".winbar")
    opened.open("/overlay/ticker", ".air + .air")
    opened.page.set_viewport_size({"width": 1920, "height": 1080})
    opened.open("/board?games=4&theme=light", ".tv-game .winbar")
    assert opened.page.locator(".tv-game").count() == 4
    opened.page.wait_for_selector(".tv-game:nth-of-type(4) .air")
    low = opened.page.evaluate(
        """[...document.querySelectorAll(".tv-game .air *")]
            .filter((one) => one.innerText && one.offsetParent)
            .filter((one) => parseFloat(getComputedStyle(one).fontSize) < 32).length"""
    )
    assert low == 0, "text of 32 pixels is read from four metres"
    opened.open(f"/board?games={LIVE}", '.tv-game:has-text("LAL")')
    assert opened.page.locator(".tv-game").count() == 1
    assert not opened.errors


@pytest.mark.parametrize(("wrong", "said"), [("0022399999", "No game 0022399999 is known"), ("abc", "is no game's id")])
def test_the_builder_tells_of_a_wrong_game_and_its_overlay_stays_empty(opened: Tab, wrong: str, said: str) -> None:
    opened.open(f"/overlay?game={wrong}", '[role="alert"]')
    assert said in opened.page.get_by_role("alert").inner_text()
    opened.open(f"/overlay/game/{wrong}", ".overlay")
    opened.page.wait_for_load_state("networkidle")
    assert not opened.page.locator("body").inner_text().strip()


def test_an_overlay_is_built_with_a_preview_and_its_address(opened: Tab) -> None:
    opened.open("/overlay", ".preview iframe")
    opened.page.get_by_role("combobox").first.select_option(label="LAL @ BOS")
    for choice in ("Score bug", "likely final margin", "Light", "1280 × 720"):
        opened.page.get_by_label(choice, exact=True).check()
    opened.page.get_by_label("Place").select_option("bottom")
    opened.page.get_by_label("Seconds late").fill("30")
    address = opened.page.get_by_label("Address of the overlay")
    address.focus()
    query = "show=bug,chance,end&theme=light&frame=1280x720&place=bottom&delay=30"
    assert address.input_value() == f"{opened.origin}/overlay/game/{LIVE}?{query}"
    preview = opened.page.frame_locator(".preview iframe")
    preview.locator('[data-form="bug"] .air-line').wait_for()
    assert preview.locator("html").get_attribute("data-theme") == "light"
    assert not opened.errors


def test_what_may_be_old_is_grey_and_still_tells_the_sides_apart(opened: Tab) -> None:
    opened.open(f"/overlay/game/{OLD}", '.air[data-old="true"] .winbar')
    home, away = (
        opened.page.locator(f"rect.side-{side}").evaluate("one => getComputedStyle(one).fill")
        for side in ("home", "away")
    )
    assert home != away
    for color in (home, away):
        parts = [int(part) for part in re.findall(r"\d+", color)]
        assert max(parts) - min(parts) < 30, f"{color} is no grey"
    assert "DEN" in opened.page.locator(".winbar").inner_text()
