"""Every command and line of code in the README and its pages runs, and prints what they say."""

from __future__ import annotations

import ast
import re
import shlex
import statistics
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

import composer
from composer.cli import _COMMANDS, main
from composer.cli import composer as group
from composer.graph.frontend import check_text, load_spec

ROOT = Path(__file__).resolve().parents[1]
#: In the order in which they are followed: what a page writes, those after it may use.
NAMES = (
    "README.md", "docs/language.md", "docs/cli.md", "docs/recipes.md", "docs/backbones.md",
    "docs/python.md", "docs/pictures.md", "docs/performance.md",
)  # fmt: skip
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
PROSE = {
    name: text.partition("<!-- What follows is written by ")[0] for name, text in PAGES.items()
}
README = PAGES["README.md"]
SET_UP = re.findall(r"^python3 -m venv.*$", README, re.MULTILINE)
#: Pages that other tests follow, or that are made by a script.
FOLLOWED_ELSEWHERE = {
    "docs/errors.md": "test_error_codes.py", "docs/export.md": "test_export.py",
    "docs/extending.md": "test_extending_page.py", "docs/licences.md": "test_licences.py",
    "docs/ops.md": "test_authoring.py", "docs/quantisation.md": "test_quantised.py",
    "docs/study.md": "test_study_file.py", "docs/tutorial.md": "test_tutorial.py",
}  # fmt: skip


def blocks(kind: str, *pages: str) -> list[str]:
    pattern = rf"^```{kind}\n(.*?)^```$"
    return [
        block
        for name in pages or NAMES
        for block in re.findall(pattern, PROSE[name], re.MULTILINE | re.DOTALL)
    ]


def commands(page: str) -> list[str]:
    """The `composer` commands of a page in order, of the README that of the main job first."""
    lines = [line for block in blocks("sh", page) for line in block.splitlines()]
    first = re.findall(r"(composer insert .*)", SET_UP[0]) if page == "README.md" else []
    return first + [line for line in lines if line.startswith("composer ")]


