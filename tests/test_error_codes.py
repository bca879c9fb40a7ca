"""Every code of a message: found in the source, explained, and met with its exact text."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import warnings
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click
import pytest
from error_codes import Case, cases, said
from found_codes import found_codes

from composer.cli import composer as commands
from composer.cli import main
from composer.errors import ComposerError
from composer.explanations import explain, explanations

ROOT = Path(__file__).parents[1]
#: The type that an expression's problem has while pydantic carries it; what is shown is its own.
CARRIED = {"expression"}
#: What is made of a word that is known when it happens.
MADE = {"forward-failed", "compiled-failed", "training-failed", "inference-failed"}
#: Calls that hand on the code of another message; a new one has its codes looked at.
HANDED_ON = {
    "artifact/compare.py: error(f'{running.mode}-failed')": {"inference-failed", "training-failed"},
    "artifact/run.py: error(f'{what}-failed')": {
        "forward-failed", "training-failed", "compiled-failed"},
    "cli/insert_command.py: _need(code)": {"weights", "image", "recipe"},
    "cli/insert_command.py: Diagnostic(code)": {"weights", "image", "recipe"},
    "models/open.py: Diagnostic(CODE)": {"untrusted-code"},
    "primitives/constant.py: AxisProblem(code)": {"no-value", "value-too-large"},
    **{call: set[str]() for call in (
        "artifact/held_weights.py: Diagnostic(said.code)",
        "errors.py: Diagnostic(code)",
        "graph/costs.py: Diagnostic(problem.code)",
        "graph/frontend.py: Diagnostic(d.code)",
        "graph/params.py: Diagnostic(failure.code)",
        "graph/passes/bind.py: Diagnostic(failure.code)",
        "graph/passes/bind.py: Diagnostic(problem.code)",
        "graph/passes/check_placing.py: Diagnostic(failure.code)",
        "graph/passes/infer_axes.py: AxisProblem(problem.code)",
        "graph/passes/infer_axes.py: Diagnostic(problem.code)",
        "graph/passes/use.py: AxisProblem(problem.code)",
        "graph/places.py: ExpressionError(problem.code)",
        "language/expressions.py: ExpressionError(code)",
        "language/reader.py: Diagnostic(code)",
        "language/reader.py: say(str(context['code']))",
        "language/source.py: Diagnostic(code)",
        "lifting/lift.py: Diagnostic('')",
        "lower/emitter.py: Diagnostic(problem.code)",
        "primitives/constant.py: without_value(failure.code)",
        "study/read.py: Diagnostic(code)",
    )},
}  # fmt: skip

KNOWN = explanations()
CASES = cases()


# ------------------------------------------------------------------------------- none is missing


@pytest.mark.long
def test_each_code_is_explained_and_has_a_case() -> None:
    found = (set(found_codes().codes) - CARRIED) | MADE
    assert set(KNOWN) == found
    assert set(CASES) == found


@pytest.mark.long
def test_calls_that_hand_a_code_on_are_known() -> None:
    found = set(found_codes().handed_on)
    assert found == set(HANDED_ON)
    assert set().union(*HANDED_ON.values()) <= set(KNOWN)


@pytest.mark.parametrize(
    ("text", "codes", "handed_on"),
    [
        ('error("a-b", "x")', ["a-b"], []),
        ('Diagnostic(code="utf-8")', ["utf-8"], []),
        ('c = "a" if x else "b"\nDiagnostic(c, "x")', ["a", "b"], []),
        ('m, c = "x", "a"\nDiagnostic(c, m)', ["a"], []),
        ("Diagnostic(d.code, d.message)", [], ["it.py: Diagnostic(d.code)"]),
        ("Diagnostic(*given)", [], ["it.py: Diagnostic(?)"]),
        ('def no(code: str, m):\n    ...\nno("a", 1)', ["a"], []),
        ('def no(m, code: str):\n    ...\nno(1, code="a")', ["a"], []),
        ('error("Not a code", "x")', [], ["it.py: error('Not a code')"]),
        ('print("a-b")', [], []),
    ],
)
def test_how_codes_are_found(
    text: str, codes: list[str], handed_on: list[str], tmp_path: Path
) -> None:
    (tmp_path / "it.py").write_text(text)
    found = found_codes(tmp_path)
    assert sorted(found.codes) == codes
    assert found.handed_on == handed_on


# --------------------------------------------------------------------------------- the exact text


def _marks(case: Case) -> Any:
    """Those that need torch, or make a model, are run as long, but for the first few."""
    quick = case.kind == "spec" or case.code in QUICK
    return pytest.param(case, id=case.code, marks=[] if quick else [pytest.mark.long])


#: Commands that load no torch.
QUICK = {"unknown-spec", "no-match", "unknown-param", "usage", "unknown-format", "output",
         "not-a-file", "unknown-code", "drawn", "study", "results"}  # fmt: skip


@pytest.mark.parametrize("case", [_marks(c) for c in CASES.values() if c.tested_in is None])
def test_the_text(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.files.get("net.py") == "" or "net.py" in case.input or "net()" in case.input:
        from command import NET

        (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(action="ignore"):
        found = said(case).replace(str(tmp_path), "*")
    wanted = case.says.rstrip()
    assert found == wanted or fnmatchcase(found, re.sub(r"[\[\]?]", "?", wanted))
    assert f"[{case.code}]" in found


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.tested_in], ids=lambda c: c.code)
def test_where_else_it_is_met(case: Case) -> None:
    """What needs a library that is missing, or more than a few lines, has tests of its own."""
    assert case.tested_in is not None
    text = (ROOT / case.tested_in).read_text(encoding="utf-8")
    assert re.search(rf"\[{case.code}(\\\\)?\]|[\"']{case.code}[\"']", text)


@pytest.mark.parametrize("one", KNOWN.values(), ids=KNOWN)
def test_an_explanation_is_whole(one: Any) -> None:
    assert re.fullmatch(r"[A-Z].*\.", one.means), one.means
    assert re.fullmatch(r"[A-Z].*\.", one.way_out), one.way_out
    if one.kind == "command":
        program, name, *words = shlex.split(one.example)
        command = commands.get_command(click.Context(commands), name)
        assert program == "composer"
        assert command is not None
        options = {word for option in command.params for word in option.opts}
        assert {word for word in words if word.startswith("-")} <= options
    if one.kind == "python":
        ast.parse(one.example)
    assert list(KNOWN) == sorted(KNOWN)


# ----------------------------------------------------------------------------------- the command


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(list(args))
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


AXIS = """\
unknown-axis: A node names an axis that its value does not have.

