"""Runs laws on cases; a broken law is reported with the case and the sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from composer.errors import counted, error, suggestion
from composer.primitives.structure import Structure
from composer.primitives.use import Use
from composer.testing import laws, text_laws, torch_laws
from composer.testing.case import Case, Sizes, needed_op
from composer.testing.trial import Trial

Law = Callable[[Trial], None]

#: By name, in the order in which they are checked.
LAWS: Mapping[str, Law] = {
    "text": text_laws.text,
    "schema": text_laws.schema,
    "drawing": text_laws.drawing,
    "axes": laws.axes,
    "parameters": laws.parameters,
    "values": laws.values,
    "cost": laws.cost,
    "layouts": laws.layouts,
    "other axes": laws.other_axes,
    "open sizes": laws.open_sizes,
    "dtypes": torch_laws.dtypes,
    "gradients": torch_laws.gradients,
    "inputs kept": torch_laws.inputs_kept,
    "fake tensors": torch_laws.fake_tensors,
    "saved": torch_laws.saved,
    "compiled": torch_laws.compiled,
    "exported": torch_laws.exported,
}


class LawBroken(AssertionError):  # noqa: N818 - the name that pytest shows
    """A law does not hold; `laws` names the broken ones."""

    def __init__(self, message: str, broken: Sequence[str]) -> None:
        super().__init__(message)
        self.laws = tuple(broken)


@dataclass(frozen=True)
class CaseOfLaw:
    """A law and a case, called by a test; its `str` is the test's id."""

    law: str
    case: Case

    def __str__(self) -> str:
        return f"{self.law}: {self.case}"

    def __call__(self, sizes: Sizes | None = None) -> None:
        """Check that the law holds.

        Args:
            sizes: of the input's axes; random by default.

        Raises:
            LawBroken: it does not hold.
        """
        trial = Trial(self.case, self.case.drawn() if sizes is None else sizes)
        if message := _broken(self.law, trial):
            raise LawBroken(message[0], [self.law]) from message[1]


def laws_of(*cases: Case, only: Sequence[str] = tuple(LAWS)) -> list[CaseOfLaw]:
    """Return each law of each case, for ``pytest.mark.parametrize(..., ids=str)``.

    Args:
        cases: uses of ops.
        only: the names of the laws; all of `LAWS` by default.

    Raises:
        ComposerError: the law does not exist.
    """
    for name in only:
        if name not in LAWS:
            raise error("unknown-law", f"no law named {name!r}", suggestion(name, [*LAWS], "Laws"))
    return [CaseOfLaw(name, case) for case in cases for name in only]


def check_op(
    op: str,
    *cases: Case,
    only: Sequence[str] = tuple(LAWS),
    sizes: Sizes | None = None,
) -> None:
    """Check that an op satisfies the laws, on its example or on given cases.

    Args:
        op: its name in a spec.
        cases: uses of it, instead of its example.
        only: the names of the laws; all of `LAWS` by default.
        sizes: of the input's axes; random by default.

    Raises:
        LawBroken: some laws do not hold; it names them, each with its case.
        ComposerError: the op or the law does not exist, or the op is broken.
    """
    if issubclass(needed_op(op), (Structure, Use)):
        message = f"{op!r} expands to other nodes, so it has no value to check"
        raise error("unknown-op", message, "check the ops that it expands to")
    said, broken = [], []
    for case in cases or (Case(op),):
        trial = Trial(case, case.drawn() if sizes is None else sizes)
        for one in laws_of(case, only=only):
            if (found := _broken(one.law, trial)) is not None:
                said.append(found[0])
                broken.append(one.law)
    if broken:
        head = f"the op {op!r} breaks {counted(len(broken), 'law')}: {', '.join(broken)}"
        raise LawBroken("\n\n".join([head, *said]), broken)


def _broken(law: str, trial: Trial) -> tuple[str, Exception] | None:
    """Return the message for a broken law, and the exception."""
    try:
        LAWS[law](trial)
    except Exception as failure:
        kind = "" if isinstance(failure, AssertionError) else f"{type(failure).__name__}: "
        means = (LAWS[law].__doc__ or "").strip().splitlines()[0]
        return f"the law {law!r} does not hold for {trial}: {means}\n  {kind}{failure}", failure
    return None
