"""The commands `fitcard profile` and `fitcard trace`."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import click
from rich.console import Console
from rich.markup import escape

from fitcard.catalog import load
from fitcard.catalog.configuration import from_path
from fitcard.catalog.errors import FitcardError, shorten
from fitcard.catalog.gguf_header import read_gguf_header
from fitcard.catalog.gguf_plan import label_of, parts_of
from fitcard.catalog.names import find_model, find_quantization
from fitcard.catalog.schema.record import NAME
from fitcard.catalog.schema.run import Mode, Run
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.schema.workload import Variant
from fitcard.catalog.units import parse_bytes, parse_tokens
from fitcard.profiler.bounded_trace import trace_bounded
from fitcard.profiler.report import Board, generation_table, run_table, stderr, trace_table

UNSTABLE = 0.05
"""The spread between processes from which a speed is worth a warning."""


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
    type=click.Choice(["vision", "text", "all", "language"]),
    help="Default: each, or the language model alone.",
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
@click.option("--context", metavar="N", help="Tokens of context of a language model's run. Default: 16,640.")
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
@click.option("--recorded-by", "name", metavar="NAME", help="Who you are, as records and pages will say.")
@click.option(
    "--sign",
    "key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="SSH key to sign the records with; that of an agent by its public half. Needs --recorded-by.",
)
@click.option("--fresh", is_flag=True, help="Do not go on from an interrupted profile; run every case.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON on the last line.")
@click.pass_obj
def profile(
    root: Path | None, model: str, quants: tuple[str, ...], components: tuple[str, ...], device: str | None,
    batches: tuple[int, ...], weights: str, context: str | None, mode: str, vram_limit: str | None, fleet: str | None, repeats: int, seconds: float, timeout_s: float,
    output: Path | None, name: str | None, key: Path | None, fresh: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run MODEL for real, in each quantization, and record memory, speed and fidelity.

    A language model runs in llama.cpp; MODEL may be a GGUF file, which is run as it is and leaves no record. Interrupted, the
    same command goes on where it was.
    """
    from fitcard.catalog.storage.writer import add_run, check_writable
    from fitcard.profiler.case import device_id
    from fitcard.profiler.devices import find_device, machine
    from fitcard.profiler.journal import Journal, forget
    from fitcard.profiler.llama_cpp.profile import LABELS, context_for, profile_language
    from fitcard.profiler.runner import estimate_s, missing_packages
    from fitcard.profiler.runner import profile as run_all
    from fitcard.profiler.settings import RANDOM, Settings, default_batches, variants
    from fitcard.profiler.weights_source import find_weights

    if fleet and (device or fresh):
        raise click.UsageError(
            "--fleet takes every device of the cluster and goes on from nothing: no --device, no --fresh"
        )
    tokens = parse_tokens(context) if context else None
    if model.endswith(".gguf"):
        _run_gguf(Path(model), tokens, repeats, timeout_s, as_json)
        return
    sealed_by = _author(name, key)
    catalog = load(root)
    model_id = find_model(catalog, model)
    language = catalog.traces[model_id].language
    if language and (batches or fleet or vram_limit or mode != "eager" or device not in (None, "cpu")):
        raise click.UsageError(
            "a language model runs in llama.cpp on the processor: it takes --quant, --context, --weights and --repeats"
        )
    labels = [find_quantization(catalog, label, language=language is not None) for label in quants]
    labels = labels or list(LABELS if language else catalog.quantizations)
    available = catalog.traces[model_id].components()
    chosen = components or tuple(c for c in available if c != "all") or available
    if missing := [c for c in chosen if c not in available]:
        raise FitcardError(f"{model_id} has no component {missing[0]} (it has: {', '.join(available)})")
    chosen_device = find_device("cpu" if fleet else device)
    checkpoint, source = (None, RANDOM) if fleet else find_weights(weights, model_id)  # each node finds its own
    if not fleet and not language and (absent := missing_packages(catalog, labels)):
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
        context=context_for(tokens, language.longest_context) if language else None,
    )  # fmt: skip
    folder = output or catalog.root / "runs"
    if fleet:
        from fitcard.profiler.fleet import profile_fleet

        _report(profile_fleet(catalog, model_id, settings, weights, fleet, folder, stderr, sealed_by), folder, as_json)
        return
    device_name = device_id(catalog, chosen_device)
    check_writable(folder, device_name, model_id)
    if fresh:
        forget(folder, device_name, model_id)
    journal = Journal(folder, catalog, model_id, machine(chosen_device, device_name), settings)
    runs = journal.done()
    every = variants(model_id, settings)
    todo = [variant for variant in every if variant not in runs]
    sizes = f"batches {', '.join(map(str, settings.batches))}" if not language else f"a context of {settings.context:,}"
    stderr.print(
        f"{model_id} on {device_name}: {', '.join(settings.components)}; {', '.join(settings.quantizations)}; {sizes}"
    )
    if runs:
        stderr.print(f"{len(runs)} cases were done before this was interrupted and are not run again (--fresh does)")
    roughly = "" if language else f", roughly {_duration(estimate_s(catalog, settings, todo))}"
    stderr.print(f"{len(todo)} cases{roughly}")
    try:
        with (
            Board(every, runs) as board,
            closing(
                profile_language(catalog, model_id, settings, todo, device_name, board.begin)
                if language
                else run_all(catalog, model_id, settings, todo, board.begin, board.warn)
            ) as records,
        ):
            for run in records:
                try:
                    with _uninterrupted():
                        run = sealed_by(run)
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
        stderr.print(
            f"interrupted; the {len(runs)} records written so far are kept, and the same command goes on from there"
        )
        raise
    journal.finish()
    _report([runs[variant] for variant in every], folder, as_json)


