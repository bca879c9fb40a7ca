"""What holds at insertion holds afterwards: nothing of a forward is frozen, nothing is passed by.

Each row is a backbone, and what its owner does to it after an insertion: throw coins, set an
attribute, checkpoint, resize, fuse, run without gradients. Composed with ``init="identity"``, it
must compute what the plain backbone does then; and what was inserted must run.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from timm import create_model
from timm.layers import DropPath
from timm.utils.model import reparameterize_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import composer
from composer.errors import ComposerError


class Block(nn.Module):
    """A residual block with something of its author's between branch and add."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(c, c, 3, 1, 1), nn.Conv2d(c, c, 3, 1, 1)
        self.res_scale, self.rate = 1.0, 0.0

    def body(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu(self.conv1(x)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Coin(Block):
    def toss(self) -> bool:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.toss():
            return x
        return F.relu(x + self.body(x))


class RandomCoin(Coin):
    def toss(self) -> bool:
        return random.random() < 0.5


class NumpyCoin(Coin):
    def toss(self) -> bool:
        return bool(np.random.rand() < 0.5)


class TorchCoin(Coin):
    def toss(self) -> bool:
        return torch.rand(1).item() < 0.5


class Scaled(Block):
    def forward(self, x: Tensor) -> Tensor:
        out = F.dropout(self.body(x), self.rate, self.training)
        return x + out * self.res_scale


class Checkpointed(Block):
    def forward(self, x: Tensor) -> Tensor:
        out = checkpoint(self.body, x, use_reentrant=False) if self.training else self.body(x)
        return x + out


class OneOfTwoWays(Block):
    """The branch is made by another expression in training."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return x + F.dropout(self.conv2(F.relu(self.conv1(x))), self.rate)
        return x + self.conv2(F.relu(self.conv1(x)))


class Keywords(Block):
    def forward(self, x: Tensor, scale: float = 1.0, **kwargs: Any) -> Tensor:
        return x + scale * self.body(x)


class Passes(nn.Sequential):
    """Hands a trainer's keywords on to its blocks."""

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        for block in self:
            x = block(x, **kwargs)
        return x


class FusedConv(nn.Module):
    """As YOLO's convolution: `fuse` sets another method as its forward."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.bn(self.conv(x)))

    def forward_fuse(self, x: Tensor) -> Tensor:
        return F.silu(self.conv(x))


class Bottleneck(nn.Module):
    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.cv1, self.cv2, self.add = FusedConv(c), FusedConv(c), True

    def forward(self, x: Tensor) -> Tensor:
        return x + self.cv2(self.cv1(x)) if self.add else self.cv2(self.cv1(x))


class Net(nn.Module):
    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = nn.Conv2d(3, 16, 3, 2, 1), blocks, nn.Linear(16, 5)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        return self.head(self.blocks(self.stem(x), **kwargs).mean((2, 3)))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True) for _ in range(2)]
        self.patch, self.layers = nn.Conv2d(3, 32, 8, 8), nn.Sequential(*layers)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.patch(x).flatten(2).transpose(1, 2)).mean(1))


def of(block: type[nn.Module], count: int = 3) -> nn.Module:
    return Net(nn.Sequential(*(block() for _ in range(count))))


def alive(model: nn.Module) -> nn.Module:
    """Return a model with no silent branch, whose statistics are not all alike."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point() and tensor.dim() == 1:
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw).to(tensor))
    return model


# ------------------------------------------------------------- what is done after an insertion


def nothing(model: nn.Module) -> None:
    pass


def set_scale(model: nn.Module) -> None:
    for block in model.modules():
        if isinstance(block, Block):
            block.res_scale, block.rate = 0.25, 0.9


def set_drop_path(model: nn.Module) -> None:
    for layer in (model.layer1, model.layer3):
        for block in layer:
            block.drop_path = DropPath(0.5)


def unset_gamma(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "gamma"):
            module.gamma = None


def fuse(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, FusedConv):
            w = module.bn.weight / (module.bn.running_var + module.bn.eps).sqrt()
            conv = nn.Conv2d(16, 16, 3, 1, 1)
            with torch.no_grad():
                conv.weight.copy_(module.conv.weight * w[:, None, None, None])
                conv.bias.copy_(module.bn.bias - module.bn.running_mean * w)
            module.conv = conv
            del module.bn
            module.forward = module.forward_fuse


def resize(**sizes: Any) -> Callable[[nn.Module], None]:
    return lambda model: model.set_input_size(**sizes)


TIMM: dict[str, Any] = {"num_classes": 5}


