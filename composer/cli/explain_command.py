"""`composer explain CODE`: what the code of a message means, an example, and the way out."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from composer.cli.options import json_option
from composer.cli.output import say, say_json, say_line


def _complete(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    from composer.explanations import explanations

    return [
        CompletionItem(code, help=one.means)
        for code, one in explanations().items() if code.startswith(begun)
    ]  # fmt: skip


@click.command("explain", short_help="Explain the code of a message: error[CODE].")
@click.argument("code", required=False, metavar="[CODE]", shell_complete=_complete)
@json_option
def command(code: str | None, as_json: bool) -> None:
    """Explain the code in the brackets of a message; without CODE, list all codes.

    \b
    composer explain unknown-axis
    composer explain
    """  # noqa: D301
    from dataclasses import asdict

    from composer.explanations import explain, explanations

    found = [explain(code)] if code is not None else list(explanations().values())
    if as_json:
        one = asdict(found[0]) if code is not None else {"codes": [asdict(one) for one in found]}
        say_json({"version": 1, **one})
    elif code is not None:
        for line in found[0].lines():
            say_line(line)
    else:
        from composer.cli.tables import fitted

        rows = [[one.code, one.means] for one in found]
        say(fitted(("code", "means"), rows, folding=(1,)))
