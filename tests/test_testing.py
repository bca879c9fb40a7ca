"""The laws of an op: Composer's own keep them, and each mutation of one breaks those it should."""

from __future__ import annotations

import pytest
from installed import SHARPEN
from installed import install as install

import composer
from composer.primitives import own_ops
from composer.primitives.structure import Structure
from composer.primitives.use import Use
from composer.testing import LAWS, Case, LawBroken, check_op, laws_of

TORCH = ("compiled", "exported")  # which take a second each
QUICK = tuple(law for law in LAWS if law not in TORCH)
OPS = [op for op, p in own_ops().items() if not issubclass(p, (Structure, Use))]


@pytest.mark.parametrize("op", OPS)
def test_composers_own_op_keeps_the_laws(op: str) -> None:
    check_op(op, only=QUICK)


@pytest.mark.quick(2)
@pytest.mark.parametrize("op", OPS)
def test_composers_own_op_in_one_graph(op: str) -> None:
    check_op(op, only=TORCH)


CASES = [
    Case("sharpen"),
    Case("sharpen", "out: {op: sharpen, over: c, strength: 2}", out="b c h w", count=lambda s: 0,
         reference=lambda weights, x: x + 2 * (x - x.mean(1, keepdim=True))),
    Case("sharpen", "out: {op: sharpen, over: [d, c]}", axes="b c d h w"),
]  # fmt: skip


@pytest.mark.long
def test_an_op_of_another_distribution(install) -> None:
    install()
    check_op("sharpen", *CASES)
    for law in laws_of(CASES[1], only=["values", "parameters"]):
        law()
    assert [str(law) for law in laws_of(CASES[1], only=["values"])] == [
        "values: op: sharpen, over: c, strength: 2"
    ]


MEAN = 'emit.method("mean", x, tuple(axes.index(a) for a in self.over), True)'
ADD = 'return emit.method("add", x, more)'
HEAD = "class Sharpen"
HELPERS = f"""
import torch
from pydantic import field_validator
ONE = torch.ones(1)

def read(x):
    return x * 2 if x.mean() > 1e9 else x

def on_the_cpu(x):
    return x * ONE.to(x.dtype)

{HEAD}"""
DOES = '    """x + strength · (x − mean x), the mean taken over the axes `over`."""\n'
COST = """    def cost(self, axes: Any, own: Axes) -> Any:
        from composer.primitives.cost import Cost
        return Cost(flops=1)

    def label"""

EXAMPLE = 'over: [h, w], strength: 0.5}"'
SPACED = """over: h w, strength: 0.5}"

    @field_validator("over", mode="before")
    @classmethod
    def _spaced(cls, value: Any) -> Any:
        return value.split() if isinstance(value, str) else value
"""

