"""The command `fitcard check`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from catalog import load
from catalog.check import check as look


@click.command(epilog="Example: fitcard check --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(root: Path | None, as_json: bool) -> None:
    """Check the catalog, and list the figures that nobody has verified."""
    report = look(load(root))
    if as_json:
        problems = [str(problem) for problem in report.problems]
        document = {
            "counts": report.counts,
            "figures": report.figures,
            "unverified": report.unverified,
            "problems": problems,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(", ".join(f"{count} {kind}" for kind, count in report.counts.items()))
        share = len(report.unverified) / report.figures if report.figures else 0.0
        click.echo(f"{report.figures} figures, {len(report.unverified)} of them unverified ({share:.1%}):")
        for row in report.unverified:
            click.echo(f"  {row}")
        for problem in report.problems:
            click.echo(str(problem), err=True)
    sys.exit(1 if report.problems else 0)
