# ruff: noqa: E501 - the messages as they are
"""Ops and specs of other distributions: found by entry points, and as good as Composer's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch
from command import Command
from installed import OP, SHARPEN, SPEC, distribution, forget
from installed import install as install
from probe import random

import composer
from composer.graph.frontend import check_text, load_spec
from composer.primitives.schema import json_schema

PACK = {
    "my_ops/__init__.py": "", "my_ops/sharpen.py": SHARPEN, "my_ops/specs/sharp_gate.yaml": SPEC,
}  # fmt: skip
BOTH = {**OP, "composer.specs": {"my_ops": "my_ops.specs"}}


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Command:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Command(capsys)


def reference(x: torch.Tensor, strength: float = 1) -> torch.Tensor:
    return x * (x + strength * (x - x.mean((2, 3), keepdim=True))).sigmoid()


# ------------------------------------------------------------------------------- works everywhere


def test_a_spec_builds_with_an_op_of_another_distribution(install):
    install()
    module = composer.build(SPEC, channels=8, dtype=torch.float64)
    x = random(2, 8, 5, 4)
    torch.testing.assert_close(module(x), reference(x))


def test_inside_branch_and_with_a_fault_at_its_place(install):
    install()
    nodes = "{op: branch, axis: k, times: 2, each: {op: sharpen, over: h, strength: k}}"
    text = f"name: t\ninput: [b, c, h, w]\nnodes:\n  a: {nodes}\n"
    assert check_text(text, "t.yaml")[1] == ()
    bad = text.replace("over: h", "over: q, strenth: 2")
    _, problems = check_text(bad, "t.yaml")
    assert [
        (p.code, p.message, p.help, p.where.text[p.where.column - 1 :][: p.where.length])
        for p in problems
    ] == [
        (
            "unknown-field",
            "the op 'sharpen' has no field 'strenth'",
            "did you mean 'strength'? Fields: op, x, over, strength",
            "strenth",
        ),
    ]
    _, problems = check_text(text.replace("over: h", "over: q"), "t.yaml")
    assert [p.code for p in problems] == ["unknown-axis"]


def test_the_command_line(install, run):
    install(entries=BOTH, files=PACK)
    assert run.fine("check", "sharp_gate").out == "sharp_gate (my-ops 0.1.0): ok\n"
    shown = run.fine("show", "sharp_gate").out
    assert "sharpen over h, w" in shown
    assert "x + strength · (x − mean x)" in run.fine("list", "ops", "sharpen").out
    row = next(
        line for line in run.fine("list", "ops").out.splitlines() if line.startswith("sharpen ")
    )
    assert row.endswith("my-ops 0.1.0")
    rows = run.fine("list", "specs", "--json").json["specs"]
    assert [(r["name"], r["from"]) for r in rows if r["from"] != "shipped"] == [
        ("sharp_gate", "my-ops 0.1.0")
    ]
    run.fine("render", "sharp_gate", "-o", "x.svg")
    picture = Path("x.svg").read_text()
    assert "sharpen over h, w" in picture and "x + 1 (x − μ)" in picture
    schema = json.loads(run.fine("schema").out)
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["definitions"]["Sharpen"]["properties"]["op"]["const"] == "sharpen"
    assert {"$ref": "#/definitions/Sharpen"} in schema["definitions"]["Branch"]["properties"][
        "each"
    ]["oneOf"]
    assert "sharp_gate" in run.fine("show", "sharp_gate", "--yaml").out
    assert run.fine("new", "mine", "--from", "sharp_gate").out == "written to mine.yaml\n"


def test_the_schema_without_any_is_as_it_was(install):
    before = json_schema()
    install()
    assert "Sharpen" in json_schema()["definitions"]
    assert "Sharpen" not in before["definitions"]


def test_a_file_of_the_users_wins_over_a_spec_of_a_distribution(install, tmp_path, monkeypatch):
    install(entries=BOTH, files=PACK)
    monkeypatch.chdir(tmp_path)
    Path("sharp_gate.yaml").write_text(SPEC.replace("name: sharp_gate", "name: own"))
    assert load_spec("sharp_gate").name == "own"


def test_compiled_in_one_graph_and_exported(install):
    install()
    module = composer.build(SPEC, channels=8)
    x = torch.randn(2, 8, 6, 6)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), module(x))
    torch.testing.assert_close(torch.export.export(module, (x,)).module()(x), module(x))


# ------------------------------------------------------------------------------------ what is broken

OTHER = {"composer.primitives": {"sharpen": "other_ops:Sharpen"}}
WITH = "name: t\ninput: [b, c, h, w]\nnodes:\n  a: {op: sharpen, over: h}\n"
REPAIR = "repair my-ops, or remove it: pip uninstall my-ops"

BROKEN = {
    "its code fails": (SHARPEN.replace("from pydantic", "from nowhere"), "my_ops.sharpen:Sharpen",
        "the op 'sharpen' of my-ops 0.1.0 cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"),
    "it leaves": ("import sys\nsys.exit(3)\n", "my_ops.sharpen:Sharpen",
        "the op 'sharpen' of my-ops 0.1.0 cannot be loaded: SystemExit: 3"),
    "no such class": (SHARPEN, "my_ops.sharpen:Sharp",
        "the op 'sharpen' of my-ops 0.1.0 cannot be loaded: AttributeError: module 'my_ops.sharpen' has no attribute 'Sharp'"),
    "no op": (SHARPEN, "my_ops.sharpen:Field",
        "the op 'sharpen' of my-ops 0.1.0 is my_ops.sharpen:Field, which is not a subclass of Primitive"),
    "a module without one": (SHARPEN.replace('"sharpen"', '"sharp"'), "my_ops.sharpen",
        "the op 'sharpen' of my-ops 0.1.0 is named by the module my_ops.sharpen, which has no class with op: Literal['sharpen']"),
    "another op": (SHARPEN.replace('"sharpen"', '"sharp"'), "my_ops.sharpen:Sharpen",
        "the op 'sharpen' of my-ops 0.1.0 is my_ops.sharpen:Sharpen, whose op is 'sharp'"),
    "a colour that is none": (SHARPEN.replace('= "combine"', '= "purple"'), "my_ops.sharpen:Sharpen",
        "the op 'sharpen' of my-ops 0.1.0 has the colour 'purple', which is not one of plain, reduce, layer, gate, reweight, combine"),
    "no lowering": (SHARPEN.replace("def lower", "def lowering"), "my_ops.sharpen:Sharpen",
        "the op 'sharpen' of my-ops 0.1.0 has no lower()"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_said_and_breaks_nothing_else(install, run, name):
    code, value, said = BROKEN[name]
    install(
        entries={"composer.primitives": {"sharpen": value}},
        files={"my_ops/__init__.py": "", "my_ops/sharpen.py": code},
    )
    assert run("--help").status == 0
    assert run.fine("check", "cbam").err == ""
    Path("t.yaml").write_text(WITH)
    result = run("check", "t.yaml")
    assert result.status == 1
    assert result.err == (
        f"t.yaml:4:11: error[broken-plugin]: {said}\n    4 |   a: {{op: sharpen, over: h}}\n"
        f"      |           ^^^^^^^\n  help: {REPAIR}\n"
    )
    listed = run.fine("list", "ops")
    assert "\nsharpen " not in listed.out and "\npool " in listed.out
    assert listed.err == f"warning[broken-plugin]: {said}\n  help: {REPAIR}\n"
    result = run("list", "ops", "sharpen")
    assert (result.status, result.err) == (1, f"error[broken-plugin]: {said}\n  help: {REPAIR}\n")
    assert "sharpen" not in json.dumps(json.loads(run.fine("schema").out))


FAULTS = {
    "infer": ("need_axes(axes(self.x)", "1 / 0; need_axes(axes(self.x)", ("check",)),
    "lower": ('mean = emit', '1 / 0; mean = emit', ("show", "--code")),
    "cost": ("    def label", "    def cost(self, axes: Any, own: Axes) -> Any:\n        1 / 0\n\n    def label", ("show",)),
    "label": ('return f"sharpen', '1 / 0; return f"sharpen', ("render", "-o", "x.svg")),
    "formula": ('return f"x +', '1 / 0; return f"x +', ("show",)),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_its_code_is_its_own(install, run, name):
    old, new, (command, *options) = FAULTS[name]
    code = SHARPEN.replace(old, new, 1)
    assert code != SHARPEN
    install(files={"my_ops/__init__.py": "", "my_ops/sharpen.py": code})
    Path("t.yaml").write_text(WITH)
    result = run(command, "t.yaml", *options)
    assert result.status == 1
    assert result.err.startswith(
        "error[fault]: ZeroDivisionError: division by zero\n"
        "  help: this is a fault of my-ops 0.1.0; please send the lines below and the file to its author\n")  # fmt: skip


def test_the_name_of_one_of_composers_own(install, run):
    code = SHARPEN.replace('"sharpen"', '"pool"')
    install(
        entries={"composer.primitives": {"pool": "my_ops.sharpen:Sharpen"}},
        files={"my_ops/__init__.py": "", "my_ops/sharpen.py": code},
    )
    assert run.fine("check", "se").err == ""
    assert run.fine("list", "ops").err == (
        "warning[broken-plugin]: the op 'pool' of my-ops 0.1.0 has the name of a built-in op, which is used instead\n"
        "  help: its author can rename it\n"
    )


def test_two_distributions_with_one_name(install, run):
    install()
    install("other-ops", OTHER, {"other_ops.py": SHARPEN}, "2.0")
    _, problems = check_text(WITH, "t.yaml")
    assert [(p.code, p.message, p.help) for p in problems] == [(
        "broken-plugin", "the op 'sharpen' is added by both my-ops 0.1.0 and other-ops 2.0",
        "remove one: pip uninstall my-ops or other-ops",
    )]  # fmt: skip
    assert "is added by both my-ops 0.1.0 and other-ops 2.0" in run.fine("list", "ops").err
    assert run.fine("check", "se").err == ""


def test_one_distribution_that_is_on_the_path_twice(install):
    install(version="0.0.9")
    install("My_Ops")  # the name in another form; the first on the path counts
    assert check_text(WITH, "t.yaml")[1] == ()


PACKS = {
    "no such package": ({"composer.specs": {"my_ops": "my_ops.spec"}}, {},
        "warning[broken-plugin]: the package of specs 'my_ops' of my-ops 0.1.0 cannot be loaded: ModuleNotFoundError: No module named 'my_ops.spec'\n"
        f"  help: {REPAIR}\n"),
    "no specs in it": ({"composer.specs": {"my_ops": "my_ops"}}, {},
        f"warning[broken-plugin]: the package of specs 'my_ops' of my-ops 0.1.0 is my_ops, which has no *.yaml\n  help: {REPAIR}\n"),
    "the name of a shipped one": (BOTH, {"my_ops/specs/se.yaml": SPEC},
        "warning[broken-plugin]: the spec 'se' of my-ops 0.1.0 has the name of a shipped one, which is read\n"
        "  help: its author can rename the file\n"),
    "not a text": (BOTH, {"my_ops/specs/bytes.yaml": "\udcff"},
        "warning[broken-plugin]: the spec 'bytes' of my-ops 0.1.0 cannot be read: UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte\n"
        f"  help: {REPAIR}\n"),
    "a fault of its own": (BOTH, {"my_ops/specs/bad.yaml": SPEC.replace("over: [h, w]", "over: q")},
        "warning[unknown-axis]: ")
}  # fmt: skip


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("name", PACKS)
def test_a_package_of_specs_that_is_broken(install, run, name):
    entries, files, said = PACKS[name]
    folder = install(
        entries=entries, files={"my_ops/__init__.py": "", "my_ops/sharpen.py": SHARPEN}
    )
    for path, text in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(text.encode(errors="surrogateescape"))
    assert run.fine("check", "se").err == ""
    listed = run.fine("list", "specs")
    assert said in listed.err and "Squeeze" in listed.out
    assert "Squeeze" in run.fine("show", "se").out
    if name == "no such package":
        result = run("check", "sharp_gate")
        assert result.status == 1
        assert result.err.startswith(
            "error[unknown-spec]: no file and no shipped spec named 'sharp_gate'\n  help: Shipped specs: "
        )
        assert result.err.endswith(said)


def test_two_distributions_with_one_spec(install, run):
    install(entries=BOTH, files=PACK)
    install(
        "more-ops",
        {"composer.specs": {"m": "more_ops.specs"}},
        {"more_ops/specs/sharp_gate.yaml": SPEC},
    )
    result = run("check", "sharp_gate")
    assert (result.status, result.err) == (
        1,
        "error[broken-plugin]: the spec 'sharp_gate' is added by both more-ops 0.1.0 and my-ops 0.1.0\n"
        "  help: remove one: pip uninstall more-ops or my-ops\n",
    )


# ---------------------------------------------------------------------------------- cost of nothing

UNREAD = """
import sys
import composer.cli
assert "importlib.metadata" not in sys.modules
from composer.graph.frontend import load_spec
import importlib.metadata
def refuse(**_):
    raise AssertionError("the metadata of distributions is read")