#: What is changed, and the laws that no longer hold.
MUTATIONS = {
    "no docstring": (DOES, "", {"text"}),
    "a field that does not say what it is": (', description="how much"', "", {"text"}),
    "an example of something else": ('{op: sharpen, over: [h, w], strength: 0.5}"',
                                     '{op: gate}"', {"text"}),
    "an example that does not check": ("strength: 0.5", "strength: q",
                                      {*QUICK} - {"schema", "values"}),
    "a form that no editor knows": (EXAMPLE, SPACED, {"schema"}),
    "a formula that no font has": ("(x − μ)", "(x 🙂 μ)", {"text"}),
    "a label that is empty": ('return f"sharpen over', 'return "" and f"sharpen over',
                              {"text", "drawing"}),
    "an axis that goes": ("return axes(self.x)\n", "return axes(self.x).without(self.over)\n",
                          {"axes", "layouts"}),
    "a cost that is none": ("    def label", COST, {"cost"}),
    "places instead of axes": (MEAN, 'emit.method("mean", x, (2, 3), True)',
                               {"layouts", "other axes"}),
    "a size that is baked in": (
        'float(self.strength.value))',
        'float(self.strength.value) * (int(axes["h"].value) if axes["h"].is_constant else 5))',
        {"open sizes"}),
    "float32 whatever comes in": (ADD, 'return emit.method("float", emit.method("add", x, more))',
                                  {"dtypes"}),
    "a value that is detached": (ADD, 'return emit.method("detach", emit.method("add", x, more))',
                                 {"gradients"}),
    "a part that is detached": (MEAN, f'emit.method("detach", {MEAN})', {"gradients"}),
    "in place": (ADD, 'return emit.method("add_", x, more)', {"inputs kept", "gradients"}),
    "a view that says it is none": (ADD, "return x", {"inputs kept"}),
    "a number that is read": (ADD, 'return emit.function(read, emit.method("add", x, more))',
                              {"cost", "fake tensors", "compiled", "exported"}),
    "a tensor of the CPU": (ADD, 'return emit.function(on_the_cpu, emit.method("add", x, more))',
                            {"cost", "fake tensors"}),
    "a function of no module": (
        ADD, 'return emit.function((lambda: lambda x: x)(), emit.method("add", x, more))',
        {"saved"}),
    "weights that it does not say": (
        ADD, 'return emit.method("add", emit.parameter(torch.ones(())), more)',
        {"parameters", "cost"}),
}  # fmt: skip


@pytest.mark.quick(6, then="long")
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_breaks_its_law(install, name: str) -> None:
    old, new, laws = MUTATIONS[name]
    assert old in SHARPEN
    code = SHARPEN.replace(HEAD, HELPERS, 1).replace(old, new, 1)
    install(files={"my_ops/__init__.py": "", "my_ops/sharpen.py": code})
    only = tuple(LAWS) if laws & set(TORCH) else QUICK
    with pytest.raises(LawBroken) as broken:
        check_op("sharpen", only=only)
    assert set(broken.value.laws) == laws
    for law in laws:
        assert f"the law {law!r} does not hold for {{" in str(broken.value)


def test_what_is_said_of_a_reference_that_differs(install) -> None:
    install()
    case = Case("sharpen", "out: {op: sharpen, over: c}", reference=lambda weights, x: x)
    with pytest.raises(LawBroken) as broken:
        check_op("sharpen", case)
    lines = str(broken.value).splitlines()
    assert lines[0] == "the op 'sharpen' breaks 1 law: values"
    assert lines[2] == (
        "the law 'values' does not hold for {op: sharpen, over: c} at b=3 c=64 h=4 w=6: "
        "The value equals the reference to 1e-9 in float64."
    )
    assert lines[3].startswith("  compared with the reference: Tensor-likes are not close!")


def test_a_count_and_axes_that_differ(install) -> None:
    install()
    case = Case("sharpen", out="b c h=h+1 w", count=lambda sizes: sizes["c"])
    with pytest.raises(LawBroken) as broken:
        check_op("sharpen", case, only=("axes", "parameters"))
    assert broken.value.laws == ("axes", "parameters")
    assert "it has 0 parameters, but the case expects 64" in str(broken.value)


@pytest.mark.parametrize(("call", "said"), [
    (lambda: check_op("sharpn"), "error[unknown-op]: no op named 'sharpn'\n  help: Ops: add, "),
    (lambda: check_op("repeat"), "error[unknown-op]: 'repeat' expands to other nodes, so it has "
     "no value to check\n  help: check the ops that it expands to"),
    (lambda: check_op("pool", only=["axis"]), "error[unknown-law]: no law named 'axis'\n  help: "
     "did you mean 'axes'? Laws: text, schema, "),
])  # fmt: skip
def test_what_the_kit_refuses(call, said: str) -> None:
    with pytest.raises(composer.ComposerError) as failure:
        call()
    assert str(failure.value).startswith(said)


def test_an_op_that_draws_numbers_is_looked_at_in_evaluation() -> None:
    check_op("dropout", Case("dropout", "out: {op: dropout, p: 0.5}"), only=QUICK)
