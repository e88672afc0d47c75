"""The commands `fitcard profile` and `fitcard trace`."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from fitcard.catalog import load
from fitcard.catalog.configuration import from_path
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.names import find_model, find_quantization
from fitcard.catalog.schema.run import Mode, Run
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.schema.workload import Variant
from fitcard.catalog.units import parse_bytes
from fitcard.profiler.bounded_trace import trace_bounded

_BUSY = "[bold]"
UNSTABLE = 0.05
"""The spread between processes from which a speed is worth a warning."""
_stderr = Console(stderr=True)


@click.command(
    epilog="Example: fitcard profile siglip-so400m-patch14-384 --quant BF16 --quant Q4_K_M --batch 1 --batch 4"
)
@click.argument("model")
@click.option(
    "--quant",
    "quants",
    multiple=True,
    help="Quantization to run; repeat for several. Default: all; what this device cannot serve is recorded so.",
)
@click.option(
    "--component",
    "components",
    multiple=True,
    type=click.Choice(["vision", "text", "all"]),
    help="Default: each tower.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda", "mps", "xpu"]), help="Default: the best that is here.")
@click.option(
    "--batch",
    "batches",
    multiple=True,
    type=click.IntRange(1, 65536),
    help="Default: 1 and 4 on a processor, else 1, 2, 4 and so on to the largest that fits, at most 256.",
)
@click.option(
    "--weights",
    default="random",
    show_default=True,
    metavar="random|hub|PATH",
    help="Random weights, the hub's (hub@REVISION for another than main), or a local checkpoint folder.",
)
@click.option("--mode", type=click.Choice(["eager", "compiled"]), default="eager", show_default=True)
@click.option("--vram-limit", metavar="SIZE", help="Prove that it runs within this much, such as 8GiB or 8GB.")
@click.option("--fleet", metavar="ADDRESS", help="Spread the cases over the Ray cluster at ADDRESS (extra: fleet).")
@click.option(
    "--repeats", type=click.IntRange(1, 20), default=3, show_default=True, help="Processes that measure speed."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=20.0,
    show_default=True,
    help="Most time for one batch in one process.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(1, 86400),
    default=3600.0,
    show_default=True,
    help="Most seconds for one process; one that takes longer is ended and recorded so.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the records. Default: the catalog's runs/.",
)
@click.option("--fresh", is_flag=True, help="Do not go on from an interrupted profile; run every case.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON on the last line.")
@click.pass_obj
def profile(
    root: Path | None, model: str, quants: tuple[str, ...], components: tuple[str, ...], device: str | None,
    batches: tuple[int, ...], weights: str, mode: str, vram_limit: str | None, fleet: str | None, repeats: int, seconds: float, timeout_s: float,
    output: Path | None, fresh: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run MODEL for real, in each quantization, and record memory, speed and fidelity.

    Interrupted, the same command goes on where it was.
    """
    from fitcard.catalog.storage.writer import add_run, check_writable
    from fitcard.profiler.case import device_id
    from fitcard.profiler.devices import find_device, machine
    from fitcard.profiler.journal import Journal, forget
    from fitcard.profiler.runner import estimate_s, missing_packages
    from fitcard.profiler.runner import profile as run_all
    from fitcard.profiler.settings import RANDOM, Settings, default_batches, variants
    from fitcard.profiler.weights_source import find_weights

    if fleet and (device or fresh):
        raise click.UsageError(
            "--fleet takes every device of the cluster and goes on from nothing: no --device, no --fresh"
        )
    catalog = load(root)
    model_id = find_model(catalog, model)
    labels = [find_quantization(catalog, label) for label in quants] or list(catalog.quantizations)
    available = catalog.traces[model_id].components()
    chosen = components or tuple(c for c in available if c != "all") or available
    if missing := [c for c in chosen if c not in available]:
        raise FitcardError(f"{model_id} has no component {missing[0]} (it has: {', '.join(available)})")
    chosen_device = find_device("cpu" if fleet else device)
    checkpoint, source = (None, RANDOM) if fleet else find_weights(weights, model_id)  # each node finds its own
    if not fleet and (absent := missing_packages(catalog, labels)):
        raise FitcardError(
            f"not installed here: {', '.join(sorted(set(absent.values())))}, which {', '.join(absent)} need; "
            "pip install 'fitcard[profile]', or name other quantizations with --quant"
        )
    settings = Settings(
        device=chosen_device, components=tuple(c for c in available if c in chosen),
        quantizations=tuple(dict.fromkeys(labels)), mode=cast(Mode, mode),
        batches=tuple(sorted(set(batches))) or (() if fleet else default_batches(chosen_device.kind)),
        checkpoint=checkpoint, weights=source, repeats=repeats, seconds=seconds, timeout_s=timeout_s,
        memory_limit_bytes=parse_bytes(vram_limit, "--vram-limit") if vram_limit else None,
    )  # fmt: skip
    folder = output or catalog.root / "runs"
    if fleet:
        from fitcard.profiler.fleet import profile_fleet

        _report(profile_fleet(catalog, model_id, settings, weights, fleet, folder, _stderr), folder, as_json)
        return
    device_name = device_id(catalog, chosen_device)
    check_writable(folder, device_name, model_id)
    if fresh:
        forget(folder, device_name, model_id)
    journal = Journal(folder, catalog, model_id, machine(chosen_device, device_name), settings)
    runs = journal.done()
    every = variants(model_id, settings)
    todo = [variant for variant in every if variant not in runs]
    _stderr.print(
        f"{model_id} on {device_name}: {', '.join(settings.components)}; {', '.join(settings.quantizations)}; "
        f"batches {', '.join(map(str, settings.batches))}"
    )
    if runs:
        _stderr.print(f"{len(runs)} cases were done before this was interrupted and are not run again (--fresh does)")
    _stderr.print(f"{len(todo)} cases, roughly {_duration(estimate_s(catalog, settings, todo))}")
    try:
        with (
            _Board(every, runs) as board,
            closing(run_all(catalog, model_id, settings, todo, board.begin, board.warn)) as records,
        ):
            for run in records:
                try:
                    with _uninterrupted():
                        add_run(folder, run)
                        journal.add(run)
                        runs[Variant(run.model, run.component, run.quantization)] = run
                except OSError as error:
                    raise FitcardError(
                        f"a record could not be written under {folder}: {error.strerror or error}; the {len(runs)} before "
                        "it are kept, and the same command goes on from there"
                    ) from None
                board.done(run)
    except (KeyboardInterrupt, SystemExit):
        _stderr.print(
            f"interrupted; the {len(runs)} records written so far are kept, and the same command goes on from there"
        )
        raise
    journal.finish()
    _report([runs[variant] for variant in every], folder, as_json)


