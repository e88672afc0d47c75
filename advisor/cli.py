"""The commands `fitcard gpus`, `fit`, `models` and `accuracy`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from advisor import answers
from advisor.accuracy import memory_errors
from advisor.answers import Answer
from catalog import Catalog, load
from catalog.amount import parse_bytes
from catalog.gpu import GIB, Card, Gpu
from catalog.names import find_card, find_model, find_quantization

DOES_NOT_FIT = 3
_STYLES = {"fits": "green", "tight": "yellow", "no": "red", "unsupported": "dim"}

F = TypeVar("F", bound=Callable[..., Any])


def _options(command: F) -> F:
    """The options that every question shares."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--mode", type=click.Choice(["eager", "compiled"]), default="eager", show_default=True),
        click.option(
            "--batch",
            type=click.IntRange(1, answers.MOST_BATCH),
            default=1,
            show_default=True,
            help="Items in one forward pass.",
        ),
        click.option(
            "--component",
            type=click.Choice(["vision", "text", "all"]),
            help="Default: the image tower where there is one.",
        ),
    ):
        command = option(command)
    return command


@click.command(epilog="Example: fitcard gpus siglip-so400m-patch14-384 --quant BF16 --quant Q4_K_M --batch 8")
@click.argument("model")
@click.option("--quant", "quants", multiple=True, help="Quantization; repeat for several. Default: all.")
@_options
@click.pass_obj
def gpus(
    root: Path | None, model: str, quants: tuple[str, ...], component: Any, batch: int, mode: Any, as_json: bool
) -> None:
    """Which GPUs run which quantization of MODEL."""
    catalog = load(root)
    model_id = find_model(catalog, model)
    labels = [find_quantization(catalog, label) for label in quants]
    rows = list(answers.gpus(catalog, model_id, quantizations=labels, component=component, batch=batch, mode=mode))
    if as_json:
        return _print_rows(rows)
    console = Console()
    served = {row.quantization for row in rows if row.verdict != "unsupported"}
    shown = labels or [label for label in catalog.quantizations if label in served]
    what = rows[0].component if rows else component
    table = Table(
        Column("GPU", no_wrap=True),
        "GB",
        *(re.sub("[-_]", "\n", label) for label in shown),
        title=f"{model_id}, {what}, batch {batch}: memory needed in GB",
        caption="* best choice for the card; empty: unsupported (`fitcard fit` says why)",
    )
    for card in answers.cards_by_memory(catalog):
        mine = [row for row in rows if row.gpu == card]
        best = answers.best(mine, catalog)
        cells = [_cell(row, best is row) for row in mine if row.quantization in shown]
        table.add_row(
            escape(catalog.cards[card].spec.name), f"{catalog.cards[card].spec.memory_bytes / 1e9:.1f}", *cells
        )
    console.print(table)
    return None


@click.command(epilog='Example: fitcard fit "siglip so400m" --gpu "RTX 3060" --quant BF16 --batch 8')
@click.argument("model")
@click.option("--gpu", required=True, help="The card, as you would type its name.")
@click.option("--quant", help="Quantization. Default: the best choice for the card.")
@click.option("--evidence", type=click.Choice(["predicted"]), help="Ignore every run and published figure.")
@_options
@click.pass_obj
def fit(
    root: Path | None,
    model: str,
    gpu: str,
    quant: str | None,
    evidence: str | None,
    component: Any,
    batch: int,
    mode: Any,
    as_json: bool,
) -> None:
    """Whether MODEL fits one GPU, with the sum in bytes. Exit code 3 when it does not."""
    catalog = load(root)
    model_id, card = find_model(catalog, model), find_card(catalog, gpu)
    settings: dict[str, Any] = {
        "component": component,
        "batch": batch,
        "mode": mode,
        "only_predicted": evidence == "predicted",
    }
    if quant:
        answer = answers.fit(catalog, model_id, card, find_quantization(catalog, quant), **settings)
    else:
        every = [answers.fit(catalog, model_id, card, label, **settings) for label in catalog.quantizations]
        answer = answers.best(every, catalog) or min(every, key=lambda a: a.memory.required_bytes)
    if as_json:
        click.echo(answer.model_dump_json(indent=2))
    else:
        _explain(catalog, answer)
    if answer.verdict in ("no", "unsupported"):
        sys.exit(DOES_NOT_FIT)


