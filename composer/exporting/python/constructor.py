"""The statements that make the layers of a mechanism and initialise their tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from composer.exporting.python.begins import Begin
from composer.exporting.python.calls import shown
from composer.exporting.python.code import Code, literal
from composer.exporting.python.layers import REQUIRED
from composer.exporting.python.sequences import Chain
from composer.exporting.python.written import Layer, Number

Tree = dict[str, Any]
NumberOf = Callable[[Number], Code]


def place_of(path: str, layers: Mapping[str, Layer]) -> str:
    """Return the path of a layer as Python: ``self.split[0].conv``."""
    text, above = "self", ""
    for part in path.split("."):
        text += f"[{_key(above, part, layers)}]" if part.isdigit() else f".{part}"
        above = f"{above}{part}."
    return text


def _key(above: str, part: str, layers: Mapping[str, Layer]) -> str:
    return part if is_list([*_children(above, layers)]) else literal(part)


def _children(above: str, layers: Mapping[str, Layer]) -> dict[str, None]:
    inside = (path.removeprefix(above) for path in layers if path.startswith(above))
    return dict.fromkeys(path.partition(".")[0] for path in inside)


def is_list(names: list[str]) -> bool:
    """Return whether children are named like the items of a list."""
    return names == [str(place) for place in range(len(names))]


def layer_statements(
    layers: Mapping[str, Layer], chains: Mapping[str, Chain], number: NumberOf
) -> Iterator[list[str]]:
    """Yield the statements that make and initialise each child of a mechanism."""
    kept = {path: layer for path, layer in layers.items() if layer.kind != "table"}
    for name in _children("", kept):
        own = {path: layer for path, layer in kept.items() if path.partition(".")[0] == name}
        yield [*_made(name, own, chains, number), *_begins(name, kept, number)]


def _made(
    path: str, layers: Mapping[str, Layer], chains: Mapping[str, Chain], number: NumberOf
) -> Iterator[str]:
    """Yield the statements that make the module at a path: one, unless it also has parameters."""
    if path in layers or path in chains or not _holds_both(path, layers):
        yield f"{place_of(path, layers)} = {_text(path, layers, chains, number)}"
        return
    names = [*_children(f"{path}.", layers)]
    empty = "nn.Module()"
    if is_list(names):
        empty = f"nn.ModuleList([nn.Module() for _ in range({len(names)})])"
        names = [
            f"{name}.{inner}" for name in names for inner in _children(f"{path}.{name}.", layers)
        ]
    yield f"{place_of(path, layers)} = {empty}"
    for name in names:
        yield from _made(f"{path}.{name}", layers, chains, number)


def _holds_both(path: str, layers: Mapping[str, Layer]) -> bool:
    """Return whether there are parameters next to modules anywhere under a path."""
    by_owner: dict[str, set[bool]] = {}
    for one, layer in layers.items():
        parts = one.split(".")
        if not one.startswith(f"{path}."):
            continue
        for depth in range(1, len(parts)):
            is_parameter = layer.kind == "parameter" and depth == len(parts) - 1
            by_owner.setdefault(".".join(parts[:depth]), set()).add(is_parameter)
    return any(len(kinds) == 2 for kinds in by_owner.values())


def _text(
    path: str, layers: Mapping[str, Layer], chains: Mapping[str, Chain], number: NumberOf
) -> str:
    """Return the expression that makes the module at a path."""
    if path in layers:
        return _layer(layers[path], number)
    if path in chains:
        parts = [
            (name, part if isinstance(part, str) else _layer(part, number))
            for name, part in chains[path].parts
        ]
        if is_list([name for name, _ in parts]):
            return f"nn.Sequential({', '.join(text for _, text in parts)})"
        inside = ", ".join(f"{name}={text}" for name, text in parts)
        return f"nn.Sequential(OrderedDict({inside}))"
    names = [*_children(f"{path}.", layers)]
    made = [_text(f"{path}.{name}", layers, chains, number) for name in names]
    if is_list(names):
        return f"nn.ModuleList([{', '.join(made)}])"
    inside = ", ".join(f"{literal(name)}: {text}" for name, text in zip(names, made, strict=True))
    parameters = all(layers.get(f"{path}.{n}", _NONE).kind == "parameter" for n in names)
    return f"nn.{'ParameterDict' if parameters else 'ModuleDict'}({{{inside}}})"


_NONE = Layer("", ())


def _layer(layer: Layer, number: NumberOf) -> str:
    given = {name: _number(value, number) for name, value, _ in layer.arguments}
    if layer.kind == "parameter":
        return _parameter(layer, given["shape"], number)
    if layer.kind == "RowConv1d":
        settings = f"{given['kernel_size']}, padding={given['padding']}, bias={given['bias']}"
        return f"nn.Conv1d(1, 1, {settings})"
    args = [shown(given[name]) for name, _, default in layer.arguments if default is REQUIRED]
    args += [
        f"{name}={shown(given[name])}"
        for name, _, default in layer.arguments
        if default is not REQUIRED and shown(given[name]) != str(default)
    ]
    own = "" if layer.kind in ("Affine", "Schedule", "SharedDropout") else "nn."
    return f"{own}{layer.kind}({', '.join(args)})"


def _number(value: Any, number: NumberOf) -> Any:
    if isinstance(value, Number):
        return number(value)
    return tuple(_number(one, number) for one in value) if isinstance(value, tuple) else value


def _parameter(layer: Layer, shape: tuple[Code, ...], number: NumberOf) -> str:
    sizes = ", ".join(map(str, shape))
    ((_, begin),) = layer.begins or (("", Begin("constant", (0,))),)
    value = _number(begin.numbers[0], number)
    if begin.how != "constant":
        return f"nn.Parameter({_drawn(f'torch.empty({sizes})', begin.how, str(value))})"
    for word, numbers in (("zeros", ("0", "0.0")), ("ones", ("1", "1.0"))):
        if str(value) in numbers:
            return f"nn.Parameter(torch.{word}({sizes}))"
    whole = str(value).lstrip("-").isdigit()  # torch.full of an integer has an integer dtype
    return f"nn.Parameter(torch.full(({sizes},), {f'{value}.0' if whole else f'float({value})'}))"


def _drawn(tensor: str, how: str, value: str) -> str:
    if how == "uniform":
        return f"nn.init.uniform_({tensor}, -{_in_brackets(value)}, {value})"
    return f"nn.init.{how}_({tensor}, std={value})"


def _in_brackets(text: str) -> str:
    return text if text.replace(".", "").replace("_", "").isalnum() else f"({text})"


def _begins(name: str, layers: Mapping[str, Layer], number: NumberOf) -> Iterator[str]:
    for path, layer in layers.items():
        if path.partition(".")[0] != name or layer.kind == "parameter":
            continue
        for tensor, begin in layer.begins:
            (written,) = begin.numbers
            value = str(number(written) if isinstance(written, Number) else written)
            target = f"{place_of(path, layers)}.{tensor}"
            if begin.how != "constant":
                yield _drawn(target, begin.how, value)
            elif value in ("0", "0.0"):
                yield f"nn.init.zeros_({target})"
            elif value not in ("1", "1.0") or "Norm" not in layer.kind:
                yield f"nn.init.constant_({target}, {value})"
