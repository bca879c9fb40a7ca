"""The checks of a certificate, one row each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial

import torch

from composer.certificate.agreement import agreement, module_of
from composer.certificate.canonical import Canonical
from composer.certificate.claim import CanonicalPlace, Case, Claim, Count
from composer.certificate.row import CertificateRow
from composer.errors import ComposerError, counted, listing
from composer.language.expressions import Value
from composer.lower.schedule import Schedule, advance
from composer.measure.cost import parameters
from composer.primitives import Spec
from composer.surgery.plan import Plan
from composer.surgery.replace import Replacement

Outcome = tuple[bool, str]

_SCHEDULED = 1e-5  # the precision of float32 for numbers up to 30


@dataclass(frozen=True)
class Check:
    """One check; `run` returns whether it holds, and the details."""

    spec: str
    name: str
    against: str
    run: Callable[[], Outcome]

    def row(self) -> CertificateRow:
        """Run it; a spec that can't be built or run fails the check; the detail is its error."""
        try:
            passed, detail = self.run()
        except ComposerError as failure:
            passed, detail = False, failure.diagnostics[0].message
        except (RuntimeError, ValueError) as failure:  # torch's, from the built spec
            said = str(failure).strip().splitlines()
            passed, detail = False, f"it can't run: {said[0] if said else type(failure).__name__}"
        return CertificateRow(self.spec, self.name, self.against, passed, detail)


def checks(spec: Spec, claim: Claim) -> Iterator[Check]:
    """Yield the checks of a spec against its paper's claims."""
    check = partial(Check, spec.name)
    paper = paper_of(claim)
    yield check("source", claim.paper, partial(source, spec, paper))
    for case in claim.cases:
        under = f" ({case})" if str(case) else ""
        formula = f"{paper}: {case.said}"
        yield check(f"parameters{under}", formula, partial(size, spec, case))
        plain = f"{paper} as plain torch, float64, to {case.tolerance:g}"
        yield check(f"values and gradients{under}", plain, partial(agreement, spec, case))
    if claim.schedule:
        told = ", ".join(f"{value:g} after {epoch}" for epoch, value in claim.schedule.items())
        yield check("schedule", f"{paper}: {told} epochs", partial(schedule, spec, claim))
    if claim.defaults:
        told = listing([f"{name} {_said(value)}" for name, value in claim.defaults.items()])
        yield check("defaults", f"{paper}: {told}", partial(defaults, spec, claim.defaults))
    place = claim.place
    usual = Canonical(spec, place, {})
    where = f"{place.source or paper}: {place.words}"
    yield check(f"place in {place.backbone}", where, partial(sites, usual, place))
    for count in claim.parameters:
        network = _network(usual, count)
        name = f"parameters of {_title(network)}"
        yield check(name, _published(count), partial(total, network, count))
    for count in claim.flops:
        network = _network(usual, count)
        name = f"multiply-adds of {_title(network)}"
        yield check(name, _published(count), partial(work, network, count))
    code = f"{paper} and the authors' code"
    yield check("deviations", code, partial(deviations, spec, claim.deviations))


def source(spec: Spec, paper: str) -> Outcome:
    """Check the paper that the spec names."""
    if spec.source is None:
        return False, f"the spec names no source; write 'source: {paper}'"
    return paper in spec.source, f"the spec names {spec.source}"


def size(spec: Spec, case: Case) -> Outcome:
    """Compare the parameters of the module with the formula and the oracle, at several widths."""
    wrong, right = [], []
    with torch.device("meta"):
        for width in case.widths:
            at = case.setting(width)
            built = parameters(module_of(spec, case, width, at.size))
            oracle = parameters(case.oracle(at))
            formula = case.count(at)
            if built == formula == oracle:
                right.append(f"{built:,} at {width}")
            else:
                judged = f"{formula:,}" if formula == oracle else f"{formula:,} or {oracle:,}"
                wrong.append(f"{built:,} instead of {judged} at {width} channels")
    return not wrong, wrong[0] if wrong else listing(_ends(right))


def schedule(spec: Spec, claim: Claim) -> Outcome:
    """Check the values of the spec's schedule during training."""
    case = claim.cases[0]
    for epoch, wanted in claim.schedule.items():
        module = module_of(spec, case, case.width, case.setting(case.width).size)
        advance(module, epoch)
        found = next(float(m.value) for m in module.modules() if isinstance(m, Schedule))
        if abs(found - wanted) > _SCHEDULED:
            return False, f"{found:g} after {counted(epoch, 'epoch')} instead of {wanted:g}"
    return True, f"each of {len(claim.schedule)} agrees"


