"""`optimize`: a model compiled for what it is to do, to answer or to learn."""

from __future__ import annotations

import copy
from typing import Literal, get_args

from torch import nn

from composer.compiling.with_gradients import Learning
from composer.compiling.with_weights import Frozen
from composer.errors import error, suggestion

Purpose = Literal["inference", "training"]


def optimize(model: nn.Module, for_: Purpose) -> nn.Module:
    """Compile a model to one graph, with what pays for its purpose; it is called as before.

    For inference: a copy in evaluation mode, whose weights are built into its code. Inductor folds
    each batch norm into the convolution before it, wherever the graph shows that nothing else reads
    what lies between; fuses activations and residual adds with convolutions; and brings kernels
    into the order that the device likes. Calls record no gradients. The weights may not change
    after that: a call says so where they did. The copy's keys and tensors are those of the model,
    so it can be saved, copied and ejected, and a copy is an ordinary model again. The code holds
    weights of its own: the model takes about twice its memory.

    For training: the model itself, in place, so that optimizers made before or after, and a loop
    that calls `composer.advance`, work as they did.

    The compilation happens in the first call, anew for another mode, and once more when the batch
    size first changes: from then on the code takes any size. A batch of one has code of its own.
    Only calls of the whole model are compiled, not those of its other methods. Where dynamo keeps
    no more results, as with a ninth kind of input, the model's own code runs.

    The first call at each of four sizes runs the model's own code, too, and compares: other numbers
    are an error, never a result. For training it runs twice, without gradients, and leaves buffers
    and random number generators as they were; a model that draws at random, as dropout does, is
    compared in shape alone.

    Measured, and left out, on CPU with ResNet-50 and SE. Channels-last weights gain 7% of a
    training step that is not compiled, and nothing once it is, in either mode: inductor chooses
    the layout of each convolution. Folding norms before the compilation shortens that by a fifth
    and no call after it, and would change the keys. Compiling block by block took as long as the
    whole, 16 graphs for one, and its calls twice as long: the weights stay outside the code, where
    most of the gain comes from.

    Args:
        model: any module, such as `insert`, `load` or `build` gave.
        for_: ``"inference"`` or ``"training"``.

    Returns:
        A compiled copy for inference; the model itself for training.

    Raises:
        ComposerError: there is no such purpose; the model is no module, is wrapped by
            `torch.compile`, can't be copied, or is compiled already where it is to be trained.
            The first call raises torch's own error where the model is no single graph, and this
            one where the code gives other numbers than the model.
    """
    if for_ not in get_args(Purpose):
        ways = suggestion(str(for_), get_args(Purpose), "it may be")
        raise error("invalid-value", f"a model is not optimised for {for_!r}", ways)
    _check_module(model)
    if for_ == "inference":
        model = _copied(model).eval()
        model._compiled_call_impl = Frozen(model)
    else:
        _check_fresh(model)
        model._compiled_call_impl = Learning(model)
    return model


def _check_module(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise error(
            "not-a-module",
            f"{model!r} is no nn.Module",
            "give what composer.insert, composer.load or composer.build returned",
        )
    if hasattr(model, "_orig_mod"):
        raise error(
            "compiled-model",
            f"this {type(model).__name__} is what torch.compile made of a model",
            "give the model that it was made of",
        )


def _check_fresh(model: nn.Module) -> None:
    if model._compiled_call_impl is not None:
        raise error(
            "compiled-model",
            f"this {type(model).__name__} is compiled already",
            "train it as it is, or give a copy: copy.deepcopy(model) is not compiled",
        )


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except RuntimeError as failure:  # of torch, on a tensor that a forward pass left in it
        why = str(failure).splitlines()[0].partition(". ")[0]
        raise error(
            "no-copy",
            f"this {type(model).__name__} can't be copied: {why}",
            "give a fresh model with the same state dict",
        ) from None