example
    out: {op: pool, over: [h, z]}

way out: Use one of the axes that the message lists.
"""


@pytest.mark.parametrize("word", ["unknown-axis", "[unknown-axis]", "error[unknown-axis]:"])
def test_explain(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "explain", word) == (0, AXIS, "")


def test_explain_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "explain", "unknown-axis", "--json")
    assert status == 0
    assert json.loads(out) == {
        "version": 1, "code": "unknown-axis",
        "means": "A node names an axis that its value does not have.",
        "kind": "spec", "example": "out: {op: pool, over: [h, z]}",
        "way_out": "Use one of the axes that the message lists.",
    }  # fmt: skip
    status, out, _ = run(capsys, "explain", "--json")
    assert [one["code"] for one in json.loads(out)["codes"]] == list(KNOWN)


def test_all_codes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "explain")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[2:]] == list(KNOWN)
    assert "unknown-axis          A node names an axis that its value does not have.\n" in out


@pytest.mark.parametrize(
    ("word", "way_out"),
    [("unknown-axs", "did you mean 'unknown-axis'? 'composer explain' lists all codes"),
     ("zzz", "'composer explain' lists all codes")],
)  # fmt: skip
def test_a_code_that_there_is_not(
    word: str, way_out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = f"error[unknown-code]: no message has the code {word!r}\n  help: {way_out}\n"
    assert run(capsys, "explain", word) == (1, "", wanted)
    with pytest.raises(ComposerError):
        explain(word)


def test_explain_loads_no_torch() -> None:
    code = (
        "import sys\nfrom composer.cli import main\n"
        "try:\n    main(['explain', 'weights'])\nexcept SystemExit:\n    pass\n"
        "print(*[n for n in ('torch', 'timm', 'numpy', 'networkx', 'rich') "
        "if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == "\n"


def test_the_page_is_the_data() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from error_pages import page  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == page()


# ------------------------------------------------------------------------------ an internal fault


class _OfLines:
    """Text by its lines' first words."""

    def __init__(self, text: str) -> None:
        self.lines = dict(line.strip().split(None, 1) for line in text.splitlines()[2:])


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*args: object) -> None:
        raise ZeroDivisionError("a\x1b[31m\nb")

    monkeypatch.setattr("composer.language.library.find_spec", fails)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_a_fault_says_what_to_send(
    broken: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, out, err = run(capsys, "check", "a b.yaml")
    assert (status, out) == (1, "")
    assert err.startswith(
        "error[fault]: ZeroDivisionError: a\\x1b[31m\n"
        "  help: this is a fault of Composer; please send the lines below and the file to "
        "Composer's authors\n"
    )
    facts = _OfLines(err).lines
    assert list(facts) == ["composer", "command", "platform", "libraries", "traceback"]
    assert facts["command"] == "composer check 'a b.yaml'"
    assert re.search(r"Python 3\.\d+", facts["platform"])
    assert re.match(r"torch \d.*, timm \d", facts["libraries"])
    file = Path(facts["traceback"])
    assert file.parent == tmp_path
    assert file.stat().st_mode & 0o077 == 0
    text = file.read_text()
    assert "Traceback (most recent call last):" in text
    assert "command: composer check 'a b.yaml'" in text
    assert "\x1b" not in text
    assert "Traceback" not in err


@pytest.mark.parametrize("how", ["variable", "before", "behind"])
def test_the_traceback_is_shown_to_who_asks(
    how: str, broken: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "variable":
        monkeypatch.setenv("COMPOSER_TRACEBACK", "1")
    words = {"before": ("--traceback", "check", "se"), "behind": ("check", "se", "--traceback")}
    status, _, err = run(capsys, *words.get(how, ("check", "se")))
    assert status == 1
    assert err.startswith("Traceback (most recent call last):\n")
    assert "\nerror[fault]: ZeroDivisionError: " in err
    assert "\x1b" not in err


def test_a_fault_for_machines(broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "check", "se", "--json")
    found = json.loads(out)
    assert status == 1
    assert found["errors"][0]["code"] == "fault"
    assert set(found["report"]) == {"composer", "command", "platform", "libraries", "traceback"}


def test_a_fault_where_no_file_can_be_written(
    broken: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    _, _, err = run(capsys, "check", "se")
    assert "  help: this is a fault of Composer; please send the lines below to Composer's " \
           "authors, with what --traceback shows\n" in err  # fmt: skip
    assert _OfLines(err).lines["traceback"] == "not written: No such file or directory"
