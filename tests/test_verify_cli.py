"""`composer verify`: the certificate on the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from composer.certificate.claims import CLAIMS
from composer.language import library
from composer.language.library import find_spec, shipped_names


@pytest.mark.long
def test_a_table_says_what_was_compared_with_what(run):
    result = run.fine("verify", "se_var2")
    lines = result.out.splitlines()
    assert lines[0].split() == ["se_var2", "against", "found"]
    checks = [line.partition("  ")[0] for line in lines[2:] if line]
    assert checks == [
        "source", "parameters", "values and gradients", "place in resnet50",
        "parameters of resnet50", "multiply-adds of resnet50", "deviations",
    ]  # fmt: skip
    assert all("  ok  " in line for line in lines[2:] if line)
    assert "arXiv:1910.03151: c " in result.out
    assert result.err == "all 7 checks hold\n"


@pytest.mark.long
def test_json_has_a_version_and_rows(run):
    found = run.fine("verify", "se_var1", "--json").json
    assert set(found) == {"version", "rows"} and found["version"] == 1
    assert all(set(r) == {"spec", "check", "against", "passed", "detail"} for r in found["rows"])
    assert {r["passed"] for r in found["rows"]} == {True}
    assert {r["spec"] for r in found["rows"]} == {"se_var1"}


@pytest.mark.long
def test_a_broken_variant_ends_with_status_one(run):
    text = find_spec("se_var1")[0].replace("fn: sigmoid", "fn: hard_sigmoid")
    Path("mine.yaml").write_text(text)
    result = run("verify", "mine.yaml")
    assert result.status == 1
    assert "FAILS" in result.out and "first at 'gate', by 0.0" in result.out
    assert result.err == "1 of 7 checks fail\n"
    rows = run("verify", "mine.yaml", "--json").json["rows"]
    assert [r["check"] for r in rows if not r["passed"]] == ["values and gradients"]


@pytest.mark.long
def test_all_takes_the_shipped_ones(run, monkeypatch):
    monkeypatch.setattr(library, "shipped_names", lambda: ["ese", "se_var1"])
    monkeypatch.delitem(CLAIMS, "ese")
    result = run("verify", "--all", "--json")
    assert result.status == 1
    specs = [(row["spec"], row["passed"]) for row in result.json["rows"]]
    assert specs[0] == ("ese", False) and set(specs[1:]) == {("se_var1", True)}


def test_what_is_not_certified_is_told_the_way(run):
    Path("mine.yaml").write_text(find_spec("se")[0].replace("name: se\n", "name: mine\n"))
    result = run("verify", "mine.yaml")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(
        "mine.yaml:3:7: error[not-certified]: there is no claim for 'mine'"
    )
    assert "there are claims for " + ", ".join(sorted(CLAIMS)) in result.err
    assert set(CLAIMS) == set(shipped_names())


def test_an_unknown_name_and_a_faulty_spec_are_as_elsewhere(run):
    result = run("verify", "sse", "se_var1")
    assert result.status == 1 and "error[unknown-spec]" in result.err
    Path("bad.yaml").write_text("name: se\ninput: [b, c, h, w]\nnodes: {a: {op: nope}}\n")
    result = run("verify", "bad.yaml", "--json")
    assert result.status == 1 and "'nope'" in result.err


@pytest.mark.parametrize("args", [[], ["--all", "se"]], ids=str)
def test_some_specs_or_all(run, args):
    result = run("verify", *args)
    assert result.status == 2
    assert "give either specs or --all" in result.err


@pytest.mark.parametrize(
    ("args", "status"),
    [(["verify", "--help"], 0), (["verify", "sse"], 1), (["verify"], 2)],
    ids=str,
)
def test_help_and_mistakes_do_not_wait_for_torch(args, status, tmp_path):
    code = (
        "import sys\nfrom composer.cli import main\n"
        f"try:\n    main({args!r})\n"
        "except SystemExit as left:\n    print('torch' in sys.modules, left.code, file=sys.stderr)"
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={"PYTHONPATH": root, "PATH": ""},
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == f"False {status}"
