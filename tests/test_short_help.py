"""What `composer` alone prints: a few examples, on stdout, with exit status 0."""

from __future__ import annotations

import shlex

import pytest
from command import Command

from composer.cli import _COMMANDS, composer

SHORT = """\
Composer: write an attention mechanism as a short YAML spec; put it inside any vision backbone.

  composer insert --spec cbam --into resnet50   put a mechanism into a backbone, verify, save
  composer new my_attention --from se           begin a spec of your own
  composer check my_attention.yaml              find every problem of a spec, with its line
  composer sites resnet50                       show where in a backbone something can go
  composer render cbam -o cbam.pdf              draw a mechanism, or a composed model

composer --help lists every command, composer COMMAND --help explains one.
"""
EXAMPLES = [line[2:48].strip() for line in SHORT.splitlines() if line.startswith("  ")]


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


@pytest.mark.parametrize("args", [(), ("--traceback",)], ids=str)
def test_composer_alone(args, run):
    result = run(*args)
    assert (result.status, result.out, result.err) == (0, SHORT, "")


@pytest.mark.parametrize("args", [("nope",), ("--nope",), ("insert",)], ids=str)
def test_what_is_wrong_stays_wrong(args, run):
    result = run(*args)
    assert (result.status, result.out) == (2, "")


def test_help_lists_every_command(run):
    printed = run.fine("--help").out
    assert all(f"\n  {name} " in printed for name in _COMMANDS)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_parses(example):
    word, name, *args = shlex.split(example)
    command = composer.get_command(None, name)
    assert word == "composer" and command is not None
    command.make_context(name, args)  # which refuses an unknown option


def test_the_light_examples_run_in_order(run):
    for example in EXAMPLES:
        if example.split()[1] in ("new", "check"):
            run.fine(*shlex.split(example)[1:])