def _run_gguf(path: Path, context: int | None, repeats: int, timeout_s: float, as_json: bool) -> None:
    """Run a file that the user has, and say what it did."""
    from fitcard.profiler.devices import find_device
    from fitcard.profiler.llama_cpp.process import Failure
    from fitcard.profiler.llama_cpp.profile import context_for, run_file
    from fitcard.profiler.settings import Settings

    metadata = read_gguf_header(parts_of(path)[0]).metadata
    longest = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    settings = Settings(find_device("cpu"), (), (), (), repeats=repeats, timeout_s=timeout_s, context=context_for(context, longest if isinstance(longest, int) else None))  # fmt: skip
    with stderr.status(f"{path.name}: {label_of(metadata)}"):
        done, load_s = run_file(path, settings, stderr.print)
    if isinstance(done, Failure):
        raise FitcardError(f"{path}: llama.cpp {done.kind}: {done.reason}")
    if as_json:
        click.echo(json.dumps({"file": str(path), "load_s": load_s, **done.model_dump(mode="json")}))
    else:
        Console().print(generation_table(path.name, done))


def _author(name: str | None, key: Path | None) -> Callable[[Run], Run]:
    """What puts a name and a signature to a record. What will not do is refused at once and not after hours."""
    from fitcard.catalog.signatures import recorded_by, signature

    if name is None:
        if key:
            raise click.UsageError("--sign needs --recorded-by: whose signature it is")
        return lambda run: run
    if not re.match(NAME, name) or not name.strip() or len(name) > 200:
        raise click.UsageError(f"--recorded-by takes a name on one line, and not {shorten(name)}")
    if key:
        signature("", key)
    return lambda run: recorded_by(run, name.strip(), key)


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
        for run in runs:
            if run.generation:
                Console().print(generation_table(f"{run.model}, {run.quantization}", run.generation))
        if encoders := [run for run in runs if not run.generation]:
            Console().print(run_table(encoders))
        click.echo(f"{len(runs)} {'record' if len(runs) == 1 else 'records'} under {folder}")
    for run in runs:
        if unstable := [s for s in run.speed if s.spread > UNSTABLE]:
            worst = max(unstable, key=lambda s: s.spread)
            stderr.print(
                f"[yellow]unstable[/yellow]: {run.component} {run.quantization} at batch {worst.batch}: its processes lie "
                f"{worst.spread:.0%} apart; if something else used the machine, run it again"
            )
    if not any(run.status == "ok" for run in runs):
        raise FitcardError("no case gave a measurement; the records say why")


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


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
        with stderr.status(f"{key}: building the model without weights"):
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
    with stderr.status(f"{escape(name)}: building the model without weights") as status:
        made = trace_bounded(
            config,
            lambda what: status.update(f"{escape(name)}: {escape(what)}"),
            minimal=minimal,
            pixels=pixels,
            tokens=tokens,
        )
    for note in made[1].notes or ():
        stderr.print(f"[yellow]warning[/yellow]: {escape(name)}: {escape(note)}", soft_wrap=True)
    return made
