"""`python_source`: a mechanism as a class of plain torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from composer.exporting.python.code import Code, broken, prose
from composer.exporting.python.constructor import layer_statements, place_of
from composer.exporting.python.docstring import docstring, output_axes
from composer.exporting.python.formula import formula, number
from composer.exporting.python.forward import Forward
from composer.exporting.python.found import Finder
from composer.exporting.python.helpers import helper
from composer.exporting.python.imports import import_lines
from composer.exporting.python.interface import PLAIN, Interface
from composer.exporting.python.names import arguments_for, class_name, free_name
from composer.exporting.python.numbers import Numbers
from composer.exporting.python.samples import Samples, samples_of
from composer.exporting.python.sequences import in_sequences
from composer.exporting.python.written import Number
from composer.graph.frontend import load_spec
from composer.graph.graph import Init, Settings
from composer.language.expressions import Expr, Value, bind
from composer.lower.build import compiled, settings_for
from composer.primitives import Spec

#: Defaults of a convolution's arguments: torch's, and the most common kernel size.
_DEFAULTS: Mapping[str, Value] = {
    "kernel": 3, "stride": 1, "padding": 1, "dilation": 1, "groups": 1, "bias": False,
}  # fmt: skip
_SIZE = (14, 14)


@dataclass(frozen=True)
class MechanismClass:
    """A class: its name, its lines, its imports, and its arguments by the spec's names."""

    name: str
    lines: tuple[str, ...]
    helpers: frozenset[str]
    arguments: Mapping[str, str]
    defaults: Mapping[str, Value]
    samples: Samples
    interface: Interface
    expressions: tuple[Expr | None, ...]  # of its numbers; None for a literal


def python_source(
    spec: Spec | str,
    channels: int | None = None,
    *,
    like: nn.Module | None = None,
    size: tuple[int, ...] | None = None,
    params: Mapping[str, Value] | None = None,
    layout: tuple[str, ...] | None = None,
    prefix: int = 0,
    init: Init = "paper",
) -> str:
    """Return a mechanism as a Python file with one class, which imports torch alone.

    Its arguments are the channels and the params; what a number depends on is found by lowering
    the spec at other sizes, so a number is written as an expression where possible. Its state dict
    has the keys of the module from `composer.build`.

    Args:
        spec: as in `composer.build`, like the following arguments.
        channels: those at which it is first lowered; 512 by default.
        like: the layer that a stand-in replaces.
        size: of the map, for a spec that is made for one size.
        params: other values for the spec's params, which are then the defaults.
        layout: the order of the input's axes.
        prefix: the number of tokens before those of the map.
        init: its initialisation.

    Raises:
        ComposerError: the spec is faulty, or uses something that has no form in plain torch.
    """
    spec = load_spec(spec)
    channels = channels if channels is not None or like is not None else 512
    settings = settings_for(spec, channels, like, size or _SIZE, params, layout, prefix, init)
    return source_of(alone(spec, settings))


def alone(spec: Spec, settings: Settings) -> MechanismClass:
    """Return the class of a spec on its own: a stand-in's layer has the default properties.

    Raises:
        ComposerError: see `python_source`.
    """
    if spec.stands_for == "conv2d":
        told: dict[str, Value] = {"out": settings.sizes["c"], **_DEFAULTS}
        told = {n: v for n, v in told.items() if n not in spec.params}
        settings = replace(settings, sizes={**told, **settings.sizes})  # type: ignore[dict-item]
    return mechanism_class(spec, settings)


def source_of(made: MechanismClass) -> str:
    """Return a file with that class alone."""
    return file_of([made], f"{made.samples.spec.title or made.name}.")


