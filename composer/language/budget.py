"""What a spec may cost at most, to read, to check and to build: every limit, with its reason.

A spec may come from anyone. What it would come to is counted before it is made, and what passes a
limit is one problem, with the code ``over-budget``. No limit is near what a mechanism of a paper
needs: the largest spec that ships has 60 nodes.
"""

from __future__ import annotations

from composer.errors import Diagnostic, Location

#: Of a text, and of all texts together that a spec is made of: a large spec has 500,000.
MAX_BYTES = 2_000_000
#: Of a text, aliases followed; 10,000 nodes of six fields have 70,000, which take a second to read.
MAX_VALUES = 80_000
#: Of mappings and lists in one another: what reads them is recursive, and a spec has 6.
MAX_DEPTH = 64

#: Specs that a spec opens on its way, and how far: each is checked with all that it uses.
MAX_OPENED = 100
MAX_CHAIN = 20

#: Params of a spec; each may be read by thousands of nodes.
MAX_PARAMS = 12_000
#: As they are written, and of all specs together that one uses. Their text is long, so who reads it
#: pays in proportion: 10,000 take seconds to check, and a minute to insert.
MAX_NODES = 12_000
#: More than are written, once `use`, `branch` and `repeat` are expanded: here a line makes as many
#: as it likes. 48 blocks of 30 nodes are 1,440; of 1,500 convolutions a plan takes two seconds.
MAX_EXPANDED = 1_500
#: Of one value: torch's kernels for GPUs index no more dimensions.
MAX_AXES = 25
#: All parts of the expressions that sizes and numbers come to.
MAX_EXPRESSION_PARTS = 300_000

#: Of one size: torch's kernels count along an axis in 32 bits.
MAX_SIZE = 2**31 - 1
#: Of kernels, strides, paddings and dilations: no map is so wide, and zeros are written in memory.
MAX_REACH = 2**16
#: Of all parameters of a mechanism at one site: 16 GiB in float32.
MAX_PARAMETERS = 2**32
#: Of one value in the mechanism, for one image: 256 GiB in float32.
MAX_ELEMENTS = 2**36

#: Reported of one spec; who made more than these reads no more of them.
MAX_PROBLEMS = 1_000

CODE = "over-budget"


def over(
    what: str,
    cost: int,
    limit: int,
    way_out: str,
    where: Location | None,
    at_least: bool = False,
) -> Diagnostic:
    """Return the problem of what would cost too much.

    Args:
        what: what is counted, such as ``nodes``.
        cost: how many there would be.
        limit: how many there may be.
        way_out: what to write instead.
        where: the value that costs most.
        at_least: whether the count was ended where it was too much in any case.
    """
    count = f"at least {shown(cost)}" if at_least else shown(cost)
    message = f"this comes to {count} {what}, and the most is {shown(limit)}"
    return Diagnostic(CODE, message, way_out, where)


def more_problems(where: Location | None) -> Diagnostic:
    """Return what is said in place of all problems after the first so many."""
    message = f"from here on there are more than {MAX_PROBLEMS:,} problems, and no more are told"
    return Diagnostic(CODE, message, "mend those above first", where)


def shown(number: int) -> str:
    """Return a number as it is read best: ``12,000``, and of many digits their count: ``1e+40``."""
    if number < 10**15:
        return f"{number:,}"
    return f"{float(number):.0e}" if number < 10**300 else "more than 1e+300"
