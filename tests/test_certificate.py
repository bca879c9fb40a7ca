"""The certificate: it holds for every shipped spec, and goes red where one is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from composer.certificate import certify, checks
from composer.certificate.agreement import agreement
from composer.certificate.canonical import Canonical
from composer.certificate.checks import Check, deviations, schedule, sites, size, source, total
from composer.certificate.claim import CanonicalPlace, Conv, Count
from composer.certificate.claims import CLAIMS
from composer.certificate.row import CertificateRow
from composer.errors import ComposerError
from composer.graph.frontend import load_spec
from composer.language.library import find_spec, shipped_names
from composer.primitives import Spec


def changed(name: str, *changes: tuple[str, str]) -> Spec:
    """Return a shipped spec with some of its text replaced; each piece is there exactly once."""
    text = find_spec(name)[0]
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return load_spec(text)


def rows(spec: Spec, *names: str) -> list[CertificateRow]:
    """Return the rows of some checks."""
    return [c.row() for c in certify.certificate(spec) if c.name.startswith(names)]


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", shipped_names())
def test_the_certificate_holds(name: str) -> None:
    made = rows(load_spec(name), "")
    assert [f"{row.check}: {row.detail}" for row in made if not row.passed] == []
    assert all(row.spec == name and row.against and row.detail for row in made)
    kinds = {row.check.partition(" ")[0] for row in made}
    assert kinds >= {"source", "parameters", "values", "place", "deviations"}


VALUES = "values and gradients"

#: A spec, what is broken in it, the check that goes red, and what it then says.
BROKEN = {
    "cbam-takes-the-mean-twice": (
        "cbam_channel", [(", reduce: max", "")], VALUES,
        "first at 'sum'", "'max' is renamed, unused or equal to another node",
    ),
    "cbam-takes-the-minimum-of-places": (
        "cbam_spatial", [("x: input, over: c, reduce: max", "x: input, over: c, reduce: sum")],
        VALUES, "first at 'max', by ", "the output differs by ",
    ),
    "cbam-keeps-its-statistics-too-short": (
        "cbam_spatial", [("momentum: 0.01", "momentum: 0.1")], VALUES,
        "in training the statistic 'locate.norm.running_mean' differs by ", "and 1 other tensor",
    ),
    "bam-shares-its-two-convolutions": (
        "bam",
        [("  context1: {op: conv2d,", "  context:\n    op: repeat\n    times: 2\n    shared: true\n"
          "    each: {op: conv2d,"),
         ("  context2: {op: conv2d, kernel: 3, dilation: dilation, bias: true, norm: batch, "
          "act: relu}\n", "")],
        VALUES, "without the paper's 'context1.conv.weight'", "with 'context.0.conv.weight'",
    ),
    "bam-shares-and-counts-too-few": (
        "bam",
        [("  context1: {op: conv2d,", "  context:\n    op: repeat\n    times: 2\n    shared: true\n"
          "    each: {op: conv2d,"),
         ("  context2: {op: conv2d, kernel: 3, dilation: dilation, bias: true, norm: batch, "
          "act: relu}\n", "")],
        "parameters of resnet50", "25,866,", "fewer",
    ),
    "sk-has-no-floor": (
        "sk", [('"max(out // reduction, min_width)"', "out // reduction")], VALUES,
        "'z.linear.weight' is 4×64, but 32×64×1×1 in the paper",
    ),
    "sk-has-no-floor-and-counts-too-few": (
        "sk", [('"max(out // reduction, min_width)"', "out // reduction")],
        "parameters of resnext50_32x4d", "fewer",
    ),
    "split-attention-chooses-among-channels": (
        "split_attention",
        [("fn: softmax if radix > 1 else sigmoid, over: r}", "fn: softmax, over: d}")], VALUES,
        "first at 'choose', by ",
    ),
    "eca-has-another-kernel": (
        "eca", [("odd(abs((log2(c) + beta) / gamma))", "3")], "parameters",
        "3 instead of 5 at 128 channels",
    ),
    "se-forgets-its-activation": (
        "se", [("bias: bias}", "bias: bias, act: none}")], VALUES, "first at 'excite', by ",
    ),
    "se-names-no-paper": (
        "se", [("source: arXiv:1709.01507, equations 2 to 4\n", "")], "source",
        "the spec names no source", "arXiv:1709.01507",
    ),
    "se-names-another-paper": (
        "se", [("arXiv:1709.01507", "arXiv:1709.01508")], "source", "arXiv:1709.01508",
    ),
    "se-declares-nothing": (
        "se", [("no biases", "nothing"), ("(bias)", "")], "deviations",
        "not declared: 'biases'",
    ),
    "se-goes-behind-each-stage": (
        "se", [("{at: block}", "{at: stage}")], "place", "4 sites", "expected 16",
    ),
    "se-goes-behind-the-add": (
        "se", [("{at: block}", "{at: block, position: output}")], "place",
        "its position is 'output' instead of 'residual'",
    ),
    "sk-leaves-the-activation": (
        "sk", [("absorb: [norm, act]", "absorb: [norm]")], "place",
        "norm is absorbed with layer1.0.conv2 instead of norm and act",
    ),
    "each-convolution-has-a-router": (
        "cond_conv", [(", share: route", "")], "place", "the sites of a block share nothing",
    ),
    "the-temperature-begins-low": (
        "dynamic_conv", [("default: 30", "default: 3")], "defaults",
        "temperature is 3 instead of 30",
    ),
    "cbam-has-another-kernel": (
        "cbam", [("kernel: {default: 7", "kernel: {default: 3")], "defaults",
        "kernel is 3 instead of 7",
    ),
    "bam-goes-to-the-last-stage": (
        "bam", [("1..-2", "2..-1")], "parameters of resnet50", "more",
    ),
    "the-temperature-falls-too-fast": (
        "dynamic_conv", [("steps: epochs", "steps: epochs - 5")], "schedule",
        "24.2 after 1 epoch instead of 27.1",
    ),
    "a-spec-that-runs-into-torch": (
        "se_var1", [("over: [h, w]}", "over: [h, w], kernel: 1, stride: 1}")], VALUES, "first at",
    ),
}  # fmt: skip


@pytest.mark.quick(4)
@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_goes_red_and_says_what_differs(broken: str) -> None:
    name, changes, check, *said = BROKEN[broken]
    failed = [row for row in rows(changed(name, *changes), check) if not row.passed]
    assert failed, "nothing fails"
    for words in said:
        assert words in failed[0].detail


def test_a_gradient_is_compared_for_itself() -> None:
    [case] = CLAIMS["ese"].cases
    assert agreement(load_spec("ese"), case)[0]
    passed, said = agreement(load_spec("ese"), replace(case, tolerance=1e-10))
    assert not passed and said.startswith("in eval the gradient of the input differs by ")


def test_a_half_that_is_broken_is_found_in_the_whole(tmp_path: Path) -> None:
    half = find_spec("cbam_channel")[0].replace(", reduce: max", "")
    (tmp_path / "half.yaml").write_text(half)
    whole = tmp_path / "cbam.yaml"
    whole.write_text(find_spec("cbam")[0].replace("spec: cbam_channel", "spec: half.yaml"))
    found = rows(load_spec(whole), VALUES)
    assert "first at 'channel.sum', by " in found[0].detail
    assert not found[0].passed


@pytest.mark.long
def test_a_spec_that_no_longer_builds_fails_in_its_own_words() -> None:
    spec = changed("se", ('"max(c // reduction, min_width)"', "c // 4096"))
    found = rows(spec, "parameters", VALUES, "place")
    assert {row.passed for row in found} == {False}
    detail = "hidden is c // 4096 = 0, and a size must be at least 1"
    assert {row.detail for row in found} == {detail}


def test_a_name_that_is_not_certified_is_told_the_way() -> None:
    spec = changed("se", ("name: se\n", "name: mine\n"))
    with pytest.raises(ComposerError) as refused:
        certify.certificate(spec)
    [problem] = refused.value.diagnostics
    assert problem.message == "there is no claim for 'mine'"
    assert (
        problem.help is not None
        and "there are claims for aft, axial, axial_height," in problem.help
    )
    assert "composer/certificate/oracles" in problem.help
    assert problem.where is not None and problem.where.line == 3


def test_a_shipped_spec_without_a_claim_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(CLAIMS, "ese")
    [check] = certify.shipped_certificate(load_spec("ese"))
    row = check.row()
    assert (row.spec, row.check, row.passed) == ("ese", "claim", False)
    assert "write the mechanism in plain torch" in row.detail


def test_torch_itself_may_refuse() -> None:
    def refuse() -> checks.Outcome:
        raise RuntimeError("no room\nand more")

    row = Check("se", "x", "y", refuse).row()
    assert row == CertificateRow("se", "x", "y", False, "it can't run: no room")


@pytest.mark.parametrize(
    ("shown", "amount", "slack"),
    [
        ("28,088,024", 28_088_024, 0.0),
        ("27.48 M", 27_480_000, 0.001),
        ("24.37 Mi", 24.37 * 2**20, 0.001),
        ("0.41 G", 410_000_000, 0.001),
        ("100", 100, 0.0),
    ],
)
def test_a_published_number_is_read_with_its_unit(shown: str, amount: float, slack: float) -> None:
    count = Count(shown, "a test")
    assert count.amount == pytest.approx(amount)
    assert count.slack == slack
    assert Count(shown, "a test", 0.01).slack == 0.01


def test_a_count_to_the_unit_allows_none_off() -> None:
    place = CLAIMS["se_var1"].place
    network = Canonical(load_spec("se_var1"), place, {})
    assert total(network, Count("25,557,032", "")) == (True, "25,557,032")
    assert total(network, Count("25,557,033", "")) == (False, "25,557,032, 1 fewer")
    assert total(network, Count("25.56 M", ""))[0]
    assert not total(network, Count("25.59 M", ""))[0]
    with_statistics = total(network, Count("25,610,152", "", statistics=True))
    assert with_statistics == (True, "25,610,152, including 53,120 statistics of norms")


def test_a_place_is_more_than_a_number() -> None:
    network = Canonical(load_spec("se_var1"), CLAIMS["se_var1"].place, {})
    assert sites(network, CanonicalPlace("resnet50", 16, "layer?.?", ""))[0]
    passed, said = sites(network, CanonicalPlace("resnet50", 16, "layer[123].?", ""))
    assert (passed, said) == (
        False, "16 sites, layer1.0 to layer4.2; layer4.0 does not match layer[123].?"
    )  # fmt: skip


def test_a_formula_that_is_wrong_is_found() -> None:
    [case] = CLAIMS["se_var2"].cases
    assert size(load_spec("se_var2"), case) == (True, "64 at 64 and 2,048 at 2048")
    passed, said = size(load_spec("se_var2"), replace(case, formula="2 * c"))
    assert (passed, said) == (False, "64 instead of 128 or 64 at 64 channels")


def test_the_small_checks_pass_where_all_is_well() -> None:
    dynamic = CLAIMS["dynamic_conv"]
    assert source(load_spec("se"), "arXiv:1709.01507")[0]
    assert deviations(load_spec("eca"), ()) == (True, "none declared")
    assert schedule(load_spec("dynamic_conv"), dynamic)[0]


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def dynamic_mobilenet() -> int:
    """Four kernels for one and a router, at every convolution except the first."""
    model = timm.create_model("mobilenetv2_100")
    more = 0
    for conv in convolutions(model)[1:]:
        hidden = conv.in_channels // 4
        more += 3 * conv.weight.numel() + (conv.in_channels + 1) * hidden + (hidden + 1) * 4
    return plain(model) + more


def botnet() -> int:
    """Queries, keys and values for a 3x3, and two tables of positions at 14 and 7 pixels."""
    model = timm.create_model("resnet50")
    kernels = sum(c.weight.numel() for c in convolutions(model.layer4) if c.kernel_size == (3, 3))
    tables = [2 * (2 * size - 1) * 128 for size in (14, 7, 7)]
    return plain(model) - kernels + 3 * 3 * 512**2 + sum(tables)


def with_each_block(of_width: Callable[[int, int], int]) -> int:
    """ResNet-50 and what each of its sixteen blocks gains, by width and size of its map."""
    stages = zip((256, 512, 1024, 2048), (56, 28, 14, 7), (3, 4, 6, 3), strict=True)
    more = sum(times * of_width(width, size) for width, size, times in stages)
    return plain(timm.create_model("resnet50")) + more


def plain(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


#: Counts of whole networks that are no paper's, worked out again from the plain network.
CLOSED = {
    "dynamic_conv": dynamic_mobilenet,
    "bot_mhsa": botnet,
    "se_var2": lambda: with_each_block(lambda c, _: c),
    "se_var3": lambda: with_each_block(lambda c, _: c * c),
    "ese": lambda: with_each_block(lambda c, _: c * c + c),
    "cbam_spatial": lambda: with_each_block(lambda c, _: 100),
    "ge_theta": lambda: with_each_block(lambda c, size: c * size**2 + 2 * c),
    "sa": lambda: with_each_block(lambda c, _: 3 * (c + 1) * 64 + 65 * c),
}


@pytest.mark.parametrize("name", CLOSED)
def test_counts_of_no_paper_follow_from_the_plain_network(name: str) -> None:
    with torch.device("meta"):
        expected = CLOSED[name]()
    assert f"{expected:,}" in [count.shown for count in CLAIMS[name].parameters]


@pytest.mark.parametrize(
    ("spec", "network", "params"),
    [
        ("se", "seresnet50", {}),
        ("sk", "skresnext50_32x4d", {}),
        ("split_attention", "resnest50d", {}),
        ("cond_conv", "efficientnet_cc_b0_8e", {}),
        ("cond_conv", "efficientnet_cc_b0_4e", {"experts": 4}),
        ("mhsa", "vit_base_patch16_224", {}),
    ],
)
def test_counts_of_timm_are_timms(spec: str, network: str, params: dict[str, int]) -> None:
    with torch.device("meta"):
        expected = plain(timm.create_model(network))
    counts = [c.shown for c in CLAIMS[spec].parameters if c.params == params]
    assert f"{expected:,}" in counts


def test_a_convolution_is_said_in_words() -> None:
    assert str(Conv()) == "3×3"
    assert str(Conv(kernel=5, stride=2, dilation=2, groups=0, bias=True)) == (
        "5×5 stride 2 dilation 2 depthwise with bias"
    )
    assert Conv(groups=0, widen=2).layer(8).weight.shape == (16, 1, 3, 3)
