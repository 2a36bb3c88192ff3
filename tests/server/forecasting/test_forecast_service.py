"""Forecasts are made by the models that answer, and those of named games recorded before they are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.support.builders.calls import GAME
from tests.support.builders.issued_forecasts import game
from tests.support.builders.model_changes import champion, change_models
from tests.support.builders.outcomes import MARKET, outcome
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.fakes.forecasters import PersistenceForecaster
from typing_extensions import override

from dejavu_common.clock import game_day
from dejavu_feed.box_score import Lineups, lineups
from dejavu_feed.live_inputs import LiveInputs
from dejavu_ledger import Ledger, LedgerUnavailable
from dejavu_ledger.errors import ModelsChanged
from dejavu_ledger.ledger import UNLIMITED, Recorder
from dejavu_ledger.queries import pages
from dejavu_ledger.records import IssuedForecast, MarketRecording
from dejavu_models.errors import UnknownModel, Unsupported
from dejavu_models.forecast_query import ForecastQuery, LineupEffects, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.results import Failed, Result
from dejavu_models.types import ExpectedMarginTerms, Forecast, Horizon
from dejavu_server.forecast_request import ForecastRequest
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.forecast_service import CHANGES_FOLLOWED, ForecastService
from dejavu_server.forecasting.lifecycle.lifecycle_errors import NotChampion
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.limits import SERVER
from dejavu_server.observability.metrics import Metrics
from dejavu_store.stages import ModelAction

GAME_DAY = game_day(datetime.now(UTC))  # a market of a past evening is late, and not recorded
LATER = GAME_DAY + timedelta(days=1)


class CountedCommits(Ledger):
    """A ledger that knows how many forecasts were committed at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self.commits: list[int] = []
        self._ledger = ledger

    async def commit(
        self, issued: Sequence[IssuedForecast], recorder: Recorder = UNLIMITED
    ) -> list[Result[IssuedForecast]]:
        self.commits.append(len(issued))
        return await self._ledger.commit(issued, recorder)


class Setting:
    """A forecast service on a ledger, of models of which the first answers."""

    def __init__(self, ledger: Ledger, *forecasters: Forecaster) -> None:
        self.ledger = ledger
        self.counted = CountedCommits(ledger)
        self.models = ServingModels(forecasters)
        self.new: list[IssuedForecast] = []
        self.batcher = Batcher(Metrics())
        self.metrics = Metrics()
        options: Any = {"lifetime": timedelta(minutes=5), "on_new": self.new.append}
        self.service = ForecastService(self.models, self.batcher, lambda: self.counted, self.metrics, **options)

    def recorded(self, horizon: Horizon = Horizon.HALFTIME) -> list[float | None]:
        """Return the numbers of forecasts that were recorded as new, known before, refused, and failed."""
        labels = ({"outcome": each, "horizon": horizon.value} for each in ("new", "known", "refused", "failed"))
        value = self.metrics.registry.get_sample_value
        return [value("dejavu_forecasts_recorded_total", each) for each in labels]

    async def ask(self, request: ForecastRequest, *, many: bool = False) -> IssuedForecast:
        """Answer a request, alone or as a batch of one."""
        if not many:
            return await self.service.forecast(request, SERVER)
        [answer] = await self.service.forecast_many([request], SERVER)
        assert isinstance(answer, IssuedForecast)
        return answer

    async def promote(self, version: str) -> int:
        """Promote a model in the ledger, which `models` learn of when they look; return the sequence of the change."""
        roster, _ = await change_models(self.ledger, ModelAction.PROMOTE, version)

        async def follow() -> bool:
            self.models.switch(roster)
            return True

        self.models.follow = follow
        return roster.sequence


@pytest.fixture
async def make(ledger: Ledger) -> AsyncIterator[Callable[..., Setting]]:
    made: list[Setting] = []

    def make(*forecasters: Forecaster) -> Setting:
        made.append(Setting(ledger, *forecasters))
        return made[-1]

    yield make
    for each in made:
        await each.batcher.close()


@pytest.fixture
async def plain(make: Callable[..., Setting]) -> Setting:
    """A service of two models without a roster."""
    return make(PersistenceForecaster("one"), PersistenceForecaster("two"))


@pytest.fixture
async def changing(ledger: Ledger, plain: Setting) -> Setting:
    """A service of a champion, one, and a challenger, two."""
    plain.models.switch(await champion(ledger, "one", "two"))
    return plain