def file_of(
    classes: Sequence[MechanismClass],
    says: str,
    rest: Sequence[str] = (),
    imports: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """Return a file with some classes, their imports and their helpers.

    Args:
        classes: those of mechanisms.
        says: the docstring of the file.
        rest: the code after them.
        imports: the imports of that code.
        notes: comments after the docstring.
    """
    helpers = sorted({name for made in classes for name in made.helpers})
    parts = [helper(name) for name in helpers] + ["\n".join(made.lines) for made in classes]
    text = "\n\n\n".join([*parts, *rest])
    head = [*broken(f'"""{prose(says)}"""', 0), *notes, "", *import_lines(text, imports)]
    return "\n".join(head) + "\n\n\n" + text.rstrip() + "\n"


def mechanism_class(
    spec: Spec, settings: Settings, name: str | None = None, interface: Interface = PLAIN
) -> MechanismClass:
    """Return the class of a spec under some settings, which have all sizes.

    Args:
        spec: the spec.
        settings: with all sizes.
        name: of the class; by default from the spec.
        interface: its call signature.

    Raises:
        ComposerError: see `python_source`.
    """
    samples = samples_of(spec, settings, compiled)
    return _Writer(spec, samples, name or class_name(spec.name), interface).written()


@dataclass
class _Writer:
    """Writes one class."""

    spec: Spec
    samples: Samples
    name: str
    interface: Interface
    called: dict[str, str] = field(default_factory=dict)  # by the name of an argument in the spec

    def __post_init__(self) -> None:
        self.called = arguments_for(self.spec, self.samples.varied)
        finder = Finder(self.spec, self.samples.samples, [*self.called])
        self.numbers = Numbers(self.samples, finder)
        self.layers = dict(self.samples.written.layers)
        self.kept: dict[str, str] = {}  # arguments that the forward reads, by name

    def written(self) -> MechanismClass:
        """Return the class."""
        calls, chains = in_sequences(self.samples.written.calls, self.layers)
        forward = Forward(calls, self.layers, self._in_forward, self._place)
        lines = forward.lines()
        unknown_there = [*dict.fromkeys(self.numbers.unknown)]
        self.numbers.unknown.clear()
        local = self._local_names()
        made = [
            (statements, self._drained())
            for statements in layer_statements(self.layers, chains, self._in_constructor(local))
        ]
        arguments = self._arguments()
        constructor = [*self._constructor(arguments, local, made)]
        arguments = arguments if constructor else {}
        defaults = {n: v for n in arguments if (v := self._default(n)) is not None}
        plain = [n for n in self.samples.fixed if self._derived(n) is None]
        tensors = (f"{x}: Tensor" for x in forward.inputs)
        taken = ", ".join(["self", *tensors, *self.interface.parameters])
        gives = "Tensor" if self.interface.values == 1 else "tuple[Tensor, ...]"
        *lines, last = lines
        lines += [f"return {self.interface.returned(last.removeprefix('return '))}"]
        text = [
            f"class {self.name}(nn.Module):",
            *(f"    {line}".rstrip() for line in docstring(self.samples, arguments, plain)),
            "",
            *constructor,
            *broken(f"def forward({taken}) -> {gives}:", 4),
            f'        """Return [{output_axes(self.samples)}]."""',
            *(f"        {line}" for line in _comment(unknown_there)),
            *(one for line in self.interface.checks for one in _in_body(line)),
            *(one for line in lines for one in _in_body(line)),
        ]
        for body in forward.methods.values():
            text += ["", f"    {body[0]}", *(one for line in body[1:] for one in _in_body(line))]
        kinds = {layer.kind for layer in self.layers.values()}
        helpers = forward.helpers | kinds & {"Schedule", "SharedDropout"}
        return MechanismClass(
            self.name, tuple(text), frozenset(helpers), arguments, defaults, self.samples,
            self.interface, self._expressions(),
        )  # fmt: skip

    def _expressions(self) -> tuple[Expr | None, ...]:
        numbers = zip(*(sample.numbers for sample in self.samples.samples), strict=True)
        return tuple(map(self.numbers.finder.expression, numbers))

    def _drained(self) -> list[Value]:
        found = [*dict.fromkeys(self.numbers.unknown)]
        self.numbers.unknown.clear()
        return found

    # ----------------------------------------------------------------------------------- numbers

    def _in_forward(self, at: Number) -> Code:
        expr = self.numbers.expression(at.place)
        taken = {path.partition(".")[0] for path in self.layers}
        for one in sorted(expr.names):
            word = self.called[one]
            self.kept[one] = f"{word}_" if word in taken else word
        names = {one: f"self.{word}" for one, word in self.kept.items()}
        return self.numbers.code(at, names, {})

    def _in_constructor(self, local: Mapping[Expr, str]):  # type: ignore[no-untyped-def]
        return lambda at: self.numbers.code(at, self.called, local)

    def _local_names(self) -> dict[Expr, str]:
        """Return names for numbers that several layers share, such as ``hidden``."""
        counts: dict[Expr, int] = {}

        def note(at: Number) -> Code:
            expr = self.numbers.expression(at.place)
            if expr.args:
                counts[expr] = counts.get(expr, 0) + 1
            return Code("0")

        for _ in layer_statements(self.layers, {}, note):
            pass
        self.numbers.unknown.clear()
        taken = {*self.called.values()}
        found: dict[Expr, str] = {}
        for expr, count in counts.items():
            if count > 1 and sum(1 for _ in expr.walk()) > 3:
                found[expr] = free_name(self._word(expr), taken)
                taken.add(found[expr])
        return found

    def _word(self, expr: Expr) -> str:
        for op in self.spec.nodes.values():
            for path, _, written in op.every_expression():
                if written == expr and path[-1] == "hidden":
                    return "hidden"
        return "width"

    def _place(self, path: str) -> str:
        return place_of(path, self.layers)

    # --------------------------------------------------------------------------------- arguments

    def _arguments(self) -> dict[str, str]:
        """Return the arguments by their names in the spec: those read, and those they depend on."""
        read = dict(self.numbers.read)
        for one in [*read]:
            if (expr := self._derived(one)) is not None:
                read |= dict.fromkeys(name for name in expr.names if name in self.called)
        for size in ("c", "out"):
            if size in self.called and size in self.samples.asked.settings.sizes:
                used = size in read or size == "c"
                read |= {size: None} if used else {}
        return {one: word for one, word in self.called.items() if one in read}

    def _derived(self, name: str) -> Expr | None:
        """Return the expression that is the default of a param, if it is one."""
        param = self.spec.params.get(name)
        given = name in self.samples.asked.settings.params
        if param is None or given or not isinstance(param.default, str) or param.choices:
            return None
        written = param.expression(param.default)
        known = self.samples.asked.known
        return bind(written, {n: known[n] for n in written.names if n not in self.called})

    def _default(self, name: str) -> Value | None:
        """Return the default of an argument; None if it is required."""
        param = self.spec.params.get(name)
        if param is None:
            return _DEFAULTS.get(name)
        if name in self.samples.asked.settings.params:
            return self.samples.asked.settings.params[name]  # type: ignore[return-value]
        return param.default

    def _constructor(
        self,
        arguments: Mapping[str, str],
        local: Mapping[Expr, str],
        made: Sequence[tuple[list[str], list[Value]]],
    ) -> Iterator[str]:
        given = sorted((self._signature(n, word) for n, word in arguments.items()),
                       key=lambda one: "=" in one)  # fmt: skip
        lines = [f"self.{word} = {self.called[one]}" for one, word in self.kept.items()]
        statements: list[tuple[str, list[Value]]] = [(line, []) for line in lines]
        statements += [
            (line, unknown if place == 0 else [])
            for group, unknown in made
            for place, line in enumerate(group)
        ]
        if not statements:
            return
        yield from broken(f"def __init__({', '.join(['self', *given])}) -> None:", 4)
        yield "        super().__init__()"
        for one in arguments:
            if (expr := self._derived(one)) is not None:
                word = arguments[one]
                yield f"        if {word} is None:"
                whole = isinstance(self.samples.asked.known[one], int)
                value = formula(expr, self.called, self.samples.samples, whole)
                yield from broken(f"{word} = {value}", 12)
        for expr, word in local.items():
            value = formula(expr, self.called, self.samples.samples, whole=True)
            yield from broken(f"{word} = {value}", 8)
        for line, unknown in statements:
            yield from (f"        {note}" for note in _comment(unknown))
            yield from broken(line, 8)
        yield ""

    def _signature(self, name: str, word: str) -> str:
        kind = type(self.samples.asked.known[name]).__name__
        if self._derived(name) is not None:
            return f"{word}: {kind} | None = None"
        default = self._default(name)
        return f"{word}: {kind}" if default is None else f"{word}: {kind} = {number(default)}"


def _in_body(line: str) -> Iterator[str]:
    deeper = len(line) - len(line.lstrip())
    yield from broken(line.lstrip(), 8 + deeper)


def _comment(unknown: Sequence[Value]) -> Iterator[str]:
    for value in dict.fromkeys(unknown):
        yield f"# {value} is the value at these sizes: it has no short expression"
