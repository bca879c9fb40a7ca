"""Consecutive layers of one node of a spec: an `nn.Sequential` under its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional

from composer.exporting.python.written import Call, Layer, Ref

#: Layers that are called with more than one value.
APART = frozenset({"Affine", "RowConv1d", "table", "Schedule", "parameter"})

_ACTIVATIONS: Mapping[Any, str] = {
    torch.relu_: "nn.ReLU(inplace=True)", torch.relu: "nn.ReLU()",
    torch.sigmoid: "nn.Sigmoid()", torch.sigmoid_: "nn.Sigmoid()", torch.tanh: "nn.Tanh()",
    functional.silu: "nn.SiLU()", functional.hardswish: "nn.Hardswish()",
    functional.hardsigmoid: "nn.Hardsigmoid()", functional.gelu: "nn.GELU()",
}  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """A sequence of layers and activations by name; the latter as text."""

    path: str
    parts: tuple[tuple[str, Layer | str], ...]


def in_sequences(
    calls: Sequence[Call], layers: Mapping[str, Layer]
) -> tuple[tuple[Call, ...], dict[str, Chain]]:
    """Return the calls with one in place of each sequence, and the sequences by path."""
    users = users_of(calls)
    found: dict[str, Chain] = {}
    for path in dict.fromkeys(path.rpartition(".")[0] for path in layers):
        own = [one for one in layers if one.startswith(f"{path}.")]
        if path and all(layers[one].kind not in APART for one in own):
            chain = _chain(own, calls, users)
            if chain is not None:
                found[path] = _sequence(path, chain, layers)
                calls = _replaced(calls, path, chain)
    return tuple(calls), found


def users_of(calls: Sequence[Call]) -> dict[str, list[Call]]:
    """Return the calls that read each value, once per read."""
    users: dict[str, list[Call]] = {call.name: [] for call in calls}
    for call in calls:
        for name in refs((call.args, call.kwargs)):
            users[name].append(call)
    return users


def refs(value: Any) -> Iterator[str]:
    """Yield the names of the values in an argument."""
    if isinstance(value, Ref):
        yield value.name
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from refs(one)
    elif isinstance(value, dict):
        yield from refs(tuple(value.values()))
    elif isinstance(value, slice):
        yield from refs((value.start, value.stop, value.step))


def _chain(
    own: Sequence[str],
    calls: Sequence[Call],
    users: Mapping[str, list[Call]],
) -> list[Call] | None:
    """Return the calls of a sequence in order, or None if they are not a sequence."""
    mine = [call for call in calls if call.op == "call_module" and call.target in own]
    if [call.target for call in mine] != list(own):
        return None
    chain = [mine[0]]
    while True:
        readers = users[chain[-1].name]
        if len(readers) != 1:
            break
        (reader,) = readers
        layer = reader.op == "call_module" and reader.target in own
        same = reader.owner == chain[0].owner and reader.args == (Ref(chain[-1].name),)
        if not (same and (layer or (reader.target in _ACTIVATIONS and not reader.kwargs))):
            break
        chain.append(reader)
    return chain if [call for call in chain if call.op == "call_module"] == mine else None


def _sequence(path: str, chain: Sequence[Call], layers: Mapping[str, Layer]) -> Chain:
    parts: list[tuple[str, Layer | str]] = []
    for call in chain:
        if call.op == "call_module":
            name = str(call.target)
            parts.append((name.rpartition(".")[2], layers[name]))
        else:
            taken = {name for name, _ in parts}
            name = next(n for n in ("act", "act1", "act2", "act3", "act4") if n not in taken)
            parts.append((name, _ACTIVATIONS[call.target]))
    return Chain(path, tuple(parts))


def _replaced(calls: Sequence[Call], path: str, chain: Sequence[Call]) -> tuple[Call, ...]:
    gone = {call.name for call in chain[:-1]}
    whole = replace(chain[-1], op="call_module", target=path, args=chain[0].args, kwargs={})
    return tuple(
        whole if call.name == whole.name else call for call in calls if call.name not in gone
    )
