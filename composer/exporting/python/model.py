"""`write_python`: a composed model as a Python file, with its weights beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from composer.analysis.edited import class_before_edits
from composer.artifact.recipe import recipe
from composer.errors import error
from composer.exporting.made import Made
from composer.exporting.python.backbone import backbone_call
from composer.exporting.python.calls import shown
from composer.exporting.python.check import proven_model
from composer.exporting.python.code import broken, literal
from composer.exporting.python.formula import number
from composer.exporting.python.mechanism import MechanismClass, file_of
from composer.exporting.python.sites import Placed, placed
from composer.exporting.python.subclasses import Subclass, subclass_of
from composer.files import check_file_free, write_file
from composer.language.expressions import Value
from composer.measure.cost import floating_dtype
from composer.models.model_string import ModelString
from composer.models.weights import save_weights
from composer.surgery.composition import composed
from composer.surgery.edited_class import Edits, edits_of
from composer.surgery.origin import made_anew

#: Methods of other authors are kept as written.
_AS_WRITTEN = (
    "# ruff: noqa: D102, E501, N803, N806, RET504, RET505, UP006, UP007, UP035, UP045, RUF100"
)


@dataclass(frozen=True)
class PythonFiles:
    """What was written, and how it compares with the model in float64."""

    source: Path
    weights: Path
    made: Made

    @property
    def difference(self) -> float:
        """The largest between its outputs and the model's."""
        return self.made.difference


def write_python(model: nn.Module, file: str | Path, force: bool = False) -> PythonFiles:
    """Write a composed model as a Python file, and its weights beside it as safetensors.

    The file makes the backbone with its library and inserts the mechanisms as plain torch; its
    function ``model(pretrained=True)`` loads the weights. It is first run in a separate process
    that can't import Composer.

    Args:
        model: a model returned by `composer.insert` or `composer.load`.
        file: the file to write.
        force: whether to overwrite an existing file.

    Raises:
        ComposerError: part of it can't be written to a file, the outputs of the file differ, or
            it can't be written.
    """
    source = Path(file)
    if source.suffix != ".py":
        raise error("output", f"{source} is not named .py", f"name it {source.stem}.py")
    weights = source.with_suffix(".safetensors")
    for one in (source, weights):
        check_file_free(one, force)
    text = model_source(model)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / source.name
        made.write_text(text, encoding="utf-8")
        found = proven_model(model, made)
        write_file(weights, lambda place: save_weights(model, place), force=force)
        write_file(source, lambda place: place.write_text(text, encoding="utf-8"), force=force)
    return PythonFiles(source, weights, found)


def model_source(model: nn.Module) -> str:
    """Return the text of the file that makes a composed model.

    Raises:
        ComposerError: part of it can't be written to a file.
    """
    record = composed(model)
    backbone = recipe(model).backbone
    call, imports = backbone_call(backbone, model)
    sites = placed(model, record)
    classes = [*dict.fromkeys(site.kind.name for site in sites)]
    kinds = [next(site.kind for site in sites if site.kind.name == name) for name in classes]
    subclasses = _subclasses(model, sites)
    changed = _changed(model, backbone, sites)
    own = {path: one.name for path, one in subclasses.items()}
    function = "\n".join(_function(model, call, sites, own, changed))
    texts = [*dict.fromkeys(text for one in subclasses.values() for text in one.helpers)]
    texts += dict.fromkeys(one.text for one in subclasses.values())
    needed = {line for one in subclasses.values() for line in one.imports} | set(imports)
    words = " and ".join(dict.fromkeys(edit.spec.title or edit.spec.name for edit in record.edits))
    docstring = f"{ModelString.parse(backbone).short} with {words}."
    rest = [*texts, PUT, function]
    notes = ["", _AS_WRITTEN] if subclasses else []
    return file_of(kinds, docstring, rest, sorted(_agreeing(needed, kinds)), notes)


def _agreeing(imports: set[str], kinds: Sequence[MechanismClass]) -> set[str]:
    """Return the imports, in which no name has two meanings.

    Raises:
        ComposerError: code ``no-plain-form``.
    """
    meanings: dict[str, str] = {kind.name: "a mechanism here" for kind in kinds}
    for line in sorted(imports):
        name = line.partition("  #")[0].split()[-1]
        if meanings.setdefault(name, line) != line:
            raise error(
                "no-plain-form",
                f"{name!r} would mean two things in one file: {line}, and {meanings[name]}",
                "export to pt2 or onnx",
            )
    return imports


