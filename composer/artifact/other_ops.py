"""The ops of other distributions in a recipe: their owners, and whether they are installed.

An op of another version is accepted, like a backbone of another timm; an op of another
distribution is a different op.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from composer.errors import ComposerError, Diagnostic, MissingPartError
from composer.plugins import PluginError
from composer.primitives import Spec
from composer.primitives.found import find_op, owner_of
from composer.primitives.structure import Repeating


def owners_of_ops(specs: Iterable[Spec]) -> dict[str, str]:
    """Return the distribution and version of each op that is not Composer's own, by op name."""
    names = sorted({op for spec in specs for op in _ops_of(spec)})
    return {name: owner.owner for name in names if (owner := owner_of(name)) is not None}


def _ops_of(spec: Spec) -> Iterator[str]:
    """Yield the ops of a spec, nested ones and those of the specs that it uses included."""
    for op in spec.nodes.values():
        yield op.op
        while isinstance(op, Repeating):
            op = op.each
            yield op.op
    for used in spec.used.values():
        yield from _ops_of(used)


def check_ops(ops: Mapping[str, str]) -> None:
    """Refuse ops of a recipe that are not installed here.

    Args:
        ops: the distribution and version of each.

    Raises:
        MissingPartError: one is not installed, with the distribution that has it.
        ComposerError: one is broken, or of another distribution.
    """
    missing = {op: made for op, made in ops.items() if not _is_here(op, made)}
    if missing:
        raise MissingPartError([
            Diagnostic(
                "missing-plugin",
                f"the recipe's op {op!r} is from {made}, which is not installed",
                f"install {made} from its author; note that an op is code, which runs here",
            )
            for op, made in missing.items()
        ])  # fmt: skip


def _is_here(op: str, made: str) -> bool:
    """Return whether an op is installed.

    Raises:
        ComposerError: it is broken, or of another distribution.
    """
    project = made.rpartition(" ")[0]
    try:
        found = find_op(op)
    except PluginError as broken:
        raise ComposerError(Diagnostic("broken-plugin", broken.message, broken.way_out)) from None
    if found is None:
        return False
    owner = owner_of(op)
    if owner is not None and owner.project == project:
        return True
    here = f"from {owner.owner}" if owner else "Composer's own"
    raise ComposerError(
        Diagnostic(
            "another-op",
            f"the recipe's op {op!r} is from {made}, and here it is {here}",
            f"load it where {made} is installed"
            + (f" and {owner.project} is not" if owner else ""),
        )
    )
