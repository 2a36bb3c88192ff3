"""The command `retrain`: a new model when one is due."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dejavu_common.rich_console import Console
from dejavu_trainer.cli.app import (
    Config,
    Jobs,
    Json,
    ProgressBars,
    Seed,
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

if TYPE_CHECKING:  # scipy takes seconds to load
    from dejavu_trainer.retraining.settings import RetrainSettings

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
    store: Annotated[
        str, typer.Option(metavar="URL", help="Model store that gets the challenger: a folder, or s3://BUCKET/FOLDER.")
    ] = "",
    target: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Server of that store, which stages it. Its scorecards give the coverage."
        ),
    ] = "",
    mlflow: Annotated[
        str, typer.Option(metavar="URI", help="MLflow server that gets it, as a version with the alias challenger.")
    ] = "",
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
        list[str] | None,
        typer.Option(
            metavar="PROBLEM",
            help="Problem of the games that does not stop the run, by its name in the error message; repeatable.",
        ),
    ] = None,
    allow_unfit: Annotated[
        bool, typer.Option("--allow-unfit", help="Publish a model whose recipe failed its backtest.")
    ] = False,
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
    from dejavu_trainer.retraining.settings import RetrainSettings
    from dejavu_trainer.retraining.triggers import TriggerSettings

    settings = RetrainSettings(
        sources=tuple(source),
        work=work,
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
        triggers=TriggerSettings(new_games=new_games, coverage_tolerance=coverage_tolerance),
        accepted=parsed("--accept", _problem_kinds, accept or []),
        allow_unfit=allow_unfit,
    )
    if promote and not target:
        raise typer.BadParameter("name the server by --target", param_hint="'--promote'")
    if check and promote:
        raise typer.BadParameter("it changes the server's models, but --check only reports", param_hint="'--promote'")
    if check and watch:
        raise typer.BadParameter("it keeps running, but --check exits at once", param_hint="'--watch'")
    if not check:
        check_target_has_store(target, store)
    if check:
        _check(settings, as_json=as_json)
    elif watch:
        _watch(settings, every * 3600, promote=promote, as_json=as_json)
    else:
        _once(settings, promote=promote, as_json=as_json)


def _problem_kinds(names: list[str]) -> Any:
    """Return the kinds of problems by their names.

    Raises:
        ValueError: if there is no such kind.
    """
    from dejavu_trainer.retraining.sources import ProblemKind

    known = {kind.value: kind for kind in ProblemKind}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{unknown[0]!r} is not a problem; expected one of {', '.join(known)}")
    return frozenset(known[name] for name in names)


def _check(settings: RetrainSettings, *, as_json: bool) -> None:
    from dejavu_trainer.reports.runs import due_document, print_due
    from dejavu_trainer.retraining.retrain import open_retrain
    from dejavu_trainer.retraining.work_folder import RetrainError

    try:
        with exit_on_error(RetrainError), open_retrain(settings) as opened:
            due = opened.due()
    except typer.Exit:
        raise typer.Exit(FAILED_CHECK) from None
    if as_json:
        print_json(due_document(due))
    else:
        print_due(Console(), due)
    if not due.triggers:
        raise typer.Exit(NOT_DUE)


def _once(settings: RetrainSettings, *, promote: bool, as_json: bool) -> None:
    from dejavu_models.errors import FitError
    from dejavu_trainer.publish import promote_staged
    from dejavu_trainer.reports.runs import (
        challenger_document,
        due_document,
        print_challenger,
        print_due,
        print_promotions,
        promotions_document,
    )
    from dejavu_trainer.retraining.retrain import open_retrain
    from dejavu_trainer.retraining.work_folder import RetrainError
    from dejavu_trainer.tracking import TrackingError

    with (
        exit_on_error(RetrainError, TrackingError, FitError),
        ProgressBars() as bars,
        open_retrain(settings, bars) as opened,
    ):
        promotions = promote_staged(settings.server) if promote else None
        if promotions is not None and not as_json:  # at once: the rest may fail
            print_promotions(Console(), promotions)
        due = opened.due()
        challenger = opened.run(due) if due.triggers else None
    if as_json:
        document = due_document(due) if challenger is None else challenger_document(challenger)
        print_json(promotions_document(promotions) | document)
    elif challenger is None:
        print_due(Console(), due)
    else:
        print_challenger(Console(), challenger)


def _watch(settings: RetrainSettings, seconds: float, *, promote: bool, as_json: bool) -> None:
    """Check repeatedly until SIGTERM or Ctrl-C; report failures, and retry at the next check."""
    stopped = False

    def stop(number: int, _frame: object) -> None:
        nonlocal stopped
        signal.signal(number, signal.SIG_IGN)  # once is enough
        stopped = True  # in addition, since an exception raised in a finalizer is lost
        raise _Stopped

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with contextlib.suppress(_Stopped):
        while not stopped:
            with contextlib.suppress(typer.Exit):  # the reason is on stderr
                _once(settings, promote=promote, as_json=as_json)
            if not stopped:
                time.sleep(seconds)


class _Stopped(BaseException):
    """The watch was ended while it worked: the next run continues from its work folder."""