def _subclasses(model: nn.Module, sites: Sequence[Placed]) -> dict[str, Subclass]:
    """Return the subclass of each edited module, by its path."""
    made: dict[tuple[type, Edits], Subclass] = {}
    found: dict[str, Subclass] = {}
    for path, module in model.named_modules():
        edits = edits_of(module)
        if edits == Edits():
            continue
        key = (class_before_edits(module), edits)
        if key not in made:
            inside = [s.kind.name for s in sites if s.path.startswith(f"{path}." if path else "")]
            words = "And".join(dict.fromkeys(inside)) or "Composed"
            name = f"{key[0].__name__}With{words}"
            taken = {one.name for one in made.values()}
            count = 2
            while name in taken:
                name, count = f"{key[0].__name__}With{words}{count}", count + 1
            made[key] = subclass_of(module, name)
        found[path] = made[key]
    return found


def _changed(model: nn.Module, backbone: str, sites: Sequence[Placed]) -> list[str]:
    """Return the paths where an identity replaces a layer.

    Raises:
        ComposerError: the model differs from its backbone in another way.
    """
    before = {path: type(module) for path, module in made_anew(backbone).named_modules()}
    inside = tuple(f"{site.path}." for site in sites)
    own = {site.path for site in sites}
    identities = []
    for path, module in model.named_modules():
        if path in own or path.startswith(inside):
            continue
        kind = class_before_edits(module)
        if before.get(path) is kind:
            continue
        if isinstance(module, nn.Identity) and path in before:
            identities.append(path)
            continue
        raise error(
            "no-plain-form",
            f"{path or 'the model'} is {kind.__name__}, which differs from {backbone}",
            "give the backbone with its arguments when inserting, or export to pt2 or onnx",
        )
    return identities


def _function(
    model: nn.Module,
    call: str,
    sites: Sequence[Placed],
    subclasses: dict[str, str],
    identities: Sequence[str],
) -> Iterator[str]:
    """Yield the lines of the function that makes the model."""
    yield "def model(pretrained: bool = False) -> nn.Module:"
    yield '    """Return the model; if `pretrained`, with the weights beside this file."""'
    yield from broken(f"net = {call}", 4)
    for kind, paths in _by(subclasses).items():
        yield from broken(f"for path in {_tuple(paths)}:", 4)
        yield f"        net.get_submodule(path).__class__ = {kind}"
    for kind in dict.fromkeys(site.kind.name for site in sites):
        yield from _placing([site for site in sites if site.kind.name == kind])
    if identities:
        yield from broken(f"for path in {_tuple(identities)}:", 4)
        yield "        net.set_submodule(path, nn.Identity())"
    settings = [
        (f"{site.path}.{path}", name, value)
        for site in sites
        for path, own in site.settings.items()
        for name, value in own.items()
    ]
    for path, name, value in settings:
        yield from broken(f'net.get_submodule("{path}").{name} = {number(value)}', 4)
    dtype = floating_dtype(model)
    if dtype != torch.float32:
        yield f"    net = net.to({dtype})"
    yield "    if pretrained:"
    yield '        load_model(net, Path(__file__).with_suffix(".safetensors"))'
    yield "    return net"


def _placing(sites: Sequence[Placed]) -> Iterator[str]:
    """Yield the lines that put one class at its sites."""
    kind = sites[0].kind.name
    same = {
        name: value
        for name, value in sites[0].arguments.items()
        if len(sites) > 1 and all(site.arguments.get(name) == value for site in sites)
    }
    own = [
        {name: value for name, value in site.arguments.items() if name not in same}
        for site in sites
    ]
    first = next(iter(sites[0].kind.arguments.values()), "")
    fixed = [
        str(number(value)) if name == first else f"{name}={number(value)}"
        for name, value in same.items()
    ]
    names = [*dict.fromkeys(name for one in own for name in one)]
    if not names:
        yield from broken(f"for path in {_tuple([site.path for site in sites])}:", 4)
        yield from broken(f"put(net, path, {kind}({', '.join(fixed)}))", 8)
        return
    if len(names) == 1 and all(len(one) == 1 for one in own):
        (name,) = names
        pairs = [
            f"{literal(s.path)}: {number(one[name])}" for s, one in zip(sites, own, strict=True)
        ]
        given, word = [f"{name}={name}", *fixed], name
        if name == first:
            given = [name, *fixed]
    else:
        pairs = [
            f"{literal(site.path)}: {{{_pairs(one)}}}" for site, one in zip(sites, own, strict=True)
        ]
        given, word = [*fixed, "**settings"], "settings"
    yield from broken(f"for path, {word} in {{{', '.join(pairs)}}}.items():", 4)
    yield from broken(f"put(net, path, {kind}({', '.join(given)}))", 8)


def _pairs(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{literal(name)}: {number(value)}" for name, value in values.items())


def _tuple(paths: Sequence[str]) -> str:
    return shown(tuple(paths))


def _by(names: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, name in names.items():
        found.setdefault(name, []).append(path)
    return found


PUT = '''def put(net: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module into a model at a path, replacing an existing one."""
    parent, _, name = path.rpartition(".")
    net.get_submodule(parent).add_module(name, module)'''
