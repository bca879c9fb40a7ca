"""The class of what `build` returns."""

from __future__ import annotations

from torch import fx


class Mechanism(fx.GraphModule):
    """A `torch.fx.GraphModule` that is called as any other module is.

    fx wraps each call, to print where in its generated code one failed; a message that names the
    node of the spec says more, and at small sizes the wrapper is a tenth of the time.
    """

    def recompile(self) -> fx.graph.PythonCode:
        """Write the forward anew from the graph."""
        code = super().recompile()
        del type(self).__call__  # so that the call is a module's, which tracers look for
        return code
