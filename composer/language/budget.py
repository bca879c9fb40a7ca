"""The limits on the cost of reading, checking and building a spec, each with its reason.

A spec may come from anyone. So its cost is counted before anything is made, and exceeding a limit
is one problem with the code ``over-budget``. Every limit is far above what a published mechanism
needs: the largest shipped spec has 60 nodes.
"""

from __future__ import annotations

from composer.errors import Diagnostic, Location

#: Bytes of one text, and of all texts that make up a spec: a large spec has 500,000.
MAX_BYTES = 2_000_000
#: Values in a text, aliases expanded; 10,000 nodes of six fields have 70,000: a second to read.
MAX_VALUES = 80_000
#: Nesting of mappings and lists: the reader is recursive, and a spec needs 6.
MAX_DEPTH = 64

#: Specs that a spec uses, and the depth of use: each is checked with all that it uses.
MAX_OPENED = 100
MAX_CHAIN = 20

#: Params of a spec; each may be read by thousands of nodes.
MAX_PARAMS = 12_000
#: Nodes as written, in a spec and all the specs it uses. Reading them costs time in proportion to
#: their text: 10,000 take seconds to check, and a minute to insert.
MAX_NODES = 12_000
#: Nodes after `use`, `branch` and `repeat` are expanded, where one line can make any number. 48
#: blocks of 30 nodes are 1,440; planning 1,500 convolutions takes two seconds.
MAX_EXPANDED = 1_500
#: Axes of one value: torch's GPU kernels index no more dimensions.
MAX_AXES = 25
#: Parts of all expressions for sizes and numbers together.
MAX_EXPRESSION_PARTS = 300_000

#: One size: torch's kernels index an axis with 32 bits.
MAX_SIZE = 2**31 - 1
#: Kernels, strides, paddings and dilations: no map is as wide, and padding takes memory.
MAX_REACH = 2**16
#: All parameters of a mechanism at one site: 16 GiB in float32.
MAX_PARAMETERS = 2**32
#: Elements of one value in the mechanism, for one image: 256 GiB in float32.
MAX_ELEMENTS = 2**36

#: Problems reported for one spec; nobody reads more.
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
    """Return the problem of a cost above its limit.

    Args:
        what: what is counted, such as ``nodes``.
        cost: the count.
        limit: the most that is allowed.
        way_out: what to write instead.
        where: the value that costs the most.
        at_least: whether counting stopped early, once the limit was exceeded.
    """
    count = f"at least {shown(cost)}" if at_least else shown(cost)
    message = f"this comes to {count} {what}, and the limit is {shown(limit)}"
    return Diagnostic(CODE, message, way_out, where)


def more_problems(where: Location | None) -> Diagnostic:
    """Return the message that replaces all problems after the first `MAX_PROBLEMS`."""
    message = f"there are more than {MAX_PROBLEMS:,} problems; the rest are not reported"
    return Diagnostic(CODE, message, "fix the ones above first", where)


def shown(number: int) -> str:
    """Return a number in its most readable form: ``12,000``, or ``1e+40`` if it has many digits."""
    if number < 10**15:
        return f"{number:,}"
    return f"{float(number):.0e}" if number < 10**300 else "more than 1e+300"
