"""A MODEL string to a model, made by the library or the code that it names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from composer.backbones.model_string import FORMS, ModelString
from composer.errors import ComposerError, MissingPartError, Diagnostic, did_you_mean, error


def open_backbone(source: ModelString, pretrained: bool = False) -> nn.Module:
    """Make the backbone.

    Args:
        source: which one.
        pretrained: whether the library loads its published weights.

    Raises:
        ComposerError: there is no such backbone, or it cannot be made.
        MissingPartError: the library is not installed.
    """
    factory = _FACTORIES[source.library](source.name)
    arguments: dict[str, Any] = dict(source.arguments)
    if pretrained:
        arguments |= _pretrained_argument(source, factory)
    try:
        model = factory(**arguments)
    except ComposerError:
        raise
    except Exception as failure:
        raise _failed(source, failure, pretrained) from None
    if not isinstance(model, nn.Module):
        raise error(
            "not-a-model",
            f"{source} gave a {type(model).__name__}, not a torch.nn.Module",
            "the factory returns the model itself",
        )
    return model


def _timm_factory(name: str) -> Callable[..., Any]:
    timm = _library("timm")
    if not timm.is_model(name):
        raise _unknown(name, timm.list_models(), "timm")

    def create(**arguments: Any) -> Any:
        return timm.create_model(name, **arguments)

    return create


def _torchvision_factory(name: str) -> Callable[..., Any]:
    models = _library("torchvision.models")
    names: list[str] = models.list_models()
    if name not in names:
        raise _unknown(name, names, "torchvision")
    builder: Callable[..., Any] = models.get_model_builder(name)
    return builder


def _file_factory(where: str) -> Callable[..., Any]:
    file, _, name = where.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise error("unknown-backbone", f"there is no file {file!r}", FORMS)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as failure:
        raise error(
            "backbone-failed", f"{file} cannot be imported: {_said(failure)}", _place(failure)
        ) from None
    finally:
        sys.path.pop(0)
    return _attribute(module, name, file)


def _module_factory(where: str) -> Callable[..., Any]:
    dotted, _, name = where.rpartition(":")
    try:
        module = importlib.import_module(dotted)
    except ModuleNotFoundError as failure:
        raise error("unknown-backbone", f"there is no module {failure.name!r}", FORMS) from None
    except Exception as failure:
        raise error(
            "backbone-failed", f"{dotted} cannot be imported: {_said(failure)}", _place(failure)
        ) from None
    return _attribute(module, name, dotted)


_FACTORIES: dict[str, Callable[[str], Callable[..., Any]]] = {
    "timm": _timm_factory,
    "torchvision": _torchvision_factory,
    "file": _file_factory,
    "module": _module_factory,
}


def _attribute(module: ModuleType, name: str, where: str) -> Callable[..., Any]:
    factory = getattr(module, name, None)
    if callable(factory):
        found: Callable[..., Any] = factory
        return found
    offered = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
    near = did_you_mean(name, offered)
    listed = f"it has {', '.join(offered[:12])}" if offered else "it has no functions"
    raise error(
        "unknown-backbone",
        f"{where} has no function {name!r}",
        f"{near} {listed}" if near else listed,
    )


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise MissingPartError(
            Diagnostic(
                "missing-library", f"{package} is not installed", f"pip install {package}"
            )
        ) from None


def _unknown(name: str, names: list[str], library: str) -> ComposerError:
    near = did_you_mean(name, names)
    listed = f"'composer list backbones' lists all {len(names):,} names of {library}"
    return error(
        "unknown-backbone",
        f"{library} has no model {name!r}",
        f"{near} {listed}" if near else f"{listed}; or {FORMS}",
    )


def _pretrained_argument(source: ModelString, factory: Callable[..., Any]) -> dict[str, Any]:
    if source.library == "timm":
        return {"pretrained": True}
    if source.library == "torchvision":
        return {"weights": "DEFAULT"}
    names = inspect.signature(factory).parameters
    if "pretrained" in names:
        return {"pretrained": True}
    raise error(
        "no-pretrained",
        f"{source} takes no argument 'pretrained'",
        "load the weights in the factory, or give a file with --weights",
    )


def _failed(source: ModelString, failure: Exception, pretrained: bool) -> ComposerError:
    if pretrained:
        return error(
            "no-pretrained",
            f"the published weights of {source} could not be loaded: {_said(failure)}",
            "on a machine with a network run this once, or give a file with --weights",
        )
    return error("backbone-failed", f"{source} cannot be made: {_said(failure)}", _place(failure))


def _said(failure: Exception) -> str:
    lines = str(failure).strip().splitlines()
    return f"{type(failure).__name__}: {lines[0]}" if lines else type(failure).__name__


def _place(failure: Exception) -> str | None:
    frames = traceback.extract_tb(failure.__traceback__)
    if not frames:
        return None
    last = frames[-1]
    return f"raised at {last.filename}:{last.lineno}"