def question(
    game_id: str = "", model: str = "", *, last: float = 4.0, slots: int = 18, **query: Any
) -> ForecastRequest:
    pattern = ScorePattern((*[0.0] * (slots - 1), last))
    return ForecastRequest(game_id, model, ForecastQuery(pattern, **query))


def outcomes(results: Sequence[Result[IssuedForecast]]) -> list[object]:
    """Return the version of each forecast and the type of each error."""
    return [type(each.error) if isinstance(each, Failed) else each.forecast.model_version for each in results]


async def test_of_many_each_has_its_own_fate_in_its_own_place(plain: Setting) -> None:
    requests = [question(GAME), question(slots=5), question(last=3.0), question(model="three"), question(model="two")]
    results = await plain.service.forecast_many(requests, SERVER)
    assert outcomes(results) == ["one", Unsupported, "one", UnknownModel, "two"]
    points = [(each.forecast.point, each.sequence) for each in results if isinstance(each, IssuedForecast)]
    assert points == [(4.0, 1), (3.0, 0), (4.0, 0)]
    await plain.ledger.close()
    results = await plain.service.forecast_many([question(GAME), question()], SERVER)
    assert outcomes(results) == [LedgerUnavailable, "one"]


async def test_what_the_ledger_says_of_forecasts_is_counted(make: Callable[..., Setting]) -> None:
    setting = make(EveryMinuteForecaster())
    for number in (2, 3):
        await setting.ledger.record_outcome(outcome(4, game(number)))
    final = question(game(5), horizon=Horizon.FINAL)
    await setting.service.forecast_many([*(question(game(n)) for n in (1, 1, 2, 3)), question(), final], SERVER)
    await setting.ledger.close()
    with pytest.raises(LedgerUnavailable):
        await setting.service.forecast(final, SERVER)
    assert (setting.recorded(), setting.recorded(Horizon.FINAL)) == ([1, 1, 2, 0], [1, 0, 0, 1])


async def test_the_model_that_answers_when_it_is_recorded_makes_the_forecast(changing: Setting) -> None:
    sequence = await changing.promote("two")
    issued = await changing.service.forecast(question(GAME), SERVER)
    assert (issued.forecast.model_version, issued.roster_sequence) == ("two", sequence)
    assert changing.new == [issued]


async def test_the_model_that_answers_when_they_are_recorded_makes_forecasts(changing: Setting) -> None:
    sequence = await changing.promote("two")
    requests = [question(game(1)), question(), question(game(2), "one"), question(game(3))]
    answers = await changing.service.forecast_many(requests, SERVER)
    assert outcomes(answers) == ["two", "one", NotChampion, "two"]
    assert [(each.game_id, each.roster_sequence) for each in changing.new] == [(game(1), sequence), (game(3), sequence)]


async def test_a_named_game_is_forecast_by_the_champion_alone(changing: Setting) -> None:
    sequence = await changing.promote("two")
    await changing.models.wait_for(sequence)
    assert (await changing.ask(question(model="one"))).forecast.model_version == "one"
    issued = await changing.ask(question(GAME, "two"))
    assert (issued.forecast.model_version, issued.roster_sequence) == ("two", sequence)
    with pytest.raises(NotChampion, match="model_version: 'one'"):
        await changing.ask(question(GAME, "one"))


async def test_changes_without_end_are_an_error_that_may_pass(changing: Setting) -> None:
    followed: list[str] = []

    async def promote_next() -> None:
        promoted = ("two", "one")[len(followed) % 2]
        await changing.promote(promoted)
        follow = changing.models.follow

        async def outrun() -> bool:
            assert follow is not None
            await follow()
            followed.append(promoted)
            await promote_next()
            return True

        changing.models.follow = outrun

    await promote_next()
    with pytest.raises(ModelsChanged):
        await changing.ask(question(GAME))
    assert len(followed) == CHANGES_FOLLOWED - 1
    results = await changing.service.forecast_many([question(GAME)], SERVER)
    assert outcomes(results) == [ModelsChanged]
    assert changing.new == []


