"""The sizes that a stand-in takes from the layer it replaces, or the reason why it can't."""

from __future__ import annotations

from torch import nn

from composer.errors import error
from composer.language.stand_in import BEGINS_ALIKE
from composer.primitives import Spec

#: The layers that can be replaced, on maps of one, two and three dimensions.
ANY_CONVOLUTION = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def sizes_like(spec: Spec, layer: nn.Module) -> dict[str, int | bool]:
    """Return the sizes that a spec takes from the layer it stands for.

    Args:
        spec: one with ``stands_for``.
        layer: the `nn.Conv2d`, `nn.Conv1d` or `nn.Conv3d`, or the attention module.

    Returns:
        For a convolution ``c out kernel stride padding dilation groups bias``; for an attention
        module ``c``, and the param ``heads`` if the spec has it.

    Raises:
        ComposerError: the spec does not stand for such a layer, or the layer is not a plain one.
    """
    if spec.stands_for is None:
        raise error(
            "not-a-stand-in",
            f"{spec.name!r} does not stand for a layer, so it can't be built with `like`",
            "pass channels instead, or write 'stands_for: conv2d' in the spec",
        )
    if spec.stands_for not in BEGINS_ALIKE:
        raise error(
            "not-a-stand-in",
            f"{spec.name!r} stands for a {spec.stands_for}, from which it takes no sizes",
            "pass channels instead",
        )
    attention = spec.stands_for == "attention"
    reason = attention_refusal(layer) if attention else conv2d_refusal(layer)
    if reason is not None:
        plain = "a module with num_heads" if attention else "a square nn.Conv2d with zero padding"
        raise error(
            "no-stand-in",
            f"{spec.name!r} can't stand for this {type(layer).__name__}: {reason}",
            f"it stands for {plain}",
        )
    if attention:
        heads = {"heads": heads_of(layer)} if "heads" in spec.params else {}
        return {"c": width_of(layer), **heads}
    assert isinstance(layer, ANY_CONVOLUTION)
    return {
        "c": layer.in_channels,
        "out": layer.out_channels,
        "kernel": layer.kernel_size[0],
        "stride": layer.stride[0],
        "padding": int(layer.padding[0]),
        "dilation": layer.dilation[0],
        "groups": layer.groups,
        "bias": layer.bias is not None,
    }


def conv2d_refusal(layer: nn.Module) -> str | None:
    """Return the reason why this convolution can't be replaced, or None."""
    if not isinstance(layer, ANY_CONVOLUTION):
        return "it is not an nn.Conv2d"
    if _has_its_own_forward(layer):
        return f"{type(layer).__name__} overrides forward"
    if isinstance(layer.padding, str):
        return f"its padding is {layer.padding!r}, not a number"
    if layer.padding_mode != "zeros":
        return f"its padding mode is {layer.padding_mode!r}, not zeros"
    for what in ("kernel_size", "stride", "dilation", "padding"):
        sizes: tuple[int, ...] = getattr(layer, what)
        if len(set(sizes)) > 1:
            shown = "×".join(map(str, sizes))
            shape = "square" if len(sizes) == 2 else "a cube"
            return f"its {what.partition('_')[0]} is {shown}, not {shape}"
    return None


def attention_refusal(layer: nn.Module) -> str | None:
    """Return the reason why this attention module can't be replaced, or None."""
    if not heads_of(layer):
        return "it has no num_heads"
    return None if width_of(layer) else "its width is not known"


#: The names of the number of heads in timm and torch, and in transformers.
_HEADS = ("num_heads", "num_attention_heads")


def heads_of(layer: nn.Module) -> int:
    """Return the number of heads of an attention module; 0 for other modules."""
    told = (getattr(layer, name, None) for name in _HEADS)
    return next((n for n in told if isinstance(n, int) and not isinstance(n, bool)), 0)


def width_of(layer: nn.Module) -> int:
    """Return the input channels of an attention module; 0 if not known."""
    told = getattr(layer, "embed_dim", None)
    if isinstance(told, int):
        return told
    return next((m.in_features for m in layer.modules() if isinstance(m, nn.Linear)), 0)


def _has_its_own_forward(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> bool:
    kind = type(layer)
    plain = next(one for one in ANY_CONVOLUTION if isinstance(layer, one))
    own = kind.forward is not plain.forward or "forward" in vars(layer)
    return own or kind._conv_forward is not plain._conv_forward
