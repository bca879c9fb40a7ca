"""The layers and statistics that are written for maps as they lie, beside torch's own."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from composer.kernels import attention as attention_file
from composer.kernels.affine import Affine
from composer.kernels.attention import attention, attention_of_few
from composer.kernels.deviation import deviation, variance
from composer.kernels.linear import Linear, over_channels
from composer.kernels.weighed_sum import weighed
from composer.kernels.weighed_windows import weighed_windows
from composer.measure.memory import peak_memory

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def numbers(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


INPUTS = {
    "maps": lambda: numbers(2, 6, 3, 5).permute(0, 2, 3, 1),
    "maps of a window": lambda: numbers(2, 6, 3, 5, 2).permute(0, 2, 3, 4, 1),
    "channels last": lambda: numbers(2, 3, 5, 6),
    "a part of maps": lambda: numbers(2, 6, 3, 5)[:, :, ::2].permute(0, 2, 3, 1),
    "tokens": lambda: numbers(2, 6, 7).permute(0, 2, 1),
    "pooled": lambda: numbers(2, 6),
}


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("which", INPUTS)
def test_a_layer_of_maps_is_torch_s(which: str, bias: bool, gradients: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = Linear(6, 4, bias=bias).double(), nn.Linear(6, 4, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    x = INPUTS[which]()
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(ours(x), theirs(x), **CLOSE)
    if gradients:
        x.requires_grad_()
        weight = numbers(*theirs(x).shape)
        found = [
            torch.autograd.grad((layer(x) * weight).sum(), [x, *layer.parameters()])
            for layer in (ours, theirs)
        ]
        for mine, its in zip(*found, strict=True):
            torch.testing.assert_close(mine, its, **CLOSE)
        own = [x.detach().requires_grad_(), *ours.parameters()]

        def function(x: Tensor, *parameters: Tensor) -> Tensor:
            return over_channels(x, parameters[0], parameters[1] if bias else None)

        assert torch.autograd.gradgradcheck(function, own)


def test_a_layer_of_maps_with_gradients_of_some() -> None:
    layer, x = Linear(6, 4).double(), INPUTS["maps"]()
    layer.bias.requires_grad_(False)
    (gradient,) = torch.autograd.grad(layer(x).sum(), layer.weight)
    torch.testing.assert_close(gradient[0], x.sum((0, 1, 2)), **CLOSE)


def test_a_layer_of_maps_per_sample() -> None:
    """Gradients of the weights for each sample, by torch.func."""
    layer, x = Linear(6, 4).double(), numbers(3, 6, 3, 5)

    def loss(parameters: dict[str, Tensor], one: Tensor) -> Tensor:
        maps = one[None].permute(0, 2, 3, 1)
        out: Tensor = torch.func.functional_call(layer, parameters, (maps,))
        return out.square().sum()

    given = {name: p.detach() for name, p in layer.named_parameters()}
    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(given, x)["weight"]
    for mine, one in zip(each, x, strict=True):
        (alone,) = torch.autograd.grad(loss(dict(layer.named_parameters()), one), layer.weight)
        torch.testing.assert_close(mine, alone, **CLOSE)


def test_a_layer_of_maps_gives_maps() -> None:
    layer, x = Linear(6, 4), torch.randn(2, 6, 3, 5)
    with torch.no_grad():
        assert layer(x.permute(0, 2, 3, 1)).movedim(-1, 1).is_contiguous()
        assert layer(x.permute(0, 2, 3, 1).contiguous()).is_contiguous()


def test_a_layer_of_maps_elsewhere() -> None:
    """By autocast, in a trace, pickled, and of a weight that is no plain tensor, it is torch's."""
    layer, x = Linear(6, 4).eval(), torch.randn(2, 3, 5, 6)
    maps = torch.randn(2, 6, 3, 5).permute(0, 2, 3, 1)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(maps).dtype == torch.bfloat16
    traced = torch.fx.symbolic_trace(layer)
    torch.testing.assert_close(traced(x), layer(x))
    with torch.no_grad():
        torch.testing.assert_close(pickle.loads(pickle.dumps(layer))(maps), layer(maps))
        with pytest.raises(RuntimeError, match="dtype"):
            layer(maps.double())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("where", [1, 2, 3])