def timm(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    return lambda: create_model(name, **TIMM, **arguments)


#: name, the backbone, where, what is done afterwards, the image, the mode, whether it runs
ROWS: list[tuple[str, Callable[[], nn.Module], dict[str, Any], Callable[..., None], int, bool]] = [
    ("a coin by random", lambda: of(RandomCoin), {}, nothing, 32, True),
    ("a coin by numpy", lambda: of(NumpyCoin), {}, nothing, 32, True),
    ("a coin by torch", lambda: of(TorchCoin), {}, nothing, 32, True),
    ("an attribute set later", lambda: of(Scaled), {}, set_scale, 32, True),
    ("an attribute set later, in evaluation", lambda: of(Scaled), {}, set_scale, 32, False),
    ("a checkpoint inside", lambda: of(Checkpointed), {}, nothing, 32, True),
    ("two expressions", lambda: of(OneOfTwoWays), {}, set_scale, 32, True),
    ("drop_path set later", timm("resnet18", zero_init_last=False), {}, set_drop_path, 64, True),
    ("gamma unset later", timm("test_convnext"), {}, unset_gamma, 64, False),
    ("fuse, blocks", lambda: of(Bottleneck), {}, fuse, 32, False),
    ("fuse, the convolution", lambda: of(Bottleneck),
     {"at": "module", "select": "*.cv1", "position": "output"}, fuse, 32, False),
    ("reparameterize", timm("repghostnet_050"), {}, reparameterize_model, 64, False),
    ("reparameterize, mobileone", timm("mobileone_s0"), {}, reparameterize_model, 64, False),
    ("reparameterize, fastvit", timm("fastvit_t8"), {"at": "stage"}, reparameterize_model, 64,
     False),
    ("a transformer's layer", Encoder, {}, nothing, 32, False),
    ("set_input_size, swin", timm("swin_tiny_patch4_window7_224"), {},
     resize(img_size=(448, 448), window_size=(7, 7)), 448, False),
    ("set_input_size, swinv2", timm("swinv2_cr_tiny_ns_224"), {"stages": "3..-1"},
     resize(img_size=(256, 256)), 256, False),
    ("set_input_size, maxvit", timm("maxvit_rmlp_pico_rw_256"), {"stages": "3..-1"},
     resize(img_size=(192, 192)), 192, False),
]  # fmt: skip
SLOW = ("fastvit", "swinv2", "maxvit", "mobileone")


def seeded(model: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    given = model(*args, **kwargs)
    assert isinstance(given, Tensor)
    return given


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("make", "where", "afterwards", "pixels", "training"),
    [
        pytest.param(*row, id=name, marks=[pytest.mark.slow] * name.endswith(SLOW))
        for name, *row in ROWS
    ],
)
def test_what_is_done_later_acts_as_on_the_plain_model(
    make: Any, where: dict[str, Any], afterwards: Any, pixels: int, training: bool
) -> None:
    torch.manual_seed(0)
    plain = alive(make()).eval()
    model = composer.insert(plain, "se", init="identity", params={"reduction": 4}, **where)
    for one in (plain, model):
        afterwards(one)
        one.train(training)
    x = torch.randn(2, 3, pixels, pixels)
    seen = count_runs(model)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            seen.clear()
            assert torch.equal(seeded(copy.deepcopy(plain), x), seeded(model, x))
            assert training or len(seen) == len(inserted(model))
        statistics(plain, model)


def statistics(plain: nn.Module, model: nn.Module) -> None:
    """Give a model the statistics that its twin has."""
    own = dict(plain.named_buffers())
    for name, buffer in model.named_buffers():
        if name in own:
            buffer.copy_(own[name])


def inserted(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if getattr(m, "meta", {}).get("composer_inserted")]


def count_runs(model: nn.Module) -> list[str]:
    """Return a list that grows whenever what was inserted runs; without hooks, which are seen."""
    seen: list[str] = []
    for path, module in model.named_modules():
        if getattr(module, "meta", {}).get("composer_inserted"):
            run = module.forward

            def forward(*args: Any, _run: Any = run, _path: str = path) -> Any:
                seen.append(_path)
                return _run(*args)

            module.forward = forward
    return seen


def test_a_checkpoint_still_runs_forward_again() -> None:
    model = composer.insert(of(Checkpointed), "se", init="identity").train()
    runs: list[int] = []
    for block in model.blocks:
        block.conv1.register_forward_hook(lambda *_: runs.append(1))
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert len(runs) == 6


def test_keywords_of_a_trainer_pass() -> None:
    plain = Net(Passes(*(Keywords() for _ in range(2))))
    model = composer.insert(plain, "se", init="identity")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(plain(x, num_items_in_batch=8), model(x, num_items_in_batch=8))
    assert torch.equal(plain(x, scale=3.0), model(x, scale=3.0))


def test_a_layer_that_is_computed_past_is_refused() -> None:
    with pytest.raises(ComposerError) as failure:
        composer.insert(Encoder(), "se", at="module", select="*.linear2")
    assert str(failure.value).splitlines()[0] == (
        "error[no-sites]: none of the 21 modules matches; 2 passed over: without gradients "
        "TransformerEncoderLayer bypasses what is inserted"
    )


def test_a_forward_that_something_was_written_into_is_not_replaced() -> None:
    model = of(Bottleneck)
    composed = composer.insert(
        model, "se", at="module", select="*.cv1", position="after:bn", params={"reduction": 4}
    )
    notes = {site.note for site in composer.plan(
        model, "se", at="module", select="*.cv1", position="after:bn").sites}  # fmt: skip
    assert notes == {"its forward_fuse may replace its forward; as the output of bn instead"}
    assert composed.blocks[0].cv1.bn.se is not None


def test_only_a_method_of_its_own_replaces_the_forward_of_an_edited_module() -> None:
    composed = composer.insert(
        of(Bottleneck), "se", at="module", select="*.cv1", position="output",
        params={"reduction": 4},
    )  # fmt: skip
    module = composed.blocks[0].cv1
    for stranger in (print, lambda x: x, composed.blocks[1].cv1.forward_fuse):
        with pytest.raises(ComposerError, match="forward-replaced"):
            module.forward = stranger
    x = torch.randn(1, 16, 8, 8)
    module.forward = module.forward_fuse
    assert torch.equal(module(x), module.se(F.silu(module.conv(x))))


class Inner(nn.Module):
    """Is replaced by a plain convolution when it is fused."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(self.a(x))

    def fuse(self) -> nn.Module:
        return nn.Conv2d(16, 16, 1)


def test_a_block_that_fuse_replaces_is_refused() -> None:
    with pytest.raises(ComposerError) as failure:
        composer.insert(of(Inner), "se", params={"reduction": 4})
    assert "fuse() of Inner omits what is inserted" in str(failure.value)
