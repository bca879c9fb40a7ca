"""What the report says of the gradients, compared with what moves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from command import Command
from timm import create_model
from torch import Tensor, nn
from torchvision.models import get_model

import composer
from composer.artifact.learning import Learning, learning
from composer.artifact.run import Verification

#: Of timm, with the size that they are run at; of each kind of beginning at zero some.
SWEEP = {
    "resnet18": 64, "resnet50": 64, "resnext50_32x4d": 64, "seresnet18": 64, "resnetv2_18": 64,
    "regnety_002": 64, "regnetx_002": 64, "test_nfnet": 96, "test_resnet": 64, "skresnet18": 64,
    "resnest14d": 64, "res2net50_26w_4s": 64, "efficientnet_b0": 64, "test_efficientnet": 64,
    "mobilenetv3_small_050": 64, "mobilenetv2_050": 64, "mnasnet_050": 64, "ghostnet_050": 64,
    "convnext_atto": 64, "test_convnext": 64, "convnextv2_atto": 64, "densenet121": 64,
    "test_vit": 160, "vit_tiny_patch16_224": 224, "deit_tiny_patch16_224": 224,
    "deit_tiny_distilled_patch16_224": 224, "mixer_s32_224": 224, "gmlp_ti16_224": 224,
    "levit_128s": 224, "pit_ti_224": 224, "swin_tiny_patch4_window7_224": 224,
    "xcit_nano_12_p16_224": 224, "cait_xxs24_224": 224, "poolformer_s12": 96, "pvt_v2_b0": 96,
    "tiny_vit_5m_224": 224, "mobilevit_xxs": 64, "edgenext_xx_small": 64, "dla34": 64,
    "hrnet_w18_small": 64, "repvit_m0_9": 64,
}  # fmt: skip


def learns(model: nn.Module, given: Tensor | None = None, **edit: Any) -> tuple[Any, Learning]:
    composed = composer.insert(model, example_inputs=given, **{"spec": "se", **edit})
    return composed, learning(composed, Verification.of(composed, None))


def silent_after(model: nn.Module, x: Tensor, steps: int) -> set[str]:
    """The parameters that have not moved after some steps of SGD, on new numbers in each.

    In double precision, in which what is small is not lost beside what is large.
    """
    model.double().train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        out = model(torch.randn(x.shape, generator=draw).double())
        tensors = out if isinstance(out, (tuple, list)) else [out]
        sum(t.square().mean() + t.mean() for t in tensors).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return {name for name, p in model.named_parameters() if torch.equal(p, before[name])}


@pytest.mark.slow
@pytest.mark.parametrize("init", ["paper", "identity"])
@pytest.mark.parametrize("name", SWEEP)
def test_what_is_said_of_gradients_is_so(name: str, init: str) -> None:
    torch.manual_seed(0)
    arguments = {"img_size": SWEEP[name]} if name == "test_vit" else {}
    plain = create_model(name, num_classes=5, **arguments)
    x = torch.randn(2, 3, SWEEP[name], SWEEP[name])
    model, said = learns(plain, x, params={"min_width": 2}, init=init)
    new = {n for n, _ in model.named_parameters()} - {n for n, _ in plain.named_parameters()}
    assert said.count == len(new)
    unread = {n for n in new if n.startswith(tuple(f"{path}." for path in said.unread))}
    places = {n.partition(".excite")[0].removesuffix(".blend") for n in new - unread}
    # what moves in a first step is what has a gradient that is not zero
    moved = new - silent_after(copy.deepcopy(model), x, 1)
    assert moved.isdisjoint(unread)
    if not said.zero:
        assert {n for n in new - unread if n in moved} or not places
    # and after four steps each place that is read has moved, and no other
    still = silent_after(copy.deepcopy(model), x, 4)
    assert unread <= still
    moving = {n.partition(".excite")[0].removesuffix(".blend") for n in new - still}
    assert moving == places, sorted(places - moving)[:3]


# ---------------------------------------------------------------------------- what is said of it


class Branch(nn.Module):
    def __init__(self, c: int, zero: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c)
        self.last = nn.Conv2d(c, c, 1)
        if zero:
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.last(torch.relu(self.conv(x))))


class Net(nn.Module):
    """Two blocks; its `reads` says what of the second is used."""

    def __init__(self, zero: bool, reads: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.reads = nn.Conv2d(3, 32, 3), reads
        self.a, self.b = Branch(32, zero), Branch(32, zero)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        first = self.a(self.stem(x))
        return self.head(self.reads(first, self.b(first)).mean((2, 3)))


def both(first: Tensor, second: Tensor) -> Tensor:
    return second


def first_alone(first: Tensor, second: Tensor) -> Tensor:
    return first + 0 * second.shape[0]


def without_gradient(first: Tensor, second: Tensor) -> Tensor:
    return first + second.detach()


X = torch.randn(2, 3, 16, 16)
SAID: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], tuple[str, ...], str]] = {
    "all have one": (lambda: Net(False, both), {}, (),
        "each of the 4 new parameter tensors has a gradient"),
    "a norm begins at zero": (lambda: Net(True, both), {}, (),
        "each of the 4 new parameter tensors has a gradient; all of them are zero in the first "
        "step, since these start at zero: a.norm.weight and 1 more of the backbone"),
    "what is inserted begins at zero": (lambda: Net(False, both), {"init": "identity"}, (),
        "each of the 6 new parameter tensors has a gradient; 4 of them are zero in the first "
        "step, since these start at zero: a.se.blend and 1 more of the inserted module"),
    "both": (lambda: Net(True, both), {"init": "identity"}, (),
        "each of the 6 new parameter tensors has a gradient; all of them are zero in the first "
        "step, since these start at zero: a.norm.weight and 1 more of the backbone, a.se.blend and "
        "1 more of the inserted module"),
    "nothing reads it": (lambda: Net(True, first_alone), {},
        ("its output is not used, so it learns nothing (1 place: b.se)",),
        "each of the 4 new parameter tensors has a gradient, except at the places named above; "
        "2 of "
        "them are zero in the first step, since these start at zero: a.norm.weight and 1 more of "
        "the backbone"),
    "no gradient comes back": (lambda: Net(False, without_gradient), {},
        ("its output is used, but no gradient reaches it: the model's forward cuts it off, as "
         "detach() and no_grad() do (1 place: b.se)",),
        "each of the 4 new parameter tensors has a gradient, except at the places named above"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_the_words(name: str) -> None:
    make, edit, notes, sentence = SAID[name]
    torch.manual_seed(0)
    edit = {"params": {"bias": False, "min_width": 8}, **edit}
    _, said = learns(make(), X, **edit)
    assert said.notes == notes
    assert str(said) == sentence


@pytest.mark.long
def test_the_class_token_alone_is_read_after_the_last_block() -> None:
    torch.manual_seed(0)
    plain = create_model("deit_tiny_patch16_224", depth=2)
    _, said = learns(plain)
    assert said.notes == (
        "its output is not used: only the class token is used after it (1 place: blocks.1.se)",
    )
    plain = create_model("deit_tiny_distilled_patch16_224", depth=2)
    _, said = learns(plain)
    assert said.notes == (
        "its output is not used: only the 2 prefix tokens are used after it (1 place: blocks.1.se)",
    )
    _, said = learns(create_model("vit_tiny_patch16_224", depth=2, global_pool="avg"))
    assert said.notes == ()


def test_nothing_of_the_model_is_changed() -> None:
    model = composer.insert(Net(True, both), "se", example_inputs=X)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    learning(model, Verification.of(model, None))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


REPORT = """\
cbam (shipped)  (Convolutional Block Attention Module)
resnet50 on 3×224×224: 16 sites