def test_a_weight_for_each_channel_is_a_convolution_in_groups(where: int, bias: bool) -> None:
    x = numbers(2, 3, 4, 5)
    channels = x.shape[where]
    ours = Affine(channels, bias, 3 - where).double()
    theirs = nn.Conv1d(channels, channels, 1, groups=channels, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    apart = x.movedim(where, 1)
    wanted = theirs(apart.flatten(2)).unflatten(2, apart.shape[2:]).movedim(1, where)
    torch.testing.assert_close(ours(x), wanted, **CLOSE)


@pytest.mark.parametrize("over", [(1,), (1, 2), (0, 3)])
def test_the_deviation_is_torch_s(over: tuple[int, ...]) -> None:
    x = (5 + numbers(2, 3, 4, 5)).requires_grad_()
    for ours, theirs in ((variance, torch.var), (deviation, torch.std)):
        mine, wanted = ours(x, over), theirs(x, over, correction=0)
        torch.testing.assert_close(mine, wanted, **CLOSE)
        weight = numbers(*wanted.shape)
        gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (mine, wanted)]
        torch.testing.assert_close(*gradients, **CLOSE)


def test_no_deviation_has_no_gradient() -> None:
    x = torch.full((2, 4), 3.0, requires_grad=True)
    deviation(x, (1,)).sum().backward()
    assert x.grad is not None and x.grad.equal(torch.zeros(2, 4))


@pytest.mark.long
def test_large_values_by_weights_of_a_larger_shape(recwarn: pytest.WarningsRecorder) -> None:
    x, by = torch.randn(1, 9 * 2**20), torch.randn(2, 1)
    torch.testing.assert_close(weighed(x, by), x * by)
    assert not recwarn


WINDOWS = {
    "kept in size": ((3, 3), (1, 1), (1, 1), (1, 1)),
    "strides, no zeros, dilation": ((3, 2), (2, 1), (2, 0), (1, 2)),
    "one axis": ((5,), (2,), (2,), (1,)),
    "a volume": ((3, 1, 3), (1, 1, 1), (1, 0, 1), (1, 1, 1)),
}


@pytest.mark.parametrize("which", WINDOWS)
def test_weighed_windows_are_the_sum_of_a_product(which: str) -> None:
    """Values and gradients are those of its definition: pad, take each window, multiply, sum."""
    kernel, stride, padding, dilation = WINDOWS[which]
    sizes = (7, 6, 5)[: len(kernel)]
    x = numbers(2, 3, 2, *sizes).requires_grad_()
    padded = functional.pad(x, [n for p in reversed(padding) for n in (p, p)])
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        windows = padded.unfold(3 + axis, d * (k - 1) + 1, s)[..., ::d]
        padded = windows
    places = len(kernel)  # now [2, 3, 2, *windows, *kernel]
    windows = padded.movedim(tuple(range(-places, 0)), tuple(range(3, 3 + places)))
    by = numbers(2, 3, 1, *windows.shape[3:]).requires_grad_()
    wanted = (windows * by).sum(tuple(range(3, 3 + places)))
    mine = weighed_windows(x, by, stride, padding, dilation)
    torch.testing.assert_close(mine, wanted, **CLOSE)
    weight = numbers(*wanted.shape)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), (x, by)) for y in (mine, wanted))
    for gradient, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, right, **CLOSE)
    with torch.no_grad():
        torch.testing.assert_close(
            weighed_windows(x, by, stride, padding, dilation), wanted, **CLOSE
        )


@pytest.mark.long
def test_weighed_windows_have_gradients_of_every_order() -> None:
    x, by = numbers(1, 2, 4, 3).requires_grad_(), numbers(1, 1, 3, 1, 4, 3).requires_grad_()

    def function(x: Tensor, by: Tensor) -> Tensor:
        return weighed_windows(x, by, (1, 1), (1, 0), (1, 1))

    assert torch.autograd.gradcheck(function, (x, by))
    assert torch.autograd.gradgradcheck(function, (x, by))


