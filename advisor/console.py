"""Answers as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fitcard.advisor import fit
from fitcard.advisor.accuracy import WAYS, MemoryErrors, MemoryRow, SpeedAccuracy, speed_groups
from fitcard.advisor.adhoc import sizes_in_words
from fitcard.advisor.answer import Answer, SpeedAnswer
from fitcard.advisor.detect import Detected, with_free_memory
from fitcard.advisor.hardware import gpu_of
from fitcard.catalog import Catalog
from fitcard.catalog.schema.run import recorder
from fitcard.catalog.schema.workload import Setup

_STYLES = {"fits": "green", "tight": "yellow", "no": "red", "unsupported": "dim"}


def matrix(catalog: Catalog, rows: Sequence[Answer], labels: Sequence[str]) -> None:
    """A row a GPU: memory and verdict of each quantization that was named, or of the one to pick."""
    by_gpu: dict[str, list[Answer]] = {}
    for row in rows:
        by_gpu.setdefault(row.gpu, []).append(row)
    picks = {gpu: fit.best(mine, catalog) for gpu, mine in by_gpu.items()}
    if rows:
        asked, running = rows[0], sum(pick is not None for pick in picks.values())
        click.echo(f"{asked.model} ({asked.component}) runs on {running:,} of {len(picks):,} GPUs; {workload(asked)}")
    most = "context" if rows and rows[0].max_context is not None else "batch"
    table: list[list[str]] = []
    for gpu, mine in by_gpu.items():
        spec, best = catalog.gpus[gpu].spec, picks[gpu]
        needed = [_needed(row) for row in mine] if labels else [best.quantization if best else "none", _needed(best)]
        largest = f"{(best.max_batch if best.max_context is None else best.max_context):,}" if best else ""
        table.append([spec.name, f"{spec.memory_gib:g}", *needed, largest, speed(best) if best else ""])
    _columns(["GPU", "GB", *(labels or ["pick", "needs"]), most, "speed"], table)


def runs_on(catalog: Catalog, gpu: str, rows: Sequence[Answer]) -> None:
    """The best quantization of each model on one GPU."""
    by_model: dict[str, list[Answer]] = {}
    for row in rows:
        by_model.setdefault(row.model, []).append(row)
    picks = {model: fit.best(mine, catalog) for model, mine in by_model.items()}
    running = sum(pick is not None for pick in picks.values())
    click.echo(f"{running:,} of {len(picks):,} models run on {gpu_of(catalog, gpu).spec.name}")
    _columns(
        ["model", "pick", "needs", "speed"],
        [
            [model, best.quantization, _needed(best), speed(best)] if best else [model, "none", "", ""]
            for model, best in picks.items()
        ],
    )


def _needed(answer: Answer | None) -> str:
    """Memory and verdict; a dash where the GPU cannot serve it."""
    if answer is None or answer.verdict == "unsupported":
        return "–"
    return f"{answer.memory.required_bytes / 1e9:.2f} GB {answer.verdict}"


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Plain columns. On a terminal those that do not fit are left out from the right; in a pipe there is no limit."""
    console = Console()
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    shown = len(widths)
    while console.is_terminal and shown > 1 and sum(widths[:shown]) + 2 * (shown - 1) > console.width:
        shown -= 1
    for row in (header, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:shown], widths, strict=False)]
        click.echo("  ".join(cells).rstrip())


def explain(catalog: Catalog, answer: Answer) -> None:
    """One answer with everything behind it."""
    console = Console(highlight=False)
    gpu, style = gpu_of(catalog, answer.gpu), _STYLES[answer.verdict]
    console.print(
        f"[bold]{answer.model}[/bold] ({answer.component}), {answer.quantization}, on {escape(gpu.name)}: [{style} bold]{answer.verdict}[/]"
    )
    console.print(f"  workload: {workload(answer)}")
    # Of a language model the sum stands below, a line for each part.
    for reason in answer.reasons[1 if answer.max_context is not None else 0 :]:
        console.print(f"  {escape(reason)}", soft_wrap=True)
    if answer.max_context is not None:
        _explain_language(console, answer)
    elif answer.verdict != "unsupported":
        console.print(f"  largest batch: {answer.max_batch:,}")
        console.print(f"  speed: {speed(answer)}")
        if answer.speed and answer.speed.evidence == "measured" and answer.speed.record:
            console.print(f"  recorded: {escape(recorder(catalog.run(answer.speed.record).recorded_by))}")
        if answer.speed and gpu.spec.board_power_w:
            each = answer.speed.per_second / gpu.spec.board_power_w
            console.print(f"  of each watt of board power: {_rate(each)} {answer.speed.unit}")


