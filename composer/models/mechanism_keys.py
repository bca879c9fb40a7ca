"""The tensor names of a mechanism in published code, mapped to Composer's names.

A checkpoint of timm's seresnet18 has ``layer1.0.se.fc1.weight`` [8, 64, 1, 1] where a composed
resnet18 has ``layer1.0.se_2.excite.fc1.weight`` [8, 64]. A table maps the layers; axes of
size 1 are added or removed; and where the code stacks two maps in the other order, the channels
are swapped. Unknown or ambiguous tensors are refused: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from composer.errors import ComposerError, error, listing


@dataclass(frozen=True)
class Form:
    """The names of one mechanism in one codebase: our name of each layer, and theirs.

    `reversed` are our layers whose two input channels come in the other order. `around` are
    expressions for other keys of the model that the mechanism renames in that code.
    """

    code: str
    layers: Mapping[str, str]
    reversed: tuple[str, ...] = ()
    around: tuple[tuple[str, str], ...] = ()


#: Keyed by the name of the spec.
FORMS: dict[str, tuple[Form, ...]] = {
    "se": (
        Form("timm", {"excite.fc1": "fc1", "excite.fc2": "fc2"}),  # also Cadene's
        Form("senet.pytorch", {"excite.fc1": "fc.0", "excite.fc2": "fc.2"}),
    ),
    "eca": (Form("ECANet and timm", {"interact.conv": "conv"}),),
    "cbam": (
        Form(
            "timm",  # it stacks the mean before the maximum
            {
                "channel.excite.fc1": "channel.fc1",
                "channel.excite.fc2": "channel.fc2",
                "spatial.locate.conv": "spatial.conv.conv",
                "spatial.locate.norm": "spatial.conv.bn",
            },
            reversed=("spatial.locate.conv",),
        ),
        Form(
            "attention-module",
            {
                "channel.excite.fc1": "ChannelGate.mlp.1",
                "channel.excite.fc2": "ChannelGate.mlp.3",
                "spatial.locate.conv": "SpatialGate.spatial.conv",
                "spatial.locate.norm": "SpatialGate.spatial.bn",
            },
        ),
    ),
    "cbam_channel": (
        Form(
            "attention-module",
            {"excite.fc1": "ChannelGate.mlp.1", "excite.fc2": "ChannelGate.mlp.3"},
        ),
    ),
    "sk": (
        Form(
            "timm",
            {
                "split.N.conv": "paths.N.conv",
                "split.N.norm": "paths.N.bn",
                "z.linear": "attn.fc_reduce",
                "z.norm": "attn.bn",
                "logits.linear": "attn.fc_select",
            },
            around=(
                (r"\.conv(\d)\.conv\.(\w+)$", r".conv\1.\2"),
                (r"\.conv(\d)\.bn\.(\w+)$", r".bn\1.\2"),
            ),
        ),
    ),
    "split_attention": (
        Form(
            "ResNeSt and timm",
            {
                "splits.conv": "conv",
                "splits.norm": "bn0",
                "z.linear": "fc1",
                "z.norm": "bn1",
                "logits.linear": "fc2",
            },
        ),
    ),
}
#: One of several numbered layers.
_NUMBERED = re.compile(r"(?<=\.)\d+(?=\.)")
_COUNTER = "num_batches_tracked"
_BLEND = "blend"  # see `composer.graph.passes.start_at_identity`


@dataclass(frozen=True)
class Held:
    """An inserted module: its spec, its path, and its parent module, if any."""

    spec: str
    path: str
    owner: str | None


@dataclass
class Renamed:
    """A state dict with Composer's names, and what was changed."""

    state: dict[str, Tensor]
    renamed: int = 0
    reshaped: int = 0
    codes: list[str] = field(default_factory=list)


def may_hold(spec: str, keys: Sequence[str]) -> bool:
    """Return whether keys that a plain model lacks look like those of a mechanism."""
    return any(
        all(any(_is_of(key, theirs) for key in keys) for theirs in form.layers.values())
        for form in FORMS.get(spec, ())
    )


