"""Laws for testing an op: for authors of new ops, and for Composer's own.

::

    import pytest
    from composer.testing import Case, laws_of

    CASES = [
        Case("sharpen"),  # the op's example
        Case("sharpen", "out: {op: sharpen, over: c, strength: 2}",
             reference=lambda weights, x: x + 2 * (x - x.mean(1, keepdim=True))),
    ]

    @pytest.mark.parametrize("law", laws_of(*CASES), ids=str)
    def test_the_law(law):
        law()

or, in one call, `check_op("sharpen")`. Each law is a function of `composer.testing.laws` and its
neighbours, and is named in the exception if it does not hold.
"""

from __future__ import annotations

from composer.testing.case import Case as Case
from composer.testing.check import LAWS as LAWS
from composer.testing.check import LawBroken as LawBroken
from composer.testing.check import check_op as check_op
from composer.testing.check import laws_of as laws_of
from composer.testing.trial import Trial as Trial
