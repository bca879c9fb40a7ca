# ruff: noqa: E501 - messages as they are printed
"""What a spec may cost is counted before it is made: the exact words, and no more than is allowed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from counted_calls import calls
from hostile_specs import HEAD, LAST, NODES, generated

from composer.graph.from_spec import graph_of
from composer.graph.frontend import check_text, load_spec
from composer.graph.graph import Graph, Settings
from composer.graph.growth import growth
from composer.graph.passes import compile_graph
from composer.graph.sizes import settings_at
from composer.language.budget import MAX_AXES, MAX_EXPANDED, MAX_PARAMETERS, MAX_REACH, shown
from composer.primitives import Spec

#: A text of one node after the head, and what is said of it.
REFUSED = {
    "repeats in repeats": (
        "  z: {op: repeat, times: 200, each: {op: repeat, times: 200, each: {op: gate}}}",
        """\
it.yaml:4:26: error[over-budget]: this comes to 40,201 nodes, and the limit is 1,501
    4 |   z: {op: repeat, times: 200, each: {op: repeat, times: 200, each: {op: gate}}}
      |                          ^^^
  help: use fewer repeats or specs: the limit is 1,500 more nodes than are written""",
    ),
    "steps of as many steps": (
        "  z: {op: repeat, times: 900, each: {op: repeat, times: i * i, each: {op: gate}}}",
        """\
it.yaml:4:26: error[over-budget]: this comes to at least 1,514 nodes, and the limit is 1,501
    4 |   z: {op: repeat, times: 900, each: {op: repeat, times: i * i, each: {op: gate}}}
      |                          ^^^
  help: use fewer repeats or specs: the limit is 1,500 more nodes than are written""",
    ),
    "a use, repeated": (
        "  z: {op: repeat, times: 5000, each: {op: use, spec: se}}",
        """\
it.yaml:4:26: error[over-budget]: this comes to 25,001 nodes, and the limit is 1,501
    4 |   z: {op: repeat, times: 5000, each: {op: use, spec: se}}
      |                          ^^^^
  help: use fewer repeats or specs: the limit is 1,500 more nodes than are written""",
    ),
    "a size": (
        "  z: {op: linear, over: c, out: 1e12}",
        """\
it.yaml:4:33: error[over-budget]: this comes to 1,000,000,000,000 values along one axis, and the limit is 2,147,483,647
    4 |   z: {op: linear, over: c, out: 1e12}
      |                                 ^^^^
  help: choose a smaller size""",
    ),
    "a dilation": (
        "  z: {op: conv2d, kernel: 3, dilation: 1000000000}",
        """\
it.yaml:4:40: error[over-budget]: this comes to 1,000,000,000 places, and the limit is 65,536
    4 |   z: {op: conv2d, kernel: 3, dilation: 1000000000}
      |                                        ^^^^^^^^^^
  help: choose a smaller size""",
    ),
    "a kernel and a dilation": (
        "  z: {op: conv2d, kernel: 1001, dilation: 1001}",
        """\
it.yaml:4:43: error[over-budget]: this comes to 1,002,001 places, and the limit is 65,536
    4 |   z: {op: conv2d, kernel: 1001, dilation: 1001}
      |                                           ^^^^
  help: choose a smaller kernel or dilation""",
    ),
    "parameters": (
        "  z: {op: parameter, axes: {i: 100000, j: 100000}, init: 0}",
        """\
it.yaml:4:6: error[over-budget]: this comes to 10,000,000,000 parameters, and the limit is 4,294,967,296
    4 |   z: {op: parameter, axes: {i: 100000, j: 100000}, init: 0}
      |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: choose smaller sizes, or share the weights""",
    ),
    "elements": (
        "  p: {op: parameter, axes: {i: 1000000}, init: 0}\n"
        "  q: {op: parameter, axes: {j: 1000000}, init: 0}\n"
        "  z: {op: mul, of: [p, q]}",
        """\
it.yaml:6:6: error[over-budget]: this comes to 1,000,000,000,000 elements, and the limit is 68,719,476,736
    6 |   z: {op: mul, of: [p, q]}
      |      ^^^^^^^^^^^^^^^^^^^^^
  help: pool, stride or split earlier, or choose smaller sizes""",
    ),
    "weights of the batch": (
        "  z: {op: norm, over: b}",
        """\
