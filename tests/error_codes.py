"""What leads to each code: read from a table, and run in a folder of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from composer.errors import ComposerError, Diagnostic
from composer.explanations import HEAD, Explanation, explanations

TABLE = Path(__file__).with_name("error_codes.yaml")


@dataclass(frozen=True)
class Case:
    """An input that leads to a code, and exactly what is said of it.

    Attributes:
        code: of the message.
        kind: of the input: a spec, a command, or Python.
        input: the input itself.
        says: the whole text that is shown; a * stands for what differs between machines.
        files: what lies in the folder, by name.
        tested_in: instead of an input: the file of tests in which the code is met.
    """

    code: str
    kind: str
    input: str
    says: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    tested_in: str | None = None


def cases() -> dict[str, Case]:
    """Return the cases; a row without an input has that of the example that is explained."""
    known = explanations()
    rows = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {code: _case(code, row, known.get(code)) for code, row in rows.items()}


def _case(code: str, row: dict[str, Any], explained: Explanation | None) -> Case:
    kinds = [kind for kind in ("spec", "command", "python") if kind in row]
    kind = kinds[0] if kinds else explained.kind if explained else "spec"
    text = row[kind] if kinds else explained.example if explained else ""
    return Case(code, kind, text, row.get("says", ""), row.get("files", {}), row.get("tested_in"))


def said(case: Case) -> str:
    """Return all that is said of a case's input, in the current folder."""
    for name, content in case.files.items():
        Path(name).write_text(content, encoding="utf-8")
    run = {"spec": said_of_spec, "command": said_of_command, "python": said_of_python}[case.kind]
    return run(case.input)


def said_of_spec(text: str) -> str:
    from composer.graph.frontend import check_text, graph_of
    from composer.graph.passes import compile_graph
    from composer.graph.sizes import settings_at

    whole = text if text.startswith(("name:", "#", "-", "[")) else HEAD + "".join(
        f"  {line}\n" for line in text.splitlines()
    )  # fmt: skip
    problems: tuple[Diagnostic, ...]
    try:
        spec, problems = check_text(whole, "example.yaml")
        if spec is not None and not problems:  # what is known at a size alone
            compile_graph(graph_of(spec, settings_at(spec, 64, (14, 14), {})))
    except ComposerError as failure:
        problems = failure.diagnostics
    return "\n".join(problem.render() for problem in problems)


def said_of_command(text: str) -> str:
    import shlex

    from composer.cli import main

    said = io.StringIO()
    with (
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.suppress(SystemExit),
    ):
        main(shlex.split(text)[1:])
    return said.getvalue().rstrip()


def said_of_python(text: str) -> str:
    import timm
    import torch
    from torch import nn

    import composer

    names = {"composer": composer, "os": os, "torch": torch, "nn": nn, "timm": timm, "net": _net}
    try:
        exec(text, names)
    except ComposerError as failure:
        return str(failure)
    return ""


def _net() -> Any:
    made = importlib.util.spec_from_file_location("net", "net.py")
    assert made is not None
    assert made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    return module.tiny()
