"""Draw every shipped spec, and list the pictures in specs/README.md.

    python examples/gallery.py

The pictures in the repository are the output of this script, which a test checks.
"""

from __future__ import annotations

import sys
from pathlib import Path

import composer
from composer.language.library import shipped_names

ROOT = Path(__file__).resolve().parents[1]
PAGE = "README.md"

HEAD = """\
# The shipped specs

Each picture is drawn from its YAML by `composer render`, at 256 channels and a map of 14×14 (of
tokens, 196). The bold road is the map that is reweighted; a colour stands for a kind of op. All of
them are made anew by `python examples/gallery.py`.
"""


def main(folder: Path) -> None:
    """Write the page and the pictures below a folder."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [HEAD]
    for name in shipped_names():
        spec = composer.load_spec(name)
        composer.render(spec, pictures / f"{name}.svg", force=True)
        told = " · ".join(text for text in (f"[`{name}`]({name}.yaml)", spec.source) if text)
        parts.append(f"## {spec.title}\n\n{told}\n\n![{spec.title}](pictures/{name}.svg)\n")
    (folder / PAGE).write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "specs")