it.yaml:4:6: error[open-size]: 'z' would have weights for each sample of the batch 'b'
    4 |   z: {op: norm, over: b}
      |      ^^^^^^^^^^^^^^^^^^^
  help: the size of the batch changes from call to call; use another axis""",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_words(name: str) -> None:
    nodes, expected = REFUSED[name]
    spec, problems = check_text(f"{NODES}{nodes}\n", "it.yaml")
    assert spec is None
    assert "\n".join(problem.render() for problem in problems) == expected


@pytest.mark.parametrize(
    "text",
    [
        f"{NODES}  z: {{op: repeat, times: {MAX_EXPANDED}, each: {{op: gate}}}}\n",
        f"{NODES}  z: {{op: conv2d, kernel: 3, padding: {MAX_REACH}}}\n",
        f"{NODES}  z: {{op: parameter, axes: {{i: {MAX_PARAMETERS // 4}, j: 4}}, init: 0}}\n",
        f"{NODES}  z: {{op: norm, fn: l2, over: [b, c]}}\n",  # without weights
        f"name: it\ninput: [{', '.join(f'a{i}' for i in range(MAX_AXES))}]\nnodes:\n{LAST}",
    ],
    ids=["nodes", "padding", "parameters", "batch", "axes"],
)
def test_as_much_as_there_may_be(text: str) -> None:
    spec, problems = check_text(text, "it.yaml")
    assert spec is not None, problems


def test_axes() -> None:
    names = ", ".join(f"a{i}" for i in range(MAX_AXES + 1))
    _, problems = check_text(f"name: it\ninput: [{names}]\nnodes:\n{LAST}", "it.yaml")
    assert [p.message for p in problems] == ["expected at most 25 values, but got 26"]
    parts = "".join(
        f"  n{i}: {{op: parameter, axes: {{a{i}: 2}}, init: 0}}\n" for i in range(MAX_AXES - 3)
    )
    text = f"{NODES}{parts}  z: {{op: add, of: [input, {', '.join(f'n{i}' for i in range(22))}]}}\n"
    _, problems = check_text(text, "it.yaml")
    assert [(p.code, p.message) for p in problems] == [
        ("over-budget", "this comes to 26 axes, and the limit is 25")
    ]


def test_very_many_problems_end_with_a_word_of_it() -> None:
    nodes = "".join(f"  n{i}: {{op: gat}}\n" for i in range(1_500))
    _, problems = check_text(NODES + nodes, "it.yaml")
    assert len(problems) == 1_001
    assert {p.code for p in problems} == {"unknown-op", "over-budget"}
    (last,) = (p for p in problems if p.code == "over-budget")
    assert last.message == "there are more than 1,000 problems; the rest are not reported"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


#: Specs of several files, and the first thing said that is no consequence of another.
CHAINS = {
    "uses in a chain of 120": "this comes to at least 21 nested specs, and the limit is 20",
    "extends in a chain of 120": "this comes to at least 21 nested specs, and the limit is 20",
    "extends of a large one": "this comes to 88,036 values, including those of the specs it extends, and the limit is 80,000",
    "twice each": "this comes to 1,534 nodes, and the limit is 1,502",
    "two ways each": "this comes to at least 101 specs to open, and the limit is 100",
    "many specs": "this comes to at least 101 specs to open, and the limit is 100",
}


@pytest.mark.quick(3, then="long")
@pytest.mark.parametrize("name", CHAINS)
def test_specs_of_specs(name: str, folder: Path) -> None:
    files = generated()[name]
    for file, text in files.items():
        Path(folder, file).write_text(text, encoding="utf-8")
    spec, problems = check_text(files["it.yaml"], "it.yaml")
    assert spec is None
    assert CHAINS[name] in [p.message for p in problems]


def test_a_short_chain_is_sound(folder: Path) -> None:
    for file, text in (files := generated()["uses in a chain of 15"]).items():
        Path(folder, file).write_text(text, encoding="utf-8")
    spec, problems = check_text(files["it.yaml"], "it.yaml")
    assert spec is not None, problems
    assert len(compile_graph(graph_of(spec, Settings({"c": 8}))).nodes) == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [(12_000, "12,000"), (10**15, "1e+15"), (3 * 10**40, "3e+40"), (10**400, "more than 1e+300")],
)
def test_numbers_are_readable(number: int, text: str) -> None:
    assert shown(number) == text


def _at(spec: Spec, channels: int, size: tuple[int, int]) -> Graph:
    graph = graph_of(spec, settings_at(spec, channels, size, {}))
    return compile_graph(graph, as_written=True)


def test_the_growth_of_very_many_nodes_is_not_followed() -> None:
    spec = load_spec(NODES + "".join(f"  n{i}: {{op: gate}}\n" for i in range(2_001)))
    grown = growth(_at(spec, 8, (4, 4)), (4, 4))
    assert grown.lines() == ["growth of the cost not computed: 2,001 nodes, and the limit is 2,000"]
    assert grown.as_json()["parameters"] is None


def test_the_growth_of_very_many_kinds_is_not_followed() -> None:
    nodes = "".join(f"  n{i}: {{op: linear, over: c, out: {i + 1}}}\n" for i in range(201))
    spec = load_spec(NODES + nodes)
    grown = growth(_at(spec, 8, (4, 4)), (4, 4))
    assert grown.lines() == [
        "growth of the cost not computed: 201 kinds of nodes, and the limit is 200"
    ]
    assert grown.as_json()["parameters"] is None


def test_nodes_that_cost_the_same_are_counted_each() -> None:
    each = "{op: linear, over: c, bias: false}"
    spec = load_spec(f"{NODES}  z: {{op: repeat, times: 300, each: {each}}}\n")
    grown = growth(_at(spec, 8, (4, 4)), (4, 4))
    assert grown.parameters == "300c²"
    assert len(grown._alike) == 1


def test_a_file_without_end_is_no_spec() -> None:
    _, problems = check_text(f"{HEAD}nodes:\n  z: {{op: use, spec: /dev/zero}}\n{LAST}", "it.yaml")
    assert [p.code for p in problems] == ["unknown-spec"]
    _, problems = check_text(f"{HEAD}nodes:\n  z: {{op: use, spec: {'s' * 9000}}}\n", "it.yaml")
    assert [p.code for p in problems] == ["unknown-spec"]


#: A few of the hostile specs, which `python tests/hostile.py` gives to every command.
SOME = ("alias bomb", "40,000 axes", "40,000 keys", "nodes of unknown op", "long sizes that meet")


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", SOME)
def test_a_few_hostile_specs_are_answered_soon(name: str) -> None:
    count = calls(lambda: check_text(generated()[name]["it.yaml"], "it.yaml"))
    assert count < 5_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["check", "show", "render svg", "render dot", "render html", "plan", "load"]
)
def test_every_hostile_spec(command: str, request: pytest.FixtureRequest) -> None:
    """None ends a command by anything but an answer; the figures are printed."""
    every = str(request.config.getoption("one_in"))
    script = str(Path(__file__).parent / "hostile.py")
    run = [sys.executable, script, "--commands", command, "--one-in", every]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert " 0 faults" in done.stdout, done.stdout
