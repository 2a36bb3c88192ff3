from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.support.builders.bundles import quick_recipe
from tests.support.harness.documents import ROOT, blocks
from tests.trainer.harness import run

from dejavu_trainer.training.recipe import TrainingConfig, parse_recipe, read_toml


def test_a_recipe_is_what_its_file_says() -> None:
    quick = quick_recipe()
    assert parse_recipe(asdict(quick), "quick") == quick
    assert parse_recipe({}, "empty") == TrainingConfig()
    shipped = parse_recipe(read_toml(ROOT / "trainer/recipes/shipped.toml"), "shipped")
    assert shipped == TrainingConfig(prototypes=1500, prototypes_at=((18, 3000),))
    documented, *_ = blocks("docs/training.md", "toml")
    assert parse_recipe(tomllib.loads(documented.text), "documented") == shipped


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("prototypes = 0", (), "prototypes: input should be greater than or equal to 1"),
        ("prototypes = '60'", (), "prototypes: input should be a valid integer"),
        ("[lstm]\nhiden = 8\nepochs = 0", (), "lstm.epochs: input should be greater than or equal to 1"),
        ("[lstm]\nhiden = 8", (), "lstm.hiden: is no setting; did you mean lstm.hidden?"),
        ("colour = 3", (), "colour: is no setting"),
        ("prototypes_at = [[48, 100]]", (), "input should be less than or equal to 47"),
        ("prototypes_at = [[18, 100], [18, 200]]", (), "prototypes_at: names a minute twice"),
        ("held_out = nan", (), "held_out"),
        ("prototypes", (), "is not TOML"),
        ("prototypes = 60", ("--prototypes", "70"), "is a setting of the file too"),
        (None, (), "No such file or directory"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_a_usage_error(
    content: str | None, options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "r.toml"
    if content is not None:
        config.write_text(content)
    arguments = ("--data", ".", "--train", "2031", "--calibrate", "2032", "--out", "b", "--config", config, *options)
    assert run("fit", *arguments) == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in told