@contextmanager
def _uninterrupted() -> Generator[None]:
    """Ctrl-C and SIGTERM wait until a record is written, noted and counted, so that what is said of it is so."""
    asked: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: asked.append(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if asked:
        signal.raise_signal(asked[0])


def _report(runs: Sequence[Run], folder: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"runs": [run.model_dump(mode="json") for run in runs]}))
    else:
        Console().print(_table(runs))
        click.echo(f"{len(runs)} {'record' if len(runs) == 1 else 'records'} under {folder}")
    for run in runs:
        if unstable := [s for s in run.speed if s.spread > UNSTABLE]:
            worst = max(unstable, key=lambda s: s.spread)
            _stderr.print(
                f"[yellow]unstable[/yellow]: {run.component} {run.quantization} at batch {worst.batch}: its processes lie "
                f"{worst.spread:.0%} apart; if something else used the machine, run it again"
            )
    if not any(run.status == "ok" for run in runs):
        raise FitcardError("no case gave a measurement; the records say why")


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


class _Board:
    """A live table of the cases on a terminal; lines as they are done elsewhere."""

    def __init__(self, variants: Sequence[Variant], runs: Mapping[Variant, Run]) -> None:
        self.rows = {variant: _outcome(runs[variant]) if variant in runs else "" for variant in variants}
        self.began = time.monotonic()
        self.live = Live(console=_stderr, refresh_per_second=2, get_renderable=self.table, transient=True)

    def __enter__(self) -> _Board:
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
        _stderr.print(f"[yellow]warning[/yellow]: {escape(sentence)}")

    def done(self, run: Run) -> None:
        """A case has its record."""
        self.rows[Variant(run.model, run.component, run.quantization)] = _outcome(run)
        if not _stderr.is_terminal:
            _stderr.print(f"{run.component} {run.quantization}: {_outcome(run)}")

    def table(self) -> Table:
        finished = sum(bool(row) and not row.startswith(_BUSY) for row in self.rows.values())
        minutes = (time.monotonic() - self.began) / 60
        table = Table("component", "quantization", "", title=f"{finished} of {len(self.rows)} cases, {minutes:.0f} min")
        for variant, row in self.rows.items():
            table.add_row(variant.component, variant.quantization, row)
        return table


