"""What a profile and a trace show on a terminal: the cases as they are done, and tables of what came out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from fitcard.catalog.schema.generation import Generation
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.schema.workload import Variant

_BUSY = "[bold]"
stderr = Console(stderr=True)


class Board:
    """A live table of the cases on a terminal; lines as they are done elsewhere."""

    def __init__(self, variants: Sequence[Variant], runs: Mapping[Variant, Run]) -> None:
        self.rows = {variant: _outcome(runs[variant]) if variant in runs else "" for variant in variants}
        self.began = time.monotonic()
        self.live = Live(console=stderr, refresh_per_second=2, get_renderable=self.table, transient=True)

    def __enter__(self) -> Board:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def begin(self, variant: Variant, what: str) -> None:
        """A process of a case begins. The reference of another component is no case, and one that is done stays so."""
        row = self.rows.get(variant)
        if row is not None and (not row or row.startswith(_BUSY)):
            self.rows[variant] = f"{_BUSY}{escape(what)} ..."

    def warn(self, sentence: str) -> None:
        """Say something that stays on the screen."""
        stderr.print(f"[yellow]warning[/yellow]: {escape(sentence)}")

    def done(self, run: Run) -> None:
        """A case has its record."""
        self.rows[Variant(run.model, run.component, run.quantization)] = _outcome(run)
        if not stderr.is_terminal:
            stderr.print(f"{run.component} {run.quantization}: {_outcome(run)}")

    def table(self) -> Table:
        finished = sum(bool(row) and not row.startswith(_BUSY) for row in self.rows.values())
        minutes = (time.monotonic() - self.began) / 60
        table = Table("component", "quantization", "", title=f"{finished} of {len(self.rows)} cases, {minutes:.0f} min")
        for variant, row in self.rows.items():
            table.add_row(variant.component, variant.quantization, row)
        return table


def trace_table(traced: Trace) -> Table:
    """What a trace says of each component, in short."""
    table = Table("component", "parameters", "multiply-adds", "activations at batch 1, 16 bit")
    for phase in traced.phases:
        parameters = traced.parameters() if phase.component == "all" else traced.parameters(phase.component)
        peak = f"{phase.activations[0].bytes_16 / 2**20:.2f} MiB"
        table.add_row(phase.component, f"{parameters:,}", f"{phase.multiply_adds() / 1e9:.2f} G", peak)
    if traced.language:
        work = f"{traced.active_parameters() / 1e9:.2f} G a token"
        table.add_row("language", f"{traced.parameters('language'):,}", work, "")
    if vision := sum(
        tensor.count * tensor.elements for tensor in traced.tensors if traced.language and tensor.component == "vision"
    ):
        table.add_row("vision", f"{vision:,}", "", "")
    return table


def _outcome(run: Run) -> str:
    if run.status != "ok":
        return escape(f"{run.status}: {run.reason}")
    if run.generation:
        return ", ".join(f"{t.phase} {t.per_second:.1f}/s at {t.depth or t.tokens}" for t in run.generation.times)
    return ", ".join(f"{s.per_second:.2f}/s at batch {s.batch}" for s in run.speed)


def generation_table(title: str, done: Generation) -> Table:
    """What a language model allocated, and how fast it read and wrote."""
    size, mb = done.allocated, 1e6
    parts = f"{size.weights_bytes / mb:,.0f} weights, {size.cache_bytes / mb:,.0f} cache, {size.compute_bytes / mb:,.0f} compute"
    table = Table(
        "", "tokens", "after", "tokens/s", "spread", "busy",
        title=f"{title}: {size.total_bytes / mb:,.0f} MB ({parts}), {done.resident_bytes / mb:,.0f} MB resident",
    )  # fmt: skip
    for row in done.times:
        busy = f"{min(row.busy):.0%}" + (", other work ran" if row.disturbed else "")
        table.add_row(
            row.phase, f"{row.tokens:,}", f"{row.depth:,}", f"{row.per_second:,.1f}", f"{row.spread:.1%}", busy
        )
    return table


def run_table(runs: Sequence[Run]) -> Table:
    table = Table(
        "component", "quantization", "became", "bits/weight", "file MB", "weights MB", "peak MB", "per second",
        "median ms (IQR), p95", "spread", "cosine", "top-1",
    )  # fmt: skip
    for run in runs:
        if run.status != "ok" or run.bits_per_weight is None:
            table.add_row(run.component, run.quantization, escape(f"{run.status}: {run.reason}"), *[""] * 9)
            continue
        became = ", ".join(f"{name} x{row.tensors}" for name, row in run.census.items())
        near = run.fidelity
        table.add_row(
            run.component, run.quantization, became, f"{run.bits_per_weight:.2f}", f"{(run.file_bytes or 0) / 1e6:,.1f}",
            f"{(run.weights_bytes or 0) / 1e6:,.1f}",
            "\n".join(f"{m.total_bytes / 1e6:,.0f}" for m in run.memory),
            "\n".join(f"{s.per_second:.2f} (batch {s.batch})" for s in run.speed),
            "\n".join(f"{s.median_s * 1e3:,.1f} ({s.iqr_s * 1e3:,.1f}), {s.latency_s(0.95) * 1e3:,.1f}" for s in run.speed),
            "\n".join(f"{s.spread:.1%}" for s in run.speed),
            "not finite" if near and near.cosine_mean is None else f"{near.cosine_mean:.6f}" if near else "",
            "" if near is None or near.top1_agreement is None else f"{near.top1_agreement:.0%}",
        )  # fmt: skip
    return table
