"""`composer new NAME`: a commented spec to start from; with --op, a package with a new op."""

from __future__ import annotations

from pathlib import Path

import click

from composer.cli.completing import complete_spec
from composer.cli.options import json_option, usage
from composer.cli.output import note_line, say_json, say_line


@click.command("new", short_help="Write a commented spec, or an op, to start from.")
@click.argument("name")
@click.option(
    "--from",
    "base",
    metavar="SPEC",
    shell_complete=complete_spec,
    help="Start from the text of this spec instead of squeeze and excitation.",
)
@click.option(
    "--op",
    "is_op",
    is_flag=True,
    help="Write a new op: a package in a folder, with its tests and a spec that uses it.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="The file to write, ./NAME.yaml by default; with --op the folder, ./NAME by default.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@json_option
def command(
    name: str, base: str | None, is_op: bool, output: str | None, force: bool, as_json: bool
) -> None:
    """Write a valid spec whose comments explain its parts.

    With --op, write a small package with a working op for you to change.

    \b
    composer new mine
    composer new mine --from cbam -o specs/mine.yaml
    composer new soften --op
    """  # noqa: D301
    if is_op:
        _new_op(name, base, output, force, as_json)
        return
    from composer.files import check_file_free, write_file
    from composer.language.library import find_spec
    from composer.language.starter import check_spec_name, renamed, starter

    check_spec_name(name)
    path = Path(output if output is not None else f"{name}.yaml")
    check_file_free(path, force)
    text = starter(name) if base is None else renamed(*find_spec(base), name)
    _check(text, path)
    write_file(path, lambda place: place.write_text(text, encoding="utf-8"), force=force)
    if as_json:
        say_json({"version": 1, "name": name, "output": str(path)})
        return
    say_line(f"written to {path}")
    note_line(f"next: composer check {path}, composer render {path}, "
               f"composer insert --spec {path} --into resnet50")  # fmt: skip


def _new_op(name: str, base: str | None, output: str | None, force: bool, as_json: bool) -> None:
    from composer.artifact.output import write_whole
    from composer.language.op_starter import SPEC_ENDS, check_op_name, op_package
    from composer.primitives.found import op_names

    if base is not None:
        raise usage("--from is for a spec, and --op is for an op", "omit one of them")
    if force:
        raise usage("--force overwrites a file, and an op is a folder", "choose another with -o")
    check_op_name(name, op_names())
    folder = Path(output if output is not None else name)
    _check_folder_free(folder)
    files = op_package(name)

    def fill(place: Path) -> None:
        for path, text in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text, encoding="utf-8")

    write_whole(folder, fill)
    if as_json:
        written = {"name": name, "output": str(folder), "files": list(files)}
        say_json({"version": 1, **written})
        return
    say_line(f"written to {folder}: {', '.join(files)}")
    note_line(f"next: pip install --no-build-isolation -e {folder}, pytest {folder}, "
               f"composer insert --spec {name}{SPEC_ENDS} --into resnet50")  # fmt: skip


def _check_folder_free(folder: Path) -> None:
    """Refuse a folder that is not empty, or a file of the same name.

    Raises:
        ComposerError: with the way out.
    """
    from composer.files.file import kind_of, refused, unwritable

    try:
        kind = kind_of(folder)
        taken = kind is not None and not (kind == "a folder" and not any(folder.iterdir()))
    except OSError as failure:
        raise unwritable(folder, failure) from None
    if taken:
        raise refused(folder, "exists already", "choose another with -o")


def _check(text: str, path: Path) -> None:
    """Refuse a spec that is not valid at its path, as the one that it starts from may not be.

    Raises:
        ComposerError: with its errors.
    """
    from composer.errors import ComposerError
    from composer.graph.frontend import check_text

    _, problems = check_text(text, str(path))
    if errors := [p for p in problems if p.severity == "error"]:
        raise ComposerError(errors)