#: Batch, heads, queries, keys: they fit into the caches at once, by samples, and by queries.
PAIRED = {"at once": (2, 1, 3, 4), "by samples": (5, 2, 3, 4), "by queries": (2, 2, 9, 7)}


def small_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process everything part by part, at most 40 numbers at once in one thread."""
    monkeypatch.setattr(attention_file, "LARGE", 0)
    monkeypatch.setattr(attention_file, "LARGE_TO_STORE", 0)
    monkeypatch.setattr(attention_file, "CACHED", 8 * 40 // torch.get_num_threads())


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("which", PAIRED)
def test_attention_by_parts_is_torch_s(
    which: str, scale: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, and first and second gradients, for values of another width than the queries'."""
    small_caches(monkeypatch)
    batch, heads, queries, keys = PAIRED[which]
    given = (numbers(batch, heads, queries, 2), numbers(batch, heads, keys, 2).flip(0),
             numbers(batch, heads, 5, keys).mT)  # fmt: skip
    q, k, v = (t.requires_grad_() for t in given)
    theirs = functional.scaled_dot_product_attention(q, k, v, scale=scale)
    mine = attention(q, k, v, scale=scale)
    assert mine.grad_fn is not None
    assert "_Attention" in mine.grad_fn.next_functions[0][0].name()
    weight = numbers(*theirs.shape)
    found = [torch.autograd.grad((y * weight).sum(), (q, k, v), create_graph=True)
             for y in (mine, theirs)]  # fmt: skip
    plain = torch.autograd.grad((attention(q, k, v, scale=scale) * weight).sum(), (q, k, v))
    second = [torch.autograd.grad(sum(g.square().sum() for g in gs), (q, k, v)) for gs in found]
    with torch.no_grad():
        torch.testing.assert_close(attention(q, k, v, scale=scale), theirs, **CLOSE)
    torch.testing.assert_close(mine, theirs, **CLOSE)
    for mine_, theirs_ in ((found[0], found[1]), (plain, found[1]), (second[0], second[1])):
        torch.testing.assert_close(mine_, theirs_, **CLOSE)


