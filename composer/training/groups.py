"""`parameter_groups`: a composed model's parameters in the form that torch's optimizers take."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from composer.errors import error
from composer.surgery.composition import inserted_prefixes
from composer.surgery.unwrapped import bare
from composer.training.decay import without_decay
from composer.training.layer_numbers import layer_numbers, scales


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    inserted_lr: float | None = None,
    layer_decay: float | None = None,
) -> list[dict[str, Any]]:
    """Return the trainable parameters in groups, each with its ``lr`` and ``weight_decay``.

    ::

        groups = composer.parameter_groups(
            model, lr=1e-4, weight_decay=0.05, inserted_lr=1e-3, layer_decay=0.75
        )
        optimizer = torch.optim.AdamW(groups)

    Without weight decay are scalars and vectors (biases, norms, LayerScale, the blend factor of an
    identity start), learned tables of positions, and those listed in ``no_weight_decay()``.

    Args:
        model: a composed model or a plain one, wrapped or not.
        lr: the learning rate.
        weight_decay: of the parameters that take it.
        inserted_lr: the learning rate of what was inserted; `lr` by default.
        layer_decay: factor on the learning rate for each layer before the head
            (arXiv:2106.08254, BEiT; in timm ``--layer-decay``). Insertions belong to the
            layer of the block or stage that they serve.

    Returns:
        Groups with ``params``, ``lr``, ``weight_decay``, ``inserted``, and ``layer`` where
        `layer_decay` is given. Those of the original parameters are the groups of the plain model.

    Raises:
        ComposerError: a number is out of range, no layers are known, or the parameters have no
            names of their own.
    """
    _check("lr", lr)
    _check("weight_decay", weight_decay)
    _check("inserted_lr", lr if inserted_lr is None else inserted_lr)
    if layer_decay is not None:
        _check("layer_decay", layer_decay, most=1)
    inner, _ = bare(model)
    inserted, spared = inserted_prefixes(inner), without_decay(inner)
    layers = layer_numbers(inner) if layer_decay is not None else {}
    scale = scales(layers, layer_decay) if layer_decay is not None else {}
    groups: dict[object, dict[str, Any]] = {}
    for name, parameter in inner.named_parameters():
        if not parameter.requires_grad:
            continue
        is_new = bool(inserted) and name.startswith(inserted)
        rate = lr if inserted_lr is None or not is_new else inserted_lr
        settings = {
            "lr": rate * scale.get(name, 1),
            "weight_decay": 0.0 if name in spared else weight_decay,
            "inserted": is_new,
        }
        if layers:
            settings["layer"] = layers[name]
        groups.setdefault(tuple(settings.items()), {"params": [], **settings})
        groups[tuple(settings.items())]["params"].append(parameter)
    return list(groups.values())


def _check(name: str, value: float, most: float = math.inf) -> None:
    sound = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not sound or not (0 <= value <= most) or math.isinf(value):
        to = "from 0" if math.isinf(most) else f"from 0 to {most:g}"
        raise error(
            "invalid-value", f"{name} is {value!r}, not a number {to}", f"for example {name}=0.05"
        )
