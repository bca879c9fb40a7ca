"""`composer verify SPEC…`: the certificate that a mechanism is the paper's."""

from __future__ import annotations

import json

import click

from composer.cli.options import json_option, read_specs, usage
from composer.cli.steps import Steps
from composer.cli.tables import note, say, table


@click.command("verify", short_help="Certify specs against their papers.")
@click.argument("specs", nargs=-1, metavar="SPEC…")
@click.option("--all", "everything", is_flag=True, help="Certify every shipped spec.")
@json_option
def command(specs: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Certify that specs are what their papers say.

    Each is compared with its paper's formula, with an independent implementation weight by weight,
    and with the counts published for whole networks. SPEC is the name of a shipped spec, or a YAML
    file whose `name` is one: so a variant is judged, too. Exit status 1 where a check fails.
    """
    if everything == bool(specs):
        raise usage("which specs is not said", "name some, or say --all")
    from composer.spec.library import shipped_names

    read = read_specs(tuple(shipped_names()) if everything else specs)
    from composer.certificate.certify import certificate

    checks = [check for spec in read for check in certificate(spec)]
    steps = Steps(total=len(checks))
    rows = []
    for check in checks:
        with steps.step(f"{check.spec}: {check.name}"):
            rows.append(check.row())
    failed = sum(not row.passed for row in rows)
    if as_json:
        say(json.dumps({"version": 1, "rows": [row.as_json() for row in rows]}, indent=2))
    else:
        cells = [
            [row.spec, row.check, "ok" if row.passed else "FAILS", row.against, row.detail]
            for row in rows
        ]
        say(table(("spec", "check", "", "against", "found"), cells))
    note(f"{failed} of {len(rows)} checks fail" if failed else f"all {len(rows)} checks hold")
    if failed:
        raise click.exceptions.Exit(1)