def _explain_language(console: Console, answer: Answer) -> None:
    memory = answer.memory
    for name, size in (
        ("weights", memory.weights_bytes),
        ("cache", memory.cache_bytes),
        ("compute buffer", memory.activations_bytes),
        ("runtime", memory.runtime_bytes),
        ("needed", memory.required_bytes),
        ("free", memory.available_bytes),
    ):
        console.print(f"    {name:<15} {size / 1e9:8.2f} GB")
    console.print(f"  longest context: {answer.max_context:,} tokens; sequences at once: {answer.max_batch:,}")
    console.print(f"  writes: {speed(answer)}, with the context full")
    console.print(f"  reads the prompt: {_in_words(answer.prefill) if answer.prefill else 'not known'}")
    if answer.time_to_first_token_s is not None:
        console.print(f"  time to the first token: {answer.time_to_first_token_s:.2f} s")


def devices(catalog: Catalog, detected: Sequence[Detected]) -> None:
    """This machine's devices, each kind with what runs on it now."""
    console = Console(highlight=False)
    if not detected:
        console.print("No device was detected: nvidia-smi is not there, and the system names no GPU and no memory.")
    for device in detected:
        unlisted = device.gpu not in catalog.gpus and device.vendor != "CPU"
        console.print(escape(device.line(unlisted)), style="bold", soft_wrap=True)
        if device.memory_bytes is not None:
            here, key = with_free_memory(catalog, device)
            runs_on(here, key, list(fit.models(here, Setup(key))))


def accuracy(memory: Sequence[MemoryRow], total: MemoryErrors, speeds: Sequence[SpeedAccuracy]) -> None:
    """Predictions against measurements."""
    console = Console(highlight=False)
    table = Table(
        "model", "component", "quantization", "GPU", "batch", "predicted GB", "measured GB", "error", title="Memory"
    )
    for row in memory:
        table.add_row(
            row.model,
            row.component,
            row.quantization,
            row.gpu,
            str(row.batch),
            f"{row.predicted_bytes / 1e9:.3f}",
            f"{row.measured_bytes / 1e9:.3f}",
            f"{row.error:+.1%}",
        )
    console.print(table)
    if total.median_error is not None and total.worst_error is not None:
        console.print(
            f"{total.count} measurements: median error {total.median_error:.1%}, worst {total.worst_error:.1%}"
        )
    table = Table(
        "left out", "GPU", "mode", "count", "median error", "90 % are within", "in the 80 % interval", title="Speed"
    )
    for one in speeds:
        for group in speed_groups(one.rows):
            table.add_row(
                one.way, group.gpu, group.mode, str(group.count), f"{group.median:.1%}", f"{group.p90:.1%}", ""
            )
        errors_of = one.summary
        table.add_row(
            f"[bold]{one.way}[/bold]",
            "all",
            "",
            str(errors_of.count),
            f"{errors_of.median:.1%}",
            f"{errors_of.p90:.1%}",
            f"{errors_of.covered:.0%}",
            end_section=True,
        )
    console.print(table)
    for way, meaning in WAYS.items():
        console.print(f"{way}: {meaning}.")


def workload(answer: Answer) -> str:
    """What goes into one pass: `batch 8 of images of 224 x 224 pixels`."""
    asked = answer.workload
    if asked.context_tokens is not None:
        each = f"{asked.parallel} sequences, each with " if (asked.parallel or 1) > 1 else ""
        return f"{each}a context of {asked.context_tokens:,} tokens in {asked.cache_type}, a prompt of {asked.prompt_tokens:,}"
    pixels = asked.image_size and f"{asked.image_size} x {asked.image_width or asked.image_size}"
    return f"batch {asked.batch} of {' and '.join(sizes_in_words(pixels or None, asked.text_tokens))}"


def speed(answer: Answer) -> str:
    """The speed of an answer in words, with its interval where it has one."""
    if answer.speed is None:
        return "not known"
    at = f", batch {answer.speed.batch}" if answer.speed.batch != answer.workload.batch else ""
    return _in_words(answer.speed, at)


def _in_words(rate: SpeedAnswer, at: str = "") -> str:
    interval = f"{_rate(rate.low)}–{_rate(rate.high)}, " if rate.low is not None and rate.high is not None else ""
    return f"{_rate(rate.per_second)} {rate.unit} ({interval}{rate.evidence}{at})"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