def test_attention_of_values_of_another_kind_is_torch_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under autocast, in half precision, mapped, and along a tangent."""
    small_caches(monkeypatch)
    q, k, v = numbers(2, 1, 9, 2), numbers(2, 1, 7, 2), numbers(2, 1, 7, 5)
    wanted = functional.scaled_dot_product_attention(q, k, v)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert attention(q.float(), k.float(), v.float()).dtype == torch.bfloat16
    assert attention(q.bfloat16(), k.bfloat16(), v.bfloat16()).dtype == torch.bfloat16
    mapped = torch.func.vmap(attention)(q[:, None], k[:, None], v[:, None])
    torch.testing.assert_close(mapped[:, 0], wanted, **CLOSE)
    _, moved = torch.func.jvp(lambda q: attention(q, k, v), (q,), (q,))
    _, right = torch.func.jvp(
        lambda q: functional.scaled_dot_product_attention(q, k, v), (q,), (q,)
    )
    torch.testing.assert_close(moved, right, **CLOSE)


def test_attention_by_parts_stores_no_weights() -> None:
    """Twice the queries and keys take twice the memory, with gradients too."""
    for learns in (False, True):
        peaks = []
        for number in (4096, 8192):
            q, k, v = (torch.randn(1, 1, number, width) for width in (4, 4, 8))
            v.requires_grad_(learns)
            peaks.append(peak_memory(lambda q=q, k=k, v=v: attention(q, k, v), "cpu"))
        assert peaks[1] < 2.2 * peaks[0]


@pytest.mark.parametrize("hidden", [0, 1])
def test_attention_with_a_learned_bias_is_torch_s(hidden: int) -> None:
    """Values and gradients; a query that sees no key, of those that hide some, gives 0."""
    q, k, v, bias = numbers(4, 2, 3, 5), numbers(4, 2, 7, 5), numbers(7, 4, 2, 5), numbers(2, 3, 7)
    v = v.permute(1, 2, 0, 3)
    bias[:hidden, 0] = -torch.inf
    given = [t.requires_grad_() for t in (q, k, v, bias)]
    both = (attention, functional.scaled_dot_product_attention)
    mine, theirs = (f(q, k, v, attn_mask=bias[None], scale=0.3) for f in both)
    assert not hidden or mine[:, 0, 0].eq(0).all()
    weight = numbers(*theirs.shape)
    found = [torch.autograd.grad((y * weight).sum(), given) for y in (mine, theirs)]
    torch.testing.assert_close(mine, theirs, **CLOSE)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_attention_over_channels_in_half_precision_is_torch_s(
    dtype: torch.dtype, autocast: bool
) -> None:
    """The logits of these would overflow in float16."""
    x = (60 + 3 * numbers(1, 1, 16, 1024)).to(torch.float32 if autocast else dtype)
    with torch.autocast("cpu", dtype, enabled=autocast):
        mine, theirs = (
            f(x, x, x) for f in (attention_of_few, functional.scaled_dot_product_attention)
        )
    assert mine.isfinite().all() and mine.dtype == dtype
    torch.testing.assert_close(mine, theirs)


def test_attention_over_channels_is_torch_s() -> None:
    q, k, v = (numbers(2, 3, 5, 9).mul(i).requires_grad_() for i in (1, 2, 3))
    both = (attention_of_few, functional.scaled_dot_product_attention)
    for scale in (None, 0.2):
        mine, theirs = (f(q, k, v, scale=scale) for f in both)
        weight = numbers(*theirs.shape)
        found = [torch.autograd.grad((y * weight).sum(), (q, k, v)) for y in (mine, theirs)]
        for one, other in zip((mine, *found[0]), (theirs, *found[1]), strict=True):
            torch.testing.assert_close(one, other, **CLOSE)
    assert attention_of_few(*(torch.ones(1, 2, 3, 0),) * 3).shape == (1, 2, 3, 0)


def test_the_gradient_of_a_weight_is_not_rounded_with_each_sample() -> None:
    layer, x = Linear(4, 4), torch.rand(1024, 4, 2, 2).permute(0, 2, 3, 1)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).float().sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad[0], x.sum((0, 1, 2)), rtol=0.02, atol=0)


@pytest.mark.parametrize("which", INPUTS)
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_of_maps_under_autocast_is_torch_s(which: str, bias: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = Linear(6, 4, bias=bias), nn.Linear(6, 4, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    x = INPUTS[which]().float()
    found = []
    for layer in (ours, theirs):
        own = x.detach().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(own)
        assert y.dtype == torch.bfloat16
        weight = numbers(*y.shape).bfloat16()
        found.append((y, *torch.autograd.grad((y * weight).sum(), [own, *layer.parameters()])))
    for mine, its in zip(*found, strict=True):
        assert mine.dtype == its.dtype
        torch.testing.assert_close(mine, its, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("over", [(1,), (1, 2), (0, 3)])
def test_the_deviation_in_half_precision(over: tuple[int, ...]) -> None:
    x = (5 + numbers(2, 3, 4, 5)).bfloat16()
    for ours, theirs in ((variance, torch.var), (deviation, torch.std)):
        mine = ours(x, over)
        assert mine.dtype == torch.bfloat16
        torch.testing.assert_close(mine, theirs(x.float(), over, correction=0).bfloat16())


@pytest.mark.parametrize("twice", [False, True])
def test_the_gradient_of_a_variance_in_half_precision(twice: bool) -> None:
    x, weight = (50 + numbers(4, 64, 2)).bfloat16().requires_grad_(), numbers(4, 2)
    exact = x.detach().double().requires_grad_()
    found = [
        torch.autograd.grad((f(t).double() * weight).sum(), t, create_graph=twice)[0].double()
        for f, t in ((lambda t: variance(t, (1,)), x),
                     (lambda t: t.var(1, correction=0), exact))
    ]  # fmt: skip
    torch.testing.assert_close(*found, rtol=0.02, atol=1e-3)
