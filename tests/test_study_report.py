"""The report of synthetic results: it finds what is in them, and says plainly what it can't see.

``python tests/test_study_report.py`` writes the golden files anew; look at them before you commit.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from command import Command
from studies import write_results, write_study

from composer.study.arms import FINETUNED, PLAIN
from composer.study.chart import _numbers
from composer.study.findings import ALL, findings
from composer.study.page import files
from composer.study.report import NOTHING, difference, report
from composer.study.statistics import Difference

GOLDEN = Path(__file__).parent / "golden" / "study"
HELD, MATCHED = "gates held constant", "plain convolutions instead"
#: What is in the results: SE helps by ten points, whatever its start; ECA does nothing.
TRUTH = {
    PLAIN: 0.50, FINETUNED: 0.80,
    **{name: value for init in ("identity", "paper") for name, value in {
        f"se, {init}": 0.90, f"se, {init}: {HELD}": 0.80, f"se, {init}: {MATCHED}": 0.80,
        f"eca, {init}": 0.80, f"eca, {init}: {HELD}": 0.80, f"eca, {init}: {MATCHED}": 0.80,
    }.items()},
}  # fmt: skip


def results(folder: Path, truth=TRUTH, deviation=0.004, **changed):
    changed = {"mechanisms": "[se, eca]", "init": "[identity, paper]", "seeds": "5",
               "pretrained": "true"} | changed  # fmt: skip
    return write_results(write_study(folder, **changed), truth, deviation)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return findings(*results(tmp_path_factory.mktemp("study")))


def made() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        return files(findings(*results(Path(folder))))


def test_the_golden_files():
    """Of the same results, the same bytes."""
    assert made() == {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.iterdir()}


def test_what_is_there_is_found_and_no_more(found):
    for init in ("identity", "paper"):
        for against in ("plain", "finetuned", "held", "matched"):
            se, eca = (found.of(f"{spec}, {init}", against) for spec in ("se", "eca"))
            assert se.difference.verdict == "higher", against
            assert se.difference.low < 0.1 < se.difference.high or against == "plain"
            assert eca.difference.verdict == ("higher" if against == "plain" else "none"), against
        assert found.of("se, identity", "paper").difference.verdict == "none"
    assert found.of(f"{ALL}, identity", "paper").difference.verdict == "none"
    assert len(found.comparisons) == 4 * 4 + 2 + 1


def test_where_nothing_is_the_report_says_so(tmp_path):
    nothing = dict.fromkeys(TRUTH, 0.8)
    text = report(findings(*results(tmp_path, nothing, 0.01)))
    seen = text.partition("## What can be seen")[2].partition("##")[0].strip().splitlines()
    assert len(seen) == 6
    assert seen[0] == (
        f"- se, identity: {NOTHING} from 'plain, trained equally', 'plain, head only', "
        f"'{HELD}' and '{MATCHED}'."
    )
    assert seen[4] == (
        "- Identity start against paper start, 2 mechanisms: the accuracy with an identity start "
        "shows no difference for 2."
    )
    assert seen[5] == f"- Identity start, {ALL}: {NOTHING} from a paper start."
    assert "higher" not in "".join(seen)


def test_seeds_that_one_arm_lacks_are_not_paired(tmp_path):
    study, store = results(tmp_path)
    import sqlite3

    connection = sqlite3.connect(store.path)
    connection.execute("delete from run where arm = 'se, paper' and seed > 0")
    connection.execute("update run set status = 'diverged', accuracy = null "
                       "where arm = 'eca, paper' and seed = 2")  # fmt: skip
    connection.commit()
    connection.close()
    left = findings(study, store)
    assert left.of("se, paper", "finetuned") is None  # one seed shows no deviation
    assert left.of("eca, paper", "finetuned").difference.seeds == 4
    assert left.of(f"{ALL}, identity", "paper") is None
    assert left.left == 4
    text = report(left)
    assert "| 1 of 5 |" in text
    assert "diverged with seed 2" in text
    assert "Not finished: 4 runs of this study." in text


def test_results_of_another_version_of_the_file_are_counted(tmp_path):
    results(tmp_path)
    study, store = results(tmp_path, training="{epochs: 4, batch: 8}")
    assert findings(study, store).others == 5 * 14


def test_the_charts_are_svg_that_holds_every_arm(found):
    texts = files(found)
    for name in ("curves.svg", "pareto-parameters.svg", "pareto-multiply-adds.svg"):
        root = ElementTree.fromstring(texts[name])
        words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "se, identity" in words
        assert PLAIN in words
        width, height = (float(root.get(side)) for side in ("width", "height"))
        for element in root.iter("{http://www.w3.org/2000/svg}text"):
            assert 0 <= float(element.get("x")) <= width
            assert 0 <= float(element.get("y")) <= height
        for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
            assert 58 <= float(circle.get("cx")) <= 478
    assert "src=" not in texts["report.html"]  # nothing is loaded
    assert "href=" not in texts["report.html"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.0042, -0.001, 0.0094), f"+0.42 [-0.10, +0.94], {NOTHING}"),
        ((0.1, 0.05, 0.15), "+10.00 [+5.00, +15.00], higher"),
        ((-0.1, -0.15, -0.05), "-10.00 [-15.00, -5.00], lower"),
        (None, "-"),
    ],
)
def test_a_difference_in_words(values, text):
    assert difference(values and Difference(5, *values)) == text


def test_a_name_that_is_hostile_stays_text(tmp_path):
    """A spec's path may hold anything; it goes into HTML, SVG and a table of Markdown."""
    name = "a|b<script>&\u202e.yaml"
    (tmp_path / name).write_text("name: it\ninput: [b, c, h, w]\nnodes:\n  out: {op: gate}\n")
    truth = {FINETUNED: 0.5, f"{name}, identity": 0.6}
    study, store = write_results(
        write_study(tmp_path, mechanisms=f"['{name}']", controls="[finetuned]"), truth
    )
    texts = files(findings(study, store))
    for file in ("report.html", "curves.svg", "pareto-parameters.svg"):
        assert "<script" not in texts[file]
        assert "&lt;script&gt;&amp;" in texts[file]
    assert all("\u202e" not in text for text in texts.values())
    assert "a\\|b" in texts["report.md"]


