"""Functions and modules that a mechanism's file includes if the mechanism calls them."""

from __future__ import annotations

_UNFOLD = '''def unfold(
    x: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """Return the windows of x over its last two axes as [..., *kernel, *windows]."""
    height, width = (
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(x.shape[-2:], kernel, stride, padding, dilation, strict=True)
    )
    y = functional.unfold(x.reshape(1, -1, *x.shape[-2:]), kernel, dilation, padding, stride)
    return y.reshape(*x.shape[:-2], *kernel, height, width)'''

_FOLD = '''def fold(
    x: Tensor,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """Return the sum of windows [..., *kernel, *windows] at the places of a map [..., *size]."""
    columns = x.reshape(1, -1, x.shape[-2] * x.shape[-1])
    y = functional.fold(columns, size, kernel, dilation, padding, stride)
    return y.reshape(*x.shape[:-4], *size)'''

_AFFINE = '''class Affine(nn.Conv1d):
    """A weight and an optional bias per channel, followed by `after` more axes."""

    def __init__(self, channels: int, bias: bool, after: int) -> None:
        super().__init__(channels, channels, 1, groups=channels, bias=bias)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        """Return each value times the weight of its channel, plus the bias."""
        shape = (-1, *[1] * self.after)
        weight = self.weight.reshape(shape)
        return x * weight if self.bias is None else x * weight + self.bias.reshape(shape)'''

_GRID = '''def grid(places: int, *size: int) -> tuple[int, ...]:
    """Return height and width of a map with this many places and the aspect of a size."""
    scale = (places / math.prod(size)) ** (1 / len(size))
    first = int(size[0] * scale + 0.5)
    found = (first, *(first * length // size[0] for length in size[1:]))
    if math.prod(found) != places:
        raise ValueError(f"{places} tokens don't form a map of the aspect {size}")
    return found'''

_SCHEDULE = '''class Schedule(nn.Module):
    """A number that goes linearly from `begin` to `end` in `steps`: advance it each epoch."""

    def __init__(self, begin: float, end: float, steps: int) -> None:
        super().__init__()
        self.begin, self.end, self.steps = begin, end, steps
        self.register_buffer("value", torch.tensor(float(begin)))
        self.register_buffer("step", torch.tensor(0))

    def forward(self) -> Tensor:
        """Return the current number."""
        return self.value

    def advance(self, steps: int = 1) -> None:
        """Advance by some steps, at most to the end."""
        step = min(int(self.step) + steps, self.steps)
        way = step / self.steps
        self.step.fill_(step)
        self.value.fill_((1 - way) * self.begin + way * self.end)'''

_DROPOUT = '''class SharedDropout(nn.Module):
    """Dropout with one draw along some axes, shared along the others."""

    def __init__(self, p: float, shared: tuple[int, ...]) -> None:
        super().__init__()
        self.p, self.shared = p, shared

    def forward(self, x: Tensor) -> Tensor:
        """Return x with dropout; unchanged in evaluation."""
        if not self.training or self.p == 0:
            return x
        shape = [1 if axis in self.shared else size for axis, size in enumerate(x.shape)]
        kept = torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(1 - self.p)
        return x * (kept if self.p == 1 else kept / (1 - self.p))'''

_HELPERS = {
    "unfold": _UNFOLD, "fold": _FOLD, "grid": _GRID, "Affine": _AFFINE, "Schedule": _SCHEDULE,
    "SharedDropout": _DROPOUT,
}  # fmt: skip


def helper(name: str) -> str:
    """Return the text of a function or a module that a mechanism calls."""
    return _HELPERS[name]
