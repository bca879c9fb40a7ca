"""`optimize`: a model compiled for inference or for training."""

from __future__ import annotations

import copy
from typing import Literal, get_args

from torch import nn

from composer.compiling.with_gradients import Learning
from composer.compiling.with_weights import Frozen
from composer.errors import error, suggestion

Purpose = Literal["inference", "training"]


def optimize(model: nn.Module, for_: Purpose) -> nn.Module:
    """Compile a model to one graph, optimised for its purpose; it is called as before.

    For inference: a copy in evaluation mode, whose weights are constants in its code. Inductor
    folds each batch norm into the convolution before it if nothing else reads the value between
    them; it fuses activations and residual adds with convolutions, and reorders kernels for the
    device. Calls record no gradients. The weights must not change afterwards: a call raises an
    error if they did. The copy has the model's keys and tensors, so it can be saved, copied and
    ejected, and a copy of it is an ordinary model again. The code contains the weights a second
    time, so the model takes about twice the memory.

    For training: the model itself, in place, so that optimizers created before or after, and a
    loop that calls `composer.advance`, work as usual.

    Compilation happens in the first call, again for another mode, and once more when the batch
    size first changes: from then on the code takes any size. A batch of one has separate code.
    Only calls of the whole model are compiled, not its other methods. If dynamo's cache is full,
    as with a ninth kind of input, the model runs uncompiled.

    The first call at each of four sizes also runs the uncompiled model and compares: a difference
    is an error, never a result. For training it runs twice, without gradients, and restores buffers
    and random number generators; a model with randomness, such as dropout, is compared only in
    shape.

    Measured and rejected, on CPU with ResNet-50 and SE: channels-last weights gain 7% of an
    uncompiled training step, and nothing once compiled, in either mode, because inductor chooses
    the layout of each convolution. Folding norms before compilation shortens it by a fifth, but no
    later call, and would change the keys. Compiling block by block took as long as the whole (16
    graphs instead of one), and its calls twice as long: the weights stay outside the code, where
    most of the gain comes from.

    Args:
        model: any module, such as the result of `insert`, `load` or `build`.
        for_: ``"inference"`` or ``"training"``.

    Returns:
        A compiled copy for inference; the model itself for training.

    Raises:
        ComposerError: the purpose is unknown; the model is not a module, is wrapped by
            `torch.compile`, can't be copied, or is to be trained and is already compiled.
            The first call raises torch's error if the model is not a single graph, and this
            one if the code's results differ from the model's.
    """
    if for_ not in get_args(Purpose):
        ways = suggestion(str(for_), get_args(Purpose), "Purposes")
        raise error("invalid-value", f"a model can't be optimised for {for_!r}", ways)
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
            f"expected an nn.Module, but got {model!r}",
            "give the result of composer.insert, composer.load or composer.build",
        )
    if hasattr(model, "_orig_mod"):
        raise error(
            "compiled-model",
            f"this {type(model).__name__} is the output of torch.compile",
            "give the original model",
        )


def _check_fresh(model: nn.Module) -> None:
    if model._compiled_call_impl is not None:
        raise error(
            "compiled-model",
            f"this {type(model).__name__} is already compiled",
            "train it directly, or give a copy: copy.deepcopy(model) is not compiled",
        )


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except RuntimeError as failure:  # torch's, for a tensor that a forward pass left in the model
        why = str(failure).splitlines()[0].partition(". ")[0]
        raise error(
            "no-copy",
            f"this {type(model).__name__} can't be copied: {why}",
            "give a fresh model with the same state dict",
        ) from None