importlib.metadata.distributions = refuse
for name in ("se", "sk", "cbam", "mhsa"):
    load_spec(name)
print("my_ops" in sys.modules)
"""


def test_nothing_is_read_where_composer_has_all_that_a_spec_names(tmp_path):
    folder = distribution(tmp_path)
    done = subprocess.run([sys.executable, "-c", UNREAD], capture_output=True, text=True,
                          env={"PYTHONPATH": f"{folder}:{Path(__file__).parents[1]}"})  # fmt: skip
    assert (done.stdout, done.stderr) == ("False\n", "")
    broken = UNREAD.replace('"se", ', '"se", "no_such_spec", ')
    done = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True,
                          env={"PYTHONPATH": f"{folder}:{Path(__file__).parents[1]}"})  # fmt: skip
    assert "the metadata of distributions is read" in done.stderr  # it would have been seen


# -------------------------------------------------------------------------------------- artifacts

NET = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
    def forward(self, x):
        return x + self.conv(x)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.stage1 = nn.Sequential(Block(), Block())
        self.head = nn.Linear(8, 5)
    def forward(self, x):
        return self.head(self.stage1(self.stem(x)).mean((2, 3)))

def net():
    return Net()
"""
LOAD = """
import torch, composer
print(composer.load("out", trust_code=True)(torch.ones(1, 3, 32, 32)).sum().item())
"""


