"""A stand-in whose nodes depend on the convolution: checked at a general one, built for each."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import composer
from composer.errors import ComposerError
from composer.graph.frontend import check_text

HEAD = "name: probe\nstands_for: conv2d\ninput: [b, c, h, w]\nnodes:\n"
TAIL = "insert: {at: conv, match: {kernel: 3}}\n"
#: One node has the name of a size, which a choice takes for the node.
WIDEN = f"""{HEAD}\
  wide: {{op: linear, over: c, out: out, bias: false}}
  out:  {{op: conv2d, x: input if c == out else wide, kernel: kernel, stride: stride, groups: out}}
  more: {{op: apply, fn: relu}}
output: out if groups == 1 else more
{TAIL}"""
WORDS = f"""{HEAD}\
  out: {{op: conv2d, kernel: kernel, out: out, stride: stride, act: relu if stride > 1 else none}}
{TAIL}"""


@pytest.mark.parametrize("text", [WIDEN, WORDS], ids=["nodes", "words"])
def test_a_choice_may_depend_on_the_convolution(text: str) -> None:
    assert check_text(text, "spec.yaml")[1] == ()


@pytest.mark.parametrize(("out", "groups", "keys"), [
    (8, 1, {"out.conv.weight", "out.conv.bias"}),
    (12, 1, {"wide.linear.weight", "out.conv.weight", "out.conv.bias"}),
])  # fmt: skip
def test_it_is_made_for_the_one_it_stands_for(out: int, groups: int, keys: set[str]) -> None:
    like = nn.Conv2d(8, out, 3, padding=1, groups=groups)
    module = composer.build(WIDEN, like=like)
    assert set(module.state_dict()) == keys
    assert module(torch.randn(2, 8, 5, 5)).shape == (2, out, 5, 5)


@pytest.mark.parametrize(("groups", "negative"), [(1, True), (4, False)])
def test_the_output_may_have_the_name_of_a_size(groups: int, negative: bool) -> None:
    like = nn.Conv2d(8, 8, 3, padding=1, groups=groups)
    out = composer.build(WIDEN, like=like)(torch.randn(2, 8, 9, 9))
    assert bool((out < 0).any()) == negative


@pytest.mark.parametrize(("stride", "negative"), [(1, True), (2, False)])
def test_so_may_a_word(stride: int, negative: bool) -> None:
    like = nn.Conv2d(8, 8, 3, stride, padding=1)
    out = composer.build(WORDS, like=like)(torch.randn(2, 8, 9, 9))
    assert bool((out < 0).any()) == negative


def test_what_a_general_one_does_not_choose_is_checked_when_it_is_chosen() -> None:
    text = WIDEN.replace("input if c == out else wide", "flat if c == out else wide").replace(
        "  out: ", "  flat: {op: pool, x: input, over: [h, w]}\n  out: "
    )
    assert check_text(text, "spec.yaml")[1] == ()
    with pytest.raises(ComposerError) as refused:
        composer.build(text, like=nn.Conv2d(8, 8, 3, padding=1))
    (problem,) = refused.value.diagnostics
    assert problem.message == "'flat' has no axis 'h'"


def test_no_other_spec_may_choose_by_a_size() -> None:
    nodes = "nodes: {out: {op: apply, fn: relu if c > 8 else silu}}"
    text = f"name: probe\ninput: [b, c, h, w]\n{nodes}\n"
    (problem,) = check_text(text, "spec.yaml")[1]
    assert problem.message == "this depends on c, which is not known before the module is built"
