"""The report of a study as text: Markdown tables, and in words what can be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from composer.drawing.text import shown
from composer.errors import counted, listing
from composer.measure.numbers import giga
from composer.study.findings import ALL, Against, Comparison, Findings, Row
from composer.study.statistics import LEVEL, RESAMPLES, Difference, Verdict

NOTHING = "no difference can be seen"
_STARTS: dict[Verdict, str] = {
    "higher": "is higher",
    "lower": "is lower",
    "none": "shows no difference",
}
_CONTROLS: tuple[tuple[Against, str], ...] = (
    ("finetuned", "plain, trained equally"),
    ("plain", "plain, head only"),
    ("held", "gates held constant"),
    ("matched", "plain convolutions instead"),
)


def report(found: Findings) -> str:
    """Return the whole report as Markdown; the same findings give the same text."""
    parts = [
        f"# {shown(found.study.name)}",
        _subject(found),
        "## What can be seen",
        "\n".join(f"- {line}" for line in conclusions(found)) or "Nothing is compared yet.",
        "## Accuracy and cost",
        _table(*accuracy_table(found)),
        "Accuracy is top-1 in percent on the test images after the last epoch, as mean ± standard "
        "deviation over seeds. Seconds are those of one run.",
        "## Differences from the controls",
        _table(*difference_table(found)) if found.comparisons else "There are none yet.",
        _how(found),
    ]
    if (starts := start_table(found))[1]:
        parts += ["## Identity start against paper start", _table(*starts)]
    if found.omitted:
        lines = [f"- {shown(name)}: {shown(why)}" for name, why in found.omitted.items()]
        parts += ["## Omitted arms", "\n".join(lines)]
    parts += ["## What was measured, and on what", "\n".join(f"- {s}" for s in setting(found))]
    return "\n\n".join(parts) + "\n"


def conclusions(found: Findings) -> list[str]:
    """Return what can be said of each mechanism, one sentence each."""
    lines = []
    for row in found.rows:
        if row.arm.kind != "mechanism":
            continue
        against = [(label, found.of(row.arm.name, key)) for key, label in _CONTROLS]
        some = [(label, c) for label, c in against if c is not None]
        if not some:
            continue
        said = [f"{_verdict(c)} '{label}'" for label, c in some if c.difference.verdict != "none"]
        none = [f"'{label}'" for label, c in some if c.difference.verdict == "none"]
        if none:
            said.append(f"{NOTHING} from {listing(none)}")
        lines.append(f"{shown(row.arm.name)}: {'; '.join(said)}.")
    starts = [c for c in found.comparisons if c.against == "paper"]
    whole = [c for c in starts if c.arm.startswith(ALL)]
    each = [c for c in starts if c not in whole]
    if each:
        counts = Counter(c.difference.verdict for c in each)
        said = [f"{words} for {counts[key]}" for key, words in _STARTS.items() if counts[key]]
        lines.append(
            f"Identity start against paper start, {counted(len(each), 'mechanism')}: the accuracy "
            f"with an identity start {listing(said)}."
        )
    for one in whole:
        verdict = f"{_verdict(one)} with a paper start"
        if one.difference.verdict == "none":
            verdict = f"{NOTHING} from a paper start"
        lines.append(f"Identity start, {ALL}: {verdict}.")
    return lines


def accuracy_table(found: Findings) -> tuple[list[str], list[list[str]]]:
    """Return the headings and rows of accuracy beside cost."""
    headings = ["arm", "seeds", "accuracy", "parameters", "multiply-adds", "seconds", "notes"]
    return headings, [_row(row) for row in found.rows]


def difference_table(found: Findings) -> tuple[list[str], list[list[str]]]:
    """Return the headings and rows of the differences from each control."""
    shown_ = [
        (key, label) for key, label in _CONTROLS if any(c.against == key for c in found.comparisons)
    ]
    rows = []
    for row in found.rows:
        if row.arm.kind == "mechanism":
            cells = [found.of(row.arm.name, key) for key, _ in shown_]
            rows.append([row.arm.name, *(difference(c.difference if c else None) for c in cells)])
    return ["mechanism", *(f"from {label}" for _, label in shown_)], rows


def start_table(found: Findings) -> tuple[list[str], list[list[str]]]:
    """Return the headings and rows of identity start less paper start."""
    rows = [
        [c.arm.removesuffix(", identity"), difference(c.difference)]
        for c in found.comparisons
        if c.against == "paper"
    ]
    return ["mechanism", "identity start less paper start"], rows


def difference(value: Difference | None) -> str:
    """Return a difference in percentage points: ``+0.42 [-0.10, +0.94], none``."""
    if value is None:
        return "-"
    numbers = [f"{100 * number:+.2f}" for number in (value.mean, value.low, value.high)]
    word = NOTHING if value.verdict == "none" else value.verdict
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}], {word}"


def setting(found: Findings) -> list[str]:
    """Return what was measured, and on what."""
    study, meta = found.study, found.meta
    training = study.training
    images = [meta.get(f"{part} images", "?") for part in ("train", "test")]
    start = "trained weights" if study.starts_trained else "random weights"
    rates = f"learning rate {training.lr:g}"
    if training.inserted_lr is not None:
        rates += f" ({training.inserted_lr:g} for what is inserted)"
    lines = [
        f"Backbone: {study.backbone}, from {start}, at {study.data.size}×{study.data.size}.",
        f"Data: {study.data.kind}, {images[0]} images to train on and {images[1]} to test on, "
        f"{meta.get('classes', '?')} classes.",
        f"Training: {counted(training.epochs, 'epoch')} in batches of {training.batch}, "
        f"{training.optimizer}, {rates}, weight decay {training.weight_decay:g}, "
        f"{training.schedule} schedule, {training.precision}.",
        f"Seeds: {', '.join(map(str, study.seeds))}. For one seed all arms have the same backbone "
        "at the start, and the same images in the same order with the same augmentation.",
        "The accuracy is that of the last epoch; no epoch is chosen by the test images. The "
        "intervals are about other seeds on these images, and not about other images.",
    ]
    for machine, count in found.machines:
        versions = machine.get("versions", {})
        words = ", ".join(f"{name} {version}" for name, version in versions.items())
        cores = counted(machine.get("cores", 0), "core")
        threads = counted(machine.get("threads", 0), "thread")
        lines.append(
            f"{counted(count, 'run')} on {machine.get('name')}, {cores}, {threads} each; {words}."
        )
    lines.append(f"All runs took {found.hours:.2f} hours of one worker.")
    if found.left:
        lines.append(f"Not finished: {counted(found.left, 'run')} of this study.")
    if found.others:
        lines.append(
            f"Not shown: {counted(found.others, 'result')} of another version of the study file."
        )
    return [shown(line) for line in lines]


def _subject(found: Findings) -> str:
    kinds = sum(row.arm.kind == "mechanism" for row in found.rows)
    return (
        f"{counted(kinds, 'arm')} with a mechanism in {shown(found.study.backbone)}, "
        f"{counted(len(found.rows) - kinds, 'control arm')}, "
        f"{counted(len(found.study.seeds), 'seed')}."
    )


def _how(found: Findings) -> str:
    if found.method is None:
        return "A difference needs two seeds that both arms have finished."
    many = counted(len(found.comparisons), "comparison")
    ways = {
        "student-holm": "Student's t on the paired differences, with Holm's correction",
        "bootstrap-max-t": f"studentised bootstrap of the seeds ({RESAMPLES:,} resamples), "
        "corrected by the maximum over all comparisons",
    }
    return (
        "Each cell is the mean paired difference in percentage points with its interval. The "
        f"intervals are made by {ways[found.method]}, for {many} together, so that the "
        f"probability of any false difference in this report is at most {LEVEL:.0%}. "
        f"Where an interval holds zero, {NOTHING}: the study is too small for it, or it is not "
        "there."
    )


def _row(row: Row) -> list[str]:
    mean, deviation = row.mean, row.deviation
    accuracy = "-" if mean is None else f"{100 * mean:.2f}"
    if deviation is not None:
        accuracy += f" ± {100 * deviation:.2f}"
    facts = row.facts
    return [
        row.arm.name,
        f"{len(row.accuracies)} of {row.seeds}",
        accuracy,
        f"{facts['parameters']:,}" if "parameters" in facts else "-",
        giga(facts["flops"]) if "flops" in facts else "-",
        "-" if row.seconds is None else f"{row.seconds:.0f}",
        "; ".join(row.notes),
    ]


def _verdict(comparison: Comparison) -> str:
    mean = 100 * comparison.difference.mean
    word = "higher" if mean > 0 else "lower"
    return f"{abs(mean):.2f} points {word} than"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown, whose columns are aligned in the text, too."""
    cells = [[_cell(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() + " |"
        for row in cells
    ]
    return "\n".join([lines[0], "| " + " | ".join("-" * w for w in widths) + " |", *lines[1:]])


def _cell(text: str) -> str:
    return shown(text).replace("|", "\\|")