def uninstall(folder: Path) -> None:
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == "my_ops"]:
        del sys.modules[name]
    forget()


@pytest.mark.long
def test_inserted_saved_and_loaded_in_another_process(install, run):
    folder = install(entries=BOTH, files=PACK)
    Path("net.py").write_text(NET)
    model = composer.insert("net.py:net?input_size=3,32,32", "sharp_gate")
    composer.save(model, "out")
    assert "\nops:\n  sharpen: my-ops 0.1.0\n" in Path("out/recipe.yaml").read_text()
    uninstall(folder)
    here = f"{folder}:{Path(__file__).parents[1]}"
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True,
                          env={"PYTHONPATH": here, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.stderr == ""
    told = model(torch.ones(1, 3, 32, 32)).sum().item()
    assert float(done.stdout) == pytest.approx(told, rel=1e-5)

    def loading() -> tuple[int, str]:
        with pytest.raises(composer.ComposerError) as failure:
            composer.load("out", trust_code=True)
        return failure.value.exit_code, str(failure.value)

    assert loading() == (3,
        "out/recipe.yaml:26:3: error[missing-plugin]: the recipe's op 'sharpen' is from my-ops 0.1.0, "
        "which is not installed\n   26 |   sharpen: my-ops 0.1.0\n      |   ^\n"
        "  help: install my-ops 0.1.0 from its author; note that an op is code, which runs here")  # fmt: skip
    other = install("other-ops", OTHER, {"other_ops.py": SHARPEN}, "2.0")
    assert loading() == (1,
        "out/recipe.yaml:26:3: error[another-op]: the recipe's op 'sharpen' is from my-ops 0.1.0, and here it is from other-ops 2.0\n"
        "   26 |   sharpen: my-ops 0.1.0\n      |   ^\n"
        "  help: load it where my-ops 0.1.0 is installed and other-ops is not")  # fmt: skip
    uninstall(other)
    broken = install(files={"my_ops/__init__.py": "", "my_ops/sharpen.py": "import nowhere\n"})
    assert loading()[1].startswith(
        "out/recipe.yaml:26:3: error[broken-plugin]: the op 'sharpen' of my-ops 0.1.0 cannot be loaded"
    )
    uninstall(broken)
    install(version="0.2.0")  # a later one is taken as it is
    assert composer.load("out", trust_code=True)(
        torch.ones(1, 3, 32, 32)
    ).sum().item() == pytest.approx(told, rel=1e-5)


def test_inserted_as_nothing_at_first_and_taken_out_again(install, run):
    install(entries=BOTH, files=PACK)
    Path("net.py").write_text(NET)
    model = composer.insert("net.py:net?input_size=3,32,32", "sharp_gate", init="identity")
    x = torch.ones(1, 3, 32, 32)
    y = model(x)
    torch.testing.assert_close(composer.eject(model)(x), y)


def test_a_recipe_of_composers_own_ops_says_nothing_of_others(install, run):
    install()
    Path("net.py").write_text(NET)
    model = composer.insert("net.py:net?input_size=3,32,32", "se", params={"reduction": 4})
    composer.save(model, "out")
    assert "\nops:" not in Path("out/recipe.yaml").read_text()
