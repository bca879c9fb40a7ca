"""A new op: a small separate package to install next to Composer and to change."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from composer.errors import Diagnostic, UsageError
from composer.language.fields import MAX_NAME, RESERVED, WORD

SPEC_ENDS = "_gate"  # suffix of the name of the spec that uses it

_PROJECT = """\
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"

[project]
name = "composer-DASHED"
version = "0.1.0"
description = "The op NAME for Composer."
requires-python = ">=3.11"
dependencies = ["attention-composer"]

# How Composer finds them. If a class is several ops, write one line for each name.
[project.entry-points."composer.primitives"]
NAME = "composer_NAME.NAME:CLASS"

[project.entry-points."composer.specs"]
composer_NAME = "composer_NAME.specs"

[tool.setuptools]
packages = ["composer_NAME", "composer_NAME.specs"]
package-data = { "composer_NAME.specs" = ["*.yaml"] }
"""

_OP = '''\
"""`NAME`: amplifies the deviation from the mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from composer.extending import (
    Axes, AxisNames, AxisOrder, Emitter, Expr, Field, NodeRef, Number, Primitive, constant,
    need_axes,
)  # fmt: skip


class CLASS(Primitive):
    """x + strength · (x − mean x), the mean taken over the axes `over`."""

    # Example nodes on [b, c, h, w] with 64 channels; the reference prints them.
    example: ClassVar[str] = "out: {op: NAME, over: [h, w], strength: 0.5}"
    # Its role in a picture: plain, reduce, layer (with weights), gate, reweight, combine.
    colour: ClassVar[str] = "combine"
    # Its value is always a new tensor, never a view of x. Set this only if that is true.
    anew: ClassVar[bool] = True
    # The fields whose numbers may depend on sizes that are not known until run time.
    computed: ClassVar[tuple[str, ...]] = ("strength",)

    # The fields, as a spec writes them. For weights, set draws_weights: ClassVar[bool] = True.
    op: Literal["NAME"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(min_length=1, description="the axes of the mean, such as [h, w]")
    strength: Number = Field(default=constant(1), description="how much more; 0 gives back x")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of the value: those of x; refuse an axis that x does not have."""
        assert self.x is not None  # it is bound by now
        need_axes(axes(self.x), self.over, ("over",), self.x)
        return axes(self.x)

    def lower(self, emit: Emitter) -> Any:
        """Emit the value as torch.fx nodes. The dimension of an axis depends on the layout."""
        assert self.x is not None
        x, axes = emit.node(self.x), emit.axes(self.x)
        mean = emit.method("mean", x, tuple(axes.index(axis) for axis in self.over), True)
        more = emit.method("mul", emit.method("sub", x, mean), emit.number(self.strength))
        return emit.method("add", x, more)

    # No cost(): only weights, matrix products, convolutions and norms are counted.

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether the order of places in the map matters: not for a mean over all."""
        return 0 < len(set(self.over) & set(places)) < len(places)

    def label(self) -> str:
        """Return the label of its box in a picture."""
        return f"NAME over {', '.join(self.over)}"

    def formula(self) -> str:
        """Return the small line under the label."""
        return f"x + {self.strength} (x − μ)"
'''

_SPEC = """\
# Available by name once the package is installed: composer insert --spec SPEC --into resnet50
composer: 1
name: SPEC
title: A gate on deviations from the mean
params:
  strength: {default: 0.5, help: how much the deviation is amplified}
input: [b, c, h, w]
nodes:
  sharp: {op: NAME, over: [h, w], strength: strength}
  gate:  {op: gate, fn: sigmoid}
  out:   {op: mul, of: [input, gate]}
insert: {at: block}
"""

_TEST = '''\
"""Checks the op NAME by the laws in composer.testing: install the package, then run pytest."""

import composer
import pytest
import torch
from composer.testing import Case, laws_of

CASES = [
Case("NAME"),  # the op's example
    Case(
        "NAME",
        "out: {op: NAME, over: c, strength: 2}",
        reference=lambda weights, x: x + 2 * (x - x.mean(1, keepdim=True)),
    ),
]


@pytest.mark.parametrize("law", laws_of(*CASES), ids=str)
def test_the_law(law):
    law()


def test_the_spec_builds():
    x = torch.randn(2, 8, 6, 6)
    module = composer.build("SPEC", channels=8)
    assert module(x).shape == x.shape
'''


def check_op_name(name: str, known: Collection[str]) -> None:
    """Refuse an invalid name for a new op.

    Args:
        name: the op's name, in specs and in the file names.
        known: the existing ops.

    Raises:
        UsageError: the name is invalid; the way out has a valid one.
    """
    most = MAX_NAME - len(SPEC_ENDS)
    letters = re.sub(r"\W", "_", name.lower(), flags=re.ASCII).strip("_")
    better = letters if letters[:1].isalpha() else f"op_{letters}".strip("_")
    if not re.fullmatch(WORD, name) or name != name.lower():
        said = f"{name!r} is not a name for an op"
        way_out = f"use lower-case letters, digits and _, such as {better[:most]}"
    elif len(name) > most:
        said, way_out = f"a name of {len(name)} characters is too long", f"use at most {most}"
    elif name in RESERVED:
        said = f"{name!r} is a reserved word, not a name"
        way_out = f"choose another name, such as {name}_op"
    elif name in known:
        said, way_out = f"there is an op named {name!r}", f"choose another name, such as my_{name}"
    else:
        return
    raise UsageError(Diagnostic("bad-name", said, way_out))


def op_package(name: str) -> Mapping[str, str]:
    """Return the files of a package with one op, one spec that uses it, and its tests."""
    package, spec = f"composer_{name}", f"{name}{SPEC_ENDS}"
    files = {
        "pyproject.toml": _PROJECT,
        f"{package}/__init__.py": '"""The op NAME for Composer."""\n',
        f"{package}/{name}.py": _OP,
        f"{package}/specs/__init__.py": '"""Specs that use NAME, found by their names."""\n',
        f"{package}/specs/{spec}.yaml": _SPEC,
        f"tests/test_{name}.py": _TEST,
    }
    words = {
        "NAME": name, "SPEC": spec, "DASHED": name.replace("_", "-"),
        "CLASS": "".join(word.capitalize() for word in name.split("_")),
    }  # fmt: skip
    fill = re.compile("|".join(words))
    return {path: fill.sub(lambda m: words[m[0]], text) for path, text in files.items()}
