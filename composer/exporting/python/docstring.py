"""The docstring of a mechanism's class: the source, the arguments, the shapes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from composer.exporting.python.code import WIDTH, prose
from composer.exporting.python.samples import Samples

_WIDTH = WIDTH - 4


def docstring(
    samples: Samples, arguments: Mapping[str, str], fixed: Sequence[str]
) -> Iterator[str]:
    """Yield the lines of the docstring of a class.

    Args:
        samples: the samples it is written from.
        arguments: its arguments, by their names in the spec.
        fixed: what is constant in it.
    """
    spec = samples.spec
    title, source = prose(spec.title or spec.name), prose(spec.source or "")
    whole = f'"""{title}, {source}.' if source else f'"""{title}.'
    yield whole if len(whole) <= _WIDTH else f'"""{title}.'
    if len(whole) > _WIDTH:
        yield from ("", *_wrapped(f"{source}."))
    values = [f"{n} = {prose(str(samples.asked.known[n]))}" for n in fixed if n in spec.params]
    if values:
        yield from ("", *_wrapped(f"Written for {', '.join(values)}."))
    if arguments:
        yield from ("", "Args:")
    for name, word in arguments.items():
        line = f"    {word}: {_help(samples, name)}."
        yield from _wrapped(line, " " * 8)
    inside = _as_tokens(samples, samples.graph.input_axes.names)
    yield from ("", "Shape:", f"    x: [{inside}]", f"    output: [{output_axes(samples)}]", '"""')


def output_axes(samples: Samples) -> str:
    """Return the output axes of a mechanism, such as ``b, c, h, w``."""
    axes = samples.graph.axes_of(samples.graph.output)
    return "" if axes is None else _as_tokens(samples, axes.names)


def _help(samples: Samples, name: str) -> str:
    param = samples.spec.params.get(name)
    if param is not None:
        own = prose((param.help or "see the paper").rstrip("."))
        return own.replace("composer.advance", "its advance()")
    if name in ("h", "w", "d", "t"):
        return "of the map that it is made for"
    if name == "n":
        return "the number of tokens that it is made for"
    is_convolution = samples.spec.stands_for == "conv2d"
    return "of the convolution that it stands for" if is_convolution else "of the input"


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Return a text as lines; a long word stays whole, since it may contain an escape."""
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False)


def _as_tokens(samples: Samples, axes: Sequence[str]) -> str:
    """Return the axes in order: the places of a map may be one axis, of tokens."""
    settings = samples.asked.settings
    if settings.tokens is not None and "n" not in axes:
        first, places = settings.places[0], settings.places
        axes = ["n" if axis == first else axis for axis in axes if axis not in places[1:]]
    return ", ".join(axes)
