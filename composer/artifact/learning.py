"""Whether a composition can learn: which new parameters get a gradient in the first step.

Whether a value is used is a question of structure. A zero gradient does not answer it: where a
norm of the backbone starts at zero, its branch has no gradient in the first step, but learns from
then on. So parameters that start at zero are given other numbers for a second pass; and what has
no gradient even then is set to NaN in evaluation, which reaches the output wherever it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from composer.artifact.run import Verification, in_mode, pass_failed, tensors_of
from composer.errors import ComposerError, counted, error
from composer.measure.seeds import seed_torch
from composer.surgery.composition import EditedSite, inserted_prefixes, inserted_sites
from composer.turns import TURN

_Gradients = Mapping[str, Tensor | None]


@dataclass(frozen=True)
class Learning:
    """Which of the new parameter tensors get a gradient in a first training step.

    Attributes:
        count: their number.
        zero: those of used modules whose gradient is zero in the first step.
        begin_at_zero: the zero parameters of the backbone that cause it.
        own_begin_at_zero: the zero parameters of the inserted modules that cause it.
        unread: the inserted modules whose output is not used.
        prefix_alone: those of them after which only the prefix tokens are used.
        prefix_tokens: the number of prefix tokens.
        cut_off: the inserted modules whose output is used, but that no gradient reaches.
    """

    count: int
    zero: tuple[str, ...] = ()
    begin_at_zero: tuple[str, ...] = ()
    own_begin_at_zero: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    prefix_alone: tuple[str, ...] = ()
    prefix_tokens: int = 0
    cut_off: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """The remarks on places that learn nothing."""
        nothing = [path for path in self.unread if path not in self.prefix_alone]
        one = self.prefix_tokens == 1
        tokens = "class token is" if one else f"{self.prefix_tokens} prefix tokens are"
        said = (
            (f"its output is not used: only the {tokens} used after it", self.prefix_alone),
            ("its output is not used, so it learns nothing", nothing),
            ("its output is used, but no gradient reaches it: the model's forward cuts it off, "
             "as detach() and no_grad() do", self.cut_off),
        )  # fmt: skip
        return tuple(f"{what} ({some(paths, 'place')})" for what, paths in said if paths)

    def __str__(self) -> str:
        """Return a sentence that summarises it."""
        if not self.count:
            return "there are no new parameters"
        but = ", except at the places named above" if self.unread or self.cut_off else ""
        one = self.count == 1
        each = "the" if one else "each of the"
        said = f"{each} {counted(self.count, 'new parameter tensor')} has a gradient{but}"
        said = said.replace("the 1 new", "the new")
        if not self.zero:
            return said
        why = [
            f"{some(names, None)} {whose}"
            for names, whose in (
                (self.begin_at_zero, "of the backbone"),
                (self.own_begin_at_zero, "of the inserted module"),
            )
            if names
        ]
        because = f", since these start at zero: {', '.join(why)}" if why else " on this batch"
        many = "all of them" if len(self.zero) == self.count else f"{len(self.zero)} of them"
        zeros = "it is zero" if one else f"{many} are zero"
        return f"{said}; {zeros} in the first step{because}"


def some(names: Sequence[str], noun: str | None) -> str:
    """Return the first of several names, and their number."""
    if noun is None:
        return names[0] + (f" and {len(names) - 1} more" if names[1:] else "")
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
    return f"{counted(len(names), noun)}: {shown}"


def learning(model: nn.Module, verification: Verification) -> Learning:
    """Run forward and backward of a training step; the model is not changed.

    Raises:
        ComposerError: a pass fails, or no output depends on a new parameter.
    """
    return _Step(model, verification).learning()


class _Step:
    """One training step of a composed model, as it is or with other parameter values."""

    def __init__(self, model: nn.Module, verification: Verification) -> None:
        self.model, self.verification = model, verification
        self.entered = model.get_submodule(verification.entry)
        self.start = f"{verification.entry}." if verification.entry else ""
        inside = inserted_prefixes(model)
        own = dict(model.named_parameters())
        self.new = {
            name: p for name, p in own.items() if name.startswith(inside) and p.requires_grad
        }
        self.zeros = {
            name: p for name, p in own.items()
            if name.startswith(self.start) and not name.endswith("bias") and not p.is_meta
            and p.is_floating_point() and p.numel() and not bool(p.any())
        }  # fmt: skip
        self.sites = {site.module: site for site in inserted_sites(model)}

    def learning(self) -> Learning:
        """Take the step, and find the reason for each missing gradient."""
        gradients, outputs = self._gradients({})
        silent = {name for name, gradient in gradients.items() if not _any(gradient)}
        asleep = [path for path, gradient in outputs.items() if not _any(gradient)]
        if not silent and not asleep:
            return Learning(len(self.new))
        own = _filled({name: p for name, p in self.zeros.items() if name in self.new})
        others = _filled({name: p for name, p in self.zeros.items() if name not in self.new})
        causes: list[tuple[str, ...]] = [(), ()]
        if own or others:
            gradients, outputs = self._gradients({**own, **others})
            woken = {name for name in silent if _any(gradients[name])}
            causes = [self._causes(own, others, woken), self._causes(others, own, woken)]
        asleep = [path for path, gradient in outputs.items() if not _any(gradient)]
        unread = tuple(path for path in asleep if not self._is_read(path, all_of_it=False))
        prefix = tuple(p for p in unread if self._prefix(p) and self._is_read(p, all_of_it=True))
        cut = tuple(p for p in asleep if p not in unread and self._none_reaches(p, gradients))
        apart = tuple(f"{path}." for path in (*unread, *cut))
        self._check(gradients, apart)
        zero = tuple(n for n in self.new if n in silent and not n.startswith(apart))
        tokens = max(map(self._prefix, prefix), default=0)
        own_causes, causes_of_backbone = causes
        return Learning(
            len(self.new), zero, causes_of_backbone, own_causes, unread, prefix, tokens, cut
        )

    def _gradients(self, others: Mapping[str, Tensor]) -> tuple[_Gradients, _Gradients]:
        """Return the gradients of the new parameters, and of the output of each inserted module.

        Args:
            others: values of some parameters for this step, by name.
        """
        state = {name: buffer.clone() for name, buffer in self.entered.named_buffers()}
        state |= {name.removeprefix(self.start): p for name, p in others.items()}
        new = {name: others.get(name, p) for name, p in self.new.items()}
        inputs = self.verification.inputs.mirrored()
        image = inputs.image
        wanted = [*new.values()]
        if image is not None and image.is_floating_point():
            wanted.append(image.requires_grad_())  # so that there is a gradient at all
        given: dict[str, list[Tensor]] = {path: [] for path in self.sites}
        try:
            with in_mode(self.model, training=True), self._watching(given):
                with TURN, torch.random.fork_rng(devices=[]):
                    seed_torch(0)
                    out = torch.func.functional_call(
                        self.entered, state, inputs.args, dict(inputs.kwargs)
                    )
                loss = torch.stack([t.float().square().mean() for t in tensors_of(out)]).sum()
                outputs = {path: [t for t in ts if t.requires_grad] for path, ts in given.items()}
                wanted += [t for tensors in outputs.values() for t in tensors]
                found = iter(torch.autograd.grad(loss, wanted, allow_unused=True))
        except Exception as failure:
            raise pass_failed("training", failure) from None
        gradients = {name: next(found) for name in new}
        if image is not None and image.is_floating_point():
            next(found)
        reached = {}
        for path, tensors in outputs.items():
            parts = [self._changed(path, g) for _, g in zip(tensors, found, strict=False)]
            reached[path] = next((g for g in parts if _any(g)), None)
        return gradients, reached

    @contextmanager
    def _watching(self, given: Mapping[str, list[Tensor]]) -> Iterator[None]:
        with ExitStack() as stack:
            for path, seen in given.items():

                def note(_: nn.Module, __: Any, out: Any, seen: list[Tensor] = seen) -> None:
                    seen += [t for t in tree_leaves(out) if isinstance(t, Tensor)]

                handle = self.model.get_submodule(path).register_forward_hook(note)
                stack.callback(handle.remove)
            yield

    # --------------------------------------------------------------------------- what is read

    def _is_read(self, path: str, all_of_it: bool) -> bool:
        """Return whether any output depends on the output of an inserted module.

        Args:
            path: of the module.
            all_of_it: whether the tokens that it passes through count as well.
        """

        def spoil(_: nn.Module, __: Any, out: Any) -> Any:
            return _spoiled(out, lambda t: t if all_of_it else self._changed(path, t))

        before = self._unspoiled
        handle = self.model.get_submodule(path).register_forward_hook(spoil)
        try:
            after = self.verification.output(self.model)
        except ComposerError:  # a forward that reads numbers, such as those of boxes
            return True
        finally:
            handle.remove()
        if [t.shape for t in before] != [t.shape for t in after]:
            return True
        return not all(map(_alike, before, after))

    @cached_property
    def _unspoiled(self) -> list[Tensor]:
        return self.verification.output(self.model)

    def _prefix(self, path: str) -> int:
        tokens = self.sites[path].settings.tokens
        return 0 if tokens is None or tokens.join else tokens.prefix

    def _changed(self, path: str, value: Tensor | None) -> Tensor | None:
        """Return the part of a value that an inserted module may change, without prefix tokens."""
        prefix = self._prefix(path)
        if value is None or not prefix:
            return value
        axis = _axis_of_tokens(self.sites[path])
        return value.narrow(axis, prefix, value.shape[axis] - prefix)

    # ------------------------------------------------------------------------------ the reason

    def _causes(
        self, zeros: Mapping[str, Tensor], others: Mapping[str, Tensor], woken: set[str]
    ) -> tuple[str, ...]:
        """Return the zero parameters that alone keep gradients at zero.

        Those of one kind, such as all ``bn3.weight``, are grouped.

        Args:
            zeros: numbers for the parameters in question.
            others: numbers for the other parameters at zero.
            woken: the parameters that have a gradient with all these numbers.
        """
        if not zeros or not woken or (others and self._wakes(others, woken)):
            return ()
        kinds: dict[str, list[str]] = {}
        for name in zeros:
            owner, _, leaf = name.rpartition(".")
            kind = type(self.model.get_submodule(owner)).__name__
            kinds.setdefault(f"{kind}.{leaf}", []).append(name)
        found = []
        for names in kinds.values() if len(kinds) > 1 else ():
            rest = {name: number for name, number in zeros.items() if name not in names}
            if not self._wakes({**others, **rest}, woken):
                found += names
        return tuple(found or zeros)

    def _wakes(self, numbers: Mapping[str, Tensor], woken: set[str]) -> bool:
        """Return whether these numbers alone give all these parameters a gradient."""
        gradients, _ = self._gradients(numbers)
        return all(_any(gradients[name]) for name in woken)

    def _none_reaches(self, path: str, gradients: _Gradients) -> bool:
        own = [g for name, g in gradients.items() if name.startswith(f"{path}.")]
        return bool(own) and all(gradient is None for gradient in own)

    def _check(self, gradients: _Gradients, apart: tuple[str, ...]) -> None:
        """Refuse a new parameter that nothing depends on.

        Raises:
            ComposerError: there is one.
        """
        without = [
            name for name, gradient in gradients.items()
            if gradient is None and not name.startswith(apart)
        ]  # fmt: skip
        if without:
            raise error(
                "no-gradient",
                f"{counted(len(without), 'new parameter')} without a gradient: {without[0]}",
                "does the spec's output depend on every node with weights?",
            )


def _axis_of_tokens(site: EditedSite) -> int:
    layout = site.settings.layout or ()
    return layout.index("n") if "n" in layout else layout.index("h")


def _alike(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are the same; NaN equals NaN."""
    same = (one == other) | (one.isnan() & other.isnan())
    return bool(same.all())


def _any(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.any())


def _filled(zeros: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return small random numbers for parameters that start at zero."""
    draw = torch.Generator().manual_seed(0)
    return {
        name: (torch.randn(p.shape, generator=draw) / 8).to(p).requires_grad_()
        for name, p in zeros.items()
    }


def _spoiled(out: Any, part: Callable[[Tensor], Tensor | None]) -> Any:
    """Return the output of a module with NaN in a part of each tensor."""
    if isinstance(out, (tuple, list)):
        return type(out)(_spoiled(value, part) for value in out)
    if not isinstance(out, Tensor) or not out.is_floating_point():
        return out
    spoiled = out.clone()
    view = part(spoiled)
    if view is not None:
        view.fill_(float("nan"))
    return spoiled
