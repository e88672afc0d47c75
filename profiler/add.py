"""The command `fitcard add`: files begun for somebody to finish."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import click
from rich.console import Console

from fitcard.catalog import Catalog, load
from fitcard.catalog.configuration import from_hub, from_path, is_hub_id, is_local
from fitcard.catalog.errors import CatalogError, FitcardError, Problem, shorten, shown
from fitcard.catalog.names import find_gpu

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@click.command(
    epilog="Example: fitcard add google/siglip-base-patch16-224  or  fitcard add --gpu rtx-5050 --like rtx-5060"
)
@click.argument("model", metavar="[MODEL|CONFIG.json|FOLDER]", required=False)
@click.option("--id", "model_id", metavar="ORG/NAME", help="The model's id, where the path does not say it.")
@click.option("--gpu", metavar="ID", help="Add a GPU under this id, such as rtx-5050, instead of a model.")
@click.option("--like", metavar="GPU", help="The GPU of the same generation that the new one is put behind.")
@click.pass_obj
def add(root: Path | None, model: str | None, model_id: str | None, gpu: str | None, like: str | None) -> None:
    """Begin the catalog's file of a model, or its entry of a GPU: `fitcard check` then lists what is still to be
    written.

    A model is taken from its config.json, its checkpoint's folder, or the Hugging Face hub, and traced. Nothing that
    is there is
    overwritten. The places to write at are printed, one a line.
    """
    if gpu and like and not (model or model_id):
        _add_gpu(load(root, traces_needed=False), gpu, like)
    elif model and not (gpu or like):
        _add_model(load(root, traces_needed=False), model, model_id)
    else:
        raise click.UsageError(
            "give a model, or --gpu with --like; for a GPU of a new generation, copy the example in CONTRIBUTING.md"
        )


def _add_gpu(catalog: Catalog, key: str, like: str) -> None:
    from fitcard.catalog.scaffold import add_gpu

    if not _SLUG.fullmatch(key):
        raise click.UsageError(
            f"--gpu takes an id: lower-case letters and digits, joined by hyphens, such as rtx-5050 (got {shorten(key)})"
        )
    if key in catalog.gpus:
        raise CatalogError([catalog.gpu_problem(key, (), "is there already: edit it")])
    if begun := [problem for problem in catalog.begun_gpus if problem.field.split(".")[1] == key]:
        raise CatalogError([Problem(begun[0].path, begun[0].line, f"gpus.{key}", "is begun already: finish it")])
    neighbour = find_gpu(catalog, like)
    if neighbour not in catalog.gpus:
        raise FitcardError(f"{neighbour} is known from runs alone: --like takes a GPU of the catalog")
    path = catalog.root / "gpus" / f"{catalog.file_of_gpu[neighbour]}.yaml"
    line = add_gpu(path, key, catalog.gpus[neighbour])
    click.echo(f"{shown(path)}:{line}")


def _add_model(catalog: Catalog, typed: str, model_id: str | None) -> None:
    local = is_local(typed)
    if not (local or is_hub_id(typed)):
        raise FitcardError(
            f"{shorten(typed)} is no config.json, no checkpoint's folder and no id of the Hugging Face hub, ORG/NAME"
        )
    if model_id and not local and model_id != typed:
        raise click.UsageError(f"{typed} says which model it is; --id {model_id} says otherwise")
    if not local:
        _check_new(catalog, typed)
    configuration = from_path(Path(typed)) if local else from_hub(typed)
    key = model_id or configuration.model_id
    if key is None:
        raise click.UsageError(f"{typed} does not say which model it is: give its id on the hub as --id ORG/NAME")
    _check_new(catalog, key)

    from fitcard.catalog.scaffold import add_model, model_text
    from fitcard.profiler.cli import trace_with_status
    from fitcard.profiler.report import trace_table

    config, trace = trace_with_status(configuration.values, key, minimal=True)
    text = model_text(
        catalog.root / "models" / f"{key}.yaml", key, config, configuration, trace, date.today().isoformat()
    )
    written = add_model(catalog.root, key, text, trace)
    Console(stderr=True).print(trace_table(trace))
    for path in written:
        click.echo(shown(path))


def _check_new(catalog: Catalog, key: str) -> None:
    """Raise for an id that is none, or that the catalog has already; ids that differ in capitals alone have one
    address."""
    if not is_hub_id(key):
        raise click.UsageError(f"--id takes the model's id on the hub, ORG/NAME (got {shorten(key)})")
    if there := next((other for other in catalog.models if other.lower() == key.lower()), None):
        raise FitcardError(f"{shown(catalog.root / 'models' / f'{there}.yaml')} is there already: edit it")
