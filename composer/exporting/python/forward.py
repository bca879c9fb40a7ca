"""The forward of a mechanism: one statement for each node of its spec, under the node's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from composer.exporting.python import calls as torch_calls
from composer.exporting.python.code import Code
from composer.exporting.python.names import free_name
from composer.exporting.python.sequences import refs, users_of
from composer.exporting.python.tables import numbers_code, table_lines
from composer.exporting.python.variables import Variables
from composer.exporting.python.written import Call, Layer, Number, Ref
from composer.kernels.conv_of_each import conv_of_each
from composer.kernels.mean_and_max import mean_and_max
from composer.kernels.table import table
from composer.lower.run_time import evaluated, of_size

_LONG = 88  # a longer statement is made in two steps
_ONES = ("unsqueeze", "unflatten")


@dataclass
class Forward:
    """Writes the forward of a mechanism.

    Args:
        calls: the calls of the module, with sequences of layers as one.
        layers: by path.
        number: the code for a number.
        place: the path of a layer as Python, such as ``self.split[0]``.
        inputs: the module's inputs, by name.
    """

    calls: Sequence[Call]
    layers: Mapping[str, Layer]
    number: Callable[[Number], Code]
    place: Callable[[str], str]
    helpers: set[str] = field(default_factory=set)
    methods: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_name = {call.name: call for call in self.calls}
        self._users = users_of(self.calls)
        self._apart: set[str] = set()  # values with their own statement, because of their length
        self._names: dict[str, str] = {}

    @property
    def inputs(self) -> list[str]:
        """The arguments of the forward."""
        found = [call for call in self.calls if call.op == "placeholder"]
        return ["x", *(free_name(call.owner, ()) for call in found[1:])]

    def lines(self) -> list[str]:
        """Return the statements."""
        while True:
            statements = [call for call in self.calls if self._has_statement(call)]
            variables = Variables(self._by_name, self._users, self._parts_of, self._stands_inside)
            self._names = variables.names(statements, self.inputs)
            written = [(call, self._statement(call)) for call in statements]
            long = (call for call, line in written if any(len(one) > _LONG for one in line))
            parts = (self._longest_part(call) for call in long)
            if (part := next(filter(None, parts), None)) is None:
                return [line for _, lines in written for line in lines]
            self._apart.add(part)

    # ------------------------------------------------------------------------- what is a statement

    def _has_statement(self, call: Call) -> bool:
        if call.op == "placeholder" or self._is_part(call):
            return False
        return not self._stands_inside(call)

    def _stands_inside(self, call: Call) -> bool:
        """Return whether a value is written where it is used."""
        if call.op == "placeholder" or self._is_part(call):
            return False
        if call.op == "get_attr" or (call.op == "call_method" and call.target == "size"):
            return True
        if call.op == "output" or call.target is of_size or call.name in self._apart:
            return False
        users = self._users[call.name]
        if len(users) != 1 or self._parts_of(call):
            return False
        if call.op == "call_module" and self.layers_kind(call) in ("Dropout", "SharedDropout"):
            return False
        if users[0].target is conv_of_each and call.name == users[0].args[1].name:
            return False  # it is written several times there
        if users[0].target is mean_and_max and not self._is_flat_map(call, users[0]):
            return False
        return users[0].op == "output" or call.owner == users[0].owner or call.rank == -1

    def _is_flat_map(self, call: Call, user: Call) -> bool:
        """Return whether a pool of one axis is over a map's axes, which are flattened for it."""
        if call.target != "flatten" or len(call.args) != 3 or len(user.args[1]) != 1:
            return False
        axes = [str(self.number(one)) for one in (call.args[1], user.args[1][0])]
        return axes[0] == axes[1]

    def layers_kind(self, call: Call) -> str:
        """Return what kind of layer a call is of; "Sequential" for several."""
        layer = self.layers.get(str(call.target))
        return "Sequential" if layer is None else layer.kind

    def _parts_of(self, call: Call) -> list[Call]:
        """Return the items of a value in order, if each of them is used."""
        users = self._users[call.name]
        places = [self._index(user) for user in users]
        if call.target not in ("unbind", "split_with_sizes", "chunk", "split") or None in places:
            return []
        by_place = dict(zip(places, users, strict=True))
        if sorted(by_place) != list(range(len(users))):  # type: ignore[type-var]
            return []
        count = len(call.args[1]) if call.target == "split_with_sizes" else len(users)
        return [by_place[place] for place in range(len(users))] if count == len(users) > 1 else []

    def _index(self, user: Call) -> int | None:
        is_item = getattr(user.target, "__name__", "") == "getitem"
        if not is_item or not isinstance(user.args[1], Number):
            return None
        text = str(self.number(user.args[1]))
        return int(text) if text.isdigit() else None

    def _is_part(self, call: Call) -> bool:
        """Return whether a value is named by the statement that unpacks several."""
        if getattr(call.target, "__name__", "") != "getitem":
            return False
        source = next(refs(call.args), None)
        return source is not None and call in self._parts_of(self._by_name[source])

    def _longest_part(self, call: Call) -> str | None:
        """Return the value inside a statement that is best made before it."""
        found = []
        waiting = [call]
        while waiting:
            for name in refs((waiting[0].args, waiting[0].kwargs)):
                inner = self._by_name[name]
                small = inner.op == "get_attr" or inner.target == "size"
                small = small or self._index_of_ones(inner) is not None
                if inner.op != "placeholder" and self._stands_inside(inner):
                    waiting.append(inner)
                    if not small and waiting[0].op != "output":
                        found.append((len(str(self._value(inner.name))), name))
            waiting.pop(0)
        longest = [pair for pair in found if pair[0] > 20]
        middle = sorted(longest)[len(longest) // 2 :]
        return middle[0][1] if middle else None

    # -------------------------------------------------------------------------------- the statement

    def _statement(self, call: Call) -> list[str]:
        if call.op == "output":
            return [f"return {self._arg(call.args[0])}"]
        if call.target is of_size:
            return self._refusal(call)
        made = ", ".join(self._names[part.name] for part in self._parts_of(call) or [call])
        return [f"{made} = {self._code(call)}"]

    def _refusal(self, call: Call) -> list[str]:
        """Return the statements that refuse any size other than the module's."""
        x, axes, size = (self._arg(arg) for arg in call.args[:3])
        first, last = int(str(axes[0])), int(str(axes[-1]))
        if len(axes) == 1:
            have, want = f"{x}.shape[{first}]", str(size[0])
        else:
            have, want = f"{x}.shape[{first}:{last + 1}]", torch_calls.shown(size)
        shown = " by ".join("{" + str(one) + "}" for one in size)
        what = "maps of " if len(axes) > 1 else ""
        message = f'f"made for {what}{shown}, but got {{tuple({x}.shape)}}"'
        return [f"if {have} != {want}:", f"    raise ValueError({message})"]

    def _value(self, name: str) -> Code:
        call = self._by_name[name]
        return self._code(call) if self._stands_inside(call) else Code(self._names[name])

    def _arg(self, value: Any) -> Any:
        """Return an argument with code in place of values and numbers."""
        if isinstance(value, Ref):
            return self._value(value.name)
        if isinstance(value, Number):
            return self.number(value)
        if isinstance(value, tuple):
            return tuple(map(self._arg, value))
        if isinstance(value, slice):
            return slice(*(None if v is None else self._arg(v) for v in
                           (value.start, value.stop, value.step)))  # fmt: skip
        return value

    def _code(self, call: Call) -> Code:
        """Return the expression of a call."""
        target: Any = call.target
        if call.op == "get_attr":
            return Code(self.place(str(target)))
        if target is evaluated:
            return self._evaluated(call)
        if target is table:
            return self._table(call)
        if call.op == "call_module":
            return self._module(call)
        inner = self._by_name[call.args[0].name] if target is mean_and_max else None
        if inner is not None and self._stands_inside(inner):
            start, end = (int(str(self.number(axis))) for axis in inner.args[1:3])
            axes = tuple(Code(str(axis)) for axis in range(start, end + 1))
            given = (self._arg(inner.args[0]), axes, *map(self._arg, call.args[2:]))
            return torch_calls.function(target, given, {})
        args = tuple(map(self._arg, call.args))
        kwargs = {key: self._arg(value) for key, value in call.kwargs.items()}
        if call.op == "call_method":
            return self._method(call, args, kwargs)
        if target in torch_calls.HELPERS:
            self.helpers.add(torch_calls.HELPERS[target])
        return torch_calls.function(target, args, kwargs)

    def _module(self, call: Call) -> Code:
        kind, place = self.layers_kind(call), self.place(str(call.target))
        args = [str(self._arg(arg)) for arg in call.args]
        if kind == "table":
            layer = {name: value for name, value, _ in self.layers[str(call.target)].arguments}
            given = (layer["tree"], layer["names"], layer["lengths"])
            return self._made_by_method(call, self.inputs[0], *given, {})
        if kind == "RowConv1d":
            x = self._arg(call.args[0])
            return Code(f"{place}({x.at(9)}.unsqueeze(1)).squeeze(1)")
        if kind in ("Affine", "SharedDropout", "Schedule"):
            self.helpers.add(kind)
        return Code(f"{place}({', '.join(args)})")

    def _method(self, call: Call, args: Any, kwargs: Any) -> Code:
        x, name = call.args[0], str(call.target)
        if (tokens := self._new_axes(call)) is not None:
            return tokens
        if name == "flatten" and len(args) == 3 and isinstance(x, Ref):
            last = str(self._by_name[x.name].rank - 1)
            if str(args[2]) in ("-1", last):
                args = args[:2] if str(args[1]) != "0" else args[:1]
        if name == "unflatten":
            args = (*args[:2], self._sizes(call.args[2], args[2]))
        return torch_calls.method(name, args, kwargs)

    def _sizes(self, written: Any, sizes: Any) -> Any:
        """Return several consecutive sizes of one value as a slice of its shape."""
        if isinstance(written, Ref):
            return sizes  # all of them are one value: the grid of tokens
        found = [self._by_name[one.name] if isinstance(one, Ref) else None for one in written]
        if len(found) < 2 or not all(one is not None and one.target == "size" for one in found):
            return sizes
        sources = {one.args[0] for one in found if one is not None}
        places = [int(str(self.number(one.args[1]))) for one in found if one is not None]
        if len(sources) > 1 or places != list(range(places[0], places[0] + len(places))):
            return sizes
        source = self._value(sources.pop().name)
        start = "" if places[0] == 0 else str(places[0])
        return Code(f"{source.at(9)}.shape[{start}:{places[-1] + 1}]")

    def _new_axes(self, call: Call) -> Code | None:
        """Return ``x[:, :, None, None]`` where several axes of size 1 are inserted in a row."""
        chain, index = [call], self._index_of_ones(call)
        if index is None:
            return None
        while True:
            (source,) = [*refs(chain[-1].args)][:1]
            inner = self._by_name[source]
            if not self._stands_inside(inner) or self._index_of_ones(inner) is None:
                break
            chain.append(inner)
        rank = self._by_name[source].rank
        tokens = [":"] * rank
        for one in reversed(chain):
            place, before, after = self._index_of_ones(one)  # type: ignore[misc]
            if one.target == "unsqueeze":
                tokens.insert(place, "None")
            else:
                tokens[place : place + 1] = ["None"] * before + [tokens[place]] + ["None"] * after
        if tokens.count("None") == 1 and call.target == "unsqueeze":
            return None
        while tokens and tokens[-1] == ":":
            tokens.pop()
        return Code(f"{self._value(source).at(9)}[{', '.join(tokens)}]")

    def _index_of_ones(self, call: Call) -> tuple[int, int, int] | None:
        """Return where axes of size 1 are inserted: the index, and how many before and after it."""
        if call.op != "call_method" or call.target not in _ONES:
            return None
        place = int(str(self.number(call.args[1])))
        if call.target == "unsqueeze":
            return (place if place >= 0 else call.rank + place, 1, 0)
        sizes_given = call.args[2]
        if not isinstance(sizes_given, (list, tuple)):
            return None  # sizes that depend on the input's
        if not all(isinstance(one, Number) for one in sizes_given):
            return None
        sizes = [str(self.number(one)) for one in sizes_given]
        if sizes.count("-1") != 1 or sizes.count("1") != len(sizes) - 1 or place < 0:
            return None
        before = sizes.index("-1")
        return (place, before, len(sizes) - before - 1)

    def _evaluated(self, call: Call) -> Code:
        """Return a number that depends on the sizes of the input."""
        sizes = {name: self._arg(value) for name, value in call.kwargs.items()}
        return numbers_code(call.args[0], sizes, self.number)

    def _table(self, call: Call) -> Code:
        """Return the call of a method that makes a table of dynamic sizes."""
        x, tree, names, lengths = call.args
        sizes = {key: self._arg(value) for key, value in call.kwargs.items()}
        return self._made_by_method(call, str(self._arg(x)), tree, names, lengths, sizes)

    def _made_by_method(
        self, call: Call, x: str, tree: Any, names: Any, lengths: Any, sizes: Mapping[str, Code]
    ) -> Code:
        """Return the call of a method that makes a table."""
        name = f"_{free_name(call.owner, ())}"
        own = [self._arg(length) for length in lengths]
        lines = table_lines(tree, names, own, sizes, self.number, x)
        self.methods[name] = [f"def {name}(self, {x}: Tensor) -> Tensor:", *lines]
        return Code(f"self.{name}({x})")
