from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.support.builders.bundles import quick_recipe
from tests.support.harness.documents import blocks
from tests.trainer.harness import told

from dejavu_trainer.training.recipe import TrainingConfig, parse_recipe


def test_a_recipe_is_what_its_file_says() -> None:
    quick = quick_recipe()
    assert parse_recipe(asdict(quick), "quick") == quick
    assert parse_recipe({}, "empty") == TrainingConfig()
    documented, *_ = blocks("docs/training.md", "toml")
    assert parse_recipe(tomllib.loads(documented.text), "documented") == TrainingConfig(
        weights={"dejavu": 0.4, "lstm": 0.6}
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("rating_steps = 0", "rating_steps: input should be greater than or equal to 1"),
        ("rating_steps = '60'", "rating_steps: input should be a valid integer"),
        ("dejavu = { nearest = 401 }", "dejavu.nearest: input should be less than or equal to 400"),
        ("dejavu = { lead = nan }", "dejavu.lead"),
        ("[weights]\ndejavu = 0.5\nlstm = 0.6", "weights: they must sum to 1 at most"),
        ("[weights]\ndejavu = -0.1\nlstm = 0.6", "weights.dejavu: input should be greater than or equal to 0"),
        ("[weights]\ngbm = 0.5", "weights.gbm: is no component; expected some of dejavu, lstm"),
        ("components = ['lstm', 'gbm']", "components: component gbm is not installed; install a package with"),
        ("components = ['lstm', 'lstm']", "components: each must be there once"),
        ("components = ['../lstm']", "components.0: string should match pattern"),
        ("[lstm]\nhiden = 8\nepochs = 0", "lstm.epochs: input should be greater than or equal to 1"),
        ("[lstm]\nhiden = 8", "lstm.hiden: is no setting; did you mean lstm.hidden?"),
        ("rating_steps", "is not TOML"),
        (None, "No such file or directory"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_a_usage_error(content: str | None, message: str, tmp_path: Path) -> None:
    config = tmp_path / "r.toml"
    if content is not None:
        config.write_text(content)
    arguments = ("--data", ".", "--train", "2031", "--calibrate", "2032", "--out", "b", "--config", config)
    refused = told("fit", *arguments)
    assert refused.code == 2
    assert message in " ".join(refused.err.replace("│", " ").split())