@pytest.mark.parametrize("many", [False, True])
async def test_a_named_game_has_the_quantiles_of_this_call(make: Callable[..., Setting], many: bool) -> None:
    setting = make(EveryMinuteForecaster())
    for levels in ((), (0.9, 0.1), (0.25,), ()):
        issued = await setting.ask(question(GAME, quantile_levels=levels), many=many)
        assert tuple(each.level for each in issued.forecast.quantiles) == levels


def line_ups(substitutes: int) -> Lineups:
    return lineups(range(1, 6), range(21, 26), range(1, 6 + substitutes), ())


def missing(query: ForecastQuery) -> float:
    """Return how many players are missing, as if each that was seen were."""
    if isinstance(query.lineups, Lineups):
        return float(len(query.lineups.home_seen))
    return (query.lineups or LineupEffects()).missing_players


def used(query: ForecastQuery) -> tuple[date | None, float, int | None]:
    return query.game_date, missing(query), query.live.total_points


class DatedForecaster(EveryMinuteForecaster):
    """Gives the home team 74 % on the day of the game, 70 % on others.

    Each player that was seen costs it a percentage point.
    """

    @override
    def forecast_many(self, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        return [
            replace(
                made,
                home_lead_probability=(0.74 if query.game_date == GAME_DAY else 0.7) - missing(query) / 100,
                expected_margin_terms=ExpectedMarginTerms(2.0, 2.0, missing_players=missing(query)),
            )
            for query, made in zip(queries, super().forecast_many(queries), strict=True)
        ]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"game_date": LATER}, (LATER, 6.0, 80)),
        ({"lineups": None}, (GAME_DAY, 0.0, 80)),
        ({"lineups": line_ups(3)}, (GAME_DAY, 8.0, 80)),
        ({"live": LiveInputs()}, (GAME_DAY, 6.0, None)),
    ],
    ids=["another date", "no line-ups", "other line-ups", "no points"],
)
async def test_a_market_and_quantiles_are_of_the_inputs_that_were_recorded(
    make: Callable[..., Setting], many: bool, changed: dict[str, Any], expected: tuple[object, ...]
) -> None:
    """Formerly, the market of a forecast of 74 % was weighed with 70 %, the probability for today's date."""
    model = DatedForecaster()
    setting = make(model)
    inputs: dict[str, Any] = {
        "game_date": GAME_DAY,
        "lineups": line_ups(1),
        "live": LiveInputs(80),
    }
    inputs |= {"home_team": "BKN", "away_team": "GSW", "record": True, "explain": True}
    recorded = await setting.ask(replace(question(GAME, **inputs), game_date=GAME_DAY), many=many)
    computed: list[tuple[object, ...]] = []
    model.before = lambda queries: computed.extend(map(used, queries))
    asked = question(GAME, **{**inputs, **changed}, markets=(MARKET,), quantile_levels=(0.5,))
    quote = await setting.ask(asked, many=many)
    assert computed == [expected, (GAME_DAY, 6.0, 80)]
    assert (quote.sequence, quote.revision, quote.day, quote.live) == (recorded.sequence, 0, GAME_DAY, LiveInputs(80))
    assert quote.forecast.home_lead_probability == pytest.approx(0.68)
    assert [(each.market, each.recording) for each in quote.markets] == [(MARKET, MarketRecording.RECORDED)]
    assert quote.recomputed is None
    labels = {"horizon": "halftime", "outcome": "known"}
    counted = setting.metrics.registry.get_sample_value("dejavu_forecasts_recorded_total", labels)
    assert counted == 1, "what is computed again is counted once"
    page = await setting.ledger.read(lambda connection: pages.page(connection, pages.ForecastFilter(), "", 9))
    assert [each.answer for each in page.forecasts[0].markets] == [quote.forecast.market]


async def test_of_many_those_computed_again_as_recorded_are_recorded_together(make: Callable[..., Setting]) -> None:
    """Recorded one by one, they would not wait for their caller's turn, and would delay the forecasts of others."""
    setting = make(EveryMinuteForecaster())
    requests = [question(game(number), live=LiveInputs(80)) for number in range(3)]
    await setting.service.forecast_many(requests, SERVER)
    asked = [question(each.game_id, quantile_levels=(0.5,)) for each in requests]
    results = await setting.service.forecast_many([*asked, question()], SERVER)
    assert [isinstance(each, IssuedForecast) and len(each.forecast.quantiles) for each in results] == [1, 1, 1, 0]
    assert setting.counted.commits == [3, 3, 3]