EVERY = [(page, command) for page in NAMES for command in commands(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the example writes: weights for the backbone, and a photograph."""
    import skimage.data
    from PIL import Image

    path = tmp_path_factory.mktemp("readme")
    model = timm.create_model("tf_efficientnet_lite0")
    save_file(model.state_dict(), path / "lite0.safetensors")
    Image.fromarray(skimage.data.chelsea()).save(path / "cat.png")
    return path


def test_two_commands_do_all_the_set_up() -> None:
    assert len(SET_UP) == 2
    assert SET_UP[0].endswith("composer insert --spec cbam --into resnet50")
    assert SET_UP[1].endswith(".venv/bin/pytest")


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) < 200
    linked = set(re.findall(r"\]\(([\w./]+)\)", README))
    assert all((ROOT / name).exists() for name in linked)
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    unlinked = {"docs/licences.md"}  # SECURITY.md and CONTRIBUTING.md link it
    assert pages - linked <= unlinked
    assert pages - set(NAMES) - {"docs/glossary.md"} == set(FOLLOWED_ELSEWHERE)
    assert all((ROOT / "tests" / name).is_file() for name in FOLLOWED_ELSEWHERE.values())


@pytest.mark.parametrize("name", [n for n in NAMES if n != "README.md"])
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PROSE[name]):
        file, _, anchor = link.partition("#")
        target = (ROOT / "docs" / file).resolve() if file else ROOT / name
        assert target.exists(), link
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in heads}


@pytest.mark.parametrize(("page", "command"), EVERY, ids=[command for _, command in EVERY])
def test_a_command_parses(page: str, command: str) -> None:
    """That it runs is the slow test's; an option that is renamed goes red here."""
    _, name, *args = shlex.split(command)
    found = group.get_command(None, name)  # type: ignore[arg-type]
    assert found is not None, page
    found.make_context(name, args)


@pytest.mark.parametrize("page", NAMES)
def test_code_names_what_there_is(page: str) -> None:
    for block in blocks("python", page):
        tree = ast.parse(block)
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "composer"
        }
        assert used <= set(composer.__all__)


@pytest.mark.long
def test_commands_and_python_run_in_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    done: set[str] = set()
    for page in NAMES:
        for command in commands(page):
            if command in done:  # on an earlier page
                continue
            status = 0
            try:
                main(shlex.split(command)[1:])
            except SystemExit as exit_:
                status = exit_.code
            printed = capsys.readouterr()
            fine = (0, 1, None) if command.startswith("composer diff") else (0, None)
            assert status in fine, f"{page}: {command}\n{printed.err}"
            assert printed.out, command
            if not done:  # the main job
                _shows(blocks("text", "README.md")[0], printed.out)
            done.add(command)
        for block in blocks("python", page):
            torch.manual_seed(0)
            exec(compile(block, page, "exec"), {})
    assert (folder / "resnet50-cbam" / "model.safetensors").is_file()


def _shows(block: str, printed: str) -> None:
    """Assert that the lines of a block were printed in this order, with others where it has …."""
    lines = iter(printed.splitlines())
    for part in block.split("…\n"):
        shown = part.splitlines()
        assert next((line for line in lines if line == shown[0]), None) is not None, shown[0]
        assert [next(lines) for _ in shown[1:]] == shown[1:]


def test_what_is_shown_is_compared() -> None:
    _shows("a\n…\nd\ne\n", "a\nb\nc\nd\ne\nf\n")
    with pytest.raises(AssertionError):
        _shows("a\n…\ne\nd\n", "a\nb\nc\nd\ne\nf\n")
    with pytest.raises(AssertionError):
        _shows("a\nc\n", "a\nb\nc\n")


def test_every_command_has_a_row_and_every_function() -> None:
    table = PAGES["docs/cli.md"].split("\n`composer` alone")[0]
    assert sorted(re.findall(r"^\| \[?`composer ([a-z]+)", table, re.MULTILINE)) == sorted(
        _COMMANDS
    )
    rows = re.findall(r"^\| (`.*?) \|", PAGES["docs/python.md"], re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(composer.__all__)


def test_the_specs_of_the_pages() -> None:
    shown = [*blocks("yaml", "README.md"), blocks("yaml", "docs/language.md")[0]]
    shipped = load_spec("se")
    for spec in map(load_spec, shown):
        assert list(spec.nodes) == list(shipped.nodes)
        assert spec.insert == shipped.insert
    assert len(shown) == 2
    assert load_spec(blocks("yaml", "docs/language.md")[1]).extends == "se"


def test_the_message_of_the_page_is_what_is_printed() -> None:
    (shown,) = blocks("text", "docs/language.md")
    text = (
        "name: gate\ninput: [b, c, h, w]\nnodes:\n  squeeze: {op: pool, over: [h, w]}\n"
        "  excite:  {op: mlp, over: c, hidden: c}\n  gate:    {op: gate, x: excit}\n"
        "  out:     {op: reweight, x: input, by: gate}\n"
    )
    _, problems = check_text(text, "gate.yaml")
    assert "\n".join(p.render() for p in problems) + "\n" == shown


def test_what_the_page_says_of_an_op_of_another_library(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (shown,) = blocks("sh-session", "docs/language.md")
    command, _, printed = shown.partition("\n")
    with pytest.raises(SystemExit):
        main(shlex.split(command.removeprefix("$ composer")))
    assert capsys.readouterr().err == printed


def test_the_specs_named_are_those_shipped() -> None:
    from composer.language.library import shipped_names

    start = README.index("Seventy specs ship")
    named = re.findall(r"`(\w+)`", README[start : README.index("\n## ", start)])
    assert sorted(named) == shipped_names()
    assert len(named) == 70
    nodes = [len(load_spec(name).nodes) for name in named]
    assert statistics.median(nodes) == 8


def test_a_spec_is_a_page() -> None:
    from composer.language.library import shipped_folder

    for file in shipped_folder().glob("*.yaml"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 40, file.name
