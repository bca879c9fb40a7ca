"""Distributions made by hand: a folder on the path with modules and a ``.dist-info``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from composer import plugins
from composer.language import packs
from composer.primitives import found

#: An op outside: x + strength · (x − its mean over some axes).
SHARPEN = '''
"""`sharpen`: what stands out from its surroundings stands out more."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisNames, NodeRef, Number
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, need_axes


class Sharpen(Primitive):
    """x + strength · (x − mean x), the mean taken over the axes `over`."""

    example: ClassVar[str] = "out: {op: sharpen, over: [h, w], strength: 0.5}"
    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True

    op: Literal["sharpen"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(min_length=1, description="the axes of the mean")
    strength: Number = Field(default=constant(1), description="how much")

    def infer(self, axes: Any, order: AxisOrder) -> Axes:
        need_axes(axes(self.x), self.over, ("over",), self.x)
        return axes(self.x)

    def lower(self, emit: Emitter) -> Any:
        x, axes = emit.node(self.x), emit.axes(self.x)
        mean = emit.method("mean", x, tuple(axes.index(a) for a in self.over), True)
        more = emit.method("mul", emit.method("sub", x, mean), float(self.strength.value))
        return emit.method("add", x, more)

    def label(self) -> str:
        return f"sharpen over {', '.join(self.over)}"

    def formula(self) -> str:
        return f"x + {self.strength} (x − μ)"
'''
OP = {"composer.primitives": {"sharpen": "my_ops.sharpen:Sharpen"}}
SPEC = """name: sharp_gate
title: A gate on deviations from the mean
input: [b, c, h, w]
nodes:
  sharp: {op: sharpen, over: [h, w]}
  gate:  {op: gate}
  out:   {op: mul, of: [input, gate]}
insert: {at: block}
"""


def distribution(
    folder: Path,
    project: str = "my-ops",
    entries: Mapping[str, Mapping[str, str]] = OP,
    files: Mapping[str, str] | None = None,
    version: str = "0.1.0",
) -> Path:
    """Write a distribution as pip would install it, and return its folder."""
    files = {"my_ops/__init__.py": "", "my_ops/sharpen.py": SHARPEN} if files is None else files
    info = f"{project.replace('-', '_')}-{version}.dist-info"
    groups = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in rows.items())
        for group, rows in entries.items()
    )
    metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
    written = {**files, f"{info}/METADATA": metadata, f"{info}/entry_points.txt": groups}
    for name, text in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def forget() -> None:
    """Let everything be read anew."""
    for read in (plugins.additions, packs._packed, found._every, found._loaded):
        read.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Return what makes a distribution and puts it on the path, for one test."""
    before, number = set(sys.modules), count()

    def made(*args: Any, **kwargs: Any) -> Path:
        folder = distribution(tmp_path / f"site{next(number)}", *args, **kwargs)
        monkeypatch.syspath_prepend(str(folder))
        forget()
        return folder

    yield made
    monkeypatch.undo()
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        if str(tmp_path) in f"{getattr(module, '__file__', '')}{getattr(module, '__path__', '')}":
            del sys.modules[name]
    forget()
