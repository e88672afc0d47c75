"""The commands `fitcard build` and `fitcard serve`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
from rich.console import Console

from catalog.errors import FitcardError


@click.command(epilog="Example: fitcard build --output build/site")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the site. Default: build/site."
)
@click.pass_obj
def build(root: Path | None, output: Path | None) -> None:
    """Build the website."""
    from generator.build import build as make

    began = time.perf_counter()
    with Console(stderr=True).status("building the website"):
        folder, pages = make(output, root)
    click.echo(f"{pages} pages in {time.perf_counter() - began:.1f} s")
    click.echo(f"open   {folder / 'index.html'}")
    click.echo("serve  make serve   (or: fitcard serve)")


@click.command(epilog="Example: fitcard serve --address 127.0.0.1:8000")
@click.option("--address", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT")
@click.pass_obj
def serve(root: Path | None, address: str) -> None:
    """Serve the website and rebuild it on changes."""
    from mkdocs.commands.serve import serve as mkdocs_serve  # pyright: ignore[reportUnknownVariableType]
    from mkdocs.exceptions import Abort

    from generator.build import configuration

    if root is not None:
        os.environ["FITCARD_CATALOG"] = str(root.resolve())
    try:
        watched = [str(root.resolve())] if root is not None else []
        mkdocs_serve(str(configuration()), dev_addr=address, watch=watched)
    except (OSError, Abort) as error:
        raise FitcardError(f"cannot serve at {address}: {error}; give another --address") from None
