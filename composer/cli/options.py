"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from composer.artifact.output import is_composition
from composer.cli.output import note
from composer.errors import ComposerError, Diagnostic, UsageError
from composer.language.expressions import Value
from composer.language.paths import check_pattern
from composer.language.position import Position, PositionError
from composer.language.selection import Selection, SelectionError
from composer.language.source import resolve_scalar
from composer.language.stand_in import STANDS_FOR
from composer.models.model_string import INPUT_SIZE, ModelString

if TYPE_CHECKING:
    from composer.primitives import Spec

_JSON = "Print JSON"

json_option = click.option("--json", "as_json", is_flag=True, help=f"{_JSON}.")

#: For commands that count multiply-adds.
costs_json_option = click.option("--json", "as_json", is_flag=True,
                                 help=f"{_JSON}; flops counts multiply-adds.")  # fmt: skip

set_option = click.option(
    "--set",
    "settings",
    metavar="K=V",
    multiple=True,
    help="Set a param of the spec; with several specs, SPEC.K=V sets that of one.",
)


input_size_option = click.option(
    "--input-size",
    metavar="C,H,W",
    help="Size of the image to run the model on: 3,64,64; by default what the model declares.",
)


trust_option = click.option(
    "--trust-code", is_flag=True,
    help="Allow code that the recipe of a composition names, such as file.py:factory, to run.",
)  # fmt: skip


def at_input_size(model: str, size: str | None) -> str:
    """Return MODEL with the image size added, where one is given.

    Raises:
        UsageError: it is not a size, or the model has one already.
    """
    if size is None:
        return model
    numbers = size.split(",")
    if len(numbers) < 2 or not all(n.isdecimal() and 0 < int(n) < 100_000 for n in numbers):
        message = f"--input-size {size!r} is not the channels, height and width of an image"
        raise usage(message, "write --input-size 3,64,64")
    if is_composition(Path(model)):
        raise usage(f"{model} is a composition, which records its input", "omit --input-size")
    source = ModelString.parse(model)
    if INPUT_SIZE in dict(source.arguments):
        raise usage(f"{model!r} gives the input size, and so does --input-size", "omit one of them")
    return str(source.at_size(tuple(map(int, numbers))))


def size_of(text: str, dimensions: int = 2) -> tuple[int, ...]:
    """Read ``14``, ``14x7``, ``8x14x14`` for a volume, or ``t=100`` for a signal.

    A single number applies to all `dimensions`.

    Raises:
        UsageError: it has none of these forms.
    """
    words = text.lower().replace("×", "x")
    signal = words.startswith("t=")
    parts = words.removeprefix("t=").split("x")
    numbers = all(p.isdecimal() and len(p) < 6 and int(p) > 0 for p in parts)
    if not numbers or len(parts) > (1 if signal else 3):
        way_out = "write --size 14, or --size 14x7; 8x14x14 for a volume, t=100 for a signal"
        raise usage(f"--size {text!r} is not a size", way_out)
    lengths = tuple(map(int, parts))
    return lengths * dimensions if len(lengths) == 1 and not signal else lengths


def read_specs(words: tuple[str, ...]) -> list[Spec]:
    """Return the specs with these names or paths; warnings go to stderr.

    Raises:
        ComposerError: one is not found or not valid; it holds the problems of all.
    """
    from composer.graph.frontend import check_text
    from composer.language.library import find_spec

    found: list[Spec] = []
    problems: list[Diagnostic] = []
    for word in words:
        try:
            spec, told = check_text(*find_spec(word))
        except ComposerError as failure:
            spec, told = None, failure.diagnostics
        for warning in dict.fromkeys(p for p in told if p.severity == "warning"):
            note(warning.render())
        problems += [p for p in told if p.severity == "error"]
        if spec is not None:
            found.append(spec)
    if problems:
        raise ComposerError(dict.fromkeys(problems))
    return found


def check_params(specs: list[Spec], params: dict[str, dict[str, Value]]) -> None:
    """Refuse params that a spec does not have, or values they can't take, before torch loads.

    Raises:
        UsageError: with all of them.
    """
    from composer.graph.from_spec import wrong_params

    if problems := [one for spec in specs for one in wrong_params(spec, params[spec.name])]:
        raise UsageError(dict.fromkeys(problems))


def check_selection(option: str, text: str | None) -> None:
    """Refuse a selection that can't be read.

    Raises:
        UsageError: it can't be read.
    """
    try:
        Selection.parse(text or "1")
    except SelectionError as failure:
        raise usage(f"{option} {text!r}: {failure}", None) from None


