"""The kernels against plain torch: values, gradients of all orders, and what may hold a tensor."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from probe import random
from torch import Tensor, fx, nn

import composer
from composer.kernels import memory, row_conv1d
from composer.kernels.conv_of_each import conv_of_each
from composer.kernels.largest import largest
from composer.kernels.mean import mean
from composer.kernels.mean_and_max import mean_and_max
from composer.kernels.row_conv1d import RowConv1d
from composer.kernels.squares import squares
from composer.kernels.weighed_sum import weighed, weighed_in_place, weighed_sum

FORMATS = [torch.contiguous_format, torch.channels_last]
GATES = [(2, 3, 1, 1), (2, 1, 4, 5), (2, 3, 4, 5), (1, 3, 1, 1), (3, 1, 1)]


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every map for a large one."""
    monkeypatch.setattr(memory, "LARGE", 0)


def values(number: int, shape: tuple[int, ...], of: int = 0) -> list[Tensor]:
    return [random(*shape, seed=of + i).requires_grad_() for i in range(number)]


@pytest.fixture
def in_parts(all_large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one thread's cache hold but a few numbers, so that every map is split."""
    monkeypatch.setattr(memory, "CACHED", 64)


# ----------------------------------------------------------------------------------------- mean


@pytest.mark.parametrize("axes", [1, -1, (2, 3), (3, 1), (0, -2)])
def test_mean(all_large: None, axes: int | tuple[int, ...]) -> None:
    (x,) = values(1, (2, 3, 4, 5))
    y, want = mean(x, axes), x.mean(axes)
    assert type(y.grad_fn).__name__ == "_MeanBackward"
    assert torch.equal(y, want)
    dy = random(*want.shape, seed=99)
    (mine,), (theirs,) = (torch.autograd.grad(value, x, dy) for value in (y, want))
    torch.testing.assert_close(mine, theirs)
    assert mine.untyped_storage().nbytes() == dy.untyped_storage().nbytes()  # no map
    assert type(mean(x.detach(), axes)) is Tensor


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("axes", [(1,), (2, 3), (0, 2), (0, 1, 2, 3), (-1, 0)])
def test_squares(in_parts: None, axes: tuple[int, ...], memory_format: torch.memory_format) -> None:
    x = random(2, 3, 4, 5).to(memory_format=memory_format).requires_grad_()
    y, want = squares(x, axes), x.square().sum(axes)
    assert type(y.grad_fn).__name__ == "_SquaresBackward"
    dy = random(want.numel(), seed=99).view(want.shape)
    (mine,), (theirs,) = (torch.autograd.grad(value, x, dy) for value in (y, want))
    torch.testing.assert_close((y, mine), (want, theirs))
    torch.testing.assert_close(squares(x.detach(), axes), want.detach())


@pytest.mark.long
def test_squares_have_gradients_of_every_order(all_large: None) -> None:
    given = [values(1, (2, 3, 2, 2))[0].detach().relu().requires_grad_()]  # also where x is zero

    def f(x: Tensor) -> Tensor:
        return squares(x, (2, 3)).square()

    assert torch.autograd.gradcheck(f, given, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, given)
    each = torch.func.vmap(lambda one: squares(one, (1, 2)))(given[0])
    torch.testing.assert_close(each, squares(given[0], (2, 3)))


@pytest.mark.long
def test_mean_has_gradients_of_every_order(all_large: None) -> None:
    given = values(1, (2, 3, 2, 2))

    def f(x: Tensor) -> Tensor:
        return mean(x, (2, 3)).square()

    assert torch.autograd.gradcheck(f, given, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, given)


def test_mean_of_other_kinds_of_tensor(all_large: None) -> None:
    x = random(2, 3, 4, 5)
    want = x.mean(1)
    torch.testing.assert_close(torch.func.vmap(lambda one: mean(one, 0))(x), want)
    grad = torch.func.grad(lambda one: mean(one, 1).sum())(x)
    torch.testing.assert_close(grad, torch.full_like(x, 1 / 3))
    traced = fx.symbolic_trace(lambda one: mean(one, 1))
    assert [n.op for n in traced.graph.nodes] == ["placeholder", "call_function", "output"]
    torch.testing.assert_close(traced(x.requires_grad_()), want)
    compiled = torch.compile(lambda one: mean(one, 1), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), want)


# ---------------------------------------------------------------------------------- weighed sum


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", [*GATES, (1, 1, 4, 5), (1, 1, 1, 1), (4, 1), (1,)])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_gradients_in_parts(
    in_parts: None, batch: int, shape: tuple[int, ...], memory_format: torch.memory_format
) -> None:
    (x,) = values(1, (batch, 3, 4, 5))
    x = x.detach().contiguous(memory_format=memory_format).requires_grad_()
    shape = (batch, *shape[1:]) if len(shape) == 4 and shape[0] == 2 else shape
    (by,) = values(1, shape, of=9)
    dy = random(*x.shape, seed=99)
    mine, theirs = (torch.autograd.grad(y, (x, by), dy) for y in (weighed(x, by), x * by))
    torch.testing.assert_close(mine, theirs)
    if by.shape != x.shape:  # else the product itself is the gradient, and torch's
        assert mine[0].is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("axes", [(1,), (2, 3), (0,), (-1,), (0, 2)])
