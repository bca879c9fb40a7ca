"""`composer compare`: what its rows hold, and what it says of a wrong use; no clock is judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command import files

pytestmark = pytest.mark.usefixtures("net_file")

TINY = "net.py:tiny"
COMPARE = ("compare", "--into", TINY)
BRIEF = ("--seconds", "0.01")


@pytest.mark.long
def test_a_row_for_each_model_and_batch(run):
    found = run.fine(
        *COMPARE, "--spec", "se", "--spec", "eca", "--against", "net.py:tiny?width=8",
        "--batch", "1,2", *BRIEF, "--json",
    ).json  # fmt: skip
    assert list(found) == [
        "version", "machine", "versions", "backbone", "mode", "compile", "channels_last", "device",
        "dtype", "rows",
    ]  # fmt: skip
    assert (found["version"], found["backbone"], found["mode"]) == (1, TINY, "inference")
    assert found["versions"]["torch"] == torch.__version__
    assert found["machine"]["threads"] == torch.get_num_threads()
    rows = found["rows"]
    assert [(row["model"], row["kind"], row["sites"], row["batch"]) for row in rows] == [
        (name, kind, sites, batch)
        for batch in (1, 2)
        for name, kind, sites in (
            (TINY, "backbone", None),
            ("se", "spec", 4),
            ("eca", "spec", 4),
            ("net.py:tiny?width=8", "against", None),
        )
    ]
    plain, se, eca, small = rows[:4]
    weights = [2 * c * (c // 16) for c in (16, 16, 32, 32)]
    biases = [c // 16 + c for c in (16, 16, 32, 32)]
    assert se["parameters"] - plain["parameters"] == sum(weights) + sum(biases)
    assert se["flops"] - plain["flops"] == sum(weights)
    assert eca["parameters"] - plain["parameters"] == 4 * 3
    assert small["parameters"] < plain["parameters"]
    for row in rows:
        assert row["input"] == [3, 224, 224]
        first, third = row["latency"]["quartiles"]
        assert 0 < first <= row["latency"]["median"] <= third
        assert row["latency"]["runs"] >= 5
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["latency"]["median"])
        assert row["ratio"] > 0
    assert plain["ratio"] == 1


@pytest.mark.long
def test_memory_is_the_peak_of_a_pass(run):
    """At its peak a block holds its input, a convolution's input, what that gives, and room."""
    rows = run.fine(*COMPARE, "--spec", "eca", "--batch", "1,4", *BRIEF, "--json").json["rows"]
    largest = 4 * 16 * 56 * 56
    assert 3 * largest <= rows[0]["memory"] <= 6 * largest
    assert rows[2]["memory"] == pytest.approx(4 * rows[0]["memory"], rel=0.2)
    trained = run.fine(
        *COMPARE, "--spec", "eca", "--mode", "training", *BRIEF, "--json"
    ).json["rows"]  # fmt: skip
    assert trained[0]["memory"] > 2 * rows[0]["memory"]


@pytest.mark.long
def test_the_table(run):
    result = run.fine(*COMPARE, "--spec", "se", "--against", "resnet18", *BRIEF)
    first, machine, empty, headings, _, *rows = result.out.splitlines()
    assert first == f"{TINY} on 3×224×224: inference, float32"
    assert f"torch {torch.__version__}" in machine
    assert empty == ""
    assert headings.split() == [
        "model", "sites", "parameters", "multiply-adds", "batch", "ms", "quartiles", "ratio",
        "images/s", "peak", "MiB",
    ]  # fmt: skip
    assert [row.split("  ")[0] for row in rows] == [TINY, "+ se", "resnet18"]
    assert "11,689,512" in rows[2]
    assert files(Path()) == ["net.py"]


@pytest.mark.long
def test_where_it_goes_is_chosen_as_in_insert(run):
    def sites(*args: str) -> int:
        rows = run.fine(*COMPARE, "--spec", "se", *args, *BRIEF, "--json").json["rows"]
        number: int = rows[1]["sites"]
        return number

    assert sites("--stages", "2") == 2
    assert sites("--blocks", "-1") == 2
    assert sites("--every", "4") == 1
    assert sites("--at", "stage") == 2
    assert sites("--select", "stage1.*", "--position", "input") == 2


@pytest.mark.long
def test_settings_and_a_stand_in(run):
    rows = run.fine(
        *COMPARE, "--spec", "cond_conv", "--spec", "dynamic_conv", "--stages", "1..-1",
        "--set", "experts=2", "--set", "cond_conv.experts=3", *BRIEF, "--json",
    ).json["rows"]  # fmt: skip
    assert [row["sites"] for row in rows] == [None, 8, 8]
    assert rows[0]["parameters"] < rows[2]["parameters"] < rows[1]["parameters"]


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [
        ("--mode", "training", "--channels-last", "--batch", "2"),
        ("--dtype", "bfloat16"),
        ("--dtype", "bfloat16", "--mode", "training", "--batch", "2"),
    ],
    ids=" ".join,
)
def test_ways_to_run(run, options):
    rows = run.fine(*COMPARE, "--spec", "bam", "--at", "stage", *options, *BRIEF, "--json").json
    assert [row["sites"] for row in rows["rows"]] == [None, 1]


