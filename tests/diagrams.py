"""Diagrams made by hand for the tests of what writes them, and texts that could break a syntax."""

from __future__ import annotations

from itertools import pairwise

from composer.drawing.diagram import Box, Diagram, Group, Link

HOSTILE = (
    '"quoted" \'one\'', "`tick` ```", "</script><b>x</b>", "end", "[a](b){c}", "]", "}", "{", "|a|",
    "# head #quot; #35;", "style x:y#a;", "classDef a:b#c;", ":::end", "%% comment", "---",
    "%%{init: {'theme': 'dark'}}%%", "-- x -->|y| z", "graph TD; a-->b", "click b0 call()",
    "&lt; &amp; &#35;", "ﬂ°°35¶ß", "fa:fa-ban", "1. item", "-x .5 y-", "* item", "a_b~c^d & 100 %",
    "\\alpha \\n $x^2$ $$x$$", "\\end{tikzpicture}", "\\input{/etc/passwd}", "^^M ^^5c", "[2pt]",
    "?` !` `` '' -- --- << >> ,,", "two\nlines\r\nand\u2028more", "\x00\x07\x1b[31m", "\ud800",
    "emoji 😀 👩‍🔬", "עברית \u202eturned\u202c", "中文", "ğüşİ č ł ø ß ð þ «x»", "x\u0301\u0301",
    "σ Σ √ − ′ x₁ xᵢ wᵀ ⊙ ◐ ² × ÷ ≤ →", "", " ", "x" * 200,
)  # fmt: skip


def group(name: str, *items: Box | Group, title: str = "", small: tuple[str, ...] = ()) -> Group:
    return Group(name, title or name, items, Box(f"{name} closed", "plain", name), small)


def chain(*names: str, road: bool = False) -> tuple[Link, ...]:
    return tuple(Link(a, b, road=road) for a, b in pairwise(names))


ONE = Diagram("one", (), (Box("only", "layer", "only"),), ())

SE = Diagram(
    "Squeeze-and-Excitation",
    ("se · arXiv:1709.01507", "8,464 parameters"),
    (
        Box("in", "end", "input"),
        Box("squeeze", "reduce", "squeeze", ("mean over h, w: Σ x / hw",)),
        Box("excite", "layer", "excite", ("W₂ relu(W₁ x)",), ("8,464 params",)),
        Box("gate", "gate", "gate", ("sigmoid: σ(x)",)),
        Box("out", "reweight", "×"),
        Box("end", "end", "output"),
    ),
    (
        *chain("in", "squeeze", "excite", "gate", "out"),
        Link("in", "out", ("b c h w", "256×14×14"), road=True),
        Link("out", "end", road=True),
    ),
    ("off under these params: nothing",),
)

#: Groups in one another, shared weights within a row, a box alone, a cycle, a loop, a problem.
ALL = Diagram(
    "all that can be",
    (),
    (
        Box("in", "end", "input"),
        group(
            "outer",
            Box("avg", "reduce", "mean", ("pool",)),
            Box("max", "reduce", "max", ("pool",)),
            group(
                "inner", Box("w", "layer", "mlp"), Box("w2", "layer", "mlp"), small=("12 params",)
            ),
            title="a group with a long heading",
        ),
        Box("sum", "combine", "+"),
        Box("gate", "gate", "σ"),
        Box("out", "reweight", "×"),
        Box("lost", "plain", "lost", faint=True),
        Box("bad", "layer", "bad", ("conv",), problems=("no node named 'excit'",)),
        Box("stage", "layer", "stage", ("conv",), badges=("se", "cbam")),
        Box("end", "end", "output"),
    ),
    (
        *chain("in", "avg", "w", "sum", "gate", "out"),
        *chain("in", "max", "w2", "sum", "end"),
        *chain("in", "out", "stage", "end", road=True),
        Link("w", "w2", ("shared weights",), mark="shared"),
        Link("out", "bad", mark="problem"),
        Link("bad", "gate", ("back",)),
        Link("stage", "stage"),
    ),
)  # fmt: skip

CYCLE = Diagram(
    "cycle",
    (),
    (group("g", Box("a", "layer", "a"), Box("b", "layer", "b")), Box("c", "layer", "c")),
    chain("a", "b", "c", "a"),
)

#: A foreign box between two of a group, and an empty group.
WOVEN = Diagram(
    "woven",
    (),
    (
        group("g", Box("a", "layer", "a"), Box("c", "layer", "c"), group("nothing")),
        Box("b", "layer", "b"),
    ),
    chain("a", "b", "c"),
)


def hostile() -> Diagram:
    """Return a picture with each hostile text in every place for one."""
    boxes = [Box(t, "plain", t, (t,), (t,), (t,), (t,)) for t in HOSTILE]
    half = len(boxes) // 2
    groups = [group(f"in {b.name}", b, title=b.name, small=(b.name,)) for b in boxes[half:]]
    links = tuple(Link(a, b, (b,)) for a, b in pairwise(HOSTILE))
    return Diagram("t: \"%% ---\n'", HOSTILE, (*boxes[:half], *groups), links, HOSTILE)


def large(count: int = 500) -> Diagram:
    """Return blocks of five boxes in groups, each with a way around it."""
    items, links = [], []
    for block in range(count // 5):
        names = [f"{block}.{n}" for n in range(5)]
        items.append(group(f"block {block}", *(Box(n, "layer", n, ("conv",)) for n in names)))
        links += [*chain(*names), Link(names[0], names[4], ("b c h w",), road=True)]
        if block:
            links.append(Link(f"{block - 1}.4", names[0], road=True))
    return Diagram("large", (), tuple(items), tuple(links))
