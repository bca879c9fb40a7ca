"""The command line: parse, one public call, print.

Data goes to stdout, everything else to stderr. Exit status: 0 done, 1 an error
in the spec or the model, 2 wrong usage, 3 an optional package is missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from composer import __version__
from composer.cli.fault import (
    TRACEBACK,
    TRACEBACK_OPTION,
    fault_of,
    traceback_of,
    wants_traceback,
)
from composer.cli.output import guard_others, note, note_line, say, say_json
from composer.cli.waiting import wait_asleep
from composer.errors import ComposerError, Diagnostic, UsageError, error, suggestion

_COMMANDS = (
    "insert", "new", "check", "show", "sites", "list", "render", "verify", "compare", "schema",
    "study", "eject", "lift", "export", "diff", "explain",
)  # fmt: skip

#: They measure or train, as a user's own program would.
_AS_A_USER_RUNS_IT = ("compare", "study")

#: What `composer` alone prints.
_BRIEF = """\
Composer: write an attention mechanism as a short YAML spec; put it inside any vision backbone.

  composer insert --spec cbam --into resnet50   put a mechanism into a backbone, verify, save
  composer new my_attention --from se           begin a spec of your own
  composer check my_attention.yaml              find every problem of a spec, with its line
  composer sites resnet50                       show where in a backbone something can go
  composer render cbam -o cbam.pdf              draw a mechanism, or a composed model

composer --help lists every command, composer COMMAND --help explains one."""


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
            word = suggestion(args[0], list(_COMMANDS), "Commands")
            raise UsageError(Diagnostic("usage", f"unknown command {args[0]!r}", word)) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader, such as head, closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(0) from None


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A spec is a YAML file or the name of a shipped one. Try: "
    "composer insert --spec cbam --into resnet50",
)
@click.version_option(__version__, prog_name="composer")
@click.option(
    TRACEBACK_OPTION,
    is_flag=True,
    expose_value=False,
    help=f"Show the traceback of an internal fault; {TRACEBACK}=1 does the same.",
)
@click.pass_context
def composer(context: click.Context) -> None:
    """Write an attention mechanism as a short YAML spec; put it inside any vision backbone."""
    if context.invoked_subcommand is None:
        say(_BRIEF)
    elif context.invoked_subcommand not in _AS_A_USER_RUNS_IT:
        wait_asleep()


def main(args: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    given = sys.argv[1:] if args is None else args
    if args is None:  # the process is only this command
        guard_others()
    words = [word for word in given if word != TRACEBACK_OPTION]  # it may come anywhere
    try:
        status = composer.main(words, prog_name="composer", standalone_mode=False)
    except click.ClickException as wrong:
        status = _show(_problem(wrong), given)
    except (click.Abort, KeyboardInterrupt):
        note("stopped")
        status = 130
    except ComposerError as failure:
        status = _show(failure, given)
    except Exception as failure:
        status = _show_fault(failure, given)
    sys.exit(status if isinstance(status, int) else 0)


def _problem(wrong: click.ClickException) -> UsageError:
    """Return click's message as one of ours."""
    context = wrong.ctx if isinstance(wrong, click.UsageError) else None
    path = context.command_path if context else "composer"
    said = wrong.format_message().rstrip(".")
    return UsageError(Diagnostic("usage", said[:1].lower() + said[1:], f"see '{path} --help'"))


def _show_fault(failure: Exception, given: list[str]) -> int:
    """Print an unexpected exception as one line and what to send; the traceback on request."""
    if isinstance(failure, OSError) and failure.filename is None and failure.strerror:
        return _show(error("output", f"the output cannot be written: {failure.strerror}"), given)
    if wants_traceback(given):
        note(traceback_of(failure))
    fault = fault_of(failure, given)
    status = _show(fault.error, given, {"report": fault.facts})
    for line in fault.lines():
        note_line(line)
    return status


def _show(failure: ComposerError, given: list[str], more: Mapping[str, Any] | None = None) -> int:
    for diagnostic in failure.diagnostics:
        note(diagnostic.render())
    if "--json" in given:
        errors: list[dict[str, Any]] = [d.as_json() for d in failure.diagnostics]
        with suppress(OSError):
            say_json({"version": 1, "errors": errors, **(more or {})})
    return failure.exit_code
