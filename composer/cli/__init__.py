"""The command line: parse, one public call, print.

Data goes to stdout, everything else to stderr. Exit status 0 done, 1 the spec or the model is at
fault, 2 usage, 3 an optional part is missing.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

import click

from composer import __version__
from composer.errors import ComposerError, UsageError

_COMMANDS = ("insert", "check", "show", "sites", "list", "schema", "eject")


class _Commands(click.Group):
    """Finds each command in the file named for it; torch loads only where one needs it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"composer.cli.{cmd_name}_command").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from composer.errors import suggestion

            word = suggestion(args[0], list(_COMMANDS), "Commands")
            raise click.UsageError(f"no command {args[0]!r}; {word}", ctx) from None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A spec is a YAML file or the name of a shipped one. Try: "
    "composer insert --spec cbam --into resnet50",
)
@click.version_option(__version__, prog_name="composer")
def composer() -> None:
    """Write an attention mechanism as a short YAML spec; put it inside any vision backbone."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    given = sys.argv[1:] if args is None else args
    try:
        composer.main(given, prog_name="composer", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as usage:
        usage.show(sys.stderr)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except ComposerError as failure:
        _show(failure, as_json="--json" in given)
        sys.exit(failure.exit_code)


def _show(failure: ComposerError, as_json: bool) -> None:
    if as_json:
        errors: list[dict[str, Any]] = [d.as_json() for d in failure.diagnostics]
        click.echo(json.dumps({"version": 1, "errors": errors}, indent=2))
    for diagnostic in failure.diagnostics:
        click.echo(diagnostic.render(), err=True)
    if isinstance(failure, UsageError):
        click.echo("see 'composer COMMAND --help'", err=True)
