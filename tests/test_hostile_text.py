"""What strangers wrote, at every place where text goes out: nothing of it is obeyed."""

from __future__ import annotations

import ast
import json
import logging
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

import composer
from composer.cli import main
from composer.cli.output import guard_others, json_text, say_document
from composer.cli.tables import table
from composer.drawing.engine import run as laid_out_by_graphviz
from composer.drawing.notebook import shown as in_notebook
from composer.drawing.picture import render
from composer.errors import ComposerError, Diagnostic, Location
from composer.graph.frontend import load_spec
from composer.language.source import parse
from composer.lifting.written import shown as yaml_of
from composer.models.model_string import ModelString
from composer.visible import columns, visible, visible_line

#: What is tried at each outlet, by what it would do there.
HOSTILE = {
    "colours and links of a terminal": "\x1b[31mred\x1b]8;;http://e\x07x\x1b]52;c;aGk=\x07",
    "a control of eight bits": "\x9b31m\x90q\x85",
    "a bell, backspaces and a delete": "a\x07b\x08\x08c\x7f",
    "text that turns around": "\u202eevil\u2066\u2067\u2069\u200e\u200f\u061c",
    "no width": "a\u200bb\u200cc\u2060d\ufeffe\u00adf\u115fg\u3164h",
    "ends of lines": "a\u2028b\u2029c\u0085d\u000be\u000cf",
    "a line that looks like ours": "a\nerror[x]: y\r\n  help: rm -rf /\rb",
    "tags and selectors": "a\ufe0fb\U000e0041\U000e0100c",
    "nothing": "a\x00b",
    "markup of rich": "[red]x[/red][link=http://e]y[/link]",
    "a script": "</script><script>alert(1)</script><img src=x onerror=alert(1)>",
    "an attribute": "\"><svg onload=alert(1)> ' onclick=x <!-- ]]> --> <?x ?>",
    "an address": "javascript:alert(1) data:text/html,x",
    "an entity": "&lt;b&gt; &#60;b> &xxe; &",
    "TeX": r"\input{/etc/passwd}\write18{id}$x$%^^5cinput{x}\end{document} # & ~ _ {",
    "TeX on a line of its own": "a\n\\input{x}\n% b",
    "Python": '"""\nimport os\nos.system("id")\n"""',
    "Python in one line": 'x"""+__import__("os").system("id")+"""',
    "the end of a docstring": 'ends \\',
    "quotes behind a backslash": '\\"""\\\'\'\'',
    "Markdown": "[x](javascript:alert(1)) ![y](z) | `b` ``c`` <b>\n# h\n- i",
    "Mermaid": '"];\nclick b0 call alert()\n%%{init: {}}%% --- end',
    "DOT": '"]; node [URL="javascript:x"] \\N \\G <b>&x;',
    "formats": "{x} {0} %s %(y)s $x ${title} $",
    "long": "\x1b[31m" + "wide " * 400,
}  # fmt: skip
HOSTILE = {"all at once": " ".join(list(HOSTILE.values())[:-1]), **HOSTILE}
#: What no YAML says, and a name in Python or of a file may.
SURROGATE = "a\udc1b\ud800b"


def every(*more: str) -> pytest.MarkDecorator:
    texts = {**HOSTILE, **{repr(text): text for text in more}}
    return pytest.mark.parametrize("text", texts.values(), ids=texts)


def spec_of(text: str) -> str:
    """Return a spec that has a text wherever one may have any."""
    said = json.dumps(text)
    said = re.sub(
        r"\\ud[89ab]..\\ud[c-f]..",
        lambda f: f"\\U{ord(json.loads(f'{chr(34)}{f[0]}{chr(34)}')):08x}",
        said,
    )
    return f"""\
name: it
title: {said}
source: {said}
params:
  reduction: {{default: 16, help: {said}}}
input: [b, c, h, w]
nodes:
  squeeze: {{op: pool, over: [h, w]}}
  excite:  {{op: mlp, over: c, hidden: c // reduction}}
  gate:    {{op: gate, fn: sigmoid}}
  out:     {{op: reweight, x: input, by: gate}}
deviations: [{said}]
"""


HONEST = spec_of("Squeeze and excitation")


pytestmark = pytest.mark.usefixtures("here")


