"""Every timm module and every torchvision builder, at blocks and at stages, with all promises.

``python tests/sweep.py`` writes the table of `tests/coverage.md`; `test_coverage.py` checks the
same rows, one test each.
"""

from __future__ import annotations

import copy
import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from backbones import enlivened
from torch import Tensor, nn

import composer
from composer.analysis.probe import Call, Probe, probe
from composer.errors import ComposerError
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.surgery.insert import apply

planning = importlib.import_module("composer.surgery.plan")
TABLE = Path(__file__).with_name("coverage.md")

#: One model of each of timm's modules, the smallest that there is.
TIMM = {
    "beit": "beit_base_patch16_224", "byoanet": "halonet26t", "byobnet": "test_byobnet",
    "cait": "cait_xxs24_224", "coat": "coat_tiny", "convit": "convit_tiny",
    "convmixer": "convmixer_768_32", "convnext": "test_convnext", "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240", "csatv2": "csatv2", "cspnet": "cs3darknet_s",
    "cspnext": "cspnext_tiny", "davit": "davit_tiny", "deepseek_vit": "deepseek_vit_412m",
    "deit": "deit_tiny_patch16_224", "densenet": "densenet121", "dla": "dla34", "dpn": "dpn68",
    "edgenext": "edgenext_xx_small", "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0", "efficientnet": "test_efficientnet",
    "efficientvim": "efficientvim_m1", "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0", "eva": "eva02_tiny_patch14_224",
    "fasternet": "fasternet_t0", "fastvit": "fastvit_t8", "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny", "gemma4_vit": "gemma4_vit_167m", "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_a", "hgnet": "hgnetv2_b0", "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny", "hrnet": "hrnet_w18_small", "iformer": "iformer_s",
    "inception_next": "inception_next_atto", "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3", "inception_v4": "inception_v4", "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s", "lowformer": "lowformer_b0", "mambaout": "test_mambaout",
    "maxxvit": "test_maxvit", "metaformer": "poolformer_s12", "mlp_mixer": "gmlp_s16_224",
    "mobilenetv3": "mobilenetv3_small_050", "mobilenetv5": "mobilenetv5_base",
    "mobilevit": "mobilevit_xxs", "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_siglip", "nasnet": "nasnetalarge", "nest": "nest_tiny",
    "nextvit": "nextvit_small", "nfnet": "test_nfnet", "pit": "pit_ti_224",
    "pnasnet": "pnasnet5large", "pvt_v2": "pvt_v2_b0", "qwen3_vit": "qwen3_vit_88m",
    "rdnet": "rdnet_tiny", "regnet": "regnety_002", "repghost": "repghostnet_050",
    "repvit": "repvit_m0_9", "res2net": "res2net50_26w_4s", "resnest": "resnest14d",
    "resnet": "test_resnet", "resnetv2": "resnetv2_18", "rexnet": "rexnet_100",
    "selecsls": "selecsls42", "senet": "legacy_seresnet18", "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1", "sknet": "skresnet18", "starnet": "starnet_s1",
    "swiftformer": "swiftformer_xs", "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224", "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_patch16_224", "tresnet": "tresnet_m", "twins": "twins_svt_small",
    "vgg": "vgg11", "visformer": "visformer_tiny", "vision_transformer": "test_vit",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "test_vit_relpos",
    "vision_transformer_sam": "samvit_base_patch16", "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224", "vovnet": "ese_vovnet19b_slim", "xception": "xception",
    "xception_aligned": "xception41", "xcit": "xcit_nano_12_p8_224",
}  # fmt: skip

#: Builders without a trunk for one image.
OTHERS = {
    **dict.fromkeys(("mc3_18", "r3d_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s",
                     "swin3d_b", "swin3d_s", "swin3d_t"), "it takes videos"),
    **dict.fromkeys(("raft_large", "raft_small"), "it takes two images"),
}  # fmt: skip

#: Parameters above which a model is made without numbers.
_SMALL = 6_000_000
#: Models of more, whose tokens do not stand row by row, which only numbers tell.
_WITH_NUMBERS = ("hiera_tiny_224",)
_MAPS = {"min_width": 1}


@dataclass(frozen=True)
class Row:
    """What came of one model at one kind of place: how many sites, and why there is none."""

    model: str
    at: str
    sites: int
    positions: str
    refused: str | None
    real: bool

    def __str__(self) -> str:
        said = self.refused or "ok"
        run = "numbers" if self.real else "shapes"
        return f"| {self.model} | {self.at} | {self.sites} | {self.positions} | {run} | {said} |"


def torchvision_builders() -> list[str]:
    """Return the builders of models of one image."""
    from torchvision.models import list_models

    return [name for name in list_models() if name not in OTHERS]


