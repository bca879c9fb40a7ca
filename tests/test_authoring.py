# ruff: noqa: E501 - messages as they are printed
"""Beginning a spec, looking an op up, and what a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from shipped import EVERY
from test_messages import LISTS

from composer.graph.frontend import check_text
from composer.primitives import ops
from composer.primitives.page import fields_page, ops_page
from composer.primitives.reference import example_text, reference

ROOT = Path(__file__).parents[1]


# ------------------------------------------------------------------------------------------- new


def test_a_new_spec_checks_and_is_written_to_its_name(run):
    result = run.fine("new", "mine")
    assert result.out == "written to mine.yaml\n"
    assert result.err.startswith("next: composer check mine.yaml")
    text = Path("mine.yaml").read_text()
    assert check_text(text, "mine.yaml")[1] == ()
    assert "\nname: mine\n" in text
    nodes = text.partition("nodes:")[2].splitlines()[1:5]
    assert all("#" in line for line in nodes)  # each says what it does
    assert [p.name for p in Path().iterdir()] == ["mine.yaml"]
    assert run.fine("check", "mine").out == "mine.yaml: ok\n"


@pytest.mark.parametrize("base", EVERY)
def test_from_any_shipped_spec(run, base):
    found = run.fine("new", "mine", "--from", base, "-o", "new.yaml", "--json").json
    assert found == {"version": 1, "name": "mine", "output": "new.yaml"}
    text = Path("new.yaml").read_text()
    spec, problems = check_text(text, "new.yaml")
    assert problems == ()
    assert spec.name == "mine"
    assert f"# Begun from {base} (shipped).\n" in text
    assert text.count("yaml-language-server") == 1


def test_from_a_spec_that_uses_one_beside_it(run):
    Path("gate.yaml").write_text("name: gate\ninput: [b, c]\nnodes:\n  z: {op: gate}\n")
    Path("outer.yaml").write_text(
        "name: outer\ninput: [b, c, h, w]\nnodes:\n  z: {op: use, spec: gate}\n"
    )
    run.fine("new", "mine", "--from", "outer")
    assert run.fine("check", "mine").out == "mine.yaml: ok\n"
    Path("inner").mkdir()
    Path("gate.yaml").rename("inner/gate.yaml")
    Path("outer.yaml").rename("inner/outer.yaml")
    result = run("new", "other", "--from", "inner/outer.yaml")
    assert result.status == 1
    assert result.err.startswith(
        "other.yaml:6:22: error[unknown-spec]: no file and no shipped spec named 'gate'\n"
    )
    assert not Path("other.yaml").exists()
    run.fine("new", "other", "--from", "inner/outer.yaml", "-o", "inner/other.yaml")


def test_from_one_that_extends_and_goes_by_its_name(run):
    Path("base.yaml").write_text("extends: se\nparams: {reduction: 8}\n")
    run.fine("new", "mine", "--from", "base.yaml")
    spec, problems = check_text(Path("mine.yaml").read_text(), "mine.yaml")
    assert (spec.name, problems) == ("mine", ())


REFUSED = [
    (("new", "se"), 2,
     "error[bad-name]: 'se' is the name of a shipped spec, which would be read instead\n"
     "  help: to start from its text: composer new my_se --from se\n"),
    (("new", "My-Spec.yaml"), 2,
     "error[bad-name]: 'My-Spec.yaml' is not a name for a spec\n"
     "  help: use letters, digits and _, such as my_spec\n"),
    (("new", "3d"), 2,
     "error[bad-name]: '3d' is not a name for a spec\n"
     "  help: use letters, digits and _, such as spec_3d\n"),
    (("new", ""), 2,
     "error[bad-name]: '' is not a name for a spec\n"
     "  help: use letters, digits and _, such as spec\n"),
    (("new", "class"), 2,
     "error[bad-name]: 'class' is a reserved word, not a name\n"
     "  help: choose another name, such as class_attention\n"),
    (("new", "a" * 61), 2,
     "error[bad-name]: a name of 61 characters is too long\n  help: use at most 60\n"),
    (("new", "there"), 1,
     "there.yaml: error[output]: exists already\n"
     "  help: replace it with --force, or choose another with -o\n"),
    (("new", "mine", "-o", "no/mine.yaml"), 1,
     "no/mine.yaml: error[output]: its folder does not exist\n"
     "  help: create the folder, or choose another file\n"),
    (("new", "mine", "--from", "cbamm"), 1,
     "error[unknown-spec]: no file and no shipped spec named 'cbamm'\n"
     f"  help: did you mean 'cbam'? Shipped specs: {LISTS['<specs>']}\n"),
    (("new", "mine", "--from", "bad.yaml"), 1,
     "mine.yaml:6:11: error[unknown-op]: no op named 'softmax'\n"
     "    6 |   z: {op: softmax}\n"
     "      |           ^^^^^^^\n"
     "  help: write z: {op: gate, fn: softmax, over: c}; 'over' is the axis along which it sums to one\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "status", "message"), REFUSED, ids=[" ".join(r[0])[:30] for r in REFUSED]
)
def test_what_new_refuses(run, args, status, message):
    Path("there.yaml").write_text("precious")
    Path("bad.yaml").write_text("name: bad\ninput: [b, c, h, w]\nnodes:\n  z: {op: softmax}\n")
    result = run(*args)
    assert (result.status, result.out, result.err) == (status, "", message)
    assert Path("there.yaml").read_text() == "precious"
    assert sorted(p.name for p in Path().iterdir()) == ["bad.yaml", "there.yaml"]


def test_force_replaces_a_file(run):
    Path("there.yaml").write_text("old")
    run.fine("new", "there", "--force")
    assert "name: there" in Path("there.yaml").read_text()


# ------------------------------------------------------------------------------------- reference


@pytest.mark.parametrize("op", ops())
def test_the_reference_of_an_op(run, op):
    shown = run.fine("list", "ops", op).out
    found = reference(op)
    assert shown.startswith(f"{op}: ")
    assert [f.name for f in found.fields] == [f for f in ops()[op].model_fields if f != "op"]
    for field in found.fields:
        assert field.kind != "a value", f"{op}.{field.name}: its kind is not known in words"
        assert any(line.split()[:1] == [field.name] for line in shown.splitlines())
    assert run.fine("list", "ops", op, "--json").json["op"] == op


@pytest.mark.parametrize("op", ops())
def test_an_op_has_an_example_that_checks(op):
    text = example_text(op)
    assert text is not None, f"give the class of {op!r} an example"
    assert f"op: {op}" in text
    assert check_text(text, "example.yaml")[1] == ()


def test_what_is_told_of_a_field():
    fields = {f.name: (f.kind, f.default) for f in reference("conv2d").fields}
    assert fields["over"] == ("an axis, or a list of axes", "[h, w]")
    assert fields["stride"][1] == "1"
    assert fields["x"] == ("a node", "")
    assert fields["out"][0] == "a size, or a mapping of axes to sizes"
    fields = {f.name: (f.kind, f.default) for f in reference("reweight").fields}
    assert fields["by"] == ("a node", "required")
    assert {f.name: f.kind for f in reference("gate").fields}["fn"].startswith("softmax, relu")


def test_the_pages_of_the_language_are_current():
    """Made by ``python docs/language_pages.py``."""
    docs = ROOT / "docs"
    language = (docs / "language.md").read_text(encoding="utf-8")
    prose, mark, fields = language.partition("by `python docs/language_pages.py`. -->\n\n")
    assert prose.startswith("# The language\n") and mark and fields == fields_page()
    assert (docs / "ops.md").read_text(encoding="utf-8") == ops_page()


NO_REFERENCE = [
    (("list", "ops", "poool"), 1,
     f"error[unknown-op]: no op named 'poool'\n  help: did you mean 'pool'? Ops: {LISTS['<ops>']}\n"),
    (("list", "ops", "softmax"), 1,
     "error[unknown-op]: no op named 'softmax'\n  help: here that is {op: gate, fn: softmax, over: c}\n"),
    (("list", "specs", "se"), 2,
     "error[usage]: only ops have a reference, not specs\n  help: use 'composer show se'\n"),
    (("list", "ops", "pool", "--filter", "x"), 2,
     "error[usage]: the op 'pool' is given, and so is --filter\n  help: omit one of them\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "status", "message"), NO_REFERENCE, ids=[" ".join(r[0]) for r in NO_REFERENCE]
)
def test_no_reference(run, args, status, message):
    result = run(*args)
    assert (result.status, result.out, result.err) == (status, "", message)


# ------------------------------------------------------------------------------------ completion

COMPLETE = """
import sys
from composer.cli import main
try:
    main([])