#: What may not go out raw, by its numbers: nothing here is taken from what is tested.
UNSEEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def is_plain(text: str) -> None:
    """Fail where a character of a text does not show."""
    assert not UNSEEN.search(text), ascii(text)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def call(*args: str) -> Any:
        with pytest.raises(SystemExit) as left:
            main(list(args))
        out, err = capsys.readouterr()
        is_plain(out)
        is_plain(err)
        assert "Traceback" not in err
        return SimpleNamespace(out=out, err=err, status=left.value.code)

    return call


# ---------------------------------------------------------------------------------- the terminal


@every(SURROGATE)
def test_a_text_is_made_visible(text: str) -> None:
    is_plain(visible(text).replace("\t", " "))
    line = visible_line(text)
    is_plain(line)
    assert "\n" not in line
    assert visible_line(line) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain, ÄÖ, 注意, é, ×, 😀", "plain, ÄÖ, 注意, é, ×, 😀"),
        ("a\x1bb", r"a\x1bb"),
        ("a\u202eb", r"a\u202eb"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("\ufeff\u200b\u2028", r"\ufeff\u200b\u2028"),
        ("\xa0|\xad", "\xa0|\\xad"),
    ],
)
def test_the_escapes_are_those_of_python_and_yaml(text: str, line: str) -> None:
    assert visible_line(text) == line


#: A line, the column and length of what is wrong, and what is shown of it.
CARETS = [
    ("gate: {op: pol}", 12, 3, "    1 | gate: {op: pol}\n      |            ^^^"),
    ("\x1b[1m: pol", 7, 3, "    1 | \\x1b[1m: pol\n      |          ^^^"),
    ("# \u202e\n".strip() + " pol", 5, 3, "    1 | # \\u202e pol\n      |          ^^^"),
    ("op: p\u200bol", 5, 4, "    1 | op: p\\u200bol\n      |     ^^^^^^^^^"),
    ("注意: pol", 5, 3, "    1 | 注意: pol\n      |       ^^^"),
    ("a\u0301: pol", 5, 3, "    1 | a\u0301: pol\n      |    ^^^"),
    ("\tpol", 2, 3, "    1 |  pol\n      |  ^^^"),
    ("pol", 4, 1, "    1 | pol\n      |    ^"),
    (f"{'x' * 200}\x1bpol", 202, 3, None),
]


@pytest.mark.parametrize(("line", "column", "length", "wanted"), CARETS)
def test_the_carets_are_under_what_is_shown(
    line: str, column: int, length: int, wanted: str | None
) -> None:
    found = Location("it.yaml", 1, column, length, line).render()
    if wanted is not None:
        assert found == wanted
    shown, carets = found.splitlines()
    begin = carets.index("^")
    at = next(n for n in range(len(shown) + 1) if columns(shown[:n]) == begin)
    wanted_text = visible_line(line[column - 1 : column - 1 + length].replace("\t", " "))
    assert shown[at:].startswith(wanted_text)
    assert carets.count("^") == max(1, columns(wanted_text))


@every(SURROGATE)
def test_a_message(text: str) -> None:
    where = Location(text, 3, 2, 4, text)
    found = Diagnostic("x", f"no {text}", f"say {text}", where).render()
    is_plain(found)
    assert len(found.splitlines()) == 4
    found = str(ComposerError(Diagnostic("x", text, text, file=text)))
    is_plain(found)
    assert len(found.splitlines()) == 2


#: Where a text of a broken spec is quoted.
BROKEN = (
    "name: it\ninput: [b, c, h, w]\nnodes:\n  out: {{op: {said}}}\n",
    "name: it\ninput: [b, c, h, w]\nnodes:\n  out: {{op: pool, over: {said}}}\n",
    "name: it\ninput: [b, c, h, w]\nnodes:\n  out: {{op: pool, {said}: 1}}\n",
    "name: it\ninput: [b, c, h, w]\nnodes:\n  {said}: {{op: pool, over: h}}\n",
    "name: it\ninput: [b, c, h, w]\nnodes:\n  out: {{op: pool, over: h, x: {said}}}\n",
    "name: it\ninput: [b, c, h, w]\nnodes:\n  out: {{op: linear, over: c, out: {said}}}\n",
    "name: it\ninput: [b, {said}, h, w]\nnodes:\n  out: {{op: pool, over: h}}\n",
    "name: {said}\ninput: [b, c, h, w]\nnodes:\n  out: {{op: pool, over: h}}\n",
    "name: it\nparams: {{{said}: 1}}\ninput: [b, c, h, w]\nnodes:\n  out: {{op: pool, over: h}}\n",
    "name: it\nextends: {said}\n",
    "name: it\ninput: [b, c, h, w]\nnodes:\n  out: {{op: use, spec: {said}}}\n",
    "name: it\ninsert: {{at: {said}}}\ninput: [b, c, h, w]\nnodes:\n  out: {{op: pool, over: h}}\n",
    "name: it\ncomposer: {said}\ninput: [b, c, h, w]\nnodes:\n  out: {{op: pool, over: h}}\n",
    "{said}",
)


