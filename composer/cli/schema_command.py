"""`composer schema`: the JSON Schema of a spec."""

from __future__ import annotations

import click

from composer.cli.output import note, say_json


@click.command("schema", short_help="Print the JSON Schema of a spec, for your editor.")
def command() -> None:
    """Print the JSON Schema (draft 7) of a spec file, for completion and checks in an editor.

    Save it as composer.schema.json next to your specs, and start each with
    "# yaml-language-server: $schema=./composer.schema.json".
    """
    from composer.primitives.found import broken_ops
    from composer.primitives.schema import json_schema

    for broken in broken_ops():
        note(broken.warning().render())
    say_json(json_schema())