except SystemExit:
    pass
heavy = [m for m in ("torch", "timm", "torchvision", "numpy") if m in sys.modules]
print("loaded", *heavy, file=sys.stderr)
"""


def completed(words: str, folder: Path) -> list[str]:
    """Return what bash is given for a line, in a process of its own; nothing heavy is loaded."""
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "_COMPOSER_COMPLETE": "bash_complete",
        "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", COMPLETE], capture_output=True, text=True,
                          cwd=folder, env=environment)  # fmt: skip
    assert done.stderr == "loaded\n"
    return done.stdout.splitlines()


COMPLETED = [
    ("composer insert --spec cb", ["file,cb", "plain,cbam", "plain,cbam_channel", "plain,cbam_spatial"]),
    ("composer check ec", ["file,ec", "plain,eca"]),
    ("composer show ec", ["file,ec", "plain,eca"]),
    ("composer verify ec", ["file,ec", "plain,eca"]),
    ("composer new mine --from ec", ["file,ec", "plain,eca"]),
    ("composer compare --spec ec", ["file,ec", "plain,eca"]),
    ("composer list ops poo", ["plain,pool"]),
    ("composer list specs poo", [""]),
    ("composer insert --into resnet26", ["file,resnet26", "plain,resnet26", "plain,resnet26d", "plain,resnet26t"]),
    ("composer sites torchvision:resnet18", ["file,torchvision:resnet18", "plain,torchvision:resnet18"]),
    ("composer sites torchv", ["file,torchv", "plain,torchvision:"]),
    ("composer lift timm.layers:SEM", ["file,timm.layers:SEM", "plain,timm.layers:SEModule"]),
    ("composer render ec", ["file,ec", "plain,eca", "plain,eca_resnet33ts",
                            "plain,ecaresnet26t"]),
]  # fmt: skip


@pytest.mark.quick(4, then="long")
@pytest.mark.parametrize(("words", "expected"), COMPLETED, ids=[c[0] for c in COMPLETED])
def test_what_a_shell_completes(words, expected, tmp_path):
    assert set(expected) <= set(found := completed(words, tmp_path))
    if "render" not in words:
        assert found == expected
