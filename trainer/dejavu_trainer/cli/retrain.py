"""The command `retrain`: a new model when one is due."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from dejavu_common.rich_console import Console
from dejavu_trainer.cli.app import (
    AllowUnfit,
    Config,
    Jobs,
    Json,
    Mlflow,
    ProgressBars,
    Seed,
    Store,
    Target,
    Where,
    app,
    check_target_has_store,
    exit_on_error,
    parsed,
    parsed_execution,
    print_json,
    training_config,
)
from dejavu_trainer.data.games import parse_seasons
from dejavu_trainer.publish import promote_staged
from dejavu_trainer.reports import runs
from dejavu_trainer.retraining.retrain import look, make, open_work_folder
from dejavu_trainer.retraining.sources import ProblemKind
from dejavu_trainer.retraining.triggers import RetrainSettings

NOT_DUE: Final = 1
FAILED_CHECK: Final = 2
"""Exit code of a failed --check. Its exit codes are like those of grep: 0 if a trigger is met, 1 if none is, 2 on
failure."""


@app.command()
def retrain(
    *,
    source: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="LEDGER|GAMES",
            help="Sources of games: a ledger (its path, sqlite:///PATH or postgresql://USER@HOST/DATABASE), a folder"
            " with plays_{season}.parquet, or one such file; repeatable. A game in several sources is taken from the"
            " first.",
        ),
    ],
    work: Annotated[
        Path, typer.Option(help="Folder for the results of its steps, from which an interrupted run resumes.")
    ],
    store: Store = "",
    target: Target = "",
    mlflow: Mlflow = "",
    parent: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the bundle that serves; by default the model that the server serves, or the shipped bundle."
        ),
    ] = None,
    promote: Annotated[
        bool,
        typer.Option("--promote", help="First ask the server to promote what is staged; it refuses without evidence."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only report which triggers are met. Exit codes: 0 any, 1 none, 2 failed."),
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep running and check every --every hours.")] = False,
    every: Annotated[float, typer.Option(metavar="HOURS", min=0.01, help="Time between two checks.")] = 24.0,
    reason: Annotated[
        str, typer.Option(help="Retrain regardless of the triggers; the reason is stored in the bundle.")
    ] = "",
    seasons: Annotated[str, typer.Option(help="Seasons to use, such as 2015-2023; by default all.")] = "",
    new_games: Annotated[int, typer.Option(min=1, help="New games that make a new model due.")] = 400,
    coverage_tolerance: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.5,
            help="A new model is due if the 95 % interval of a coverage is farther than this from the nominal one.",
        ),
    ] = 0.02,
    calibration_games: Annotated[
        int,
        typer.Option(
            min=1, help="Minimum games to calibrate on, of the newest seasons; earlier seasons are trained on."
        ),
    ] = 2000,
    test_seasons: Annotated[
        int, typer.Option(min=0, help="Seasons to backtest, each about as long as a fit; 0: one holdout test.")
    ] = 2,
    config: Config = None,
    accept: Annotated[
        list[ProblemKind] | None,
        typer.Option(help="Problem of the games that does not stop the run; repeatable."),
    ] = None,
    allow_unfit: AllowUnfit = False,
    include_replays: Annotated[
        bool, typer.Option("--include-replays", help="Use games of replays and simulated seasons in ledgers too.")
    ] = False,
    jobs: Jobs = None,
    execution: Where = "loky",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Make a new model when one is due, and publish it as a challenger.

    One is due after a season or enough new games, when coverage is off, or
    when newer games differ from those that the model knows. A run that was
    killed goes on where it ended, with the same result. No challenger answers
    anybody until it is promoted: by `dejavu models promote`, or by --promote.
    """
    if promote and not target:
        raise typer.BadParameter("name the server by --target", param_hint="'--promote'")
    if check and promote:
        raise typer.BadParameter("it changes the server's models, but --check only reports", param_hint="'--promote'")
    if check and watch:
        raise typer.BadParameter("it keeps running, but --check exits at once", param_hint="'--watch'")
    check_target_has_store(target, store)
    settings = RetrainSettings(
        sources=tuple(source),
        store=store,
        server=target,
        mlflow=mlflow,
        parent=parent,
        reason=reason,
        seasons=parsed("--seasons", parse_seasons, seasons) if seasons else (),
        include_replays=include_replays,
        seed=seed,
        recipe=training_config(config),
        calibration_games=calibration_games,
        test_seasons=test_seasons,
        execution=parsed_execution(execution, jobs),
        new_games=new_games,
        coverage_tolerance=coverage_tolerance,
        accepted=frozenset(accept or ()),
        allow_unfit=allow_unfit,
    )
    once = partial(_once, settings, work, promote=promote, check=check, as_json=as_json)
    if watch:
        _watch(once, every * 3600)
    elif not check:
        once()
    else:
        try:
            is_due = once()
        except typer.Exit:
            raise typer.Exit(FAILED_CHECK) from None
        raise typer.Exit(0 if is_due else NOT_DUE)


def _once(settings: RetrainSettings, folder: Path, *, promote: bool, check: bool, as_json: bool) -> bool:
    """Report what is due, and make it unless this is only a check; return whether a new model was due."""
    with exit_on_error(), ProgressBars() as bars, open_work_folder(folder) as work:
        promotions = promote_staged(settings.server) if promote else None
        if promotions is not None and not as_json:  # at once: the rest may fail
            answers = [asdict(each) for each in promotions] or "no model that could be promoted"
            runs.print_document(Console(), {"promotions": answers})
        due = look(settings, work, bars)
        challenger = make(settings, work, due, bars) if due.triggers and not check else None
    if as_json:
        print_json(runs.retrain_document(due, challenger, promotions))
    else:
        runs.print_document(Console(), runs.retrain_document(due, challenger, None))
    return bool(due.triggers)


def _watch(once: Callable[[], object], seconds: float) -> None:
    """Check repeatedly until SIGTERM or Ctrl-C; report failures, and retry at the next check."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # the next run continues from the work folder
        while True:
            with contextlib.suppress(typer.Exit):  # the reason is on stderr
                once()
            time.sleep(seconds)
