"""The command `fitcard import`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from fitcard.catalog import load
from fitcard.catalog.errors import shown
from fitcard.catalog.importers.plan import FORMATS, Plan, plan, unpinned
from fitcard.catalog.names import match_gpu
from fitcard.catalog.schema.record import Source


def _address(_: click.Context, __: click.Parameter, value: str) -> str:
    if problem := unpinned(value):
        raise click.BadParameter(f"{value} {problem}")
    return value


def _past(_: click.Context, __: click.Parameter, value: datetime | None) -> datetime | None:
    if value and value.date() > (datetime.now(UTC) + timedelta(days=1)).date():  # somewhere it is tomorrow already
        raise click.BadParameter(f"{value.date()} is in the future")
    return value


@click.command(
    "import",
    epilog="Example: fitcard import benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv --title benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv "
    "--publisher huggingface/pytorch-image-models --licence Apache-2.0 "
    "--url https://github.com/huggingface/pytorch-image-models/blob/aa4b5850c1543fa488abf260f18390eda46cf85d/results/benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv --dry-run",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--title", required=True, help="The document's own title, or the file's name where it was published.")
@click.option("--publisher", required=True, help="Who published it.")
@click.option(
    "--url", required=True, callback=_address, help="Where it is; with the commit in it on GitHub or the hub."
)
@click.option("--licence", required=True, help="Under which it was published, as an SPDX identifier or in words.")
@click.option(
    "--read",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    callback=_past,
    help="The day on which you read it.  [default: today]",
)
@click.option("--gpu", help="The GPU, where the file names none.")
@click.option("--format", type=click.Choice(list(FORMATS)), help="Default: recognised from the content.")
@click.option("--dry-run", is_flag=True, help="Write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def import_(
    root: Path | None, file: Path, title: str, publisher: str, url: str, licence: str, read: datetime | None, gpu: str | None,
    format: str | None, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Take results that others measured into catalog/published, with their source.

    FILE is timm's benchmark CSV, optimum-benchmark's benchmark.json (or benchmark_report.json beside benchmark_config.json), the JSON of
    llama-bench, or a file of a Hugging Face repository's .eval_results. What cannot be mapped is listed with the reason.
    """
    from fitcard.catalog.importers.write import write

    catalog = load(root)
    source = Source(
        title=title, publisher=publisher, url=url, read=(read or datetime.now(UTC)).date().isoformat(), license=licence
    )
    if gpu and (assumption := match_gpu(catalog, gpu).assumption):
        click.echo(assumption, err=True)
    result = plan(catalog, file, source, format=format, gpu=gpu)
    written = [] if dry_run else write(catalog.root, result)
    if as_json:
        click.echo(json.dumps(_document(result, written), indent=2))
    else:
        _print(result, written, dry_run)


def _document(result: Plan, written: list[Path]) -> dict[str, Any]:
    mapped = [
        {"model": row.model, "on_record": row.on_record, **row.speed.model_dump(exclude_none=True)}
        for row in result.mapped
    ]
    claims = [
        {"model": row.model, "on_record": row.on_record, **row.claim.model_dump(exclude={"unit"})}
        for row in result.claims
    ]
    return {
        "format": result.format, "counts": _counts(result), "mapped": mapped, "claims": claims,
        "unmapped": [asdict(row) for row in result.unmapped], "written": [str(path) for path in written],
    }  # fmt: skip


def _counts(result: Plan) -> dict[str, int]:
    on_record = sum(row.on_record for row in result.mapped) + sum(row.on_record for row in result.claims)
    by_hand = sum(not row.on_record for row in result.claims)
    new = len(result.mapped) + len(result.claims) - on_record - by_hand
    return {
        "rows": new + on_record + by_hand + len(result.unmapped), "new": new, "on_record": on_record, "to_add_by_hand": by_hand,
        "not_mapped": len(result.unmapped),
    }  # fmt: skip


_SHOWN = 12
"""Rows of one reason that are named in the terminal; `--json` names them all."""


def _print(result: Plan, written: list[Path], dry_run: bool) -> None:
    from fitcard.catalog.importers.write import claim_text

    counts = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in _counts(result).items())
    click.echo(f"{FORMATS[result.format].TITLE}: {counts}")
    for model, speeds in result.new.items():
        for speed in speeds:
            click.echo(
                f"  {model}, {speed.component}, {speed.quantization}, {speed.mode}, batch {speed.batch}, on {speed.gpu}: "
                f"{speed.per_second:,g} a second ({speed.where})"
            )
    reasons: dict[str, list[str]] = {}
    for row in result.unmapped:
        reasons.setdefault(row.reason, []).append(row.where)
    for reason, rows in sorted(reasons.items(), key=lambda item: -len(item[1])):
        more = f" and {len(rows) - _SHOWN:,} more (--json names them all)" if len(rows) > _SHOWN else ""
        click.echo(f"not mapped, {len(rows):,}: {reason}:\n  {'; '.join(rows[:_SHOWN])}{more}")
    for model in dict.fromkeys(row.model for row in result.claims if not row.on_record):
        mine = [row for row in result.claims if row.model == model and not row.on_record]
        click.echo(
            f"add to models/{model}.yaml, with the unit, which the file does not state:\n{claim_text(result, mine)}"
        )
    for path in written:
        click.echo(f"written: {shown(path)}")
    if written:
        click.echo("now `fitcard calibrate` fits the speed model on them too")
    elif dry_run:
        click.echo("nothing is written")
