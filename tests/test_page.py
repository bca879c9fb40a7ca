"""The page: how a diagram comes apart, and what stands in the file; without engine or browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.drawing import html as page
from composer.drawing.diagram import Box, Diagram, Fact, Group, Link
from composer.drawing.frame import heading_of
from composer.drawing.html import html
from composer.drawing.layout import Heading, Layout, Rect, Way
from composer.drawing.pieces import (
    MOST_BOXES,
    MOST_GROUPS,
    Body,
    Chain,
    Fold,
    Piece,
    names_within,
    pieces,
    take_apart,
)
from composer.drawing.text import shown, shown_lines
from composer.drawing.theme import MEANING, THEMES

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "\"'&<>`",
    "😀 ${7*7} $title {{x}}",
    "\u202eevil\u202c",
    "a\u2028b\u2029c",
    "\x00\x1b[31m",
    "\ud800",
]


def box(name: str, **more: object) -> Box:
    return Box(name, "layer", f"the {name}", **more)  # type: ignore[arg-type]


def group(name: str, *items: Box | Group) -> Group:
    return Group(name, f"all of {name}", items, Box(f"{name} closed", "plain", name))


def diagram(items: list[Box | Group], *links: str, opened: str = "") -> Diagram:
    """Return a diagram with links written as ``a b``."""
    ways = tuple(Link(*link.split()) for link in links)
    return Diagram("a picture", ("said of it",), tuple(items), ways, ("a note",))


def fake(diagrams: list[Diagram]) -> list[Layout]:
    """Return places such as an engine gives, without one: everything at one place."""
    assert diagrams
    place = Rect(0, 0, 10, 10)
    way = Way(((0, 0), (1, 1), (2, 2), (3, 3)), (4, 4), None)
    return [
        Layout(
            10,
            10,
            {one.name: place for one in seen.boxes},
            tuple(place for _ in seen.groups),
            tuple(Heading(0, 0, heading_of(one)) for one in seen.groups),
            tuple(way for _ in seen.links),
        )
        for seen in diagrams
    ]


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "lay_out", fake)


# ------------------------------------------------------------------------------ how it comes apart


def shape(body: Body) -> object:
    """Return a body as plain values: chains as lists, rows as sets, pieces as their views."""
    if isinstance(body, Piece):
        return [sorted(view) for view in body.views]
    parts = [
        (part.group.name, shape(part.body)) if isinstance(part, Fold) else part.name
        for part in body.parts
    ]
    return parts if isinstance(body, Chain) else frozenset(map(str, parts))


A, B, C, D = map(box, "abcd")

SHAPES: list[tuple[str, Diagram, object]] = [
    ("nothing", diagram([]), frozenset()),
    ("one box", diagram([A]), ["a"]),
    ("a chain", diagram([A, B, C], "a b", "b c"), ["a", "b", "c"]),
    ("a chain in another order", diagram([C, A, B], "a b", "b c"), ["a", "b", "c"]),
    ("side by side", diagram([A, B]), frozenset("ab")),
    ("a skip", diagram([A, B, C], "a b", "b c", "a c"), [[]]),
    ("two chains", diagram([A, B, C, D], "a b", "c d"), [[]]),
    ("a circle", diagram([A, B], "a b", "b a"), [[]]),
    ("a chain and a circle", diagram([A, B, C], "b c", "c b"), [[]]),
    ("a box read by itself", diagram([A, B], "a a", "a b"), ["a", "b"]),
    ("groups in a chain", diagram([group("g", A, B), group("h", C, D)], "a b", "b c", "c d"),
     [("g", ["a", "b"]), ("h", ["c", "d"])]),
    ("two links of one group", diagram([A, group("g", B, C), D], "a b", "a c", "b d", "c d"),
     ["a", ("g", [[]]), "d"]),
    ("a group around a group", diagram([A, group("g", group("h", B))], "a b"),
     ["a", ("g", [("h", ["b"])])]),
    ("an empty group", diagram([A, group("g")]), frozenset({"a", "g closed"})),
    ("an empty group in a group",
     diagram([A, group("g", B, group("h")), D], "a b", "b d", "a d"), [[], ["g"]]),
    ("a skip past groups",
     diagram([A, group("g", B, group("h", C)), D], "a b", "b c", "c d", "a d"),
     [[], ["g"], ["g", "h"]]),
]  # fmt: skip


@pytest.mark.parametrize(("given_", "wanted"), [pytest.param(d, w, id=i) for i, d, w in SHAPES])
def test_shapes(given_: Diagram, wanted: object) -> None:
    assert shape(take_apart(given_)) == wanted


def test_what_comes_from_outside_is_a_stub() -> None:
    fold = take_apart(diagram([A, group("g", B, C), D], "a b", "a c", "b d", "c d")).parts[1]  # type: ignore[union-attr]
    assert isinstance(fold, Fold) and isinstance(fold.body, Piece)
    inner = fold.body.diagram
    assert [one.small for one in inner.boxes] == [("in",), (), (), ("out",)]
    before, b, c, behind = (one.name for one in inner.boxes)
    assert [(link.source, link.target) for link in inner.links] == [
        (before, b), (before, c), (b, behind), (c, behind)
    ]  # fmt: skip
    assert fold.body.stubs == {before, behind}


def test_stubs_of_several_values_are_told_apart() -> None:
    outer = [group("x", A, B), group("g", C, D)]
    fold = take_apart(diagram(outer, "a c", "b d", "c d")).parts[1]  # type: ignore[union-attr]
    assert isinstance(fold, Fold) and isinstance(fold.body, Piece)
    assert [one.small for one in fold.body.diagram.boxes][:2] == [("in: the a",), ("in: the b",)]


def test_a_stub_takes_no_name_that_is_there() -> None:
    items = [A, group("g", box("a in"), box("out")), D]
    taken = Diagram("", (), tuple(items), (
        Link("a", "a in"), Link("a", "out"), Link("a in", "d"), Link("out", "d")
    ))  # fmt: skip
    (piece,) = pieces(take_apart(taken))
    names = [one.name for one in piece.diagram.boxes]
    assert len(set(names)) == len(names) == 4


def test_arrows_keep_label_and_road() -> None:
    links = (Link("a", "b", ("b c",)), Link("b", "c"), Link("b", "d", ("h w",), True))
    chain = take_apart(Diagram("", (), (A, B, group("g", C, D)), links))
    assert isinstance(chain, Chain)
    assert [(one.label, one.road) for one in chain.arrows] == [
        (("b c",), False),
        (("h w",), True),
    ]


def test_what_is_marked_is_laid_out_by_the_engine() -> None:
    marked = Diagram("", (), (A, B), (Link("a", "b", mark="shared"),))
    assert isinstance(take_apart(marked), Piece)


@st.composite
def diagrams(draw: st.DrawFn) -> Diagram:
    """Draw boxes in groups up to three deep, with any links."""
    names = [f"b{number}" for number in range(draw(st.integers(1, 9)))]
    items: list[Box | Group] = [box(name) for name in names]
    for number in range(draw(st.integers(0, 6))):
        begin = draw(st.integers(0, len(items) - 1))
        end = draw(st.integers(begin + 1, len(items)))
        items[begin:end] = [group(f"g{number}", *items[begin:end])]
    name = st.sampled_from(names)
    links = draw(st.lists(st.builds(Link, name, name), max_size=12))
    return Diagram("", (), tuple(items), tuple(links))


def drawn(body: Body, around: frozenset[str] = frozenset()) -> list[tuple[str, frozenset[str]]]:
    """Return every box with the groups around it, as far as they are folds."""
    if isinstance(body, Piece):
        return [(n, around) for n in names_within(body.diagram.items) if n not in body.stubs]
    return [
        pair
        for part in body.parts
        for pair in (
            drawn(part.body, around | {part.group.name})
            if isinstance(part, Fold)
            else [(part.name, around)]
        )
    ]


@given(diagrams(), st.frozensets(st.sampled_from([f"g{n}" for n in range(6)])))
@settings(max_examples=200, deadline=None)
def test_laws(whole: Diagram, opened: frozenset[str]) -> None:
    body = take_apart(whole, opened)
    assert sorted(name for name, _ in drawn(body)) == sorted(names_within(whole.items))
    inside = {one.name: {inner.name for inner in one.items if isinstance(inner, Group)}
              for one in whole.groups}  # fmt: skip
    for piece in pieces(body):
        every = {one.name for one in piece.diagram.groups}
        outer = {name: [g for g in every if name in inside[g]] for name in every}
        assert piece.views[0] == frozenset() and piece.views[-1] == every
        assert len(set(piece.views)) == len(piece.views)
        assert [len(view) for view in piece.views] == sorted(map(len, piece.views))
        for view in piece.views:
            assert all(set(outer[name]) <= view for name in view), "a group without its outer one"
        for name in every:
            assert any(name in view for view in piece.views)
        wanted = frozenset(every & opened)
        while any(set(outer[name]) - wanted for name in wanted):
            wanted = frozenset(name for name in wanted if set(outer[name]) <= wanted)
        assert wanted in piece.views
        if len(every) <= MOST_GROUPS:
            closed = [
                frozenset(some)
                for size in range(len(every) + 1)
                for some in combinations(sorted(every), size)
                if all(set(outer[name]) <= set(some) for name in some)
            ]
            assert set(piece.views) == set(closed)


def test_views_have_a_bound() -> None:
    def nested(depth: int, prefix: str) -> list[Box | Group]:
        if not depth:
            return [box(f"{prefix}{number}") for number in range(6)]
        return [group(f"{prefix}{n}", *nested(depth - 1, f"{prefix}{n}.")) for n in range(6)]

    items = nested(3, "n")
    names = list(names_within(items))
    links = tuple(Link(a, b) for a, b in (*pairwise(names), (names[0], names[-1])))
    whole = Diagram("", (), tuple(items), links)
    (piece,) = pieces(take_apart(whole, frozenset({"n0", "n0.1"})))
    assert len(names) == 1296 and len(piece.views) == 5
    assert {len(view) for view in piece.views} == {0, 2, 6, 42, 258}
    some = [group(f"g{n}", *(box(f"{n}.{m}") for m in range(5))) for n in range(8)]
    several = Diagram("", (), tuple(some), (*links[:0], Link("0.0", "3.0"), Link("0.0", "5.0")))
    (piece,) = pieces(take_apart(several))
    assert sorted(map(len, piece.views)) == [0] + [1] * 8 + [8]
    assert sum(map(len, piece.views)) < MOST_BOXES


# ------------------------------------------------------------------------------------- the file


def data_of(text: str) -> list[dict[str, object]]:
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert len(found) == 1
    entries: list[dict[str, object]] = json.loads(found[0])
    return entries


def example() -> Diagram:
    facts = (Fact("axes", "b c h w"), Fact("x.yaml:1", "gate:\n  op: gate", code=True))
    inner = group("h", box("p", facts=facts), box("q", badges=("CBAM",)))
    items = [box("a", facts=facts), group("g", box("b"), inner, box("c")), box("d")]
    return diagram(items, "a b", "b p", "p q", "q c", "b c", "c d")


def test_every_box_and_its_facts_are_in_the_data() -> None:
    whole = example()
    entries = {entry["name"]: entry for entry in data_of(html(whole, frozenset(), "paper"))}
    assert entries.keys() == {"a", "g", "b", "h", "p", "q", "c", "d"}
    for one in whole.boxes:
        assert entries[one.name]["title"] == one.title
        assert entries[one.name]["facts"] == [[f.label, f.text, f.code] for f in one.facts]
    order = list(entries)
    assert [order[n] for n in entries["p"]["around"]] == ["g", "h"]  # type: ignore[attr-defined]
    assert [order[n] for n in entries["b"]["to"]] == ["p", "c"]  # type: ignore[attr-defined]
    assert [order[n] for n in entries["c"]["from"]] == ["q", "b"]  # type: ignore[attr-defined]
    assert entries["g"]["group"] and "group" not in entries["a"]


def test_every_box_can_be_pressed_and_every_group_turned() -> None:
    text = html(example(), frozenset(), "paper")
    entries = data_of(text)
    for number, entry in enumerate(entries):
        assert f'class="press" data-i="{number}"' in text, entry["name"]
        states = set(re.findall(rf'class="toggle" data-i="{number}" aria-expanded="(\w+)"', text))
        assert states == ({"true", "false"} if entry.get("group") else set())


@pytest.mark.parametrize("opened", [[], ["g"], ["g", "h"], ["h"]], ids=str)
def test_what_is_open_at_first(opened: list[str]) -> None:
    text = html(example(), frozenset(opened), "paper")
    assert (re.search(r'<div class="closed" hidden>', text) is not None) == ("g" in opened)
    assert (re.search(r'<div class="open[^"]*">', text) is not None) == ("g" in opened)
    views = re.findall(r'<div class="view" data-open="([\d ]*)" style="[^"]*"( hidden)?>', text)
    (number,) = (n for n, entry in enumerate(data_of(text)) if entry["name"] == "h")
    assert [view for view, _ in views] == ["", str(number)]
    assert [view for view, hidden in views if not hidden] == [str(number) if "h" in opened else ""]


def test_nothing_is_fetched() -> None:
    text = html(example(), frozenset(), "paper")
    addresses = set(re.findall(r"\bhttps?:[^\"'\s<>)]*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|srcset|poster|action|data|ping|background)\s*=", text)
    assert all(one.startswith("#") for one in re.findall(r'href="([^"]*)"', text))
    assert not re.search(
        r"@import|url\(|fetch\(|XMLHttp|import\(|innerHTML|eval\(|Function\(", text
    )


def test_only_the_pages_own_script_may_run() -> None:
    text = html(example(), frozenset(), "paper")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["img-src"] == "blob:"  # of what is shown, for a PNG
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(scripts) == 1 and text.index("<script>") < text.index('id="data"')
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert not re.search(r"<[^>]+\son\w+=", re.sub(r"<script.*?</script>", "", text, flags=re.S))


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names(name: str) -> None:
    bad = Box(
        name, "layer", name, (name,), (name,), (name,), (name,),
        facts=(Fact(name, name), Fact(name, f"{name}\n  {name}", code=True)),
    )  # fmt: skip
    one = Group(f"{name}.", name, (bad, box("b")), Box(f"{name} closed", "plain", name), (name,))
    whole = Diagram(
        name, (name,), (A, one), (Link("a", name, (name,)), Link("a", "b", (name,))), (name,)
    )
    calm = Diagram("t", ("t",), (A, group("g", box("x"), B)), (), ("t",))
    text = html(whole, frozenset(), "paper")
    text.encode("utf-8")
    for opening in ("<script", "</script", "<!--", "]]>"):
        assert text.count(opening) == html(calm, frozenset(), "paper").count(opening)
    assert not re.search("[\x00\x1b\u2028\u2029\u202e\ud800-\udfff]", text)
    (found,) = [entry for entry in data_of(text) if entry.get("badges")]
    told = shown(name)
    assert found == {
        "title": told, "name": told, "around": [1], "from": [0], "lines": [told], "small": [told],
        "badges": [told], "problems": [told],
        "facts": [[told, shown_lines(name), False],
                  [told, shown_lines(f"{name}\n  {name}"), True]],
    }  # fmt: skip


def test_colours_are_those_of_the_themes() -> None:
    for theme, begins in (("paper", "system"), ("light", "system"), ("dark", "dark")):
        text = html(example(), frozenset(), theme)  # type: ignore[arg-type]
        assert f'<html lang="en" data-theme="{begins}">' in text
        first = THEMES["light" if theme == "light" else "paper"]
        assert f"color-scheme: light; --page:{first.page}" in text
        assert f"color-scheme: dark; --page:{THEMES['dark'].page}" in text
    drawing = text[text.index("<main") : text.index("<aside")]
    assert not re.search(r"#[0-9a-f]{6}\b", drawing), "a colour that no theme can change"


def test_title_caption_notes_and_legend() -> None:
    text = html(example(), frozenset(), "paper")
    assert "<title>a picture</title>" in text and "<h1>a picture</h1>" in text
    assert "<p>said of it</p>" in text and "<p>a note</p>" in text
    legend = text[text.index('class="legend"') : text.index("</ul>")]
    assert re.findall(r"</i>([^<]*)", legend) == [MEANING["layer"], MEANING["inserted"]]


def test_what_is_drawn_once_is_found_by_each_name() -> None:
    items = (box("n"), group("l.1", box("l.1.conv")))
    whole = Diagram("", (), items, (), drawn_as={"l.2": "l.1", "l.3": "l.1"})
    entries = {entry["name"]: entry for entry in data_of(html(whole, frozenset(), "paper"))}
    assert entries["l.1"]["also"] == ["l.2", "l.3"]
    assert entries["l.1.conv"]["also"] == ["l.2.conv", "l.3.conv"]
    assert "also" not in entries["n"]
