"""The record service of a real worker: reports of outcomes, what they settle, and signed checkpoints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.empty_ledger import ledger_url

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_client import HALFTIME, AsyncDejavuClient, NotFoundError, UnavailableError
from dejavu_common.clock import game_day
from dejavu_ledger import verify
from dejavu_ledger.audit.checkpoints import is_signed
from dejavu_server.cli import checkpoint_files
from dejavu_server.worker.worker import Worker

GAME = current_game(1)


async def test_an_outcome_settles_what_was_forecast_and_is_told_with_it(client: AsyncDejavuClient) -> None:
    with pytest.raises(NotFoundError) as unknown:
        await client.get_prediction(GAME)
    assert unknown.value.reason == "UNKNOWN_GAME"
    made = await client.predict([3.0] * 18, game_id=GAME, horizon=HALFTIME, home_team="BOS", away_team="NYK")
    reported = await client.report_outcome(GAME, 8, horizon=HALFTIME, home_team="BOS", away_team="NYK")
    assert (reported.settled_forecasts, reported.outcome.revision) == (1, 0)
    told = await client.get_prediction(GAME)
    assert list(told.outcomes) == [told.prediction.outcome] == [reported.outcome]
    assert told.prediction.forecast.sequence == made.sequence
    assert list(told.prediction.pattern) == [3.0] * 18
    settlement = told.prediction.settlement
    assert settlement.outcome_sequence == reported.outcome.sequence
    assert settlement.error == pytest.approx(made.point_forecast - 8)
    assert settlement.absolute_error == pytest.approx(abs(made.point_forecast - 8))
    assert settlement.persistence_absolute_error == 5.0
    assert settlement.covered == (made.interval_lower <= 8 <= made.interval_upper)
    assert settlement.brier == pytest.approx((made.home_lead_probability - 1.0) ** 2)


async def test_a_page_contains_explanations_only_on_request(client: AsyncDejavuClient) -> None:
    await client.predict(PATTERN, game_id=GAME, horizon=HALFTIME)
    [plain] = [each async for each in client.list_predictions()]
    [full] = [each async for each in client.list_predictions(explain=True)]
    alone = (await client.get_prediction(GAME)).prediction
    for game in alone.forecast.explanation.similar_games:
        assert game.course
        game.ClearField("course")  # a page has none
    assert full == alone
    assert full.forecast.HasField("explanation")
    full.forecast.ClearField("explanation")
    assert plain == full


async def test_a_scorecard_and_a_leaderboard_come_out_of_the_ledger(client: AsyncDejavuClient, worker: Worker) -> None:
    for number in range(4):
        await client.predict([float(number)] * 18, game_id=current_game(number), horizon=HALFTIME)
        await client.report_outcome(current_game(number), number + 2, horizon=HALFTIME)
    card = await client.get_scorecard(horizon=HALFTIME)
    assert (card.games, card.forecasts) == (4, 4)
    assert card.persistence_mae.value == 2.0
    assert [(each.alpha, each.games) for each in card.coverage] == [(0.05, 4)]
    assert not card.HasField("market")
    later = game_day(datetime.now(UTC)) + timedelta(days=2)
    assert await client.get_scorecard(horizon=HALFTIME, from_date=later) == Scorecard()
    board = await client.get_leaderboard(metric=pb.LEADERBOARD_METRIC_MAE, min_games=4, horizon=HALFTIME)
    assert [(row.rank, row.model_version, row.value) for row in board.rows] == [(1, worker.models[0], card.mae.value)]
    assert board.rows[0].scorecard == card
    assert (board.metric, board.min_games) == (pb.LEADERBOARD_METRIC_MAE, 4)
    assert not (await client.get_leaderboard(horizon=HALFTIME)).rows, "of a hundred games"


async def test_a_checkpoint_is_of_what_was_answered_before(client: AsyncDejavuClient, tmp_path: Path) -> None:
    forecast = await client.predict(PATTERN, game_id=GAME, horizon=HALFTIME)
    checkpoint = checkpoint_files.from_message(await client.get_checkpoint())
    assert checkpoint.sequence == forecast.sequence == 1
    assert is_signed(checkpoint)
    assert verify(ledger_url(tmp_path), checkpoint).hash == checkpoint.hash.hex()


@pytest.mark.sqlite
async def test_without_a_key_checkpoints_are_unavailable_and_forecasts_are_not(worker: Worker, tmp_path: Path) -> None:
    key = tmp_path / "signing-key.pem"
    key.write_text("nonsense")
    async with AsyncDejavuClient(worker.address, timeout=2.0) as client:
        with pytest.raises(UnavailableError, match="the signing key can't be used: its file has mode") as refused:
            await client.get_checkpoint()
        assert str(tmp_path) not in f"{refused.value}", "callers must not see the path"
        assert (await client.predict(PATTERN, game_id=GAME, horizon=HALFTIME)).sequence == 1
        key.unlink()
        assert (await client.get_checkpoint()).sequence == 1
