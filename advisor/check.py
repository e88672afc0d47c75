"""The command `fitcard check`. It stands above the catalog, since one linter asks the predictor."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from fitcard.advisor import run_band
from fitcard.catalog import load
from fitcard.catalog.check import check as look
from fitcard.catalog.linters import LINTERS, problems


@click.command(epilog="Example: fitcard check --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(root: Path | None, as_json: bool) -> None:
    """Check the catalog: say what is wrong as `path:line: field: message`, and list the figures that nobody has verified."""
    catalog = load(root)
    report, faults = look(catalog), sorted(problems(catalog, also=[run_band]))
    if as_json:
        document = {
            "counts": report.counts,
            "figures": report.figures,
            "unverified": report.unverified,
            "problems": [str(fault) for fault in faults],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(", ".join(f"{count} {kind}" for kind, count in report.counts.items()))
        share = len(report.unverified) / report.figures if report.figures else 0.0
        click.echo(f"{report.figures} figures, {len(report.unverified)} of them unverified ({share:.1%}):")
        for row in report.unverified:
            click.echo(f"  {row}")
        count = f"{len(faults)} problem{'' if len(faults) == 1 else 's'}" if faults else "no problem"
        click.echo(f"{len(LINTERS) + 1} linters, {count}{':' if faults else ''}")
        for fault in faults:
            click.echo(str(fault), err=True)
    sys.exit(1 if faults else 0)