def _yaml(text: str) -> str:
    return next(line for line in spec_of(text).splitlines() if line.startswith("title: "))[7:]


@pytest.mark.quick(3)
@every()
def test_check_quotes_nothing_raw(text: str, run: Callable[..., Any]) -> None:
    for number, broken in enumerate(BROKEN):
        Path(f"{number}.yaml").write_text(broken.format(said=_yaml(text)))
    files = [f"{number}.yaml" for number in range(len(BROKEN))]
    assert run("check", *files).status == 1
    found = run("check", "--json", *files)
    assert found.out.isascii()
    assert len(json.loads(found.out)["files"]) == len(BROKEN)


@pytest.mark.parametrize("char", ["\u202e", "\u200b", "\ufeff", "\u2028", "\u00ad", "\U000e0041"])
def test_a_raw_character_of_a_file(char: str, run: Callable[..., Any]) -> None:
    text = f"name: it\ninput: [b, c, h, w]\nnodes:\n  out: {{op: pol{char}l, over: h}} # {char}\n"
    Path("it.yaml").write_text(text, encoding="utf-8")
    found = run("check", "it.yaml")
    assert found.status == 1
    assert visible_line(char) in found.err


@pytest.mark.quick(2)
@every()
def test_show_prints_nothing_raw(text: str, run: Callable[..., Any]) -> None:
    Path("it.yaml").write_text(spec_of(text))
    honest = spec_of("x")
    Path("honest.yaml").write_text(honest)
    found = run("show", "it.yaml")
    assert len(found.out.splitlines()) == len(run("show", "honest.yaml").out.splitlines())
    found = run("show", "it.yaml", "--json")
    assert json.loads(found.out)["title"] == text
    assert found.out.isascii()
    run("show", "it.yaml", "--latex")
    run("diff", "it.yaml", "honest.yaml")
    run("check", "it.yaml")
    assert run("new", "mine", "--from", "it.yaml").status == 0
    assert load_spec("mine.yaml").title == text


#: Commands in which a text stands as a word, which no spec, op, model or file has.
WORDS = (
    ("check", "{}"), ("show", "{}"), ("show", "se", "--size", "{}"), ("show", "se", "--set", "{}"),
    ("list", "ops", "{}"), ("list", "specs", "--filter", "{}"), ("list", "{}"), ("{}",),
    ("show", "se", "--{}"), ("new", "{}"), ("render", "{}"), ("render", "se", "-o", "{}"),
    ("render", "se", "-o", "no/{}.svg"), ("sites", "{}"),
    ("insert", "--spec", "se", "--into", "{}"), ("insert", "--spec", "{}", "--into", "resnet18"),
    ("eject", "{}"), ("explain", "{}"),
    ("export", "{}", "--to", "python"), ("lift", "{}"), ("diff", "{}", "se"),
    ("study", "report", "{}"), ("study", "plan", "{}"), ("study", "run", "{}"),
)  # fmt: skip


@pytest.mark.quick(1)
@every("a\udc1bb")
def test_a_word_of_the_command_line(text: str, run: Callable[..., Any]) -> None:
    for words in WORDS:
        if words[0] in ("lift", "export", "sites") and text != HOSTILE["all at once"]:
            continue  # torch loads for each
        args = [word.format(text) if "{}" in word else word for word in words]
        found = run(*args)
        assert found.status in (1, 2), words
        assert found.err
        if words[0] in ("check", "list", "eject"):
            json.loads(run(*args, "--json").out)