def renamed(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], held: Sequence[Held]
) -> Renamed:
    """Return a state dict with the names of a composed model; keys already so named stay.

    Args:
        state: the contents of a file.
        own: the composed model's state dict.
        held: the inserted modules.

    Raises:
        ComposerError: the tensors of an inserted module are missing, or found twice.
    """
    done = Renamed(dict(state))
    for one in held:
        ours = [key for key in own if key.startswith(f"{one.path}.")]
        if all(key in state or key.endswith(_COUNTER) for key in ours):
            continue
        if (blend := f"{one.path}.{_BLEND}") in ours and blend not in state:
            raise error(
                "weights",
                f"the file has no {blend}, with which {one.path} ({one.spec}) starts as identity",
                "a file with a trained mechanism needs init=paper",
            )
        form, prefix = _found(one, ours, state, own)
        for key in ours:
            layer, _, leaf = key.removeprefix(f"{one.path}.").rpartition(".")
            theirs = f"{prefix}.{_theirs(form, layer)}.{leaf}"
            if theirs not in done.state:
                continue  # a counter that old files lack
            tensor = done.state.pop(theirs)
            if layer in form.reversed and leaf == "weight":
                tensor = tensor.flip(1)
            if tensor.shape != own[key].shape and _core(tensor) == _core(own[key]):
                tensor = tensor.reshape(own[key].shape)
                done.reshaped += 1
            done.state[key] = tensor
            done.renamed += 1
        if form.code not in done.codes:
            done.codes.append(form.code)
        _rename_around(done, form, own)
    return done


def _found(
    one: Held, ours: list[str], state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[Form, str]:
    """Return the naming form that a file uses for an inserted module, and its path there."""
    whole: list[tuple[Form, str]] = []
    part: list[tuple[int, str]] = []
    for form in FORMS.get(one.spec, ()):
        for prefix in _prefixes(one, state, own):
            wanted = [
                f"{prefix}.{_theirs(form, layer)}.{leaf}"
                for layer, _, leaf in (k.removeprefix(f"{one.path}.").rpartition(".") for k in ours)
                if leaf != _COUNTER
            ]
            missing = [key for key in wanted if key not in state]
            if not missing:
                whole.append((form, prefix))
            elif len(missing) < len(wanted):
                there = next(key for key in wanted if key in state)
                part.append((len(missing), f"it has {there} but not {missing[0]}"))
    if len(whole) == 1:
        return whole[0]
    raise _unclear(one, [prefix for _, prefix in whole], part)


def _prefixes(one: Held, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the possible paths in a file: its own path, or any child of its parent."""
    if one.owner is None:
        yield one.path
        return
    start = f"{one.owner}." if one.owner else ""
    strangers = (key for key in state if key.startswith(start) and key not in own)
    names = dict.fromkeys(key.removeprefix(start).partition(".")[0] for key in strangers)
    yield from (f"{start}{name}" for name in names)


def _unclear(one: Held, whole: list[str], part: list[tuple[int, str]]) -> ComposerError:
    if whole:
        return error(
            "weights",
            f"{listing(whole)} in the file both fit {one.path}",
            "remove the ones that are not meant from the file",
        )
    codes = [form.code for form in FORMS.get(one.spec, ())]
    known = f"under the names of {listing(codes, last='or')}" if codes else "under any known names"
    said = min(part)[1] if part else f"it has none of them {known}"
    return error(
        "weights",
        f"the file lacks the tensors of {one.path} ({one.spec}): {said}",
        "insert at the places and with the params that the file was made with, such as bias=false",
    )


def _theirs(form: Form, layer: str) -> str:
    """Return a form's name for our layer, or the same name where it has none."""
    number = _NUMBERED.search(f"{layer}.")
    if number is not None:
        pattern = f"{layer[: number.start()]}N{layer[number.end() :]}"
        if pattern in form.layers:
            return form.layers[pattern].replace("N", number[0])
    return form.layers.get(layer, layer)


def _rename_around(done: Renamed, form: Form, own: Mapping[str, Tensor]) -> None:
    """Give other keys of the model the names that they have without the mechanism."""
    for pattern, replacement in form.around:
        for key in [key for key in done.state if key not in own]:
            name = re.sub(pattern, replacement, key)
            if name != key and name in own and name not in done.state:
                done.state[name] = done.state.pop(key)
                done.renamed += 1


def _is_of(key: str, layer: str) -> bool:
    return re.search(rf"\.{re.escape(layer).replace('N', '[0-9]+')}\.\w+$", key) is not None


def _core(tensor: Tensor) -> list[int]:
    """Return the sizes of the axes that are longer than one."""
    return [size for size in tensor.shape if size != 1]