module         position  channels   size  parameters
-------------  --------  --------  -----  ----------
layer1.0.cbam  residual       256  56×56       8,564
layer1.1.cbam  residual       256  56×56       8,564
layer1.2.cbam  residual       256  56×56       8,564
layer2.0.cbam  residual       512  28×28      33,412
layer2.1.cbam  residual       512  28×28      33,412
layer2.2.cbam  residual       512  28×28      33,412
layer2.3.cbam  residual       512  28×28      33,412
layer3.0.cbam  residual      1024  14×14     132,260
layer3.1.cbam  residual      1024  14×14     132,260
layer3.2.cbam  residual      1024  14×14     132,260
layer3.3.cbam  residual      1024  14×14     132,260
layer3.4.cbam  residual      1024  14×14     132,260
layer3.5.cbam  residual      1024  14×14     132,260
layer4.0.cbam  residual      2048    7×7     526,564
layer4.1.cbam  residual      2048    7×7     526,564
layer4.2.cbam  residual      2048    7×7     526,564

                   before       after  change
-------------  ----------  ----------  ------
parameters     25,557,032  28,089,624  +9.91%
multiply-adds      4.11 G      4.12 G  +0.16%

forward and backward: each of the 112 new parameter tensors has a gradient; all of them are zero \
in the first step, since these start at zero: layer1.0.bn3.weight and 15 more of the backbone, \
layer1.0.cbam.spatial.locate.norm.weight and 15 more of the inserted module
written to resnet50-cbam; load it with

    import composer
    model = composer.load('resnet50-cbam')
    model.eval()
"""


def test_the_report_of_the_main_job(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Command(capsys)
    assert run.fine("insert", "--spec", "cbam", "--into", "resnet50").out == REPORT


@pytest.mark.slow
def test_what_the_report_says_of_resnet50_is_so() -> None:
    """The norms it names begin at zero; after two steps each place has moved."""
    torch.manual_seed(0)
    plain = create_model("resnet50", num_classes=5)
    zero = [n for n, p in plain.named_parameters() if n.endswith("weight") and not p.any()]
    assert zero[0] == "layer1.0.bn3.weight" and len(zero) == 16
    model = composer.insert(plain, "cbam")
    new = {n for n, _ in model.named_parameters()} - {n for n, _ in plain.named_parameters()}
    x = torch.randn(2, 3, 64, 64)
    assert new <= silent_after(copy.deepcopy(model), x, 1)
    still = silent_after(copy.deepcopy(model), x, 2)
    moved = {n.partition(".cbam")[0] for n in new - still}
    assert len(moved) == 16


@pytest.mark.slow
def test_detectors_are_told_by_their_backbone() -> None:
    detector = get_model("fasterrcnn_mobilenet_v3_large_320_fpn", weights=None,
                         weights_backbone=None)  # fmt: skip
    composed = composer.insert(detector, "se", params={"min_width": 2})
    said = learning(composed, Verification.of(composed, None))
    assert said.unread == ()