@pytest.mark.slow
def test_compiled(run):
    found = run.fine(*COMPARE, "--spec", "eca", "--compile", *BRIEF, "--json").json
    assert found["compile"] is True
    assert [row["kind"] for row in found["rows"]] == ["backbone", "spec"]


#: A name, the arguments, the exit status, and what stands on stderr.
BAD = [
    (
        "nothing to compare with",
        COMPARE,
        2,
        f"error[usage]: nothing is compared with {TINY}\n"
        "  help: use --spec cbam, or --against timm:seresnet50\n",
    ),
    (
        "no backbone",
        ("compare", "--spec", "se"),
        2,
        "error[usage]: missing option '--into'\n  help: see 'composer compare --help'\n",
    ),
    (
        "a batch of nothing",
        (*COMPARE, "--spec", "se", "--batch", "1,0"),
        2,
        "error[usage]: --batch '1,0' is not a batch size\n"
        "  help: write --batch 8, or --batch 1,8\n",
    ),
    (
        "a batch that is none",
        (*COMPARE, "--spec", "se", "--batch", "many"),
        2,
        "error[usage]: --batch 'many' is not a batch size\n"
        "  help: write --batch 8, or --batch 1,8\n",
    ),
    (
        "no time",
        (*COMPARE, "--spec", "se", "--seconds", "0"),
        2,
        "error[usage]: invalid value for '--seconds': 0.0 is not in the range x>0\n"
        "  help: see 'composer compare --help'\n",
    ),
    (
        "a mode that is none",
        (*COMPARE, "--spec", "se", "--mode", "train"),
        2,
        "error[usage]: invalid value for '--mode': 'train' is not one of 'inference', 'training'\n"
        "  help: see 'composer compare --help'\n",
    ),
    (
        "a spec twice",
        (*COMPARE, "--spec", "se", "--spec", "se"),
        2,
        "error[usage]: two of the specs are named 'se'\n  help: give each a different name\n",
    ),
    (
        "an unknown param",
        (*COMPARE, "--spec", "se", "--set", "reductions=8"),
        2,
        "error[unknown-param]: the spec 'se' has no param 'reductions'\n"
        "  help: did you mean 'reduction'? Params of se: reduction, min_width, bias\n",
    ),
    (
        "stages that are none",
        (*COMPARE, "--spec", "se", "--stages", "one"),
        2,
        "error[usage]: --stages 'one': 'one' is not a number or a range; they count from 1: "
        "'1,3', '2..4', '1..-2' or '-1' for the last\n",
    ),
    (
        "another model that there is not",
        (*COMPARE, "--against", "net.py:tinny"),
        1,
        "error[unknown-backbone]: net.py has no function 'tinny'\n"
        "  help: did you mean 'tiny'? it has Block, Net, tiny\n",
    ),
    (
        "a selection that matches nothing",
        (*COMPARE, "--spec", "se", "--select", "layer3.*"),
        1,
        "error[no-sites]: none of the 4 blocks matches: its path does not match 'layer3.*'\n"
        "  help: there are stage 1 stage1 (2 blocks), stage 2 stage2 (2 blocks)\n",
    ),
    (
        "one image for a norm behind a global pool",
        (*COMPARE, "--spec", "bam", "--at", "stage", "--mode", "training"),
        1,
        "error[training-failed]: training of bam on a batch of 1 fails: Expected more than 1 value "
        "per channel when training, got input size torch.Size([1, 1])\n"
        "  help: a norm after a global pool needs more than one image: use --batch 2\n",
    ),
    (
        "a device that is none",
        (*COMPARE, "--spec", "se", "--device", "meta"),
        2,
        "error[no-device]: the device 'meta' is not available\n  help: use --device cpu{cuda}\n",
    ),
]


@pytest.mark.parametrize(("args", "status", "said"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_the_message(run, args, status, said):
    result = run(*args)
    said = said.replace("{cuda}", ", or cuda:N" if torch.cuda.is_available() else "")
    assert (result.err, result.status, result.out) == (said, status, "")


def test_json_of_an_error(run):
    result = run(*COMPARE, "--json")
    assert (result.status, [e["code"] for e in result.json["errors"]]) == (2, ["usage"])


def test_torch_stays_out_of_what_needs_none(tmp_path):
    code = (
        "import sys\nfrom composer.cli import main\n"
        "try:\n    main({args!r})\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules or 'timm' in sys.modules, file=sys.stderr)\n"
    )
    for args in (["compare", "--help"], ["compare", "--into", "resnet18", "--spec", "sse"]):
        done = subprocess.run(
            [sys.executable, "-c", code.format(args=args)],
            cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stderr.splitlines()[-1] == "False", args
