"""The commands `fitcard gpus`, `fit`, `models`, `detect`, `accuracy`, `calibrate` and `diff`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from fitcard.advisor import fit as answers
from fitcard.advisor.answer import SCHEMA_VERSION, Answer
from fitcard.advisor.options import workload_options
from fitcard.catalog import Catalog, load
from fitcard.catalog.errors import CatalogError, FitcardError, UnknownName
from fitcard.catalog.names import find_gpu, find_model, find_quantization, match_gpu
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import GIB, Gpu, GpuSpec
from fitcard.catalog.schema.workload import Setup, Workload
from fitcard.catalog.units import parse_vram

DOES_NOT_FIT = 3

F = TypeVar("F", bound=Callable[..., Any])


def _options(command: F) -> F:
    """The options that every question shares."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--mode", type=click.Choice(["eager", "compiled"]), default="eager", show_default=True),
        click.option(
            "--component",
            type=click.Choice(list(COMPONENTS)),
            help="Default: the language model or image encoder where there is one.",
        ),
    ):
        command = option(command)
    return command


@click.command(epilog="Example: fitcard gpus siglip-so400m-patch14-384 --quant BF16 --quant Q4_K_M --batch 8")
@click.argument("model")
@click.option("--quant", "quants", multiple=True, help="Quantization; repeat for several. Default: all.")
@_options
@workload_options(batch=True)
@click.pass_obj
def gpus(
    root: Path | None,
    model: str,
    quants: tuple[str, ...],
    component: Any,
    workload: Workload,
    mode: Any,
    as_json: bool,
) -> None:
    """Which GPUs run which quantization of MODEL.

    MODEL is one of the catalog, or a config.json, a checkpoint's folder or an id of the Hugging Face hub; these need
    torch.
    """
    catalog, model_id = _model(root, model)
    language = _is_language(catalog, model_id, component, workload)
    labels = [find_quantization(catalog, label, language=language) for label in quants]
    asked = answers.gpus(catalog, model_id, workload, quantizations=labels, component=component, mode=mode)
    rows = list(asked)
    if as_json:
        return _print_rows(rows)
    from fitcard.advisor import console

    console.matrix(catalog, rows, labels)
    return None


@click.command(epilog='Example: fitcard fit "siglip so400m" --gpu "RTX 3060" --quant BF16 --batch 8')
@click.argument("model")
@click.option("--gpu", required=True, help="The card, as you would type its name.")
@click.option("--quant", help="Quantization. Default: the best choice for the card.")
@click.option("--evidence", type=click.Choice(["predicted"]), help="Ignore every run and published figure.")
@_options
@workload_options(batch=True)
@click.pass_obj
def fit(
    root: Path | None,
    model: str,
    gpu: str,
    quant: str | None,
    evidence: str | None,
    component: Any,
    workload: Workload,
    mode: Any,
    as_json: bool,
) -> None:
    """Whether MODEL fits one GPU, with the sum in bytes. Exit code 3 when it does not.

    MODEL is one of the catalog, or a GGUF file, a config.json, a checkpoint's folder or an id of the Hugging Face hub;
    the last three need torch.
    """
    if model.endswith(".gguf"):
        catalog = load(root)
        every = _of_file(catalog, Path(model), quant, Setup(_gpu(catalog, gpu), mode), workload)
    else:
        catalog, model_id = _model(root, model)
        language = _is_language(catalog, model_id, component, workload)
        every = answers.fits(
            catalog,
            model_id,
            [find_quantization(catalog, quant, language=language)] if quant else [],
            Setup(_gpu(catalog, gpu), mode),
            workload,
            component=component,
            only_predicted=evidence == "predicted",
        )
    best = every[0] if len(every) == 1 else answers.best(every, catalog)
    answer = best or min(every, key=lambda one: one.memory.required_bytes)
    if as_json:
        click.echo(json.dumps(answer.document(), indent=2, ensure_ascii=False))
    else:
        from fitcard.advisor import console

        console.explain(catalog, answer)
    if answer.verdict in ("no", "unsupported"):
        sys.exit(DOES_NOT_FIT)