def sites(network: Canonical, place: CanonicalPlace) -> Outcome:
    """Check the sites that the spec selects by default."""
    paths = network.paths
    found = f"{counted(len(paths), 'site')}, {' to '.join(_ends(paths))}"
    found += ", put there by the certificate" if place.instead else ""
    if len(paths) != place.sites:
        return False, f"{found}; expected {place.sites}"
    strange = [path for path in paths if not fnmatchcase(path, place.paths)]
    if strange:
        return False, f"{found}; {strange[0]} does not match {place.paths}"
    if not place.instead and (other := _otherwise(network.plan, place)):
        return False, f"{found}; {other}"
    return True, found


def _otherwise(plan: Plan, place: CanonicalPlace) -> str | None:
    """Return how the sites differ from the claim, or None."""
    for site in plan.sites:
        absorb = site.how.absorb if isinstance(site.how, Replacement) else ()
        if site.position != place.position:
            return f"its position is {site.position!r} instead of {place.position!r}"
        if tuple(absorb) != place.absorb:
            gone, wanted = (listing(list(what)) or "nothing" for what in (absorb, place.absorb))
            return f"{gone} is absorbed with {site.path} instead of {wanted}"
    if bool(plan.shared) != place.shares:
        return f"the sites of a block share {'something' if plan.shared else 'nothing'}"
    return None


def defaults(spec: Spec, wanted: Mapping[str, Value]) -> Outcome:
    """Check the defaults of the spec's params."""
    for name, value in wanted.items():
        if name not in spec.params:
            return False, f"it has no param {name!r}"
        found = spec.params[name].default
        if found != value or isinstance(found, bool) != isinstance(value, bool):
            return False, f"{name} is {_said(found)} instead of {_said(value)}"
    return True, f"each of {len(wanted)} agrees"


def _said(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def total(network: Canonical, count: Count) -> Outcome:
    """Compare the parameters of a whole network."""
    if not count.statistics:
        return _compared(network.parameters, count)
    passed, found = _compared(network.parameters + network.statistics, count)
    return passed, f"{found}, including {network.statistics:,} statistics of norms"


def work(network: Canonical, count: Count) -> Outcome:
    """Compare the multiply-adds of a whole network."""
    return _compared(network.flops - (0 if count.norms else network.flops_of_norms), count)


def deviations(spec: Spec, words: tuple[str, ...]) -> Outcome:
    """Check that the spec declares each deviation, by a word in its text."""
    declared = [" ".join(text.split()) for text in spec.deviations]
    lacking = [word for word in words if not any(word in text for text in declared)]
    said = " ".join(declared) or "none declared"
    if lacking:
        return False, f"not declared: {listing([repr(w) for w in lacking])}; declared: {said}"
    return True, said


def paper_of(claim: Claim) -> str:
    """Return the paper without the part cited."""
    return claim.paper.partition(",")[0]


def _network(usual: Canonical, count: Count) -> Canonical:
    """Return the network of a count; most are of the usual one."""
    if count.backbone is None and count.replaces is None and not count.params:
        return usual
    place = replace(usual.place, backbone=count.backbone or usual.place.backbone)
    return Canonical(usual.spec, place, count.params, count.replaces)


def _title(network: Canonical) -> str:
    params = ", ".join(f"{k}={str(v).lower()}" for k, v in network.params.items())
    return f"{network.place.backbone} ({params})" if params else network.place.backbone


def _published(count: Count) -> str:
    folded = "" if count.norms else " with norms folded"
    return f"{count.shown}{folded}: {count.source}"


def _compared(ours: int, count: Count) -> Outcome:
    off = ours - count.amount
    if not off:
        return True, f"{ours:,}"
    share, way = abs(off) / count.amount, "more" if off > 0 else "fewer"
    if not count.slack:
        return False, f"{ours:,}, {abs(off):,.0f} {way}"
    return share <= count.slack, f"{ours:,}, {share:.2%} {way}; {count.slack:.1%} is allowed"


def _ends(items: list[str]) -> list[str]:
    return [items[0], items[-1]] if len(items) > 1 else items
