"""A new spec: a commented one to change, or another's text under a new name."""

from __future__ import annotations

import re

from composer.errors import Diagnostic, UsageError
from composer.language.fields import MAX_NAME, RESERVED, WORD
from composer.language.library import shipped_names
from composer.language.source import parse

#: What an editor reads; the schema is beside the spec where it was written there.
SCHEMA = "# yaml-language-server: $schema=./composer.schema.json"

STARTER = f"""\
{SCHEMA}
# Completion and checks in an editor: composer schema > composer.schema.json, in this folder.
composer: 1
name: NAME
title: NAME                # the mechanism's name in prose
source: none yet           # the paper: arXiv:1709.01507, equations 2 to 4
params:                    # the knobs, with their defaults; set by --set reduction=8
  reduction: {{default: 16, help: channels to hidden units}}
input: [b, c, h, w]        # axes have names: the batch, the channels, height and width
nodes:                     # each reads the node above it, unless it says x
  squeeze: {{op: pool, over: [h, w]}}                    # the mean of each channel: [b, c]
  excite:  {{op: mlp, over: c, hidden: c // reduction}}  # c -> c // 16 -> c, relu between
  gate:    {{op: gate, fn: sigmoid}}                     # attention values, from 0 to 1
  out:     {{op: reweight, x: input, by: gate}}          # they meet by the names of their axes
insert: {{at: block}}        # before the residual add of each block; composer list ops has the ops
"""

#: The column at which the comments of the first lines begin.
_COMMENTS = 27


def check_spec_name(name: str) -> None:
    """Refuse what may not be the name of a new spec.

    Raises:
        UsageError: with a name that may.
    """
    letters = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower())
    better = letters.removesuffix("_yaml").removesuffix("_yml").strip("_")
    better = better if better[:1].isalpha() else f"spec_{better}".strip("_")
    if not re.fullmatch(WORD, name):
        said = f"{name!r} is not a name for a spec"
        way_out = f"letters, digits and _, and a letter first: {better[:MAX_NAME]}"
    elif len(name) > MAX_NAME:
        said, way_out = f"a name of {len(name)} letters is too long", f"at most {MAX_NAME}"
    elif name in RESERVED:
        said = f"{name!r} is a reserved word, not a name"
        way_out = f"choose another name, such as {name.lower()}_attention"
    elif name in shipped_names():
        said = f"{name!r} is a shipped spec, which would be read in its place"
        way_out = f"composer new my_{name} --from {name} begins with its text"
    else:
        return
    raise UsageError(Diagnostic("bad-name", said, way_out))


def starter(name: str) -> str:
    """Return a commented spec under a name: squeeze and excitation, to be changed."""
    title = f"title: {name}".ljust(_COMMENTS - 1) + " "
    return STARTER.replace("title: NAME".ljust(_COMMENTS), title).replace("NAME", name)


def renamed(text: str, file: str, name: str) -> str:
    """Return the text of a spec, comments and all, under another name.

    Raises:
        ComposerError: it is not one mapping in YAML.
    """
    _, source = parse(text, file)
    lines = source.text.splitlines()
    span = source.values.get(("name",))
    if span is not None:
        line = lines[span.line]
        lines[span.line] = f"{line[: span.column]}{name}{line[span.column + span.length :]}"
    else:  # one that extends another may go by its name
        first = min((at.line for path, at in source.keys.items() if len(path) == 1), default=0)
        lines.insert(first, f"name: {name}")
    if lines[0].startswith("# yaml-language-server:"):
        lines.pop(0)
    return "\n".join([SCHEMA, f"# Begun from {file}.", *lines]) + "\n"