@click.command(epilog="Example: fitcard models --vram 8GB")
@click.option("--gpu", help="The card, as you would type its name.")
@click.option("--vram", help="Free memory of a GPU, as GPUs are sold: 8GB, 8G or 8.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@workload_options(batch=False)
@click.pass_obj
def models(root: Path | None, gpu: str | None, vram: str | None, workload: Workload, as_json: bool) -> None:
    """What runs on one GPU, or in so much memory."""
    catalog = load(root)
    if (gpu is None) == (vram is None):
        raise click.UsageError("give either --gpu or --vram")
    if vram is not None:
        catalog, key = _with_memory(catalog, vram)
    else:
        key = _gpu(catalog, gpu or "")
    rows = list(answers.models(catalog, Setup(key), workload, skipped=_skipped))
    if as_json:
        return _print_rows(rows)
    from fitcard.advisor import console

    console.runs_on(catalog, key, rows)
    return None


def _gpu(catalog: Catalog, typed: str) -> str:
    """The one GPU that was typed. What had to be assumed goes to standard error, which leaves JSON whole."""
    key = find_gpu(catalog, typed)
    if assumption := match_gpu(catalog, typed).assumption:
        click.echo(assumption, err=True)
    return key


@click.command(epilog="Example: fitcard detect --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def detect(root: Path | None, as_json: bool) -> None:
    """This machine's GPUs and their free memory, then what runs here at this moment."""
    from fitcard.advisor.detect import detect as look
    from fitcard.advisor.detect import with_free_memory

    catalog = load(root)
    devices = look(catalog)
    if as_json:
        ready = [with_free_memory(catalog, device) for device in devices if device.memory_bytes is not None]
        rows = [row for here, key in ready for row in answers.models(here, Setup(key))]
        document = {
            "devices": [device.model_dump() for device in devices],
            "rows": [row.document() for row in rows],
        }
        click.echo(json.dumps(document))
        return
    from fitcard.advisor import console

    console.devices(catalog, devices)


@click.command(epilog="Example: fitcard accuracy --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def accuracy(root: Path | None, as_json: bool) -> None:
    """Predictions against every measurement there is, each made without it."""
    from fitcard.advisor.accuracy import memory_errors, memory_summary, speed_accuracy

    catalog = load(root)
    rows, total, speeds = memory_errors(catalog), memory_summary(catalog), speed_accuracy(catalog)
    if not as_json:
        from fitcard.advisor import console

        return console.accuracy(rows, total, speeds)
    document = {
        "memory": {
            "summary": total.model_dump(),
            "rows": [{**row._asdict(), "error": row.error} for row in rows],
        },
        "speed": {
            one.way: {
                "summary": one.summary.model_dump(),
                "rows": [{**row._asdict(), "error": row.error} for row in one.rows],
            }
            for one in speeds
        },
    }
    click.echo(json.dumps(document, indent=2))
    return None


@click.command(epilog="Example: fitcard calibrate")
@click.pass_obj
def calibrate(root: Path | None) -> None:
    """Fit the constants of the speed model on all runs and published figures, and write them into the catalog."""
    from datetime import UTC, datetime

    import yaml

    from fitcard.advisor.calibrate import calibrate as fit_all
    from fitcard.catalog.storage.writer import write_atomically

    catalog = load(root)
    fitted = fit_all(catalog, datetime.now(UTC).date().isoformat())
    path = catalog.root / "speed.yaml"
    header = (
        "# yaml-language-server: $schema=schema/speed.json\n# Written by `fitcard calibrate`; fitted, never edited.\n"
    )
    text = yaml.safe_dump(fitted.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=160)
    write_atomically(path, (header + text).encode())
    figures = ", ".join(f"{count} {kind}" for kind, count in fitted.fitted_on.items())
    click.echo(f"{path}: fitted on {figures}")
    for way, errors in fitted.residuals.items():
        click.echo(f"  {way} left out: median error {errors.median:.1%}, 90 % within {errors.p90:.1%}")


@click.command(epilog="Example: fitcard diff origin/main > changes.md")
@click.argument("base")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every change.")
@click.pass_obj
def diff(root: Path | None, base: str, as_json: bool) -> None:
    """What changed in the facts since BASE, and what follows from them, as Markdown for a pull request.

    BASE is a git revision of the catalog, or a folder with another catalog. What follows are verdicts, best choices,
    throughputs, their order, and predictions that moved by more than 5 %.
    """
    from fitcard.advisor.diff import changes
    from fitcard.advisor.markdown import pull_request
    from fitcard.catalog.revision import catalog_at

    say = _progress()
    after = load(root)
    with catalog_at(after.root, base) as folder:
        say(f"reading the catalog at {base}")
        try:
            before = load(folder)
        except CatalogError as error:
            first, count = error.problems[0], len(error.problems)
            fault = f"{first.path.relative_to(folder)}:{first.line}: {first.field}: {first.message}"
            raise FitcardError(
                f"the catalog at {base} does not load with this version of fitcard, so nothing can be compared: {fault}"
                + (f" (the first of {count:,} faults)" if count > 1 else "")
            ) from None
        # Here, while the folder is there: records are read when they are asked for.
        every = changes(before, after, lambda done, of: say(f"compared {done} of {of} models"))
    if as_json:
        counts = {kind: sum(change.kind == kind for change in every) for kind in dict.fromkeys(c.kind for c in every)}
        document = {"base": base, "counts": counts, "changes": [change.model_dump() for change in every]}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(pull_request(every, base))


def _progress(after_s: float = 2.0) -> Callable[[str], None]:
    """A function that says on stderr how far the work is, once it has taken a while, and not more often than that."""
    last = time.monotonic()

    def say(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= after_s:
            last = time.monotonic()
            click.echo(text, err=True)

    return say


def _model(root: Path | None, typed: str) -> tuple[Catalog, str]:
    """The catalog and the model's id in it; one that the catalog does not hold is added in memory."""
    catalog = load(root)
    if not typed.endswith(".json") and not Path(typed).is_dir():
        try:
            return catalog, find_model(catalog, typed)
        except UnknownName:
            if "/" not in typed:
                raise
    from fitcard.advisor.adhoc import with_model

    return with_model(catalog, typed)


def _of_file(catalog: Catalog, path: Path, quant: str | None, setup: Setup, workload: Workload) -> list[Answer]:
    """The answer about a GGUF file, which is in one quantization."""
    from fitcard.advisor.hardware import hardware_of
    from fitcard.advisor.language_fit import file_question

    if quant:
        raise click.UsageError("a GGUF file is in one quantization: leave --quant out")
    _check_options(path.name, True, workload)
    asked = file_question(catalog, path)
    return [asked.answer(label, hardware_of(catalog, setup.device), workload) for label in asked.labels]


def _is_language(catalog: Catalog, model: str, component: str | None, workload: Workload) -> bool:
    """Whether the question is about a language model. Raises UsageError for options that say nothing about it."""
    language = (component or answers.default_component(catalog, model)) == "language"
    _check_options(model, language, workload)
    return language


def _check_options(model: str, language: bool, workload: Workload) -> None:
    encoders = {"--batch": workload.batch > 1, "--tokens": workload.text_tokens, "--image-size": workload.image_size}
    texts = {"--context": workload.context_tokens is not None, "--prompt": workload.prompt_tokens, "--parallel": workload.parallel,
             "--cache-type": workload.cache_type, "--ubatch": workload.ubatch}  # fmt: skip
    if wrong := [option for option, value in (encoders if language else texts).items() if value]:
        kind, instead = ("a language model", texts) if language else ("an encoder", encoders)
        raise click.UsageError(f"{wrong[0]} says nothing about {model}, {kind}: it takes {', '.join(instead)}")


def _skipped(model: str, reason: str) -> None:
    click.echo(f"skipped: {reason if model in reason else f'{model}: {reason}'}", err=True)


def _print_rows(rows: Iterable[Answer]) -> None:
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "rows": [row.document() for row in rows]}))


def _with_memory(catalog: Catalog, typed: str) -> tuple[Catalog, str]:
    """The catalog with a GPU of nothing but so much free memory, of which nothing is reserved."""
    size = parse_vram(typed, "--vram")
    spec = GpuSpec(
        name=f"a GPU with {size / GIB:g} GB free",
        segment="datacenter",
        memory_gib=size / GIB,
        sources={"typed": ("memory_gib",)},
    )
    gpu = Gpu(id="any", vendor="NVIDIA", generation="", spec=spec, rates=None, sources={}, reviewed=None)
    return replace(catalog, gpus={**catalog.gpus, "any": gpu}), "any"
