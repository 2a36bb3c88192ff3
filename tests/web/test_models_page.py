"""The page of the models: it shows the answers of the RPCs, and a server without a store is no fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.browser import Tab, tab
from tests.support.processes.gateway import running_gateway
from tests.support.processes.restartable_server import address_of
from tests.support.processes.scrapes import scrape_when, value_in
from tests.support.processes.servers import spawned_server
from tests.support.programs.model_servers import challenger_version, store_with_challenger
from tests.web.test_pages import COLORS, LAPTOP

from dejavu_client import FINAL, DejavuClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GAMES = 4
REASON = "another weight, to try it"


@dataclass(frozen=True)
class ChallengedServer:
    """A server with a champion and a challenger, and its gateway.

    Attributes:
        server: HOST:PORT of the server.
        origin: scheme, host and port of the gateway.
        champion: version of the champion.
        challenger: version of the challenger.
    """

    server: str
    origin: str
    champion: str
    challenger: str


@pytest.fixture(scope="module")
def challenged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChallengedServer]:
    """A server that has settled some games of both models, and a gateway of it."""
    folder = tmp_path_factory.mktemp("challenged")
    ledger, store = f"sqlite:///{folder}/ledger.sqlite3", store_with_challenger(folder)
    arguments = ("--workers", "1", "--ledger", ledger, "--model-store", store, "--metrics-listen", "127.0.0.1:0")
    with spawned_server(*arguments) as server, DejavuClient(address_of(server), timeout=60.0) as client:
        version = challenger_version()
        client.load_model(version, reason=REASON)
        games = [current_game(number) for number in range(GAMES)]
        champion = client.get_model().model.version
        for game in games:
            client.predict(PATTERN, game_id=game, horizon=FINAL, home_team="BOS", away_team="LAL")
        scrape_when(server, lambda text: value_in(text, "dejavu_shadows_total", outcome="recorded") == GAMES)
        for number, game in enumerate(games):
            client.report_outcome(game, 7 + 3 * number, horizon=FINAL)
        with running_gateway(server.address) as gateway:
            yield ChallengedServer(server.address, f"http://{gateway.address}", champion, version)


def shown(digits: int, value: float) -> str:
    """A difference as the page writes it."""
    text = f"{abs(value):.{digits}f}"
    sign = "−" if value < 0 else "+"
    return text if float(text) == 0 else sign + text


def rows_of(opened: Tab, caption: str) -> list[list[str]]:
    table = opened.page.get_by_role("region", name=caption, exact=True)
    found: list[list[str]] = table.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    return found


@pytest.fixture(scope="module")
def challenged_tab(browser: Browser, challenged: ChallengedServer) -> Iterator[Tab]:
    with tab(browser, challenged.origin) as opened:
        yield opened


def test_a_challenger_is_shown_with_what_is_known_of_it(challenged_tab: Tab, challenged: ChallengedServer) -> None:
    opened = challenged_tab
    opened.page.set_viewport_size(LAPTOP)
    with DejavuClient(challenged.server) as client:
        opened.open("/record", "h1")
        opened.page.get_by_role("link", name="Models: who answers").click()
        opened.page.wait_for_selector(".verdict")
        found = client.compare_models(horizon=FINAL)
        assert found.games == GAMES
        main = opened.page.locator("main")
        text = main.inner_text()
        assert f"{GAMES} games, {found.forecasts} forecasts of each" in text
        assert f"The gate waits: there is not enough evidence yet. {found.decision_reason}." in text
        for score, digits in ((found.crps, 3), (found.brier, 4)):
            assert f"{score.score:.{digits}f}" in text
            assert f"champion {challenged.champion[:8]}: {score.against_score:.{digits}f}" in text
            assert f"difference {shown(digits, score.difference)} [{shown(digits, score.lower)}" in text
        for each in found.coverage:
            assert f"{100 * each.coverage:.1f} %" in text
            assert f"at least {100 * each.bound:.1f} % needed" in text
        toggles = opened.page.get_by_role("button", name="Show as table")
        while toggles.count():
            toggles.first.click()
        for caption, score in (("Evidence by the CRPS", found.crps), ("Evidence by the Brier score", found.brier)):
            points = [[int(games), float(one), float(other)] for games, one, other in rows_of(opened, caption)]
            expected = [[each.games, each.not_worse_e_value, each.worse_e_value] for each in score.path]
            assert points == [pytest.approx(each, abs=0.005) for each in expected]
        for place in range(2):
            canvas = opened.page.locator(".chart canvas").nth(place)
            canvas.scroll_into_view_if_needed()
            assert canvas.evaluate(COLORS) > 10
        listed = {row[0]: row[1:3] for row in rows_of(opened, "The models")}
        assert listed == {
            challenged.champion[:8]: ["answers", "champion"],
            challenged.challenger[:8]: ["shadow", "challenger"],
        }
        changes = rows_of(opened, "Who changed what, and when")
        recorded = client.list_model_changes().changes
        assert [row[2] for row in changes] == [each.model_version[:8] for each in recorded]
        assert [row[1] for row in changes[:2]] == ["staged", "registered"]
        assert changes[0][4] == REASON
        assert not opened.errors


def test_the_champion_is_compared_with_persistence(challenged_tab: Tab, challenged: ChallengedServer) -> None:
    opened = challenged_tab
    with DejavuClient(challenged.server) as client:
        found = client.compare_models("champion", "persistence", horizon=FINAL)
        opened.open("/models", ".verdict")
        pair = f"champion {challenged.champion[:8]} with repeating the lead"
        opened.page.get_by_label("Compare").select_option(pair)
        name = f"champion {challenged.champion[:8]}"
        verdict = f"No evidence yet that {name} is worse than repeating the lead."
        opened.page.locator(".verdict", has_text=verdict).wait_for()
        assert f"repeating the lead: {found.crps.against_score:.3f}" in opened.page.locator("main").inner_text()


def test_a_server_without_a_store_says_so_and_asks_for_nothing_more(opened: Tab) -> None:
    asked = list[str]()
    opened.page.on("request", lambda request: asked.append(request.url))
    opened.open("/models", ".stack table")
    opened.page.get_by_text("It has no store of models").wait_for()
    assert opened.page.locator('[role="alert"], .problem').count() == 0
    assert not [url for url in asked if "comparison" in url or "model-changes" in url]
    assert not opened.errors


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/models", "/api/models"),
        ("/api/models/challenger", "/api/models/{modelVersion}"),
        ("/api/comparison?horizon=HORIZON_FINAL", "/api/comparison"),
        (
            "/api/comparison?horizon=HORIZON_HALFTIME&modelVersion=champion&againstVersion=persistence",
            "/api/comparison",
        ),
        ("/api/model-changes?pageSize=1", "/api/model-changes"),
    ],
)
def test_what_the_page_asks_for_has_the_form_that_is_described(
    challenged: ChallengedServer, path: str, template: str
) -> None:
    import jsonschema  # makes its grammar of URIs: in no other process of a run

    document = httpx.get(f"{challenged.origin}/openapi.json", timeout=60).json()
    answer = httpx.get(challenged.origin + path, timeout=60)
    assert answer.status_code == 200, answer.text
    described = document["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    schema = {**described, "components": document["components"]}
    jsonschema.validate(answer.json(), schema, cls=jsonschema.Draft202012Validator)


def test_json_has_the_numbers_of_the_rpcs(challenged: ChallengedServer) -> None:
    with DejavuClient(challenged.server) as client, httpx.Client(base_url=challenged.origin, timeout=60) as http:
        found = http.get("/api/comparison?horizon=HORIZON_FINAL").json()
        expected = MessageToDict(client.compare_models(horizon=FINAL), always_print_fields_with_no_presence=True)
        assert found == {"comparison": expected}
        refused = http.get("/api/comparison?horizon=HORIZON_FINAL&modelVersion=nothing")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "NOT_FOUND")
        listed = MessageToDict(client.list_model_changes(), always_print_fields_with_no_presence=True)
        assert http.get("/api/model-changes").json() == listed