@click.command(epilog="Example: fitcard models --vram 8GB")
@click.option("--gpu", help="The card, as you would type its name.")
@click.option("--vram", help="Free memory, such as 8GB (10^9 bytes each) or 8GiB (2^30).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def models(root: Path | None, gpu: str | None, vram: str | None, as_json: bool) -> None:
    """What runs on one GPU, or in so much memory."""
    catalog = load(root)
    if (gpu is None) == (vram is None):
        raise click.UsageError("give either --gpu or --vram")
    if vram is not None:
        catalog, card = _with_memory(catalog, vram)
    else:
        card = find_card(catalog, gpu or "")
    rows = list(answers.models(catalog, card))
    if as_json:
        return _print_rows(rows)
    table = Table(
        "model",
        "best",
        "memory needed",
        "largest batch",
        "speed",
        title=f"What runs on {answers.card_of(catalog, card).name}",
    )
    for model in catalog.models:
        mine = [row for row in rows if row.model == model]
        best = answers.best(mine, catalog)
        if best is None:
            table.add_row(model, "[red]none[/red]", "", "", "")
            continue
        table.add_row(
            model,
            f"{best.quantization} {best.verdict}",
            f"{best.memory.required_bytes / 1e9:.2f} GB",
            str(best.max_batch),
            _speed(best),
        )
    Console().print(table)
    return None


@click.command(epilog="Example: fitcard accuracy --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def accuracy(root: Path | None, as_json: bool) -> None:
    """Predictions against every measurement there is."""
    rows = list(memory_errors(load(root)))
    errors = [abs(row.error) for row in rows]
    summary = {
        "count": len(rows),
        "median_error": median(errors) if errors else None,
        "worst_error": max(errors, default=None),
    }
    if as_json:
        listed = [{**row.model_dump(), "error": row.error} for row in rows]
        click.echo(json.dumps({"memory": {"summary": summary, "rows": listed}}, indent=2))
        return
    table = Table(
        "model", "component", "quantization", "GPU", "batch", "predicted GB", "measured GB", "error", title="Memory"
    )
    for row in rows:
        table.add_row(
            row.model, row.component, row.quantization, row.gpu, str(row.batch), f"{row.predicted_bytes / 1e9:.3f}",
            f"{row.measured_bytes / 1e9:.3f}", f"{row.error:+.1%}",
        )  # fmt: skip
    Console().print(table)
    if errors:
        click.echo(f"{len(rows)} measurements: median error {median(errors):.1%}, worst {max(errors):.1%}")


def _print_rows(rows: Iterable[Answer]) -> None:
    click.echo(json.dumps({"rows": [row.model_dump(mode="json") for row in rows]}))


def _cell(answer: Answer, best: bool) -> str:
    if answer.verdict == "unsupported":
        return ""
    style = _STYLES[answer.verdict]
    return f"[{style}]{answer.memory.required_bytes / 1e9:.2f}\n{answer.verdict}{'*' if best else ''}[/]"


def _speed(answer: Answer) -> str:
    if answer.speed is None:
        return "not known"
    rate = answer.speed.per_second
    return f"{f'{rate:,.0f}' if rate >= 100 else f'{rate:.3g}'} {answer.speed.unit} ({answer.speed.evidence})"


def _explain(catalog: Catalog, answer: Answer) -> None:
    console = Console(highlight=False)
    card = answers.card_of(catalog, answer.gpu)
    style = _STYLES[answer.verdict]
    console.print(
        f"[bold]{answer.model}[/bold] ({answer.component}), {answer.quantization}, on {escape(card.name)}: [{style} bold]{answer.verdict}[/]"
    )
    for reason in answer.reasons:
        console.print(f"  {escape(reason)}")
    if answer.verdict != "unsupported":
        console.print(f"  largest batch: {answer.max_batch}")
        console.print(f"  speed: {_speed(answer)}")


def _with_memory(catalog: Catalog, typed: str) -> tuple[Catalog, str]:
    """The catalog with a card of nothing but so much free memory, of which nothing is reserved."""
    size = parse_bytes(typed, "--vram")
    spec = Gpu(
        name=f"a card with {typed.strip()} free",
        segment="datacenter",
        memory_gib=size / GIB,
        sources={"typed": ("memory_gib",)},
    )
    card = Card(id="any", vendor="NVIDIA", generation="", spec=spec, rates=None, sources={}, reviewed=None)
    return replace(catalog, cards={**catalog.cards, "any": card}), "any"