@pytest.mark.parametrize("mean_first", [True, False])
def test_mean_and_max_in_parts(
    in_parts: None, axes: tuple[int, ...], mean_first: bool, memory_format: torch.memory_format
) -> None:
    x = random(5, 3, 4, 6).round(decimals=1).contiguous(memory_format=memory_format)
    x.requires_grad_()  # rounded: some maxima are equal
    both = (x.mean(axes), x.amax(axes))
    want = torch.stack(both if mean_first else both[::-1], 1)
    y = mean_and_max(x, axes, 1, mean_first)
    assert torch.equal(mean_and_max(x.detach(), axes, 1, mean_first), y)
    torch.testing.assert_close(y, want)
    dy = random(*want.shape, seed=99)
    mine, theirs = (torch.autograd.grad(value, x, dy) for value in (y, want))
    torch.testing.assert_close(mine, theirs)


def test_the_parts_of_a_map_fit_the_caches() -> None:
    whole = torch.empty(8, 256, 56, 56, device="meta")
    threads = torch.get_num_threads()
    assert memory.in_cache(whole) == (0, max(1, 2 * threads * 2**20 // (256 * 56 * 56 * 4)))
    assert memory.in_cache(whole[:1])[0] == 1  # a batch of one is split by its channels


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", GATES)
@pytest.mark.parametrize("number", [1, 3])
def test_weighed_sum(
    all_large: None, number: int, shape: tuple[int, ...], memory_format: torch.memory_format
) -> None:
    xs = [
        x.detach().contiguous(memory_format=memory_format).requires_grad_()
        for x in values(number, (2, 3, 4, 5))
    ]
    gates = values(number, shape, of=9)
    want = sum(x * by for x, by in zip(xs, gates, strict=True))
    y = weighed_sum(xs, gates)
    assert type(y.grad_fn).__name__ == "_WeighedSumBackward"
    assert y.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(y, want)
    dy = random(2, 3, 4, 5, seed=99)
    mine = torch.autograd.grad(y, [*xs, *gates], dy)
    torch.testing.assert_close(mine, torch.autograd.grad(want, [*xs, *gates], dy))
    with torch.inference_mode():
        kept = [x.clone() for x in xs]
        torch.testing.assert_close(weighed_sum(xs, gates), want)
        assert all(map(torch.equal, kept, xs))


@pytest.mark.long
def test_weighed_sum_has_gradients_of_every_order(all_large: None) -> None:
    given = (*values(2, (2, 3, 2, 2)), *values(2, (2, 3, 1, 1), of=9))

    def f(*tensors: Tensor) -> Tensor:
        return weighed_sum(tensors[:2], tensors[2:])

    assert torch.autograd.gradcheck(f, given, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, given)


@pytest.mark.parametrize("wanted", list(itertools.product([True, False], repeat=2)))
def test_only_the_gradients_that_are_wanted(all_large: None, wanted: tuple[bool, bool]) -> None:
    x, by = random(2, 3, 4, 5), random(2, 3, 1, 1, seed=1)
    x.requires_grad_(wanted[0])
    by.requires_grad_(wanted[1])
    y = weighed(x, by)
    assert y.requires_grad == any(wanted)
    if any(wanted):
        y.sum().backward()
    assert (x.grad is not None, by.grad is not None) == wanted


def test_a_gradient_may_come_expanded(all_large: None) -> None:
    """The gradient of a sum is one number with strides of zero, which nothing may write to."""
    x, by = values(1, (2, 3, 4, 5))[0], values(1, (2, 3, 1, 1), of=9)[0]
    mine = torch.autograd.grad(weighed(x, by).sum(), [x, by])
    torch.testing.assert_close(mine, torch.autograd.grad((x * by).sum(), [x, by]))


@pytest.mark.parametrize("function", [weighed, weighed_in_place])
def test_other_kinds_of_tensor_take_the_plain_way(all_large: None, function) -> None:
    x, by = random(2, 3, 4, 5), random(2, 3, 1, 1, seed=1)
    want = x * by
    torch.testing.assert_close(torch.func.vmap(function)(x.clone(), by), want)
    torch.testing.assert_close(torch.func.grad(lambda x: function(x, by).sum())(x), by.expand_as(x))
    half = function(x.bfloat16(), by.float())
    assert half.dtype == torch.float32
    traced = fx.symbolic_trace(lambda x, by: function(x, by))
    torch.testing.assert_close(traced(x, by), want)
    with torch._subclasses.FakeTensorMode() as mode:
        assert function(mode.from_tensor(x), mode.from_tensor(by)).shape == x.shape
    compiled = torch.compile(lambda x, by: function(x, by), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x.clone(), by), want)


def test_in_place_only_without_a_gradient(all_large: None) -> None:
    x, by = random(2, 3, 4, 5), random(2, 3, 1, 1, seed=1).requires_grad_()
    kept = x.clone()
    torch.testing.assert_close(weighed_in_place(x, by), kept * by)
    assert torch.equal(x, kept)
    with torch.no_grad():
        y = weighed_in_place(x, by)
    assert y.data_ptr() == x.data_ptr()


def test_what_counts_as_large() -> None:
    rows = memory.LARGE // 4 // 1024
    assert memory.is_large(torch.empty(rows, 1024))
    assert not memory.is_large(torch.empty(rows - 1, 1024))
    assert memory.is_large(torch.empty(rows // 2, 1024, dtype=torch.float64))
    assert not memory.is_large(torch.empty(rows, 1024, device="meta"))


# -------------------------------------------------------------------------------- mean and max


@pytest.mark.parametrize("mean_first", [True, False])
@pytest.mark.parametrize(("axes", "at"), [((2, 3), 1), ((1,), 1), ((0, 2), 0), ((3,), 3)])
def test_mean_and_max(axes: tuple[int, ...], at: int, mean_first: bool) -> None:
    x = random(2, 3, 4, 5).round().requires_grad_()  # so that many are equally large
    parts = [x.mean(axes), x.amax(axes)]
    want = torch.stack(parts if mean_first else parts[::-1], at)
    y = mean_and_max(x, axes, at, mean_first)
    torch.testing.assert_close(y, want)
    dy = random(*y.shape, seed=3)
    mine = torch.autograd.grad(y, x, dy)
    torch.testing.assert_close(mine, torch.autograd.grad(want, x, dy))
    with torch.no_grad():
        assert torch.equal(mean_and_max(x, axes, at, mean_first), want)


def test_mean_and_max_has_gradients_of_every_order() -> None:
    def f(x: Tensor) -> Tensor:
        return mean_and_max(x, (2, 3), 1, True)

    x = random(2, 3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(f, (x,), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(f, (x,))
    per_sample = torch.func.vmap(torch.func.grad(lambda x: f(x[None]).square().sum()))(x)
    (want,) = torch.autograd.grad(f(x).square().sum(), x)
    torch.testing.assert_close(per_sample, want)


@pytest.mark.parametrize(
    "shape", [(2, 512, 3, 2), (1, 1024, 7, 7), (2, 1000, 2), (2, 768, 5), (2, 512)]
)
def test_the_largest_of_many_channels(shape: tuple[int, ...]) -> None:
    x = random(*shape)
    x[0, 3] = torch.nan
    x[0, -1] = torch.inf
    with torch.no_grad():
        torch.testing.assert_close(largest(x, (1,)), x.amax(1), rtol=0, atol=0, equal_nan=True)
    even = torch.zeros(shape).requires_grad_()
    largest(even, (1,)).sum().backward()  # all are equally large, and share the gradient
    assert even.grad is not None
    torch.testing.assert_close(even.grad, torch.full(shape, 1 / shape[1]))


def test_infinite_values_have_a_gradient() -> None:
    x = torch.tensor([[1.0, torch.inf, 2.0]], requires_grad=True)
    mean_and_max(x, (1,), 0, False)[0].sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[0.0, 1.0, 0.0]]


# ------------------------------------------------------------------------------------ the others


@pytest.mark.parametrize("small", [20, 10**6])
@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("bias", [True, False])
def test_rows_are_filtered_apart(
    rows: int, bias: bool, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_conv1d, "_IMAGE", small)
    layer, plain = RowConv1d(5, bias).double(), nn.Conv1d(1, 1, 5, padding=2, bias=bias).double()
    plain.load_state_dict(layer.state_dict())
    x = random(rows, 9).requires_grad_()
    want = plain(x[:, None])[:, 0]
    torch.testing.assert_close(layer(x), want)
    mine = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    theirs = torch.autograd.grad(want.square().sum(), [x, *plain.parameters()])
    torch.testing.assert_close(mine, theirs)


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("size", [(6, 5), (9, 8)])
@pytest.mark.parametrize("other", [1, 2])
def test_each_sample_by_its_kernel(groups: int, other: int, size: tuple[int, int]) -> None:
    x, kernel = random(other, 3, 4, *size), random(3, 8, 4 // groups, 3, 3, seed=1)
    y = conv_of_each(x, kernel, 2, (1, 2), 2, groups)
    compiled = torch.compile(conv_of_each, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, kernel, 2, (1, 2), 2, groups), y)
    for b in range(3):
        want = nn.functional.conv2d(x[:, b], kernel[b], None, 2, (1, 2), 2, groups)
        torch.testing.assert_close(y[:, b], want)


@pytest.mark.parametrize("name", ["se", "cbam", "eca", "bam", "sk", "split_attention"])
def test_mechanisms_on_large_maps_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    like = nn.Conv2d(32, 32, 3, padding=1) if name in ("sk", "split_attention") else None
    module = composer.build(name, None if like else 32, like=like).double()
    other, x = copy.deepcopy(module), random(2, 32, 6, 5).requires_grad_()
    (want := module(x)).square().sum().backward()
    dx, x.grad = x.grad, None
    monkeypatch.setattr(memory, "LARGE", 0)
    (got := other(x)).square().sum().backward()
    torch.testing.assert_close((got, x.grad), (want, dx))
    for mine, theirs in zip(other.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(x), module.eval()(x))
