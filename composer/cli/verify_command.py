"""`composer verify SPEC…`: the certificate that a mechanism matches its paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from composer.cli.completing import complete_spec
from composer.cli.options import json_option, read_specs, usage
from composer.cli.output import note, say, say_json
from composer.cli.steps import Steps
from composer.cli.tables import fitted

if TYPE_CHECKING:
    from composer.certificate.row import CertificateRow


@click.command("verify", short_help="Certify that specs match their papers.")
@click.argument("specs", nargs=-1, metavar="SPEC…", shell_complete=complete_spec)
@click.option("--all", "everything", is_flag=True, help="Certify every shipped spec.")
@json_option
def command(specs: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Certify that specs match their papers.

    Each is compared with its paper's formula, with an independent implementation weight by weight,
    and with the counts published for whole networks. SPEC is a shipped spec, or a YAML file whose
    name is that of a shipped spec, to judge a variant of it. Exit status 1 where a check fails.
    """
    if everything == bool(specs):
        raise usage("give either specs or --all", "name some specs, or use --all")
    from composer.language.library import shipped_names

    read = read_specs(tuple(shipped_names()) if everything else specs)
    import torch

    from composer.certificate.certify import certificate, shipped_certificate

    torch.set_num_threads(1)  # for tensors this small, more threads only wait for each other
    certificates = [(shipped_certificate if everything else certificate)(spec) for spec in read]
    steps = Steps(total=sum(map(len, certificates)))
    rows: list[CertificateRow] = []
    for checks in certificates:
        for check in checks:
            with steps.step(f"{check.spec}: {check.name}"):
                rows.append(check.row())
        if not as_json:
            say(_table(rows[-len(checks) :]) + "\n")
    if as_json:
        say_json({"version": 1, "rows": [row.as_json() for row in rows]})
    failed = sum(not row.passed for row in rows)
    note(f"{failed} of {len(rows)} checks fail" if failed else f"all {len(rows)} checks hold")
    if failed:
        raise click.exceptions.Exit(1)


def _table(rows: list[CertificateRow]) -> str:
    cells = [[row.check, "ok" if row.passed else "FAILS", row.against, row.detail] for row in rows]
    return fitted((rows[0].spec, "", "against", "found"), cells, folding=(2, 3))
