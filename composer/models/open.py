"""From a MODEL string to a model, made by the library or the code that it names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from composer.errors import ComposerError, Diagnostic, did_you_mean, error
from composer.measure.inputs import Inputs, remember_inputs
from composer.models.hf_config import CONFIG
from composer.models.huggingface import hugging_face_factory
from composer.models.inside import is_inside
from composer.models.library import library
from composer.models.model_string import FORMS, INPUT_SIZE, ModelString
from composer.models.names import unknown_name
from composer.models.network import cache_alone_if_offline, offline
from composer.models.paths import look_for, looked
from composer.models.torchvision_builder import torchvision_factory
from composer.models.trusted import CODE, TRUST, refusal
from composer.models.ultralytics_builder import ultralytics_factory
from composer.turns import TURN

Factory = Callable[..., Any]


def open_backbone(
    source: ModelString, pretrained: bool = False, beside: Path | None = None
) -> nn.Module:
    """Make the backbone, and remember the example inputs that its factory returns.

    Args:
        source: the MODEL string.
        pretrained: whether the library loads its published weights; for ``hf:PATH``, those
            beside the config.
        beside: a folder; a relative path that is not found from the current folder is searched
            from there, and from each parent folder.

    Raises:
        ComposerError: there is no such backbone, or it cannot be made.
        MissingPartError: the library is not installed.
    """
    if source.library == "timm":
        return _make(source, _timm_factory(source.name), pretrained)
    if source.library == "torchvision":
        return _make(source, torchvision_factory(source.name), pretrained)
    if source.library == "hf":
        return _make(source, hugging_face_factory(source, beside), pretrained)
    if source.library == "ultralytics":
        return _make(source, ultralytics_factory(source.name), pretrained)
    with _importable_for(source, beside):
        return _make(source, named_code(source, beside=beside), pretrained)


def open_trusted(source: ModelString, folder: Path | None) -> nn.Module:
    """Make a backbone of an untrusted recipe, from safe parts; see `composer.models.trusted`.

    Args:
        source: the MODEL string of a recipe.
        folder: the folder of the recipe, with the config of ``hf:PATH``.

    Raises:
        ComposerError: code ``untrusted-code``, and nothing was imported or read; or it cannot be
            made.
        MissingPartError: the library is not installed.
    """
    if (why := refusal(source)) is not None:
        raise ComposerError(why)
    if source.library == "hf":
        return open_backbone(replace(source, name=str(_config_inside(source, folder))))
    if source.library == "ultralytics":
        return _make(source, ultralytics_factory(source.name, shipped=True), pretrained=False)
    return open_backbone(source)


def _config_inside(source: ModelString, folder: Path | None) -> Path:
    """Return the config that a composition carries.

    Raises:
        ComposerError: the folder has none.
    """
    file = None if folder is None else folder / CONFIG
    if folder is None or file is None or not is_inside(file, folder) or not file.is_file():
        raise ComposerError(
            Diagnostic(
                CODE,
                f"the recipe's backbone needs the config {source.name!r}, which is not beside "
                f"it as {CONFIG}, and no file outside is read",
                f"put the config there; or {TRUST}",
            )
        )
    return file


def named_code(
    source: ModelString, forms: str = FORMS, noun: str = "function", beside: Path | None = None
) -> Factory:
    """Return the class or function named by ``package.module:name`` or ``file.py:name``.

    Args:
        source: its name.
        forms: what a user may write in its place, for messages.
        noun: its kind, for messages.
        beside: see `open_backbone`.

    Raises:
        ComposerError: it is not found, or its code can't be imported.
    """
    where, _, name = source.name.rpartition(":")
    with _importable_for(source, beside, forms):
        if source.library == "file":
            return _attribute(_file_module(_found(where, beside, forms), where), name, where, noun)
        return _attribute(_module(where, forms), name, where, noun)


def _importable_for(
    source: ModelString, beside: Path | None, forms: str = FORMS
) -> AbstractContextManager[None]:
    """Return the folder of the code as one to import from."""
    if source.library == "file":
        return _importable(_found(source.name.rpartition(":")[0], beside, forms).parent)
    return _importable(Path.cwd())


def _make(source: ModelString, factory: Factory, pretrained: bool) -> nn.Module:
    arguments: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value for key, value in source.arguments
    }
    size = None if _has_parameter(factory, INPUT_SIZE) else arguments.pop(INPUT_SIZE, None)
    if pretrained:
        arguments |= _pretrained_argument(source, factory)
    try:
        with TURN, _network(source, pretrained):  # its weights are drawn at random
            made = factory(**arguments)
    except ComposerError:
        raise
    except (Exception, SystemExit) as failure:
        raise _failed(source, failure, pretrained) from None
    model, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module):
        raise error(
            "not-a-model",
            f"{source} gave {type(made).__name__}, not a torch.nn.Module",
            "let the factory return the model itself, or (model, example_inputs)",
        )
    if inputs is not None:
        remember_inputs(model, Inputs.examples(model, inputs))
    if size is not None:
        remember_inputs(model, Inputs.images(model, _sizes(source, size)))
    return model


def _has_parameter(factory: Factory, name: str) -> bool:
    try:
        return name in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


def _sizes(source: ModelString, size: Any) -> tuple[int, ...]:
    """Return the channels, height and width given in a MODEL string."""
    sizes = tuple(size) if isinstance(size, list) else (size,)
    if len(sizes) < 2 or not all(type(n) is int and n > 0 for n in sizes):
        raise error(
            "unknown-backbone",
            f"input_size in {str(source)!r} is not the channels, height and width of an image",
            "write input_size=3,64,64",
        )
    return sizes


def _network(source: ModelString, pretrained: bool) -> AbstractContextManager[None]:
    """Return the context that limits the Hub's client while the model is made."""
    if source.library == "hf":
        return offline()
    return cache_alone_if_offline() if pretrained else nullcontext()


