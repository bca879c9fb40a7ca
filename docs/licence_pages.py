"""Writes docs/licences.md from what is installed: python docs/licence_pages.py."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
HEAD = """\
# Licences of the dependencies

Composer is under Apache-2.0. It contains the fonts Arimo Regular and Bold (SIL Open Font License
1.1, `composer/drawing/fonts/OFL.txt`) and no other third-party code or data. These are the
distributions that it is installed with, each with the licence declared in its metadata. svglib is
under the LGPL: it is imported unmodified, and not included. graphviz-pure is a separate program,
which is run. A wheel may contain more, such as torch's numerical libraries, and lists their
licences beside its metadata.

This page is written by `python docs/licence_pages.py` from `pyproject.toml` and the metadata of
the installed distributions.
"""


class Use(NamedTuple):
    """What Composer uses a distribution for, and the module that is imported, if one is."""

    module: str | None
    what: str


USES = {
    "click": Use("click", "the command line"),
    "graphviz": Use("graphviz", "writes and quotes DOT"),
    "graphviz-pure": Use(None, "the program `dot`, which does the layout"),
    "networkx": Use("networkx", "order, ancestors and cycles of a spec's graph"),
    "pillow": Use("PIL", "reads an example image, writes PNG"),
    "pydantic": Use("pydantic", "the fields of a spec and of a recipe"),
    "pypdfium2": Use("pypdfium2", "PDF to PNG"),
    "pyyaml": Use("yaml", "reads and writes YAML"),
    "reportlab": Use("reportlab", "PDF"),
    "rich": Use("rich", "progress and colours of the command line"),
    "safetensors": Use("safetensors", "weights"),
    "svglib": Use("svglib", "SVG to PDF"),
    "timm": Use("timm", "backbones, and the preprocessing of their images"),
    "torch": Use("torch", "modules, fx, fake tensors, the compiler"),
    "torchvision": Use("torchvision", "backbones"),
    "transformers": Use("transformers", "extra `hf`: backbones"),
    "onnx": Use("onnx", "extra `export`: the ONNX format"),
    "onnxruntime": Use(None, "extra `export`: runs the exported model to verify it"),
    "onnxscript": Use(None, "extra `export`: used by torch's ONNX exporter"),
    "datasets": Use("datasets", "extra `study`: data sets that are saved to disk"),
    "optuna": Use("optuna", "extra `study`: successive halving"),
    "scikit-learn": Use("sklearn", "extra `study`: the digits"),
    "scipy": Use("scipy", "extra `study`: Student's t"),
    "ray": Use("ray", "extra `ray`: runs on a cluster"),
}


def dependencies() -> dict[str, str]:
    """Return the distributions that Composer is installed with, and their bounds, as written."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    ours = ("hf", "export", "study", "ray")
    written = [*project["dependencies"], *(one for extra in ours for one in extras[extra])]
    found = [re.fullmatch(r"([\w.-]+)(.*)", one) for one in written]
    return {one[1]: one[2] for one in found if one is not None}


def licence(name: str) -> str:
    """Return the licence that a distribution says of itself, in one line."""
    said = metadata(name)
    if expression := said.get("License-Expression"):
        return expression
    line = (said.get("License") or "").strip().partition("\n")[0]
    classified = [c for c in said.get_all("Classifier") or [] if c.startswith("License ::")]
    if classified and (not line or len(line) > 30):
        return classified[0].rpartition(" :: ")[2]
    return line


def page() -> str:
    """Return the text of the page."""
    rows = [
        f"| {name} | `{bound}` | {licence(name)} | {USES[name].what} |"
        for name, bound in dependencies().items()
    ]
    table = ["| distribution | versions | licence | what for |", "| --- | --- | --- | --- |", *rows]
    return "\n".join([HEAD, *table, ""])


if __name__ == "__main__":
    Path(__file__).with_name("licences.md").write_text(page(), encoding="utf-8")
