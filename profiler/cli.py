"""The commands `fitcard profile` and `fitcard trace`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from catalog import load
from catalog.errors import FitcardError
from catalog.names import find_model, find_quantization
from catalog.run import Run

_stderr = Console(stderr=True)


@click.command(
    epilog="Example: fitcard profile siglip-so400m-patch14-384 --quant BF16 --quant Q4_K_M --batch 1 --batch 4"
)
@click.argument("model")
@click.option(
    "--quant",
    "quants",
    multiple=True,
    help="Quantization to run; repeat for several. Default: FP32, BF16, Q8_0, Q4_K_M.",
)
@click.option(
    "--component",
    "components",
    multiple=True,
    type=click.Choice(["vision", "text", "all"]),
    help="Default: each tower.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda", "mps"]), help="Default: the best that is here.")
@click.option("--batch", "batches", multiple=True, type=click.IntRange(1, 65536), help="Default: 1 and 4.")
@click.option(
    "--weights",
    default="random",
    show_default=True,
    metavar="random|PATH",
    help="Random weights, or a local checkpoint folder.",
)
@click.option("--mode", type=click.Choice(["eager", "compiled"]), default="eager", show_default=True)
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
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the records. Default: the catalog's runs/.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON on the last line.")
@click.pass_obj
def profile(
    root: Path | None, model: str, quants: tuple[str, ...], components: tuple[str, ...], device: str | None, batches: tuple[int, ...],
    weights: str, mode: str, repeats: int, seconds: float, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run MODEL for real, in each quantization, and record memory, speed and fidelity."""
    from catalog.store import add_run, check_writable
    from profiler.devices import find_device
    from profiler.run import Settings, device_id, steps
    from profiler.run import profile as run_all

    catalog = load(root)
    model_id = find_model(catalog, model)
    labels = [find_quantization(catalog, label) for label in quants] or ["FP32", "BF16", "Q8_0", "Q4_K_M"]
    there = catalog.traces[model_id].components()
    wanted = components or tuple(c for c in there if c != "all") or there
    if missing := [c for c in wanted if c not in there]:
        raise FitcardError(f"{model_id} has no component {missing[0]} (it has: {', '.join(there)})")
    found = find_device(device)
    checkpoint = None if weights == "random" else Path(weights)
    if checkpoint is not None and not checkpoint.is_dir():
        raise FitcardError(f"--weights takes random or the folder of a checkpoint; {weights!r} is neither")
    settings = Settings(
        device=found, components=tuple(c for c in there if c in wanted), quantizations=tuple(dict.fromkeys(labels)),
        batches=tuple(sorted(set(batches))) or (1, 4), mode=mode, checkpoint=checkpoint, repeats=repeats, seconds=seconds,  # type: ignore[arg-type]
    )  # fmt: skip
    folder = output or catalog.root / "runs"
    check_writable(folder, device_id(catalog, found), model_id)
    runs: list[Run] = []
    _stderr.print(
        f"{model_id} on {device_id(catalog, found)}: {', '.join(settings.components)}; {', '.join(settings.quantizations)}"
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_stderr) as bar:
        task = bar.add_task("starting", total=steps(settings))

        def step(what: str) -> None:
            bar.update(task, description=what, advance=1)

        for run in run_all(catalog, model_id, settings, step):
            add_run(folder, run)
            runs.append(run)
            bar.console.print(_line(run))
    if as_json:
        click.echo(json.dumps({"runs": [run.model_dump(mode="json") for run in runs]}))
    else:
        Console().print(_table(runs))
        click.echo(f"{len(runs)} {'record' if len(runs) == 1 else 'records'} added under {folder}")
    if not any(run.status == "ok" for run in runs):
        raise FitcardError("no case gave a measurement; the records say why")


@click.command(epilog="Example: fitcard trace google/siglip-so400m-patch14-384")
@click.argument("model", metavar="MODEL|CONFIG.json")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the trace. Default: the catalog's traces/, or here for a file.",
)
@click.pass_obj
def trace(root: Path | None, model: str, output: Path | None) -> None:
    """Trace MODEL, or the Hugging Face configuration in a file, without weights: tensors, operations, activation peaks."""
    from catalog.store import write_trace
    from profiler.trace import trace as trace_model

    if model.endswith(".json"):
        config, path = _read_config(Path(model)), (output or Path.cwd()) / f"{Path(model).stem}.trace.json"
    else:
        catalog = load(root, traces_needed=False)
        key = find_model(catalog, model)
        config, path = catalog.models[key].config, (output or catalog.root / "traces") / f"{key}.json"
    with _stderr.status("building the model without weights") as status:
        made = trace_model(config, lambda what: status.update(what))
    write_trace(path, made)
    table = Table("component", "parameters", "multiply-adds", "activations at batch 1, 16 bit")
    for phase in made.phases:
        parameters = made.parameters() if phase.component == "all" else made.parameters(phase.component)
        peak = f"{phase.activations[0].bytes_16 / 2**20:.2f} MiB"
        table.add_row(phase.component, f"{parameters:,}", f"{phase.multiply_adds() / 1e9:.2f} G", peak)
    Console().print(table)
    click.echo(str(path))


def _read_config(path: Path) -> dict[str, Any]:
    """The configuration in a file. Raises FitcardError for a file that holds none."""
    try:
        config = json.loads(path.read_text())
    except OSError as error:
        raise FitcardError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise FitcardError(f"{path} is no JSON: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):  # pyright: ignore[reportUnknownMemberType]
        raise FitcardError(f"{path} is no Hugging Face configuration: it has no model_type")
    return config  # pyright: ignore[reportUnknownVariableType]


def _line(run: Run) -> str:
    if run.status != "ok":
        return f"{run.component} {run.quantization}: {run.status}, {run.reason}"
    speeds = ", ".join(f"{s.per_second:.2f}/s at batch {s.batch}" for s in run.speed)
    return f"{run.component} {run.quantization}: {speeds}"


def _table(runs: list[Run]) -> Table:
    table = Table(
        "component",
        "quantization",
        "became",
        "bits/weight",
        "file MB",
        "weights MB",
        "peak MB",
        "per second",
        "spread",
        "cosine",
    )
    for run in runs:
        if run.status != "ok" or run.fidelity is None or run.bits_per_weight is None:
            table.add_row(run.component, run.quantization, run.status, *[""] * 7)
            continue
        became = ", ".join(f"{name} x{row.tensors}" for name, row in run.census.items())
        peaks = " / ".join(f"{m.peak_bytes / 1e6:,.0f}" for m in run.memory)
        speeds = " / ".join(f"{s.per_second:.2f}" for s in run.speed)
        spreads = " / ".join(f"{s.spread:.1%}" for s in run.speed)
        table.add_row(
            run.component, run.quantization, became, f"{run.bits_per_weight:.2f}", f"{(run.file_bytes or 0) / 1e6:,.1f}",
            f"{(run.weights_bytes or 0) / 1e6:,.1f}", peaks, speeds, spreads, f"{run.fidelity.cosine_mean:.6f}",
        )  # fmt: skip
    return table