@click.command(epilog="Example: fitcard trace google/siglip-so400m-patch14-384")
@click.argument("model", metavar="MODEL|CONFIG.json", required=False)
@click.option("--all", "every", is_flag=True, help="Trace every model of the catalog.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the trace. Default: the catalog's traces/, or here for a file.",
)
@click.option("--tokens", type=click.IntRange(1, 1 << 20), help="Tokens of a text. Default: the most it takes.")
@click.option(
    "--image-size",
    "pixels",
    type=click.IntRange(1, 1 << 14),
    help="Pixels along each side of an image. Default: the size that the model is made for.",
)
@click.pass_obj
def trace(
    root: Path | None, model: str | None, every: bool, output: Path | None, tokens: int | None, pixels: int | None
) -> None:
    """Trace MODEL, or the Hugging Face configuration in a file, without weights: tensors, operations, activation
    peaks."""
    if (model is None) != every:
        raise click.UsageError("give a model, the file of a configuration, or --all")
    if model and model.endswith(".json"):
        path = (output or Path.cwd()) / f"{Path(model).stem}.trace.json"
        values, name = from_path(Path(model)).values, Path(model).stem
        _write_trace(path, trace_with_status(values, name, pixels=pixels, tokens=tokens)[1])
        return
    if (tokens or pixels) and output is None:
        raise click.UsageError(
            "the catalog's traces have each model's own sizes: for others, name a folder as --output"
        )
    from fitcard.profiler.trace import trace as trace_model

    catalog = load(root, traces_needed=False)
    for key in [find_model(catalog, model)] if model else catalog.models:
        with _stderr.status(f"{key}: building the model without weights"):
            traced = trace_model(catalog.models[key].config, pixels=pixels, tokens=tokens)
        _write_trace((output or catalog.root / "traces") / f"{key}.json", traced)


def _write_trace(path: Path, traced: Trace) -> None:
    from fitcard.catalog.storage.writer import write_trace

    write_trace(path, traced)
    Console().print(trace_table(traced))
    click.echo(str(path))


def trace_with_status(
    config: dict[str, Any], name: str, *, minimal: bool = False, pixels: int | None = None, tokens: int | None = None
) -> tuple[dict[str, Any], Trace]:
    """The trace of a configuration that nobody has checked, and the configuration, with what is being done on the
    screen meanwhile.

    What in it was left out, and could make it another model, is said in a warning.
    """
    with _stderr.status(f"{escape(name)}: building the model without weights") as status:
        made = trace_bounded(
            config,
            lambda what: status.update(f"{escape(name)}: {escape(what)}"),
            minimal=minimal,
            pixels=pixels,
            tokens=tokens,
        )
    for note in made[1].notes or ():
        _stderr.print(f"[yellow]warning[/yellow]: {escape(name)}: {escape(note)}", soft_wrap=True)
    return made


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
    return ", ".join(f"{s.per_second:.2f}/s at batch {s.batch}" for s in run.speed)


def _table(runs: Sequence[Run]) -> Table:
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
