"""Specs that cost as much as they can: each a mapping of file names to texts, `it.yaml` first read.

Those that nest or repeat are written by small generators; the rest are mutations of shipped specs,
with values of every kind where others stood.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache

from composer.language.library import shipped_folder, shipped_names

Files = dict[str, str]
HEAD = "name: it\ninput: [b, c, h, w]\n"
NODES = f"{HEAD}nodes:\n"
LAST = "  out: {op: gate, x: input}\n"


def one(text: str) -> Files:
    return {"it.yaml": text}


def node(fields: str) -> Files:
    return one(f"{NODES}  z: {{{fields}}}\n{LAST}")


# --------------------------------------------------------------------------------------- the text


def texts() -> Iterator[tuple[str, Files]]:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
    )
    yield "alias bomb", one(bomb)
    yield "alias bomb in nodes", one(f"{bomb}{NODES}  z: {{op: add, of: *a8}}\n")
    yield "alias to itself", one(f"{NODES}  z: &z {{op: repeat, times: 2, each: *z}}\n")
    yield "brackets", one("[" * 1_000_000)
    yield "braces", one("{a: " * 400_000)
    yield "flow of a million", one(f"a: [{'1,' * 999_000}]")
    yield "flow of maps", one(f"a: [{'{a: 1},' * 250_000}]")
    yield "100,000 keys", one(HEAD + "".join(f"k{i}: 1\n" for i in range(100_000)))
    yield "40,000 keys", one(HEAD + "".join(f"k{i}: 1\n" for i in range(40_000)) + "nodes: {}\n")
    yield "40,000 keys of a node", node("op: gate, " + ", ".join(f"k{i}: 1" for i in range(40_000)))
    yield "40,000 equal keys", one(HEAD + "k: 1\n" * 40_000 + f"nodes:\n{LAST}")
    yield "a key of 1 MB", one(f"{'k' * 1_000_000}: 1\n{NODES}{LAST}")
    yield "a node of 1 MB", one(f"{NODES}  ? {'k' * 1_000_000}\n  : {{op: gate}}\n")
    yield "a name of 1 MB", one(f"name: {'n' * 1_000_000}\ninput: [b, c]\nnodes:\n{LAST}")
    yield "an op of 1 MB", node(f"op: {'g' * 1_000_000}")
    yield "a word of 1 MB", node(f"op: gate, fn: {'g' * 1_000_000}")
    yield "a reference of 1 MB", node(f"op: gate, x: {'g' * 1_000_000}")
    yield "an expression of 1 MB", node(f"op: linear, over: c, out: '{'1+' * 500_000}1'")
    yield "a spec's name of 1 MB", node(f"op: use, spec: {'s' * 1_000_000}")
    yield "a title of 1 MB", one(f"title: '{'t' * 1_000_000}'\n{NODES}{LAST}")
    yield "deviations", one(f"{NODES}{LAST}deviations: [{'d, ' * 45_000}]")
    yield "tags", one(f"a: [{'!x 1,' * 90_000}]")
    yield "comments", one("# c\n" * 480_000 + NODES + LAST)
    yield "blank lines", one("\n" * 1_900_000 + NODES + LAST)
    yield "anchors", one(f"a: [{', '.join(f'&a{i} x' for i in range(90_000))}]")
    yield "quotes", one(f'{NODES}  z: "{chr(92)}n{"a" * 1_000_000}"\n')


# -------------------------------------------------------------------------------------- the graph


def graphs() -> Iterator[tuple[str, Files]]:
    for inner in ("op: gate", "op: use, spec: bam", "op: conv2d, kernel: 3"):
        for kind in ("repeat, times: {t}", "branch, axis: k{d}, times: {t}"):
            for depth, times in ((3, 1000), (12, 2), (20, 10), (2, 100), (1, 11_000)):
                text = f"{{{inner}}}"
                for d in range(depth):
                    text = f"{{op: {kind.format(t=times, d=d)}, each: {text}}}"
                yield (
                    f"{kind.partition(',')[0]} {times}^{depth} of {inner}",
                    one(f"{NODES}  z: {text}\n{LAST}"),
                )
    yield (
        "steps that grow",
        node("op: repeat, times: 1000, each: {op: repeat, times: i * 1000, each: {op: gate}}"),
    )
    yield (
        "steps of steps",
        node(
            "op: repeat, times: 11000, index: i, each: {op: repeat, times: i % 2, each: {op: gate}}"
        ),
    )
    yield (
        "uses with params",
        node(
            "op: repeat, times: 2000, index: i, "
            "each: {op: use, spec: se, params: {reduction: i + 1}}"
        ),
    )
    yield "uses", one(NODES + "".join(f"  n{i}: {{op: use, spec: cbam}}\n" for i in range(3000)))
    yield (
        "uses of nothing",
        one(NODES + "".join(f"  n{i}: {{op: use, spec: nothing{i}}}\n" for i in range(12_000))),
    )
    yield "nodes", one(NODES + "".join(f"  n{i}: {{op: gate}}\n" for i in range(33_000)))
    yield (
        "convolutions",
        one(
            NODES
            + "".join(f"  n{i}: {{op: conv2d, kernel: 3, out: {i + 1}}}\n" for i in range(9000))
        ),
    )
    yield (
        "strides",
        one(
            NODES + "".join(f"  n{i}: {{op: conv2d, kernel: 3, stride: 2}}\n" for i in range(9000))
        ),
    )
    yield (
        "cycles",
        one(
            NODES
            + "".join(f"  n{i}: {{op: gate, x: n{(i * 7 + 1) % 9000}}}\n" for i in range(9000))
        ),
    )
    yield (
        "all read all",
        one(
            NODES
            + "  n0: {op: gate}\n"
            + "".join(
                f"  n{i}: {{op: add, of: [{', '.join(f'n{j}' for j in range(i))}]}}\n"
                for i in range(1, 390)
            )
        ),
    )
    yield (
        "one cycle of all",
        one(
            NODES
            + "".join(
                f"  n{i}: {{op: add, of: [{', '.join(f'n{j}' for j in range(280) if j != i)}]}}\n"
                for i in range(280)
            )
        ),
    )
    yield (
        "misspelt",
        one(NODES + "".join(f"  n{i}: {{op: gate, x: m{i}}}\n" for i in range(24_000))),
    )
    yield "nodes without op", one(NODES + "".join(f"  n{i}: {{}}\n" for i in range(40_000)))
    yield (
        "nodes of unknown op",
        one(NODES + "".join(f"  n{i}: {{op: gat{i}}}\n" for i in range(30_000))),
    )
    yield (
        "wrong values",
        one(NODES + "".join(f"  n{i}: {{op: conv2d, kernel: [x y]}}\n" for i in range(20_000))),
    )
    yield (
        "wrong words",
        one(NODES + "".join(f"  n{i}: {{op: gate, fn: sigmoit{i}}}\n" for i in range(20_000))),
    )
    yield (
        "unknown axes",
        one(NODES + "".join(f"  n{i}: {{op: pool, over: x{i}}}\n" for i in range(20_000))),
    )
    yield (
        "branches that meet",
        one(
            NODES
            + "".join(
                f"  n{i}: {{op: branch, axis: k, times: 100, each: {{op: gate}}}}\n"
                for i in range(110)
            )
        ),
    )


# ------------------------------------------------------------------------------ axes, expressions


def axes() -> Iterator[tuple[str, Files]]:
    many = ", ".join(f"a{i}" for i in range(40_000))
    few = ", ".join(f"a{i}" for i in range(300))
    for name, word in (("40,000", many), ("300", few)):
        yield f"{name} axes", one(f"name: it\ninput: [b, {word}]\nnodes:\n{LAST}")
        yield f"pool over {name}", node(f"op: pool, over: [{word}]")
        yield f"norm over {name}", node(f"op: norm, over: [{word}]")
        yield f"pool over h {name}", node(f"op: pool, over: [{'h, ' * word.count('a')}h]")
        sized = ", ".join(f"{a}: 1" for a in word.split(", "))
        yield f"a parameter of {name}", node(f"op: parameter, init: 0, axes: {{{sized}}}")
        yield f"a constant of {name}", node(f"op: constant, value: 0, axes: {{{sized}}}")
        yield f"out {name}", node(f"op: linear, over: c, out: {{{sized}}}")
        yield f"split into {name}", node(f"op: split, axis: c, into: {{{sized}}}")
        yield f"merge {name}", node(f"op: merge, axes: [{word}], into: q")
        renamed = ", ".join(f"{a}: q{a}" for a in word.split(", "))
        yield f"rename {name}", node(f"op: rename, axes: {{{renamed}}}")
        yield f"use with axes {name}", node(f"op: use, spec: se, axes: {{{renamed}}}")
        yield f"use with params {name}", node(f"op: use, spec: se, params: {{{sized}}}")
        yield f"use with inputs {name}", node(f"op: use, spec: se, inputs: {{{renamed}}}")
        yield f"params {name}", one(f"params: {{{sized}}}\n{NODES}{LAST}")
        yield (
            f"choices {name}",
            one(f"params: {{p: {{default: x, choices: [{word}]}}}}\n{NODES}{LAST}"),
        )
        yield f"kernels {name}", node(f"op: conv2d, kernel: [{'3, ' * word.count('a')}3]")
        yield f"add {name} of input", node(f"op: add, of: [{'input, ' * word.count('a')}input]")
        yield (
            f"identity {name}",
            one(f"{NODES}{LAST}identity: {{requires: {{{sized}}}, nodes: {{{sized}}}}}\n"),
        )
    yield (
        "an axis more each",
        one(
            NODES
            + "".join(
                f"  n{i}: {{op: linear, over: c, x: input, out: {{a{i}: 2, c: c}}}}\n"
                for i in range(200)
            )
            + f"  out: {{op: add, of: [{', '.join(f'n{i}' for i in range(200))}]}}\n"
        ),
    )


def expressions() -> Iterator[tuple[str, Files]]:
    for text in (
        "2 ** 99999", "9 ** 9 ** 9 ** 9", "9" * 250, "1e308 * 1e308", "-(2 ** 62)", "(" * 140 + "1",
        "-" * 290 + "1", "+".join(["c"] * 140), "max(" * 20 + "c, 1" + ", 1)" * 20, "c // 0",
        "10 ** 15 // 1", "1e15", "'a' * 99999", "c if " * 50 + "c", "0x" + "f" * 200, "c.__class__",
        "().__class__", "__import__('os')", "[c for c in c]", "lambda: c", "c(" * 80, "f'{c}'",
        "\u0660", "c" * 290, "1_000_000_000_000", "round(1e15)", "exp(34) ** 64", "sqrt(0 - 1)",
        "10 ** 15 * 10 ** 15", "pi ** 64 ** 64", "0.5 ** 64", "1 / 3 * 3", "1e-300", "nan", "inf",
    ):  # fmt: skip
        quoted = text.replace('"', "'")
        yield f"expression {text[:24]}", node(f'op: linear, over: c, out: "{quoted}"')
    tower = "params: {p0: 2, " + ", ".join(
        f"p{i}: 'max({', '.join([f'p{i - 1}'] * 8)})'" for i in range(1, 2000)
    )
    yield "a tower of params", one(f"{tower}}}\n{NODES}{LAST}")
    opened = "params: {p0: c + h, " + ", ".join(
        f"p{i}: 'p{i - 1} + p{i - 1} % 7'" for i in range(1, 3000)
    )
    yield "params of open sizes", one(f"{opened}}}\n{NODES}{LAST}")
    long = "params: {p: '" + " + ".join(["c % 7"] * 30)[:250].rpartition(" + ")[0] + "', q: "
    long += "'max(p, p + 1, p + 2, p + 3)'}\n"
    yield (
        "long sizes",
        one(
            f"{long}{NODES}"
            + "".join(
                f"  n{i}: {{op: linear, over: c, out: q + {i}, x: input}}\n" for i in range(9000)
            )
        ),
    )
    yield (
        "long sizes that meet",
        one(
            f"{long}{NODES}  a: {{op: linear, over: c, out: q + q}}\n"
            "  b0: {op: linear, over: c, out: 2 * q, x: input}\n"
            + "".join(f"  n{i}: {{op: add, of: [a, b0]}}\n" for i in range(5000))
        ),
    )


# --------------------------------------------------------------------------------- sizes, numbers


def sizes() -> Iterator[tuple[str, Files]]:
    for n in ("1000000000", "2147483647", "1e12", "1e15", "99999999999999999999", "-5", "0", "0.5",
              "65536", "60000"):  # fmt: skip
        for field, fields in {
            "out": "op: linear, over: c, out: {n}",
            "hidden": "op: mlp, over: c, hidden: {n}",
            "mlp out": "op: mlp, over: c, hidden: {n}, out: {n}",
            "kernel": "op: conv2d, kernel: {n}",
            "kernel, padding": "op: conv2d, kernel: {n}, padding: {n}",
            "padding": "op: conv2d, kernel: 3, padding: {n}",
            "dilation": "op: conv2d, kernel: 3, dilation: {n}",
            "stride": "op: conv2d, kernel: 3, stride: {n}",
            "groups": "op: conv2d, kernel: 3, groups: {n}",
            "conv out": "op: conv2d, kernel: 7, out: {n}",
            "conv1d": "op: conv1d, along: c, kernel: {n}",
            "pool": "op: pool, over: [h, w], kernel: {n}",
            "pool to": "op: pool, over: [h, w], to: {n}",
            "exponent": "op: pool, over: [h, w], reduce: power, exponent: {n}",
            "resize": "op: resize, over: [h, w], to: {n}",
            "pad": "op: pad, to: {{h: {n}}}",
            "roll": "op: roll, over: h, by: {n}",
            "unfold": "op: unfold, over: [h, w], kernel: {n}, into: [y, x]",
            "split": "op: split, axis: c, into: {{k: {n}, c: c / {n}}}",
            "constant": "op: constant, axes: {{k: {n}}}, value: k",
            "constants": "op: constant, axes: {{k: {n}, c: {n}}}, value: k * c",
            "parameter": "op: parameter, axes: {{k: {n}}}, init: 0",
            "parameters": "op: parameter, axes: {{k: {n}, j: {n}, c: {n}}}, init: conv",
            "schedule": "op: schedule, begin: 1, end: 2, steps: {n}",
            "times": "op: repeat, times: {n}, each: {{op: gate}}",
            "branches": "op: branch, axis: k, times: {n}, each: {{op: gate}}",
            "heads": "op: norm, fn: group, over: [c, h, w], groups: {n}",
            "dropout": "op: dropout, p: {n}",
        }.items():
            yield f"{field} {n}", node(fields.format(n=n))
            if field in ("out", "conv out", "padding", "constants", "parameter"):
                text = fields.format(n=n)
                yield f"{field} {n}, read", one(f"{NODES}  z: {{{text}}}\n  out: {{op: gate}}\n")
    yield (
        "tables",
        one(
            NODES
            + "".join(
                f"  t{i}: {{op: constant, axes: {{k: 3000, j: 3000}}, value: k + j + {i}}}\n"
                for i in range(20)
            )
            + f"  out: {{op: add, of: [{', '.join(f't{i}' for i in range(20))}]}}\n"
        ),
    )
    yield (
        "outer products",
        one(
            NODES
            + "".join(
                f"  p{i}: {{op: parameter, axes: {{a{i}: 1000}}, init: 0}}\n" for i in range(12)
            )
            + f"  out: {{op: add, of: [input, {', '.join(f'p{i}' for i in range(12))}]}}\n"
        ),
    )
    yield "attention of all", node("op: attention, q: input, k: input, v: input, over: [c, h]")


# --------------------------------------------------------------------------------- several files


def files() -> Iterator[tuple[str, Files]]:
    def user(words: list[str]) -> str:
        return NODES + "".join(f"  n{i}: {{op: use, spec: {w}}}\n" for i, w in enumerate(words))

    for count in (15, 120, 1000):
        chain = {f"s{i}.yaml": user([f"s{i + 1}.yaml"]) for i in range(count)}
        yield (
            f"uses in a chain of {count}",
            {"it.yaml": user(["s0.yaml"]), **chain, f"s{count}.yaml": f"{NODES}{LAST}"},
        )
        variants = {f"s{i}.yaml": f"name: it\nextends: s{i + 1}.yaml\n" for i in range(count)}
        yield (
            f"extends in a chain of {count}",
            {
                "it.yaml": "name: it\nextends: s0.yaml\n",
                **variants,
                f"s{count}.yaml": NODES + LAST,
            },
        )
    large = NODES + "".join(f"  n{i}: {{op: gate}}\n" for i in range(11_000))
    wide = {f"s{i}.yaml": f"name: it\nextends: s{i + 1}.yaml\n" for i in range(18)}
    yield (
        "extends of a large one",
        {"it.yaml": "name: it\nextends: s0.yaml\n", **wide, "s18.yaml": large},
    )
    used = {f"s{i}.yaml": user([f"s{i + 1}.yaml"]) for i in range(18)}
    yield "uses of a large one", {"it.yaml": user(["s0.yaml"]), **used, "s18.yaml": large}
    twice = {f"s{i}.yaml": user([f"s{i + 1}.yaml"] * 2) for i in range(18)}
    yield "twice each", {"it.yaml": user(["s0.yaml"]), **twice, "s18.yaml": NODES + LAST}
    both: Files = {}
    for i in range(18):
        for side in "ab":
            both[f"{side}{i}.yaml"] = f"# {side}\n" + user([f"a{i + 1}.yaml", f"b{i + 1}.yaml"])
    ends = {f"{side}18.yaml": f"# {side}\n{NODES}{LAST}" for side in "ab"}
    yield "two ways each", {"it.yaml": user(["a0.yaml", "b0.yaml"]), **both, **ends}
    yield (
        "two names each",
        {
            "it.yaml": user(["s0.yaml", "./s0.yaml"]),
            **{f"s{i}.yaml": user([f"s{i + 1}.yaml", f"./s{i + 1}.yaml"]) for i in range(18)},
            "s18.yaml": NODES + LAST,
        },
    )
    yield "extends itself", {"it.yaml": "name: it\nextends: it.yaml\n"}
    yield "uses itself", {"it.yaml": user(["it.yaml"])}
    yield (
        "extends in a ring",
        {
            "it.yaml": "name: it\nextends: s0.yaml\n",
            **{f"s{i}.yaml": f"name: it\nextends: s{(i + 1) % 9}.yaml\n" for i in range(9)},
        },
    )
    yield (
        "many specs",
        {
            "it.yaml": user([f"s{i}.yaml" for i in range(500)]),
            **{f"s{i}.yaml": f"{NODES}{LAST}" for i in range(500)},
        },
    )
    yield "extends nothing", {"it.yaml": "name: it\nextends: nothing.yaml\n"}
    yield "uses the network's files", {"it.yaml": user(["/dev/zero", "/dev/stdin", "/proc/kmsg"])}


# ------------------------------------------------------------------------------------- mutations

VALUES = (
    "1e12", "-1", "0", "99999999999999999999", "2 ** 99999", "[]", "{}", "~", "true", "''", "'*'",
    "nan", "input", "c", "[c, c]", "[h, w, h]", "{op: gate}", "self", "x" * 5000, "1000000000",
    "[1, 2, 3, 4, 5, 6, 7, 8]", "c // 0", "b", "'a, b'", "3", "{c: 1000000, k: 1000000}",
)  # fmt: skip


def mutations(count: int) -> Iterator[tuple[str, Files]]:
    """Yield shipped specs with a value, a key or a line of each changed, always the same ones."""
    draw = random.Random(0)
    names = shipped_names()
    for number in range(count):
        name = draw.choice(names)
        text = (shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8")
        for _ in range(draw.choice((1, 1, 2, 3))):
            lines = text.split("\n")
            at = draw.randrange(len(lines))
            line = lines[at]
            match draw.randrange(4):
                case 0 if ": " in line:
                    places = [i for i in range(len(line)) if line.startswith(": ", i)]
                    begin = draw.choice(places) + 2
                    ends = [i for i in range(begin, len(line)) if line[i] in ",}]"] or [len(line)]
                    line = line[:begin] + draw.choice(VALUES) + line[ends[0] :]
                case 1:
                    other = lines[draw.randrange(len(lines))]
                    line = f"{line}\n{other}"
                case 2 if line:
                    place = draw.randrange(len(line))
                    sign = draw.choice("[]{}:,&*!|>'\"%@`#-? \t")
                    line = line[:place] + sign + line[place + 1 :]
                case _:
                    new = draw.choice(("n", "c", "999999999"))
                    line = line.replace(draw.choice("chwkb16"), new)
            lines[at] = line
            text = "\n".join(lines)
        yield f"{name} changed ({number})", one(text)


GENERATORS: tuple[Callable[[], Iterator[tuple[str, Files]]], ...] = (
    texts,
    graphs,
    axes,
    expressions,
    sizes,
    files,
)


@cache
def generated() -> dict[str, Files]:
    """Return every hostile spec but the mutations, by what it is called."""
    return {name: found for make in GENERATORS for name, found in make()}
