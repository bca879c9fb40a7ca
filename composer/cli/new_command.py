"""`composer new NAME`: a commented spec to begin with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from composer.cli.completing import complete_spec
from composer.cli.options import json_option

if TYPE_CHECKING:
    from composer.errors import Diagnostic


@click.command("new", short_help="Write a commented spec to begin with.")
@click.argument("name")
@click.option("--from", "base", metavar="SPEC", shell_complete=complete_spec,
              help="Begin with the text of this spec, not with squeeze and excitation.")
@click.option("-o", "--output", metavar="FILE", help="Where to: ./NAME.yaml by default.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
def command(name: str, base: str | None, output: str | None, force: bool, as_json: bool) -> None:
    """Write a spec that checks and that says in comments what its parts are.

    \b
    composer new mine
    composer new mine --from cbam -o specs/mine.yaml
    """  # noqa: D301
    from composer.files import check_file_free, write_file
    from composer.language.library import find_spec
    from composer.language.starter import check_spec_name, renamed, starter

    check_spec_name(name)
    path = Path(output if output is not None else f"{name}.yaml")
    check_file_free(path, force)
    text = starter(name) if base is None else renamed(*find_spec(base), name)
    write_file(path, lambda temporary: _write(text, temporary, path))
    if as_json:
        click.echo(json.dumps({"version": 1, "name": name, "output": str(path)}, indent=2))
        return
    click.echo(f"written to {path}")
    click.echo(f"next: composer check {path}, composer render {path}, "
               f"composer insert --spec {path} --into resnet50", err=True)  # fmt: skip


def _write(text: str, temporary: Path, path: Path) -> None:
    """Write a spec where it is found beside those that it uses, and check it there.

    Raises:
        ComposerError: it is not sound, as the spec that it begins with may be.
    """
    from composer.errors import ComposerError
    from composer.graph.frontend import check_text

    temporary.write_text(text, encoding="utf-8")
    _, problems = check_text(text, str(temporary))
    if errors := [p for p in problems if p.severity == "error"]:
        raise ComposerError([_at(p, str(temporary), str(path)) for p in errors])


def _at(problem: Diagnostic, temporary: str, path: str) -> Diagnostic:
    """Return a problem of the temporary file as one of the file."""
    file = path if problem.file == temporary else problem.file
    where = problem.where
    if where is not None and where.file == temporary:
        where = replace(where, file=path)
    return replace(problem, file=file, where=where)
