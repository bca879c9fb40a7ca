"""The steps inside a block, read from its traced forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import fx, nn

from composer.analysis.probe import Call
from composer.analysis.weight_layers import changes_nothing
from composer.drawing.outline import Insertion, Spent, Step, StepKind
from composer.measure.cost import parameters

_SIGNS: dict[str, str] = {
    **dict.fromkeys(("add", "add_", "__radd__"), "+"),
    **dict.fromkeys(("mul", "mul_", "__rmul__"), "×"),
    **dict.fromkeys(("sub", "sub_", "__rsub__"), "−"),
}
_POOLS = ("Pool", "pool")
AT_INPUT = "at the input"


def steps_of(
    block: nn.Module,
    forward: fx.Graph,
    calls: Mapping[str, Sequence[Call]],
    inserted: Mapping[str, Insertion],
) -> tuple[Step, ...]:
    """Return the steps of a block in the order they run; the last one gives its output.

    A layer and the norm and activation after it are one step; an identity in evaluation mode,
    such as drop path, is not a step.

    Args:
        block: the block.
        forward: its traced forward.
        calls: those of the modules inside, by their names in it.
        inserted: the insertions, in the same way.
    """
    return _Reader(block, calls, inserted).read(forward)


class _Reader:
    def __init__(
        self,
        block: nn.Module,
        calls: Mapping[str, Sequence[Call]],
        inserted: Mapping[str, Insertion],
    ) -> None:
        self.block, self.calls, self.inserted = block, calls, inserted
        self.steps: dict[str, Step] = {}
        self.called: dict[str, int] = {}
        self.means: dict[fx.Node, str | None] = {}  # the step that makes a value; None for no value

    def read(self, forward: fx.Graph) -> tuple[Step, ...]:
        first = next(iter(forward.find_nodes(op="placeholder")), None)
        for node in forward.nodes:
            if node.op == "placeholder":
                self.means[node] = "" if node is first else None
            elif node.op == "call_module":
                self._module(node)
            elif node.op == "call_function":
                self._operation(node)
            elif node.op == "output":
                last = next((n for n in reversed(node.all_input_nodes) if self.means.get(n)), None)
                return self._ending(self.means[last] if last is not None else None)
            else:
                self.means[node] = None
        return ()

    def _reads(self, node: fx.Node) -> tuple[str, ...]:
        found = (self.means.get(one) for one in node.all_input_nodes)
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def _module(self, node: fx.Node) -> None:
        name = str(node.target)
        module = self.block.get_submodule(name)
        reads = self._reads(node)
        if len(reads) == 1 and changes_nothing(self.block, node):
            self.means[node] = reads[0]
            return
        spent, insertion = self._spent(name), self.inserted.get(name)
        lines = () if insertion is not None else described(module)
        inner = [one for path, one in self.inserted.items() if path.startswith(f"{name}.")]
        for one in inner:
            spent -= one.spent
            if one.where == AT_INPUT:
                reads = (self._add(node, _inserted(one, reads)),)
        self._add(node, Step(name, name, lines, _kind(module), reads, spent, insertion))
        for one in inner:
            if one.where != AT_INPUT:
                self._add(node, _inserted(one, self._reads_of(node)))

    def _spent(self, name: str) -> Spent:
        """Return the cost of a call of a module; its parameters count only at the first."""
        done = self.called.get(name, 0)
        self.called[name] = done + 1
        calls = self.calls.get(name, ())
        flops = calls[done].flops if done < len(calls) else 0
        return Spent(0 if done else parameters(self.block.get_submodule(name)), flops)

    def _reads_of(self, node: fx.Node) -> tuple[str, ...]:
        name = self.means[node]
        return () if name is None else (name,)

    def _operation(self, node: fx.Node) -> None:
        reads = self._reads(node)
        word = getattr(node.target, "__name__", str(node.target))
        if not reads:
            self.means[node] = None
        elif len(reads) == 1 and word not in _SIGNS and word != "softmax":
            # it reshapes one value, or takes an item of it
            acts = word in ("relu", "relu_", "gelu", "silu", "sigmoid", "mean", "sum")
            if acts:
                kind: StepKind = "reduce" if word in ("mean", "sum") else "plain"
                self._add(node, Step(node.name, word.rstrip("_"), (), kind, reads))
            else:
                self.means[node] = reads[0]
        else:
            sign = _SIGNS.get(word)
            title = sign or word.rstrip("_")
            self._add(node, Step(node.name, title, (), "combine" if sign else "plain", reads))

    def _add(self, node: fx.Node, step: Step) -> str:
        name = step.name
        while name in self.steps:  # a module that runs several times
            name += "'"
        self.steps[name] = replace(step, name=name)
        self.means[node] = name
        return name

    def _ending(self, last: str | None) -> tuple[Step, ...]:
        """Return the steps, layers joined with what follows them, without unused ones."""
        used: set[str] = set()
        waiting = [last] if last else []
        while waiting:
            name = waiting.pop()
            if name and name not in used:
                used.add(name)
                waiting += self.steps[name].reads
        steps = {name: step for name, step in self.steps.items() if name in used}
        ordered = [step for name, step in steps.items() if name != last]
        return _joined([*ordered, *([steps[last]] if last else [])])


def _joined(steps: list[Step]) -> tuple[Step, ...]:
    readers: dict[str, int] = {}
    for step in steps:
        for name in step.reads:
            readers[name] = readers.get(name, 0) + 1
    done: dict[str, Step] = {}
    called: dict[str, str] = {}
    for step in steps:
        reads = tuple(dict.fromkeys(called.get(name, name) for name in step.reads))
        before = done.get(reads[0]) if len(reads) == 1 else None
        joins = (
            before is not None
            and readers[step.reads[0]] == 1
            and step.insertion is None
            and before.insertion is None
            and before.kind == "layer"
            and _follows(step)
        )
        if not joins or before is None:
            done[step.name] = replace(step, reads=reads)
            continue
        what = step.lines or (step.title,)
        done[before.name] = replace(
            before,
            title=f"{before.title} · {step.title}" if step.lines else before.title,
            lines=(" · ".join((*before.lines, *what)),),
            spent=before.spent + step.spent,
        )
        called[step.name] = before.name
    return tuple(done.values())


def _follows(step: Step) -> bool:
    """Return whether a step is a norm or an activation, like those after a layer."""
    return step.kind == "plain" and (not step.lines or step.lines[0] in _SHORT.values())


def _inserted(one: Insertion, reads: tuple[str, ...]) -> Step:
    return Step(one.name, one.name, (), "layer", reads, one.spent, one)


_SHORT = {
    "BatchNorm1d": "BN", "BatchNorm2d": "BN", "BatchNorm3d": "BN",
    "BatchNormAct2d": "BN + act", "FrozenBatchNorm2d": "BN",
    "LayerNorm": "LN", "LayerNorm2d": "LN", "GroupNorm": "GN", "GroupNorm1": "GN",
    "ReLU": "relu", "ReLU6": "relu6", "GELU": "gelu", "SiLU": "silu", "Hardswish": "hard swish",
    "Sigmoid": "sigmoid", "Hardsigmoid": "hard sigmoid", "LeakyReLU": "leaky relu",
}  # fmt: skip


def described(module: nn.Module) -> tuple[str, ...]:
    """Return a short description of a module: ``conv 3×3, 256, stride 2``."""
    kind = type(module).__name__
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        words = [f"conv {'×'.join(map(str, module.kernel_size))}", str(module.out_channels)]
        if set(module.stride) != {1}:
            words.append(f"stride {module.stride[0]}")
        if set(module.dilation) != {1}:
            words.append(f"dilation {module.dilation[0]}")
        if module.groups > 1:
            depthwise = module.groups == module.in_channels == module.out_channels
            words.append("depthwise" if depthwise else f"{module.groups} groups")
        return (", ".join(words),)
    if isinstance(module, nn.Linear):
        return (f"linear, {module.out_features}",)
    if isinstance(module, nn.Sequential) and 0 < len(module) <= 3:
        inner = [text for child in module for text in described(child)]
        return (" · ".join(inner),) if inner else ()
    if isinstance(module, nn.Identity):
        return ()
    if isinstance(getattr(module, "act", None), nn.Identity):
        kind = kind.replace("NormAct", "Norm")  # of timm, without the activation
    return (_SHORT.get(kind, kind),)


def _kind(module: nn.Module) -> StepKind:
    if any(word in type(module).__name__ for word in _POOLS):
        return "reduce"
    if any(p.dim() > 1 for p in module.parameters()):
        return "layer"
    return "plain"