@pytest.mark.quick(1)
@every()
def test_the_name_of_a_file(text: str, run: Callable[..., Any]) -> None:
    name = re.sub(r"[/\0\n]", "_", text)[:60]
    Path(f"{name}.yaml").write_text(HONEST)
    for args in (("check", f"./{name}.yaml"), ("render", f"./{name}.yaml", "-o", f"./{name}.dot")):
        found = run(*args)
        assert found.status == 0
        assert len(found.out.splitlines()) == 1
    Path(f"{name}.yaml").write_text(HONEST.replace("op: pool", "op: pol"))
    assert "\n    8 |   squeeze: {op: pol" in run("check", f"./{name}.yaml").err


def test_a_document_is_as_it_is_but_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    say_document("title: \u202ex\n")
    assert capsys.readouterr().out == "title: \u202ex\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    say_document("title: \u202ex\n")
    assert capsys.readouterr().out == "title: \\u202ex\n"


@every(SURROGATE)
def test_a_cell_of_a_table(text: str) -> None:
    found = table(("a", "b"), [[text, "1"], ["注意", "2"]], right=(1,))
    is_plain(found)
    assert len(found.splitlines()) == 4
    assert len({columns(line) for line in found.splitlines()}) == 1


@every(SURROGATE)
def test_json_is_ascii_and_says_the_same(text: str) -> None:
    found = json_text({"a": text})
    is_plain(found)
    assert found.isascii()
    assert json.loads(found) == {"a": text}


@every()
def test_what_libraries_warn_of_and_log(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("showwarning",):
        monkeypatch.setattr(warnings, name, getattr(warnings, name))
    assert logging.lastResort is not None
    monkeypatch.setattr(logging.lastResort, "formatter", None)
    guard_others()
    warnings.showwarning(UserWarning(text), UserWarning, f"{text}.py", 3)
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "%s", (text,), None)
    is_plain(logging.lastResort.format(record))
    is_plain(capsys.readouterr().err)


