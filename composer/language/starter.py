"""A new spec: a commented starter, or the text of another spec under a new name."""

from __future__ import annotations

import re

from composer.errors import Diagnostic, UsageError
from composer.language.fields import MAX_NAME, RESERVED, WORD
from composer.language.library import shipped_names
from composer.language.source import parse

#: The line that editors read; the schema lies next to the spec.
SCHEMA = "# yaml-language-server: $schema=./composer.schema.json"

STARTER = f"""\
{SCHEMA}
# Completion and checks in an editor: composer schema > composer.schema.json, in this folder.
composer: 1
name: NAME
title: NAME                # the mechanism's name in prose
source: none yet           # the paper: arXiv:1709.01507, equations 2 to 4
params:                    # parameters and their defaults; change one with --set reduction=8
  reduction: {{default: 16, help: channels to hidden units}}
input: [b, c, h, w]        # axes have names: the batch, the channels, height and width
nodes:                     # each reads the node above it by default; x names another
  squeeze: {{op: pool, over: [h, w]}}                    # the mean of each channel: [b, c]
  excite:  {{op: mlp, over: c, hidden: c // reduction}}  # c -> c // 16 -> c, relu between
  gate:    {{op: gate, fn: sigmoid}}                     # attention values, from 0 to 1
  out:     {{op: reweight, x: input, by: gate}}          # axes are matched by name
insert: {{at: block}}        # before the residual add of each block; for all ops: composer list ops
"""

#: The column where the comments of the first lines start.
_COMMENTS = 27


def check_spec_name(name: str) -> None:
    """Refuse an invalid name for a new spec.

    Raises:
        UsageError: the name is invalid; the way out has a valid one.
    """
    letters = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower())
    better = letters.removesuffix("_yaml").removesuffix("_yml").strip("_")
    better = better if better[:1].isalpha() else f"spec_{better}".strip("_")
    if not re.fullmatch(WORD, name):
        said = f"{name!r} is not a name for a spec"
        way_out = f"use letters, digits and _, such as {better[:MAX_NAME]}"
    elif len(name) > MAX_NAME:
        said, way_out = f"a name of {len(name)} characters is too long", f"use at most {MAX_NAME}"
    elif name in RESERVED:
        said = f"{name!r} is a reserved word, not a name"
        way_out = f"choose another name, such as {name.lower()}_attention"
    elif name in shipped_names():
        said = f"{name!r} is the name of a shipped spec, which would be read instead"
        way_out = f"to start from its text: composer new my_{name} --from {name}"
    else:
        return
    raise UsageError(Diagnostic("bad-name", said, way_out))


def starter(name: str) -> str:
    """Return a commented spec with the given name: squeeze-and-excitation, to be changed."""
    title = f"title: {name}".ljust(_COMMENTS - 1) + " "
    return STARTER.replace("title: NAME".ljust(_COMMENTS), title).replace("NAME", name)


def renamed(text: str, file: str, name: str) -> str:
    """Return the text of a spec, comments and all, under another name.

    Raises:
        ComposerError: it is not a single mapping in YAML.
    """
    _, source = parse(text, file)
    lines = source.text.splitlines()
    span = source.values.get(("name",))
    if span is not None:
        line = lines[span.line]
        lines[span.line] = f"{line[: span.column]}{name}{line[span.column + span.length :]}"
    else:  # one that extends another may inherit its name
        first = min((at.line for path, at in source.keys.items() if len(path) == 1), default=0)
        lines.insert(first, f"name: {name}")
    if lines[0].startswith("# yaml-language-server:"):
        lines.pop(0)
    return "\n".join([SCHEMA, f"# Begun from {file}.", *lines]) + "\n"