@pytest.mark.long
def test_the_command_writes_the_files_and_keeps_others(capsys, tmp_path):
    run = Command(capsys)
    results(tmp_path)
    where = tmp_path / "report"
    args = ("study", "report", tmp_path / "study.yaml", "-o", where)
    assert "written to" in run.fine(*args).out
    again = run(*args)
    assert again.status == 1
    assert "exists already" in again.err
    assert "replace it with --force" in again.err
    run.fine(*args, "--force")
    assert sorted(path.name for path in where.iterdir()) == sorted(made())
    values = json.loads((where / "report.json").read_text())
    assert values == {k: v for k, v in run.fine(*args[:3], "--json").json.items() if k != "output"}
    (tmp_path / "file").write_text("")
    refused = run("study", "report", tmp_path / "study.yaml", "-o", tmp_path / "file")
    assert re.search(r"error\[output\]: .*not a folder", refused.err)


def test_the_report_needs_neither_torch_nor_the_data(tmp_path):
    import subprocess

    results(tmp_path)
    (tmp_path / "images").rename(tmp_path / "gone")
    code = (
        "import sys\nfrom composer.cli import main\n"
        "try:\n    main(['study', 'report', 'study.yaml', '--json'])\nexcept SystemExit as left:\n"
        "    print(left.code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr == "0 False\n"


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, text in made().items():
        (GOLDEN / name).write_text(text, encoding="utf-8")


def test_the_numbers_of_points_that_meet_stay_inside_the_chart() -> None:
    meet = [(520.0, 100.0)] * 3 + [(60.0, 100.0)] * 7
    right, left = _numbers([*meet[:3], (60.0, 40.0), *meet[3:5], (300.0, 40.0), *meet[5:]])[:2]
    assert 'text-anchor="end">1–3</text>' in right
    assert 'text-anchor="start">4</text>' in left
    many = _numbers([meet[-1], (300.0, 9.0), *meet[-2:], (300.0, 40.0), *meet[-2:]])
    assert many[0].endswith(">1, 3–4 and 2 more</text>")
