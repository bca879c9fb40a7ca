"""`composer check SPEC…`: every problem, with its line."""

from __future__ import annotations

import click

from composer.cli.completing import complete_spec
from composer.cli.options import json_option
from composer.cli.output import note, say_json, say_line


@click.command("check", short_help="Check specs: every problem, with its line.")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC…", shell_complete=complete_spec)
@json_option
def command(specs: tuple[str, ...], as_json: bool) -> None:
    """Check specs and report every problem of each, with its line and the way out.

    SPEC is a YAML file, or the name of a shipped spec. Exit status 1 where one has an error.
    """
    from composer.errors import ComposerError, Diagnostic, counted
    from composer.graph.frontend import check_text
    from composer.language.library import find_spec

    files = []
    failed = False
    for word in specs:
        problems: tuple[Diagnostic, ...]
        try:
            text, file = find_spec(word)
            _, problems = check_text(text, file)
        except ComposerError as failure:
            file, problems = word, failure.diagnostics
        errors = [p for p in problems if p.severity == "error"]
        failed = failed or bool(errors)
        files.append({"file": file, "ok": not errors, "problems": [p.as_json() for p in problems]})
        for problem in problems:
            note(problem.render())
        if not as_json:
            say_line(f"{file}: {counted(len(errors), 'error') if errors else 'ok'}")
    if as_json:
        say_json({"version": 1, "files": files})
    if failed:
        raise click.exceptions.Exit(1)