def models() -> list[str]:
    """Return every MODEL string of the sweep."""
    return [*TIMM.values(), *(f"torchvision:{name}" for name in torchvision_builders())]


def made(name: str) -> nn.Module:
    """Return the model: with random numbers where it is small, else without any."""
    source = ModelString.parse(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                model = open_backbone(source)
        except ComposerError:  # torchvision's RegNets reckon with tensors while they are made
            model = open_backbone(source).to("meta")
        large = sum(p.numel() for p in model.parameters()) > _SMALL
        if large and name not in _WITH_NUMBERS:
            return model
        torch.manual_seed(0)
        return enlivened(open_backbone(source))


def rows(name: str) -> list[Row]:
    """Return what comes of one model; its anatomy, which no plan changes, is looked at once.

    Raises:
        AssertionError: a promise is not kept.
    """
    model = made(name)
    known = planning.anatomy(model)
    with mock.patch.object(planning, "anatomy", lambda model, inputs=None: known):
        return [row(name, model, at, known.probe) for at in ("stage", "block")]


def row(name: str, model: nn.Module, at: str, ran: Probe) -> Row:
    """Insert SE and CBAM, check every promise, and return what came of it.

    Raises:
        AssertionError: a promise is not kept.
    """
    real = not any(p.is_meta for p in model.parameters())
    try:
        begun = composer.plan(model, "se", at=at, params=_MAPS, init="identity")  # type: ignore[arg-type]
    except ComposerError as refusal:
        return Row(name, at, 0, "", refusal.diagnostics[0].message, real)
    composed = apply(copy.deepcopy(model), begun)
    check_state(model, composed)
    unread = check_runs(model, composed, real, ran)
    if real and at == "block":
        plan = composer.plan(model, "se", at=at, params=_MAPS)  # type: ignore[arg-type]
        check_position(apply(copy.deepcopy(model), plan), plan)
    back = composer.eject(composed)
    assert type(back) is type(model)
    now, was = back.state_dict(), model.state_dict()
    assert list(now) == list(was)
    weights = [key for key, _ in model.named_parameters()]  # the training step moved statistics
    assert not real or all(torch.equal(now[key], was[key]) for key in weights)
    positions = sorted({site.position for site in begun.sites})
    try:
        composer.plan(model, "cbam", at=at, params=_MAPS)  # type: ignore[arg-type]
    except ComposerError as refusal:
        return Row(name, at, len(begun.sites), ", ".join(positions),
                   f"CBAM: {refusal.diagnostics[0].message}", real)  # fmt: skip
    said = f"ok, but nothing reads {unread} of them" if unread else None
    return Row(name, at, len(begun.sites), ", ".join(positions), said, real)


def check_state(model: nn.Module, composed: nn.Module) -> None:
    """Assert that keys, tensors and classes stay, and that the old checkpoint loads."""
    before, after = model.state_dict(), composed.state_dict()
    new = set(after) - set(before)
    assert new and not set(before) - set(after)
    for key, tensor in before.items():
        assert tensor.is_meta or torch.equal(tensor, after[key]), key
    assert isinstance(composed, type(model))
    if not any(t.is_meta for t in before.values()):
        loaded = composed.load_state_dict(before, strict=False)
        assert set(loaded.missing_keys) == new and not loaded.unexpected_keys


def check_runs(model: nn.Module, composed: nn.Module, real: bool, ran: Probe) -> int:
    """Assert that it gives what it gave, in shape or in numbers, and that all of it can learn.

    Returns how many inserted modules nothing reads, at the end of the network.
    """
    runs = probe(composed)
    entry = ran.entry
    outputs = [call.shape for call in ran.calls if call.path == entry]
    assert outputs == [call.shape for call in runs.calls if call.path == entry]
    if not real:
        return 0
    x = torch.randn(2, *ran.input_shape, generator=torch.Generator().manual_seed(1))
    one, other = (copy.deepcopy(m).eval().get_submodule(entry) for m in (model, composed))
    with torch.no_grad():
        for a, b in zip(_tensors(one(x)), _tensors(other(x)), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)
    new = {n: p for n, p in composed.named_parameters() if n not in dict(model.named_parameters())}
    composed.train()
    loss = sum(t.float().square().mean() for t in _tensors(composed.get_submodule(entry)(x)))
    grads = torch.autograd.grad(loss, list(new.values()), allow_unused=True)  # type: ignore[arg-type]
    composed.eval()
    without = {name.rpartition(".se")[0] for name, g in zip(new, grads, strict=True) if g is None}
    read = {name.rpartition(".se")[0] for name, g in zip(new, grads, strict=True) if g is not None}
    assert not without & read, f"no gradient for {min(without & read)}"
    assert len(without) <= 1, f"no gradient for {sorted(without)[:3]}"
    return len(without)


class Scale(nn.Module):
    """Takes the place of what was inserted, to see what goes through it."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x * self.by


def check_position(composed: nn.Module, plan: Any) -> None:
    """Assert that what was inserted holds a residual branch, or the whole, and nothing else.

    With the inserted module at zero, a residual site lets the block's input through its shortcut,
    and some of the block's weights, those of the branch, make no difference any more; at an
    output nothing goes through.
    """
    for site in (plan.sites[0], plan.sites[-1]):
        block = composed.get_submodule(site.path)
        args, kwargs = _given(composed, plan.input_shape, site.path)
        weights = {
            name: p for name, p in block.named_parameters()
            if p.dim() > 1 and not name.startswith(f"{site.name}.")
        }  # fmt: skip
        alive, through = _influence(block, site.name, 1.0, args, kwargs, weights)
        left, passes = _influence(block, site.name, 0.0, args, kwargs, weights)
        assert through, f"{site.path}: its input makes no difference"
        dead = alive - left
        assert dead, f"{site.path}: no weight is silent with the module at zero"
        whole = site.position == "output" or (site.note or "").startswith("no skip")
        if whole:
            assert not passes and not left, f"{site.path}: something goes past the output"
        else:
            assert passes, f"{site.path}: nothing goes past the branch"


def _influence(
    block: nn.Module, name: str, by: float, args: Any, kwargs: Any, weights: dict[str, Tensor]
) -> tuple[set[str], bool]:
    """Return the weights, and whether the input, that make a difference to what a block gives."""
    was = block._modules[name]
    block._modules[name] = Scale(by)
    try:
        with _first(args, kwargs) as (given, named, x):
            out = Call("", 0, given, named, block(*given, **named)).value
            assert out is not None
            grads = torch.autograd.grad(
                (out * torch.randn_like(out)).sum(), [*weights.values(), x],
                allow_unused=True,
            ) if out.requires_grad else [None] * (len(weights) + 1)  # fmt: skip
    finally:
        block._modules[name] = was
    moved = [g is not None and bool(g.abs().max() > 0) for g in grads]
    return {n for n, m in zip(weights, moved, strict=False) if m}, moved[-1]


@contextmanager
def _first(args: Any, kwargs: Any) -> Iterator[tuple[Any, Any, Tensor]]:
    """Give the arguments with the first tensor, alone or in a list, ready for a gradient."""
    first = args[0] if args else None
    if isinstance(first, (list, tuple)):
        x = first[0].detach().clone().requires_grad_()
        yield (type(first)([x, *first[1:]]), *args[1:]), kwargs, x
    else:
        x = first.detach().clone().requires_grad_()
        yield (x, *args[1:]), kwargs, x


def _given(model: nn.Module, shape: tuple[int, ...], path: str) -> tuple[Any, Any]:
    seen: list[tuple[Any, Any]] = []
    entry = probe(model).entry
    handle = model.get_submodule(path).register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    )
    with torch.no_grad():
        model.eval().get_submodule(entry)(torch.randn(1, *shape))
    handle.remove()
    return seen[0]


def _tensors(given: Any) -> list[Tensor]:
    leaves = torch.utils._pytree.tree_leaves(given)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def table(rows: list[Row]) -> str:
    """Return the table with its totals."""
    head = ["| model | at | sites | positions | run with | |", "|---|---|---|---|---|---|"]
    lines = ["# Coverage", "", *(f"- {line}" for line in totals(rows)), "", *head]
    return "\n".join([*lines, *map(str, rows)]) + "\n"


def totals(rows: list[Row]) -> list[str]:
    """Return what is covered, in sentences."""
    said = []
    for library in ("timm's modules", "torchvision's builders"):
        for at in ("stage", "block"):
            theirs = library.startswith("torchvision")
            mine = [r for r in rows if r.at == at and r.model.startswith("torchvision:") == theirs]
            found = sum(r.sites > 0 for r in mine)
            said.append(f"{at}: {found} of {len(mine)} of {library}")
    return said


def sweep(names: list[str]) -> Iterator[Row]:
    """Yield the rows of models."""
    for name in names:
        try:
            yield from rows(name)
        except AssertionError as broken:
            said = (str(broken).splitlines() or ["a promise is not kept"])[0]
            yield Row(name, "", -1, "", f"WRONG: {said}", False)
        except Exception as fault:
            said = f"FAULT: {type(fault).__name__}: {str(fault).splitlines()[0][:150]}"
            yield Row(name, "", -1, "", said, False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    found: list[Row] = []
    for one in sweep(sys.argv[1:] or models()):
        print(one, flush=True)
        found.append(one)
    if not sys.argv[1:]:
        TABLE.write_text(table(found))
