"""Weights files that already include a mechanism, loaded into a composed model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from composer.errors import ComposerError, Diagnostic, counted, error, listing
from composer.models.mechanism_keys import Held, Renamed, may_hold, renamed
from composer.models.weights import check_finite, check_fit, fit_weights, suits, without_prefixes
from composer.models.weights_file import read_weights
from composer.surgery.composition import composition
from composer.surgery.unwrapped import bare


@dataclass(frozen=True)
class Loaded:
    """What was loaded: the number of tensors, those renamed and reshaped, and the naming codes."""

    tensors: int
    renamed: int = 0
    reshaped: int = 0
    codes: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"{counted(self.tensors, 'tensor')} loaded"
        if self.renamed:
            said += f", {self.renamed:,} renamed from the names of {listing(self.codes)}"
        return f"{said}, {self.reshaped:,} reshaped" if self.reshaped else said


def load_weights(model: nn.Module, file: str | Path) -> Loaded:
    """Load a weights file into a model, in place; either every tensor fits or none is loaded.

    A file that already holds the mechanism, under the names of timm or of its authors' code,
    is accepted as well: ``layer1.0.se.fc1.weight`` [16, 64, 1, 1] becomes
    ``layer1.0.se_2.excite.fc1.weight`` [16, 64]::

        model = composer.insert("resnet50", "eca")
        print(composer.load_weights(model, "ecaresnet50.pth"))

    Args:
        model: a composed model or a plain one, wrapped or not.
        file: safetensors, or a state dict or a checkpoint written by ``torch.save``.

    Returns:
        A summary of what was loaded, for a log.

    Raises:
        ComposerError: the file can't be read, does not fit, or fits in two ways; the model is
            then unchanged.
    """
    inner, _ = bare(model)
    record = composition(inner)
    name = (record.backbone if record else None) or type(inner).__name__
    path = Path(file)

    def check(state: dict[str, Tensor]) -> None:
        held = _by_our_names(inner, without_prefixes(state, inner), path)
        check_fit(inner, held.state, path, name)

    return load_held(inner, without_prefixes(read_weights(path, check), inner), path, name)


def load_held(model: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> Loaded:
    """Load a state dict into a composed model; see `load_weights`.

    Raises:
        ComposerError: it does not fit.
    """
    done = _by_our_names(model, state, path)
    fit_weights(model, done.state, path, name, finite=True)
    return Loaded(len(done.state), done.renamed, done.reshaped, tuple(done.codes))


def _by_our_names(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> Renamed:
    try:
        return renamed(state, model.state_dict(), _inserted(model))
    except ComposerError as failure:
        (said,) = failure.diagnostics
        raise ComposerError(
            Diagnostic(said.code, said.message, said.help, file=str(path))
        ) from None


def load_first(
    model: nn.Module, path: Path, name: str, specs: Sequence[str], init: str
) -> Mapping[str, Tensor] | None:
    """Load a file into a plain model before specs are inserted.

    Returns:
        The contents of the file if it includes a mechanism, to be loaded after the insertion.
        Tensors that fit the plain model are loaded now in any case.

    Raises:
        ComposerError: it does not fit, or an identity start is impossible with it.
    """
    own = model.state_dict()

    def held_by(state: Mapping[str, Tensor]) -> list[str]:
        strangers = [key for key in state if key not in own]
        return [spec for spec in specs if may_hold(spec, strangers)]

    def check(state: dict[str, Tensor]) -> None:
        if not held_by(state := without_prefixes(state, model)):
            check_fit(model, state, path, name)

    state = without_prefixes(read_weights(path, check), model)
    held = held_by(state)
    if not held:
        fit_weights(model, state, path, name, finite=True)
        return None
    check_finite(state, own, path)
    if init == "identity":
        raise error(
            "weights",
            f"{path} holds weights of {listing(held)}, so the mechanism would start from these and "
            "not as identity",
            "omit --init identity",
        )
    fitting = {
        key: t for key, t in state.items()
        if key in own and own[key].shape == t.shape and suits(t.dtype, own[key].dtype)
    }  # fmt: skip
    model.load_state_dict({**own, **fitting})
    return state


def _inserted(model: nn.Module) -> list[Held]:
    record = composition(model)
    return [
        Held(edit.spec.name, site.module, None if site.name is None else site.path)
        for edit in (record.edits if record else ())
        for site in edit.sites
    ]