#: Listed below ``--select``.
replace_option = click.option(
    "--replace", is_flag=True,
    help="With --at module: replace the modules that --select or --type matches.",
)  # fmt: skip
type_option = click.option(
    "--type", "types", multiple=True, metavar="CLASS",
    help="With --replace: modules of this class or of a subclass: SqueezeExcite.",
)  # fmt: skip


def check_replacing(
    at: str | None, replace: bool, select: tuple[str, ...], types: tuple[str, ...], init: str
) -> None:
    """Refuse options that don't go with replacing modules, or a missing one that it needs.

    Raises:
        UsageError: with the way out.
    """
    if types and not replace:
        raise usage("--type chooses modules to replace", "add --replace, or choose with --select")
    if not replace:
        return
    if at in STANDS_FOR:
        raise usage(f"--at {at} replaces already", "omit --replace, or use --at module --replace")
    if at != "module":
        raise usage("--replace is for --at module", "use --at module --replace")
    if not select and not types:
        raise usage(
            "--replace is given without what to replace",
            "use --type SqueezeExcite, or --select 'blocks.*.se'",
        )
    if init == "identity":
        raise usage(
            "--replace puts something else in place of a module, so it can't start as identity",
            "use --init paper; or omit --replace, to insert after the module",
        )


def check_recipe_alone(context: click.Context) -> None:
    """Refuse options that a recipe decides: the specs, their sites, params and init.

    Raises:
        UsageError: such an option is given.
    """
    theirs = ("specs", "at", "position", "branch", "prefix_tokens", "stages", "blocks", "every",
              "select", "replace", "types", "matches", "settings", "init", "expect")  # fmt: skip
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name in theirs and source is click.core.ParameterSource.COMMANDLINE:
            raise usage(
                f"--recipe decides what goes where, and {option.opts[0]} is also given",
                f"omit {option.opts[0]}, or insert with --spec",
            )


def check_paths(at: str | None, patterns: tuple[str, ...], types: tuple[str, ...] = ()) -> None:
    """Refuse module paths that can't be read, or that are required and missing.

    Raises:
        UsageError: with the way out.
    """
    if at == "module" and not patterns and not types:
        raise usage(
            "--at module needs a choice of modules, and none is given",
            "use --select 'layer3.*.conv2', or --select 're:layer[34].*'",
        )
    for pattern in patterns:
        try:
            check_pattern(pattern)
        except ValueError as failure:
            raise usage(f"--select {failure}", None) from None


def position_of(position: str | None, branch: str | None) -> Position | None:
    """Return the position inside a block that the options give.

    Raises:
        UsageError: it is not a position, or it has no branches.
    """
    try:
        where = Position(position or "residual")
        if branch is None:
            return None if position is None else where
        if where.kind != "residual" or where.of not in (None, branch):
            raise usage(
                f"--branch {branch!r} needs --position residual, and --position is {position!r}",
                "omit one of them",
            )
        return Position(f"residual:{branch}")
    except PositionError as failure:
        raise usage(str(failure), None) from None


def match_of(settings: tuple[str, ...]) -> dict[str, object]:
    """Return which convolutions are meant, from settings such as ``kernel=3``.

    Raises:
        UsageError: a setting is not K=V, or its key or value is not valid.
    """
    from composer.surgery.match import overlaid

    found: dict[str, object] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise usage(f"--match {setting!r} is not K=V", "write --match kernel=3")
        found[key] = resolve_scalar(text)
    try:
        overlaid(None, found)
    except ComposerError as failure:
        raise UsageError(failure.diagnostics) from None
    return found


def params_of(settings: tuple[str, ...], specs: dict[str, set[str]]) -> dict[str, dict[str, Value]]:
    """Return the params set for each spec.

    Args:
        settings: such as ``reduction=8`` or ``cbam.reduction=8``.
        specs: the params of each spec.

    Raises:
        UsageError: a setting is not K=V, or names a spec that is not inserted.
    """
    found: dict[str, dict[str, Value]] = {name: {} for name in specs}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise usage(f"--set {setting!r} is not K=V", "write --set reduction=8")
        target, dot, inner = key.rpartition(".")
        if dot and target not in specs:
            raise usage(
                f"--set {setting!r} names a spec that is not inserted",
                f"the specs are {', '.join(specs)}",
            )
        value = resolve_scalar(text)
        if value is None:
            raise usage(f"--set {setting!r} gives no value", "write --set reduction=8")
        takers = [target] if dot else [n for n, params in specs.items() if inner in params]
        for name in takers or list(specs):  # the spec itself refuses an unknown param
            found[name][inner] = value
    return found


def usage(message: str, way_out: str | None) -> UsageError:
    """Return the error for a wrongly used command."""
    return UsageError(Diagnostic("usage", message, way_out))
