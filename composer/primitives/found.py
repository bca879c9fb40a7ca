"""All available ops: one file each in this package, and those of other distributions.

Both are self-contained subclasses of `Primitive`; they differ in how they are found. Composer's own
are the classes in the files of this package. An op of another distribution has an entry point::

    [project.entry-points."composer.primitives"]
    soften = "my_ops.soften:Soften"        # or "my_ops.soften", a module with one op

and is imported when a spec uses ``op: soften``, or when all ops are listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from inspect import isclass
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from composer.errors import listing
from composer.language.models import Model
from composer.plugins import OPS, Addition, PluginError, additions, collision, named, said_of
from composer.primitives.base import COLOURS, Primitive

#: The placeholder for any op in a JSON schema, until `schema` lists them all.
ANY_OP = "$composer-any-op"
_BY_OP = {"discriminator": "'op'"}
_WHAT = "the op"


class _AnyOp:
    """A node: the `op` of the mapping selects its class, which is looked up when it is read."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {ANY_OP: True}


AnyPrimitive = Annotated[Primitive, _AnyOp()]


def _read(value: Any) -> Primitive:
    if isinstance(value, Primitive):
        return value
    if not isinstance(value, dict):
        raise PydanticKnownError("model_attributes_type")
    if (name := value.get("op")) is None:
        raise PydanticKnownError("union_tag_not_found", _BY_OP)
    try:
        found = find_op(name) if isinstance(name, str) else None
    except PluginError as broken:
        said = {"said": broken.message, "help": broken.way_out}
        raise PydanticCustomError("broken-plugin", "{said}", said) from None
    if found is None:
        raise PydanticKnownError(
            "union_tag_invalid", {**_BY_OP, "tag": str(name), "expected_tags": ""}
        )
    return found.model_validate(value)


def names_of(primitive: type[Primitive]) -> tuple[str, ...]:
    """Return the op names of a class; none for a class that only passes create."""
    annotation = primitive.model_fields["op"].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


@cache
def own_primitives() -> tuple[type[Primitive], ...]:
    """Return the classes of Composer's own ops, keyed by class name."""
    package = __name__.rpartition(".")[0]
    files = iter_modules([str(Path(__file__).parent)])
    modules = (import_module(f"{package}.{file.name}") for file in files)
    return tuple(sorted((p for m in modules for p in _in_module(m)), key=lambda p: p.__name__))


def _in_module(module: ModuleType) -> Iterator[type[Primitive]]:
    """Yield the ops defined in a module's own file."""
    for one in vars(module).values():
        here = isclass(one) and issubclass(one, Primitive) and one.__module__ == module.__name__
        if here and names_of(one):
            yield one


@cache
def own_ops() -> dict[str, type[Primitive]]:
    """Return Composer's own ops, sorted by name."""
    return dict(sorted((op, p) for p in own_primitives() for op in names_of(p)))


def op_names() -> list[str]:
    """Return the names of all ops, without importing those of other distributions."""
    return sorted({*own_ops(), *(one.name for one in additions(OPS))})


def find_op(name: str) -> type[Primitive] | None:
    """Return the primitive of an op, Composer's own or from another distribution; else None.

    Raises:
        PluginError: it is a plugin that is broken, or two distributions add it.
    """
    if (own := own_ops().get(name)) is not None:
        return own
    among = named(OPS, name)
    if len(among) > 1:
        raise collision(_WHAT, name, among)
    return _loaded(among[0]) if among else None


def owner_of(name: str) -> Addition | None:
    """Return the entry point that an op comes from; None for Composer's own."""
    return None if name in own_ops() else next(iter(named(OPS, name)), None)


def ops() -> dict[str, type[Primitive]]:
    """Return the primitive of each op, sorted by name; broken plugins are omitted."""
    return _every()[0]


def broken_ops() -> tuple[PluginError, ...]:
    """Return the problems of the ops from other distributions."""
    return _every()[1]


@cache
def _every() -> tuple[dict[str, type[Primitive]], tuple[PluginError, ...]]:
    found, broken = dict(own_ops()), []
    for name in dict.fromkeys(one.name for one in additions(OPS)):
        if name in own_ops():
            broken += [_hidden(one) for one in named(OPS, name)]
            continue
        try:
            if (other := find_op(name)) is not None:
                found[name] = other
        except PluginError as failure:
            broken.append(failure)
    return dict(sorted(found.items())), tuple(broken)


def _hidden(one: Addition) -> PluginError:
    said = (
        f"{_WHAT} {one.name!r} of {one.owner} has the name of a built-in op, which is used instead"
    )
    return PluginError(said, "its author can rename it")


@cache
def _loaded(one: Addition) -> type[Primitive]:
    """Import the op that an entry point names, and check it.

    Raises:
        PluginError: it is not a complete op.
    """
    found = one.load(_WHAT)
    if isinstance(found, ModuleType):
        several = tuple(p for p in _in_module(found) if one.name in names_of(p))
        if not several:
            raise one.broken(_WHAT, f"is named by the module {found.__name__}, which has no class "
                                    f"with op: Literal[{one.name!r}]")  # fmt: skip
        found = several[0]
    if not (isclass(found) and issubclass(found, Primitive)):
        raise one.broken(_WHAT, f"is {one.value}, which is not a subclass of Primitive")
    if one.name not in names_of(found):
        said = listing([repr(name) for name in names_of(found)]) or "not a Literal of words"
        raise one.broken(_WHAT, f"is {one.value}, whose op is {said}")
    if found.colour not in COLOURS:
        raise one.broken(_WHAT, f"has the colour {found.colour!r}, which is not one of "
                                f"{', '.join(COLOURS)}")  # fmt: skip
    try:
        found.model_json_schema()
    except Exception as failure:
        raise one.broken(_WHAT, f"has a field without a schema: {said_of(failure)}") from None
    for method in ("infer", "lower"):
        if getattr(found, method) is getattr(Primitive, method):
            raise one.broken(_WHAT, f"has no {method}()")
    return found


class OpFields:
    """The names of ops and of their fields, for suggestions; read on demand."""

    def names(self) -> list[str]:
        """Return the names of all ops."""
        return op_names()

    def fields(self, op: str, inside: str | None = None) -> list[str]:
        """Return the fields of an op, or those inside one of its fields; none of a broken op."""
        try:
            primitive = find_op(op)
        except PluginError:
            return []
        if primitive is None:
            return []
        if inside is None:
            return list(primitive.model_fields)
        info = primitive.model_fields.get(inside)
        kind: Any = info.annotation if info else None
        return list(kind.model_fields) if isclass(kind) and issubclass(kind, Model) else []
