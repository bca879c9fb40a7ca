"""What the file of an op imports: the types of its fields, of axes, of lowering and of cost.

An op of another distribution needs nothing else from Composer; `docs/extending.md` shows how to
write one.
"""

from __future__ import annotations

from pydantic import Field as Field

from composer.language.expressions import Expr as Expr
from composer.language.expressions import constant as constant
from composer.language.fields import Amount as Amount
from composer.language.fields import AxisName as AxisName
from composer.language.fields import AxisNames as AxisNames
from composer.language.fields import Flag as Flag
from composer.language.fields import NodeRef as NodeRef
from composer.language.fields import Number as Number
from composer.language.fields import Numbers as Numbers
from composer.language.fields import Share as Share
from composer.language.fields import Size as Size
from composer.language.fields import Sizes as Sizes
from composer.language.fields import word as word
from composer.primitives.axes import Axes as Axes
from composer.primitives.axes import AxisOrder as AxisOrder
from composer.primitives.base import AxisProblem as AxisProblem
from composer.primitives.base import Emitter as Emitter
from composer.primitives.base import Primitive as Primitive
from composer.primitives.base import elements as elements
from composer.primitives.base import flag as flag
from composer.primitives.base import misuse as misuse
from composer.primitives.base import need_axes as need_axes
from composer.primitives.base import need_odd as need_odd
from composer.primitives.base import whole as whole
from composer.primitives.cost import Cost as Cost
from composer.primitives.cost import of_einsum as of_einsum
from composer.primitives.cost import of_layer as of_layer
from composer.primitives.cost import of_norm as of_norm
