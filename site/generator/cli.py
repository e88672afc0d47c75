"""The commands `fitcard build` and `fitcard serve`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="Example: fitcard build --output build/site --explain")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the site. Default: build/site."
)
@click.option("--explain", is_flag=True, help="Say of each output why it is made again.")
@click.option("--clean", is_flag=True, help="Make everything again, whatever is current.")
@click.option("--watch", is_flag=True, help="Build again at every edit, until interrupted.")
@click.pass_obj
def build(root: Path | None, output: Path | None, explain: bool, clean: bool, watch: bool) -> None:
    """Build the website: what changed since the last time, and what depends on it."""
    from fitcard.site.generator.build import build as make

    if watch:
        from fitcard.site.generator.serve import watch as keep_current

        return keep_current(output, root, explain)
    folder, report = make(output, root, clean=clean)
    report.tell(explain)
    click.echo(f"open   {folder / 'index.html'}")
    click.echo("serve  make serve   (or: fitcard serve)")
    return None


@click.command(epilog="Example: fitcard serve --address 127.0.0.1:8000")
@click.option("--address", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder of the site. Default: build/site."
)
@click.pass_obj
def serve(root: Path | None, address: str, output: Path | None) -> None:
    """Serve the website, and show every edit in the browser at once."""
    from fitcard.site.generator.serve import serve as run

    run(address, output, root)