def _timm_factory(name: str) -> Factory:
    timm = library("timm")
    if not timm.is_model(name):
        raise unknown_name(name, timm.list_models(), "timm")

    def create(**arguments: Any) -> Any:
        return timm.create_model(name, **arguments)

    return create


def _found(where: str, beside: Path | None, forms: str = FORMS) -> Path:
    """Return the file that a MODEL string names."""
    file = look_for(where, beside, Path.is_file)
    if file is None:
        raise error("unknown-backbone", f"there is no file {where!r}{looked(beside)}", forms)
    return file


def _file_module(path: Path, where: str) -> ModuleType:
    """Run a file as a module of its own name, if that is free, so its classes can be found."""
    name, path = path.stem, path.resolve()
    taken = sys.modules.get(name)
    if taken is not None and getattr(taken, "__file__", None) != str(path):
        name = f"{name}_{sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as failure:
        del sys.modules[name]
        raise _not_imported(where, failure) from None
    return module


def _module(dotted: str, forms: str = FORMS) -> ModuleType:
    try:
        return importlib.import_module(dotted)
    except (Exception, SystemExit) as failure:
        missing = failure.name if isinstance(failure, ModuleNotFoundError) else None
        if missing and f"{dotted}.".startswith(f"{missing}."):
            raise error("unknown-backbone", f"there is no module {missing!r}", forms) from None
        raise _not_imported(dotted, failure) from None


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make a folder importable, as Python does for the script that it runs."""
    added = str(folder.resolve())
    with TURN:
        sys.path.insert(0, added)
        try:
            yield
        finally:
            if added in sys.path:
                sys.path.remove(added)


def _attribute(module: ModuleType, name: str, where: str, noun: str = "function") -> Factory:
    factory = getattr(module, name, None)
    if callable(factory):
        found: Factory = factory
        return found
    own = [
        key
        for key, value in vars(module).items()
        if callable(value)
        and not key.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    ]
    if not own:  # what a package re-exports
        own = [key for key, value in vars(module).items() if key[0].isupper() and callable(value)]
    near = did_you_mean(name, own)
    listed = f"it has {', '.join(own[:12])}" if own else f"it defines no {noun}"
    raise error(
        "unknown-backbone",
        f"{where} has no {noun} {name!r}",
        f"{near} {listed}" if near else listed,
    )


def _pretrained_argument(source: ModelString, factory: Factory) -> dict[str, Any]:
    if source.library == "timm":
        return {"pretrained": True}
    if source.library == "torchvision":
        return {"weights": "DEFAULT"}
    if _has_parameter(factory, "pretrained"):
        return {"pretrained": True}
    raise error(
        "no-pretrained",
        f"{source} takes no argument 'pretrained'",
        "load the weights in the factory, or give a weights file with --weights",
    )


def _failed(source: ModelString, failure: BaseException, pretrained: bool) -> ComposerError:
    why_not = said(failure)
    if pretrained and "No pretrained weights exist" in why_not:
        return error(
            "no-pretrained",
            f"{source} has no published weights",
            "give a weights file with --weights, or omit --pretrained",
        )
    if pretrained and isinstance(failure, OSError):  # network errors of the clients are OSErrors
        reason = getattr(failure, "reason", None) or failure.strerror
        why = f": {reason}" if reason else ""
        return error(
            "no-pretrained",
            f"the published weights of {source} are not in the cache and cannot be downloaded{why}",
            "run this once with a network to fill the cache, or give a weights file with --weights",
        )
    return error("backbone-failed", f"{source} cannot be made: {why_not}", place_of(failure))


def _not_imported(what: str, failure: BaseException) -> ComposerError:
    return error(
        "backbone-failed", f"{what} cannot be imported: {said(failure)}", place_of(failure)
    )


def said(failure: BaseException) -> str:
    """Return the message of an exception, on one line."""
    if isinstance(failure, SystemExit):
        return f"it calls SystemExit({failure.code!r})"
    if isinstance(failure, SyntaxError):
        return f"{type(failure).__name__}: {failure.msg}"
    lines = str(failure).strip().splitlines()
    return f"{type(failure).__name__}: {lines[0]}" if lines else type(failure).__name__


def place_of(failure: BaseException) -> str | None:
    """Return where it was raised: the last frame outside the import system."""
    if isinstance(failure, SyntaxError) and failure.filename:
        return f"look at {failure.filename}:{failure.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(failure.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename != __file__
    ]
    return f"raised at {frames[-1].filename}:{frames[-1].lineno}" if frames else None
