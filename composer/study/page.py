"""The files of a report: one page of HTML with everything in it, Markdown, the charts, the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from composer.drawing.text import shown
from composer.study.chart import curves, pareto
from composer.study.findings import Findings
from composer.study.report import (
    accuracy_table,
    conclusions,
    difference_table,
    report,
    setting,
    start_table,
)

_STYLE = """
body { font: 15px/1.5 Helvetica, Arial, 'Liberation Sans', sans-serif; color: #111;
       margin: 2em auto; max-width: 72em; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px; }
th, td { border-bottom: 1px solid #ddd; padding: .25em .7em; text-align: left; }
th { background: #f4f6f9; }
figure { margin: 1em 0; overflow-x: auto; }
"""


def files(found: Findings) -> dict[str, str]:
    """Return the text of each file of a report, by its name."""
    charts = {
        "pareto-multiply-adds.svg": pareto(found, "flops"),
        "pareto-parameters.svg": pareto(found, "parameters"),
        "curves.svg": curves(found),
    }
    figures = "".join(f"\n![{name.partition('.')[0]}]({name})\n" for name in charts)
    return {
        "report.md": report(found) + figures,
        "report.html": _page(found, charts),
        "report.json": json.dumps(as_json(found), indent=2) + "\n",
        **charts,
    }


def as_json(found: Findings) -> dict[str, Any]:
    """Return the findings as plain values; accuracies and differences are shares from 0 to 1."""
    return {
        "version": 1,
        "study": found.study.name,
        "backbone": found.study.backbone,
        "seeds": found.study.seeds,
        "method": found.method,
        "arms": [
            {
                "name": row.arm.name,
                **row.arm.as_json(),
                "accuracies": {str(seed): value for seed, value in row.accuracies.items()},
                "mean": row.mean,
                "deviation": row.deviation,
                "parameters": row.facts.get("parameters"),
                "flops": row.facts.get("flops"),
                "sites": row.facts.get("sites"),
                "wanted": row.facts.get("wanted"),
                "reached": row.facts.get("reached"),
                "seconds": row.seconds,
                "notes": list(row.notes),
            }
            for row in found.rows
        ],
        "comparisons": [
            {
                "arm": c.arm,
                "against": c.against,
                "other": c.other,
                **asdict(c.difference),
                "verdict": c.difference.verdict,
            }
            for c in found.comparisons
        ],
        "omitted": dict(found.omitted),
        "machines": [{**machine, "runs": count} for machine, count in found.machines],
        "hours": found.hours,
        "left": found.left,
        "others": found.others,
    }


def _page(found: Findings, charts: dict[str, str]) -> str:
    name = escape(shown(found.study.name))
    figures = "".join(f"<figure>\n{svg}</figure>\n" for svg in charts.values())
    starts = start_table(found)
    more = f"<h2>Identity start against paper start</h2>\n{_table(*starts)}" if starts[1] else ""
    omitted = [f"{key}: {value}" for key, value in found.omitted.items()]
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{name}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{name}</h1>\n"
        f"<h2>What can be seen</h2>\n{_list(conclusions(found))}"
        f"<h2>Accuracy and cost</h2>\n{_table(*accuracy_table(found))}{figures}"
        f"<h2>Differences from the controls</h2>\n{_table(*difference_table(found))}{more}"
        + (f"<h2>Omitted arms</h2>\n{_list(omitted)}" if omitted else "")
        + f"<h2>What was measured, and on what</h2>\n{_list(setting(found))}</html>\n"
    )


def _list(lines: Sequence[str]) -> str:
    return "<ul>\n" + "".join(f"<li>{escape(shown(line))}</li>\n" for line in lines) + "</ul>\n"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(shown(cell))}</th>" for cell in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(shown(cell))}</td>" for cell in row) + "</tr>\n"
        for row in rows
    )
    return f"<table>\n<tr>{head}</tr>\n{body}</table>\n"
