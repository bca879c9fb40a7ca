"""What helps people: the pages and forms of the project name what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from test_layers import LAYERS

import composer
from composer.cli import _COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_the_table_of_layers_is_that_of_the_test() -> None:
    table = ARCHITECTURE.split("| layer | holds |")[1].split("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \| .+ \|$", table, re.MULTILINE)) == LAYERS


def test_every_package_is_a_layer_that_is_named() -> None:
    parts = {path.name for path in (ROOT / "composer").iterdir() if (path / "__init__.py").exists()}
    named = set(re.findall(r"^\| `(\w+)` \|", ARCHITECTURE, re.MULTILINE))
    assert len(parts) >= 20
    assert parts - named == set()


@pytest.mark.parametrize("page", [ARCHITECTURE, CONTRIBUTING], ids=["architecture", "contributing"])
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", page)
    assert len(links) > 1
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_file_that_contributing_names_is_there() -> None:
    named = set(re.findall(r"(?:composer|docs|tests|examples|specs)/[\w/.]+\.\w+", CONTRIBUTING))
    new = {name for name in named if re.search(r"NAME|FORMAT", name)}  # that a reader writes
    assert len(named - new) > 30
    assert [name for name in sorted(named - new) if not (ROOT / name).exists()] == []
    folders = re.findall(r"`((?:composer|tests)/[\w/]+/)`", CONTRIBUTING)
    assert folders and all((ROOT / folder).is_dir() for folder in folders)


def test_the_citation() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(found)  # the required fields
    assert found["cff-version"] == "1.2.0" and found["type"] == "software"
    assert found["authors"] and all(set(author) == {"name"} for author in found["authors"])
    assert str(found["version"]) == composer.__version__ == PROJECT["project"]["version"]
    assert found["license"] == PROJECT["project"]["license"]
    assert found["abstract"] == PROJECT["project"]["description"]


def test_each_commit_is_linted_and_formatted_by_the_same_ruff() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    hooks = [hook for repo in yaml.safe_load(text)["repos"] for hook in repo["hooks"]]
    assert [hook["entry"].split()[:2] for hook in hooks] == [["ruff", "check"], ["ruff", "format"]]
    dev = PROJECT["project"]["optional-dependencies"]["dev"]
    wanted = [one for one in dev if one.startswith("ruff")]
    assert [hook["additional_dependencies"] for hook in hooks] == [wanted, wanted]


def test_there_are_three_forms() -> None:
    assert [path.stem for path in FORMS] == ["backbone", "bug", "config", "mechanism"]


@pytest.mark.parametrize("path", [p for p in FORMS if p.stem != "config"], ids=lambda p: p.stem)
def test_a_form(path: Path) -> None:
    """By GitHub's rules of issue forms: a key that it does not know makes it show no form."""
    text = path.read_text(encoding="utf-8")
    form = yaml.safe_load(text)
    assert set(form) == {"name", "description", "labels", "body"}
    ids = [part["id"] for part in form["body"]]
    assert len(ids) == len(set(ids))
    for part in form["body"]:
        assert part["type"] in {"textarea", "input", "dropdown"}
        assert set(part) <= {"type", "id", "attributes", "validations"}
        more = {"textarea": {"render"}, "input": set(), "dropdown": {"options"}}[part["type"]]
        known = {"label", "description", "placeholder", *more}
        assert set(part["attributes"]) <= known and part["attributes"]["label"]
        assert set(part.get("validations", {})) <= {"required"}
    assert any(part.get("validations") == {"required": True} for part in form["body"])
    assert set(re.findall(r"`composer ([a-z]+)", text)) <= set(_COMMANDS)