def test_the_bar_of_a_slow_step(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from composer.cli.steps import Steps

    seen = io.StringIO()
    monkeypatch.setattr("sys.stderr", seen)
    bar = Steps(total=1)._start("[red]x[/red]\x1b]52;c;aGk=\x07")
    task = bar.tasks[0]
    column = bar.columns[0]
    assert str(column.render(task)) == "[red]x[/red]\\x1b]52;c;aGk=\\x07"
    bar.stop()


PACKAGE = Path(composer.__file__).parent
#: Who may print: the one place; and what writes to another process, or shows a bar.
PRINTERS = {"cli/output.py"}


def test_text_goes_out_at_one_place() -> None:
    files = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    assert len(files) > 400
    found = {name: _prints(path.read_text(encoding="utf-8")) for name, path in files.items()}
    assert {name for name, lines in found.items() if lines} == PRINTERS


@pytest.mark.parametrize(
    "text", ["print(1)", "click.echo(x)", "import sys\nsys.stderr.write(x)", "Console().print(x)",
             "click.secho(x)", "sys.stdout.buffer.write(x)"],
)  # fmt: skip
def test_printing_is_seen(text: str) -> None:
    assert _prints(text)


def _prints(text: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            ends = called.rsplit(".", 1)[-1]
            if ends in ("print", "echo", "secho", "print_exc") or re.search(
                r"\bstd(out|err)\b.*\.write", called
            ):
                found.append(f"line {node.lineno}: {called}")
    return found


# ---------------------------------------------------------------------------------- the pictures


ADDRESSES = ("href", "src", "xlink:href", "action")


class Page(HTMLParser):
    """The tags of a page with the names of their attributes, its addresses, and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.addresses: list[str] = []
        self.scripts = 0
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(tag, name) for name, _ in attrs}
        self.addresses += [v or "" for n, v in attrs if n in ADDRESSES]
        self.scripts += tag == "script"

    def handle_data(self, data: str) -> None:
        self.text += data


@cache
def drawn(text: str, form: str, op: str | None = None) -> str:
    """Return the picture of a spec; with `op` of one that is broken, as an op of no such name."""
    spec = spec_of(text)
    if op is not None:
        spec = spec.replace("op: gate", f"op: {_yaml(op)}")
    path = Path(f"it.{form}")
    path.unlink(missing_ok=True)
    if op is None:
        render(load_spec(spec), path)
    else:
        Path("it.yaml").write_text(spec)
        with pytest.raises(ComposerError):
            render("it.yaml", path)
    return path.read_text(encoding="utf-8")


def each_drawn(text: str, form: str) -> Iterator[tuple[str, str]]:
    """Yield pictures that hold a text, each with the one that holds an honest word in its place."""
    yield drawn(text, form), drawn("word", form)
    yield drawn("word", form, op=text), drawn("word", form, op="word")


@pytest.mark.quick(1)
@every()
def test_svg(text: str) -> None:
    for found, honest in each_drawn(text, "svg"):
        shows(found)
        root, other = ET.fromstring(found), ET.fromstring(honest)
        assert {e.tag for e in root.iter()} <= {e.tag for e in other.iter()}
        names = {(e.tag, name) for e in root.iter() for name in e.attrib}
        assert names <= {(e.tag, name) for e in other.iter() for name in e.attrib}
        assert not {e.tag.rpartition("}")[2] for e in root.iter()} & {"script", "a", "image", "use"}
        assert not any(re.search(r"href|^on", name.rpartition("}")[2]) for _, name in names)


@pytest.mark.quick(1)
@every()
def test_html(text: str) -> None:
    for found, honest in each_drawn(text, "html"):
        shows(found)
        page, other = Page(found), Page(honest)
        assert page.tags <= other.tags
        assert page.attributes <= other.attributes
        assert page.scripts == other.scripts
        assert [a for a in page.addresses if not a.startswith(("http://", "https://", "#"))] == []
        assert "default-src 'none'" in found


@pytest.mark.quick(1)
@every()
def test_a_notebook(text: str) -> None:
    found, honest = (in_notebook(load_spec(spec_of(one))) for one in (text, "word"))
    assert found is not None
    assert honest is not None
    shows(found)
    assert Page(found).tags <= Page(honest).tags
    assert Page(found).attributes <= Page(honest).attributes


@pytest.mark.quick(1)
@every()
def test_tex(text: str) -> None:
    for found, honest in each_drawn(text, "tex"):
        shows(found)
        (body, comments), (other, others) = _apart(found), _apart(honest)
        assert len(comments) == len(others)
        signs = set(re.findall(r"\\(?:[A-Za-z@]+|.)", body))
        safe = {rf"\{word}" for word in (*"{}%&$#_ ", "textbackslash", "textasciicircum",
                "textbar", "textasciitilde", "textless", "textgreater", "char",
                "texttt", "ldots", "\\")}  # fmt: skip
        assert signs <= set(re.findall(r"\\(?:[A-Za-z@]+|.)", other)) | safe
        assert "^^" not in body
        assert body.isascii()


def _apart(text: str) -> tuple[str, list[str]]:
    lines = text.splitlines()
    comments = [line for line in lines if line.lstrip().startswith("%")]
    return "\n".join(line for line in lines if line not in comments), comments


@pytest.mark.quick(1)
@every()
def test_mermaid(text: str) -> None:
    for found, honest in each_drawn(text, "mmd"):
        shows(found)
        lines, others = found.splitlines(), honest.splitlines()
        if "long" not in text and len(text) < 300:
            assert len(lines) == len(others)
        title = json.loads(lines[1].removeprefix("title: "))
        assert "%%{" not in lines[1]
        assert "\n" not in title
        for line in lines[4:]:
            if line.startswith(("  style", "  classDef", "  class ", "  linkStyle")):
                continue
            if line.startswith(("  accTitle: ", "  accDescr: ", "  %% ")):
                assert not re.search(r"[<>\"'`{}()\[\]]", line), line
                continue
            plain = re.sub(r'"[^"]*"', "", line)
            assert not re.search(r"click|call|%%\{|script", plain), line
            for label in re.findall(r'"([^"]*)"', line):
                assert re.sub(r"</?(b|small|br/?)>|#\d+;", "", label).isprintable()
                assert "<" not in re.sub(r"</?(b|small)>|<br/>", "", label)


@pytest.mark.quick(1)
@every()
def test_dot(text: str) -> None:
    for found, _ in each_drawn(text, "dot"):
        shows(found)
        assert "URL" not in re.sub(r"<[^\n]*>", "", found)
        laid_out = laid_out_by_graphviz(found)
        assert laid_out


def shows(text: str) -> None:
    """A picture keeps the joiner that emoji need, and nothing else that does not show."""
    unseen = set(UNSEEN.findall(text.replace("\u200d", "").replace("\t", "")))
    assert not unseen - set("\ufe0f\u115f\u3164\U000e0100"), unseen


@every(SURROGATE)
def test_a_plan_that_is_printed(text: str) -> None:
    from composer.surgery.site import Plan

    miss = SimpleNamespace(path=text, reason=text)
    spec = SimpleNamespace(name=text)
    plan = SimpleNamespace(spec=spec, sites=(), shared=(), near_misses=(miss,))
    found = Plan.__str__(plan)  # type: ignore[arg-type]
    is_plain(found)
    assert len(found.splitlines()) == 2


# ------------------------------------------------------------------------------------- the files


def python_of(text: str) -> str:
    from composer.exporting.python.mechanism import alone, source_of
    from composer.exporting.subject import subject_of

    subject = subject_of(load_spec(spec_of(text)), 32, (7, 7), None)
    assert subject.spec is not None
    assert subject.settings is not None
    return source_of(alone(subject.spec, subject.settings))


@pytest.mark.quick(3)
@every()
def test_exported_python_runs_nothing_of_it(text: str) -> None:
    found = python_of(text)
    is_plain(found)
    tree, honest = ast.parse(found), ast.parse(python_of("word"))
    kinds = [type(node).__name__ for node in ast.walk(tree)]
    assert kinds == [type(node).__name__ for node in ast.walk(honest)]
    said = visible_line(" ".join(text.split()))
    assert (ast.get_docstring(tree) or "").startswith(said[:40])


@every(SURROGATE)
def test_a_string_of_exported_python(text: str) -> None:
    from composer.exporting.python.code import broken, literal, prose

    assert ast.literal_eval(literal(text)) == text
    assert ast.literal_eval(f'"""{prose(text)}."""') == visible_line(" ".join(text.split())) + "."
    long = f"f({', '.join([literal(text)] * 9)})"
    (call,) = ast.parse("\n".join(broken(long, 0))).body
    assert ast.unparse(call) == ast.unparse(ast.parse(long))


@pytest.mark.parametrize(
    ("backbone", "word"),
    [('timm:resnet18?x=1, y=__import__("os").system("id")', None),
     ("timm:resnet18?lambda=1", "lambda")],
)  # fmt: skip
def test_the_call_of_a_backbone(backbone: str, word: str | None) -> None:
    from composer.exporting.python.backbone import backbone_call

    if word is None:
        call, _ = backbone_call(backbone, nn.Identity())
        (made,) = ast.parse(call).body
        assert isinstance(made, ast.Expr)
        assert [type(n) for n in ast.walk(made) if isinstance(n, ast.Call)] == [ast.Call]
        return
    with pytest.raises(ComposerError, match="is not a Python identifier"):
        backbone_call(backbone, nn.Identity())


@every()
def test_the_report_in_markdown(text: str) -> None:
    from composer.artifact.report import Report, SiteReport

    site = SiteReport(path=text, name=text, position=text, channels=3, size=(7, 7), spec=text,
                      parameters=5)  # fmt: skip
    try:
        ModelString.parse(text)
        backbone = text
    except ComposerError:
        backbone = "w"  # it is no MODEL, so that no report is of it
    report = Report(backbone, (site,), (1, 2), (3, 4), (3, 8, 8), 0.5, text, (text,), text)
    found = report.as_markdown()
    is_plain(found)
    honest = Report("w", (site,), (1, 2), (3, 4), (3, 8, 8), 0.5, "w", ("w",), "w").as_markdown()
    assert len(found.splitlines()) == len(honest.splitlines())
    prose, _, code = found.partition("```python\n")
    rows = re.sub(r"(?m)^\| (`` .* ``|`[^`]*`) \|", "", prose)
    outside = re.sub(r"\\[\\`\[\]<>|&]", "", rows).replace("|", "")
    assert not re.search(r"[<>\[\]`&]", outside), outside
    assert code.endswith("```\n")
    assert ast.unparse(ast.parse(code.removesuffix("```\n"))).count("composer.load") == 1


@every()
def test_a_lifted_spec(text: str) -> None:
    data, _ = parse(f"title: {yaml_of(text)}\n", "it.yaml")
    assert str(data["title"]).replace("'", '"') == text.replace("'", '"')


@every(SURROGATE)
def test_the_keys_of_a_weights_file(text: str) -> None:
    import torch
    from torch import nn

    from composer.models.weights import fit_weights

    with pytest.raises(ComposerError) as refused:
        fit_weights(nn.Linear(2, 2), {text: torch.ones(2)}, Path(f"{text}.safetensors"), text)
    is_plain(str(refused.value))
