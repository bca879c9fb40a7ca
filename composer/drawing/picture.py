"""`render`: a picture of a spec, a graph, or a backbone with its insertions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from composer.artifact.output import is_composition
from composer.drawing.diagram import Diagram, Group, groups_in
from composer.drawing.formats import DPI, Format, format_of, written
from composer.drawing.limit import check_size
from composer.drawing.look import Look, look
from composer.drawing.mechanism import Said, mechanism
from composer.drawing.network import DEPTH, before_and_after, network, side_by_side
from composer.drawing.theme import ThemeName
from composer.errors import (
    ComposerError,
    Diagnostic,
    UsageError,
    error,
    suggestion,
)
from composer.files import check_file_free, write_file
from composer.graph.frontend import Examined, examine, graph_of
from composer.graph.graph import Graph
from composer.graph.passes import analyse, compile_graph
from composer.graph.sizes import settings_at
from composer.language.expressions import Value
from composer.language.library import SUFFIXES, find_spec
from composer.models.model_string import ModelString
from composer.models.names import check_name
from composer.primitives import Spec

if TYPE_CHECKING:
    from torch import nn

#: Of a spec's input, by default.
CHANNELS, SIZE = 256, (14, 14)
#: A spec with more boxes is by default drawn with its groups closed.
MOST_BOXES = 40
MOST_IN_A_GROUP = 8
_TWO_MODELS = "only models can be side by side, and this is a spec"


@dataclass(frozen=True)
class Picture:
    """The diagram, its open groups, and the problems of the spec."""

    diagram: Diagram
    opened: frozenset[str]
    problems: tuple[Diagnostic, ...] = ()


def render(
    what: Spec | Graph | nn.Module | str | PathLike[str],
    path: str | PathLike[str],
    *,
    theme: ThemeName = "paper",
    depth: int | None = None,
    expand: str | Sequence[str] = (),
    before_after: bool = False,
    beside: nn.Module | str | PathLike[str] | None = None,
    channels: int | None = None,
    size: tuple[int, ...] | None = None,
    params: Mapping[str, Value] | None = None,
    dpi: int = DPI,
    direction: str = "tb",
    width: str | None = None,
    title: bool = True,
    sizes: bool = True,
    legend: bool = True,
    force: bool = False,
    input: str | PathLike[str] | None = None,  # noqa: A002 - the word of the command line
    trust_code: bool = False,
) -> Path:
    """Draw a spec, or a backbone with its insertions, or what these attend to.

    Args:
        what: a spec, its name, path or text; a graph; a model, composed or not, a MODEL string, or
            a folder written by `save`.
        path: the file, whose suffix is the format: svg, png, pdf, dot, mmd (Mermaid), tex
            (TikZ) or html.
        theme: ``"paper"``, ``"light"`` or ``"dark"``.
        depth: how much is expanded. For a spec, 1 closes all groups. For a backbone, 1 shows its
            stages, 2 their blocks, 3 the contents of these, 4 the contents of insertions.
        expand: further groups to open, by the paths of blocks, insertions or nodes.
        before_after: whether to draw the original backbone beside it.
        beside: another model to draw beside it, in any form of `what`.
        channels: of a spec's input; 256 by default.
        size: height and width of a spec's input; 14 and 14 by default.
        params: other values for a spec's params.
        dpi: of a PNG, pixels per inch.
        direction: ``"tb"``, from top to bottom, or ``"lr"``, from left to right; not for html.
        width: the width of the picture, such as ``"8.5cm"``: texts are wrapped and groups closed,
            but fonts never shrink; for svg, png, pdf and tex.
        title: whether to write the title and the lines below it; html always does.
        sizes: whether to write the sizes of values beside the links.
        legend: whether to explain the kinds of boxes; for svg, png and pdf; html always does.
        force: overwrite an existing file.
        input: an image: draw what each mechanism attends to on it, as svg, png, pdf or html (see
            `composer.attention_maps`).
        trust_code: for a folder, whether code that its recipe names may be run; see
            `composer.load`.

    Returns:
        The path of the file.

    Raises:
        UsageError: the suffix is not a format, or an option does not apply to it.
        MissingPartError: Graphviz is not installed; dot and mmd don't need it.
        ComposerError: the spec is faulty: the picture is still written, and shows where.
    """
    file = Path(path)
    form = format_of(file)
    _check_options(theme, depth, dpi)
    looks = look(direction, width, title, sizes, legend)
    check_file_free(file, force)
    if input is not None:
        given = (depth, expand, before_after, beside is not None, channels, size, params)
        if any(given) or looks != Look():
            raise _usage("depth, expand, before_after, beside, channels, size, params, direction, "
                         "width, title, sizes and legend do not apply to a picture on an "
                         "image", "omit them, or omit input")  # fmt: skip
        content = _on_image(what, Path(input), form, theme, dpi, trust_code)
        write_file(file, lambda place: place.write_bytes(content), force=force)
        return file
    picture = drawn(
        what, depth=depth, expand=expand, before_after=before_after, beside=beside,
        channels=channels, size=size, params=params, code=form == "html", trust_code=trust_code,
    )  # fmt: skip
    check_size(picture.diagram, picture.opened, form)
    content = written(picture.diagram, picture.opened, form, theme, dpi, looks)
    write_file(file, lambda place: place.write_bytes(content), force=force)
    if picture.problems:
        told = Diagnostic("drawn", f"{file} shows where", severity="note")
        raise ComposerError((*picture.problems, told))
    return file


def drawn(
    what: Spec | Graph | nn.Module | str | PathLike[str],
    *,
    depth: int | None = None,
    expand: str | Sequence[str] = (),
    before_after: bool = False,
    beside: nn.Module | str | PathLike[str] | None = None,
    channels: int | None = None,
    size: tuple[int, ...] | None = None,
    params: Mapping[str, Value] | None = None,
    code: bool = False,
    trust_code: bool = False,
) -> Picture:
    """Return what `render` writes; with `code` a spec's boxes include their Python.

    Raises:
        ComposerError: there is no such spec or model, or there is nothing to draw.
    """
    found = _found(what, trust_code)
    problems: tuple[Diagnostic, ...] = ()
    if isinstance(found, (Spec, Graph, Examined)):
        if before_after:
            raise _usage("before_after needs a backbone, and this is a spec", None)
        if beside is not None:
            raise _usage(_TWO_MODELS, "give two models, or folders written by insert")
        diagram, problems = _of_spec(found, channels or CHANNELS, size or SIZE, params or {}, code)
        usual = _usual_of_spec(diagram)
    else:
        from composer.drawing.outline_of import outline

        model, name = found
        if channels is not None or size is not None or params:
            raise _usage(f"channels, size and params are for a spec, and {name} is a model", None)
        seen = outline(model, name, code)
        if before_after and not seen.specs:
            raise _usage(f"nothing was inserted into {name}", "give a folder written by insert")
        if beside is not None:
            if before_after:
                raise _usage("before_after and beside exclude each other", "omit one of them")
            second = _found(beside, trust_code)
            if not isinstance(second, tuple):
                raise _usage(_TWO_MODELS, "give two models, or folders written by insert")
            diagram = side_by_side(seen, outline(*second, code))
        else:
            diagram = before_and_after(seen) if before_after else network(seen)
        usual = diagram.to_depth(DEPTH)
    opened = usual if depth is None else diagram.to_depth(depth)
    wanted = (expand,) if isinstance(expand, str) else tuple(expand)
    return Picture(diagram, opened | _expanded(diagram, wanted), problems)


def _on_image(
    what: Spec | Graph | nn.Module | str | PathLike[str],
    image: Path,
    form: Format,
    theme: ThemeName,
    dpi: int,
    trust_code: bool,
) -> bytes:
    found = _found(what, trust_code)
    if not isinstance(found, tuple):
        message = "input is for a composed model, and this is a spec"
        raise _usage(message, "give a folder written by insert")
    from composer.drawing.maps import maps_drawn

    return maps_drawn(*found, image, form, theme, dpi)


# -------------------------------------------------------------------------------------- what


def _found(
    what: Spec | Graph | nn.Module | str | PathLike[str], trust_code: bool
) -> Spec | Graph | Examined | tuple[nn.Module, str]:
    """Return what a word names, and the name if it is a model.

    Raises:
        ComposerError: it names neither a spec nor a model.
    """
    if isinstance(what, (Spec, Graph)):
        return what
    if not isinstance(what, (str, PathLike)):
        return _model(what)
    word = fspath(what)
    if not is_composition(Path(word)):
        try:
            text, file = find_spec(word)
        except ComposerError as failure:
            if Path(word).suffix in SUFFIXES:
                raise
            _check_model(word, failure)
        else:
            return _examined(text, file)
    from composer.artifact.named import open_model

    return open_model(word, trust_code=trust_code)


def _examined(text: str, file: str) -> Spec | Examined:
    found = examine(text, file)
    if found.spec is not None:
        return found.spec
    if found.graph is None:
        raise ComposerError([p for p in found.problems if p.severity == "error"])
    return found


def _check_model(word: str, not_a_spec: ComposerError) -> None:
    """Refuse a word that names neither a spec nor a model, before torch is imported."""
    try:
        check_name(ModelString.parse(word))
    except ComposerError as not_a_model:
        if ":" in word:
            raise
        said = [d for f in (not_a_spec, not_a_model) for d in f.diagnostics]
        ways = [d.help for d in said if d.help and d.severity == "error"]
        message = f"{word!r} is neither a spec nor a model"
        raise error("unknown-name", message, "; ".join(ways)) from None


def _model(model: Any) -> tuple[nn.Module, str]:
    from torch import nn

    from composer.surgery.composition import composition

    if not isinstance(model, nn.Module):
        message = f"a {type(model).__name__} can't be drawn"
        raise error("not-a-model", message, "give a spec, a graph, a model, or the name of one")
    record = composition(model)
    config = getattr(model, "pretrained_cfg", None)
    name = config.get("architecture") if isinstance(config, dict) else None
    known = record.backbone if record is not None and record.backbone else name
    return model, known if isinstance(known, str) else type(model).__name__


# ------------------------------------------------------------------------------------- specs


def _of_spec(
    found: Spec | Graph | Examined,
    channels: int,
    size: tuple[int, ...],
    params: Mapping[str, Value],
    code: bool,
) -> tuple[Diagram, tuple[Diagnostic, ...]]:
    if isinstance(found, Examined):
        assert found.graph is not None
        errors = tuple(p for p in found.problems if p.severity == "error")
        return mechanism(found.graph, Said(errors, found.written)), errors
    if isinstance(found, Graph):
        graph = found
    else:
        settings = settings_at(found, channels, size, params)
        if "n" in found.input:
            settings = replace(settings, sizes={**settings.sizes, "n": math.prod(size)})
        graph = analyse(graph_of(found, settings))
    lines = _code(graph) if code and not graph.errors else {}
    return mechanism(graph, Said(graph.errors, code=lines)), graph.errors


def _code(graph: Graph) -> dict[str, str]:
    """Return the Python of each node; none if a size that it needs is open."""
    import torch

    from composer.lower.build import lower
    from composer.lower.code import code_by_node

    try:
        with torch.device("meta"):
            fresh = graph_of(graph.spec, graph.settings)
            return code_by_node(lower(compile_graph(fresh, as_written=True)))
    except ComposerError:
        return {}


def _usual_of_spec(diagram: Diagram) -> frozenset[str]:
    """Return the groups that are open by default: all, if the picture stays small enough."""
    small = [g.name for g in diagram.groups if len(g.items) <= MOST_IN_A_GROUP]
    deepest = 1
    for depth in range(2, len(small) + 2):
        seen = diagram.opened(diagram.to_depth(depth) & frozenset(small))
        if len(list(seen.boxes)) > MOST_BOXES:
            break
        deepest = depth
    return diagram.to_depth(deepest) & frozenset(small)


# ----------------------------------------------------------------------------------- options


def _expanded(diagram: Diagram, wanted: Iterable[str]) -> frozenset[str]:
    """Return the groups of these paths and those around them; insertions open completely.

    Raises:
        UsageError: there is no such group.
    """
    names = {group.name: _plain(group.name) for group in diagram.groups}
    opened: set[str] = set()
    for path in wanted:
        meant = {path} | {
            f"{_plain(drawn)}{path[len(_plain(whole)) :]}"
            for whole, drawn in diagram.drawn_as.items()
            if f"{path}.".startswith(f"{_plain(whole)}.")
        }
        found = [name for name, plain in names.items() if plain in meant]
        if not found:
            known = list(dict.fromkeys(p for n, p in names.items() if p and not _is_deep(n)))
            shown = known if len(known) <= 24 else [*known[:24], "…"]
            way_out = suggestion(path, shown, "Groups")
            raise _usage(f"{path!r} is not a group", way_out)
        for name in found:
            opened |= _around(diagram.items, name) or set()
    return frozenset(opened)


def _plain(name: str) -> str:
    """Return the name of a group for the user: a path, or for example ``stage 1``."""
    for side in ("before/", "after/", "left/", "right/"):
        name = name.removeprefix(side)
    return name.removeprefix(".")


def _is_deep(name: str) -> bool:
    """Return whether a group is part of an insertion."""
    return "/" in _plain(name)


def _around(items: tuple[Any, ...], name: str) -> set[str] | None:
    """Return a group with those around it, and those inside it if it is an insertion."""
    for item in items:
        if not isinstance(item, Group):
            continue
        if item.name == name:
            inner = groups_in(item.items) if item.inserted else ()
            return {name, *(group.name for group in inner)}
        inside = _around(item.items, name)
        if inside is not None:
            return {item.name, *inside}
    return None


def _check_options(theme: str, depth: int | None, dpi: int) -> None:
    if theme not in get_args(ThemeName):
        raise _usage(f"unknown theme {theme!r}", suggestion(theme, get_args(ThemeName), "Themes"))
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise _usage(f"the depth {depth!r} is not an integer from 1", "1 shows the least")
    if isinstance(dpi, bool) or not isinstance(dpi, int) or not 10 <= dpi <= 2400:
        raise _usage(
            f"{dpi!r} dpi is not an integer from 10 to 2400", "216 is three pixels per point"
        )


def _usage(message: str, way_out: str | None) -> UsageError:
    return UsageError(Diagnostic("usage", message, way_out))
