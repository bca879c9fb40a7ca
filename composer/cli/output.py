"""What the commands print: the one place where text goes to a terminal.

Data goes to stdout, all else to stderr; a test checks that no command prints otherwise.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import Any, TextIO

import click

from composer.visible import visible, visible_line


def say(text: str) -> None:
    """Print data, with every character made visible."""
    click.echo(visible(text))


def say_line(text: str) -> None:
    """Print one line of data; foreign text in it can't add a line."""
    click.echo(visible_line(text))


def note(text: str) -> None:
    """Print what is not data, to stderr."""
    click.echo(visible(text), err=True)


def note_line(text: str) -> None:
    """Print one line of what is not data, to stderr."""
    click.echo(visible_line(text), err=True)


def say_json(value: Any) -> None:
    """Print data for machines: JSON in ASCII, without control characters."""
    click.echo(json_text(value))


def json_text(value: Any) -> str:
    """Return a value as JSON in printable ASCII."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def say_document(text: str) -> None:
    """Print the text of a file: unchanged to a file or a program, made visible on a terminal."""
    click.echo(visible(text) if sys.stdout.isatty() else text, nl=False)


def guard_others() -> None:
    """Send the warnings of libraries, and their logs where none are configured, through here."""
    warnings.showwarning = _show_warning
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Visible())


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(visible(text))
