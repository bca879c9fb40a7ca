"""`composer study`: whether a mechanism helps, over seeds and with controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from composer.cli.options import json_option, usage
from composer.cli.output import note_line, say, say_json, say_line
from composer.cli.steps import Steps, loading
from composer.cli.study_progress import duration, each_arm, runs_bar

if TYPE_CHECKING:
    from composer.study.opened import Opened

study_argument = click.argument("study", metavar="STUDY", type=click.Path(path_type=Path))
results_option = click.option(
    "--results",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The SQLite file of results: STUDY.results.sqlite beside the study file by default.",
)
device_option = click.option("--device", default="cpu", show_default=True)
workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="How many runs at once, each in its own process.",
)


@click.group("study", short_help="Measure whether mechanisms help, with seeds and controls.")
def command() -> None:
    """Measure whether mechanisms help: on your data, over seeds, with fair controls.

    \b
    composer study plan study.yaml
    composer study run study.yaml --workers 2
    composer study report study.yaml -o report
    """  # noqa: D301


@command.command("plan", short_help="Show the arms, what they cost, and how long all takes.")
@study_argument
@results_option
@workers_option
@device_option
@json_option
def plan_command(
    study: Path, results: Path | None, workers: int, device: str, as_json: bool
) -> None:
    """Show the arms of a study, what each costs, and how long all runs take.

    The time is estimated from steps that are measured here; nothing is written.
    """
    opened = _opened(study, results, device)
    from composer.study.planned import plan_study

    arms = opened.arms()
    steps = Steps(total=len(arms))
    with each_arm(steps, "timing") as on_arm:
        found = plan_study(opened, on_arm)
    epochs = opened.study.training.epochs
    if as_json:
        say_json(
            {
                "version": 1,
                "study": opened.study.name,
                "arms": [one.as_json(epochs) for one in found.arms],
                "runs": {"left": found.left, "screened": found.screened},
                "seconds": found.seconds,
                "workers": workers,
            }
        )
        return
    from composer.cli.tables import table
    from composer.errors import counted
    from composer.measure.numbers import giga

    rows = []
    for one in found.arms:
        if one.timing is None:
            continue
        facts = one.facts
        match = f"{facts['reached']:,} for {facts['wanted']:,}" if facts["wanted"] else ""
        rows.append(
            [
                one.arm.name,
                f"{one.done} of {one.total}",
                str(facts["sites"] or ""),
                f"{facts['parameters']:,}",
                giga(facts["flops"]),
                match,
                f"{one.timing.run(epochs):.0f}",
            ]
        )
    headings = ("arm", "runs", "sites", "parameters", "multiply-adds", "matched", "seconds")
    say(table(headings, rows, right=range(1, len(headings))) + "\n")
    for one in found.arms:
        if one.timing is None:
            say_line(f"omitted: {one.arm.name}: {one.facts['reason']}")
    left = f"{counted(found.left, 'run')} left"
    if found.screened:
        left += f", of which {found.screened} screen the mechanisms; some of the others may not run"
    say_line(f"{left}: {duration(found.seconds)} of one worker")
    if workers > 1:
        say_line(
            f"{duration(found.seconds / workers)} with {workers} workers, if each has a core that "
            "nothing else uses"
        )
    budget = opened.study.budget
    if budget is not None and found.seconds > budget.worker_hours * 3600:
        say_line(
            f"the budget of {budget.worker_hours:g} worker hours is too small for all: seeds are "
            "finished one after another, and the last ones are not run"
        )


@command.command("run", short_help="Do the runs that are not done; go on after an interruption.")
@study_argument
@results_option
@workers_option
@device_option
@click.option(
    "--on",
    "where",
    metavar="ray[:ADDRESS]",
    help="Do the runs on a Ray cluster that is there: ray, ray:HOST:PORT or ray://HOST:PORT.",
)
@click.option("--retry", is_flag=True, help="Do the runs that failed again.")
@json_option
def run_command(
    study: Path,
    results: Path | None,
    workers: int,
    device: str,
    where: str | None,
    retry: bool,
    as_json: bool,
) -> None:
    """Do the runs of a study; each result is written as soon as it is known.

    Started again, it goes on: finished runs are kept, and one that was killed goes on from its
    last checkpoint.
    """
    if where is not None and where != "ray" and not where.startswith("ray:"):
        raise usage(f"--on {where!r} is not a cluster", "write --on ray, or --on ray:HOST:PORT")
    opened = _opened(study, results, device)
    from composer.study.driver import prepare, remaining, run_study, screening_is_over
    from composer.study.on_ray import address_of

    arms = opened.arms()
    steps = Steps(total=len(arms))
    with each_arm(steps, "preparing") as on_arm:
        prepared = prepare(opened, on_arm)
    for name, reason in prepared.omitted.items():
        note_line(f"omitted: {name}: {reason}")
    if retry and (count := opened.store.forget_failed()):
        note_line(f"trying again what failed: {count}")
    address = address_of(where) if where is not None else None
    with runs_bar(opened, prepared) as progress:
        run_study(opened, prepared, workers=workers, ray=address, progress=progress)
    ended = opened.store.ended()
    screened, compared = remaining(opened, prepared)
    left = len(screened) + len(compared)
    failed = sum(status in ("failed", "diverged") for status in ended.values())
    if as_json:
        say_json(
            {
                "version": 1,
                "study": opened.study.name,
                "results": str(opened.store.path),
                "ended": len(ended),
                "failed": failed,
                "left": left,
            }
        )
        return
    from composer.errors import counted

    say_line(f"{counted(len(ended), 'run')} ended, results in {opened.store.path}")
    if failed:
        say_line(f"{failed} of them failed or diverged; the report names them")
    if left and (not screened or screening_is_over(opened, prepared)):
        say_line(f"{counted(left, 'run')} not done: the budget is spent, or another process has it")
    say_line(f"next: composer study report {study}")


@command.command("report", short_help="Show what the results say, as text, HTML and charts.")
@study_argument
@results_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write report.html, report.md, report.json and the charts there.",
)
@click.option("--force", is_flag=True, help="Replace the files of a report that are there.")
@json_option
def report_command(
    study: Path, results: Path | None, output: Path | None, force: bool, as_json: bool
) -> None:
    """Show accuracy, cost, and the difference from each control with its interval.

    It needs the study file and its results alone, not the data.
    """
    from composer.errors import ComposerError, Diagnostic
    from composer.study.checked import results_path
    from composer.study.findings import findings
    from composer.study.page import as_json as values_of
    from composer.study.page import files
    from composer.study.read import read_study
    from composer.study.report import report
    from composer.study.store import Store

    read, _ = read_study(study)
    where = results or results_path(study)
    if not where.is_file():
        way_out = f"'composer study run {study}' makes them; or name the file with --results"
        raise ComposerError(
            Diagnostic("results", "there is no such file", way_out, file=str(where))
        )
    found = findings(read, Store(where))
    if not any(row.accuracies for row in found.rows):
        way_out = f"run it first: composer study run {study}"
        message = "no run of this study has finished"
        raise ComposerError(Diagnostic("results", message, way_out, file=str(where)))
    texts = files(found)
    if output is not None:
        _write(output, texts, force)
    if as_json:
        say_json({**values_of(found), "output": None if output is None else str(output)})
        return
    say(report(found))
    if output is not None:
        say_line(f"written to {output}: {', '.join(texts)}")


def _write(folder: Path, texts: dict[str, str], force: bool) -> None:
    """Write the files of a report, after a look whether all of them can be."""
    from composer.files import check_file_free, write_file
    from composer.files.file import check_parent, refused, unwritable

    check_parent(folder, "name another with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise refused(folder, "is a file, not a folder", "name another with -o") from None
    except OSError as failure:
        raise unwritable(folder, failure) from None
    for name in texts:
        check_file_free(folder / name, force)
    for name, text in texts.items():
        content = text
        write_file(
            folder / name,
            lambda place, content=content: place.write_text(content, encoding="utf-8"),  # type: ignore[misc]
            force=force,
        )


def _opened(study: Path, results: Path | None, device: str) -> Opened:
    """Return a study that can be run; what its file says wrong is said before torch is imported."""
    from composer.study.checked import checked_study

    checked_study(study)
    with loading():
        from composer.study.opened import Opened

        return Opened.of(study, results, device)
