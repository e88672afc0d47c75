"""The command line: one thin group. Each folder owns its own commands, and they are imported only when they are called."""

from __future__ import annotations

import gc
import importlib
import keyword
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import click

from fitcard import __version__
from fitcard.catalog.errors import FitcardError

COMMANDS = {
    "gpus": "fitcard.advisor.cli",
    "fit": "fitcard.advisor.cli",
    "models": "fitcard.advisor.cli",
    "detect": "fitcard.advisor.cli",
    "accuracy": "fitcard.advisor.cli",
    "calibrate": "fitcard.advisor.cli",
    "profile": "fitcard.profiler.cli",
    "trace": "fitcard.profiler.cli",
    "add": "fitcard.profiler.add",
    "build": "fitcard.site.generator.cli",
    "serve": "fitcard.site.generator.cli",
    "check": "fitcard.advisor.check",
    "import": "fitcard.catalog.cli",
    "diff": "fitcard.advisor.cli",
}


@contextmanager
def _imported_quickly() -> Generator[None]:
    """Half of the time of a short answer goes into imports. Nothing imported is ever garbage, so none is looked for meanwhile; and
    pydantic would import Python's package metadata, which takes a tenth of the answer, to look for plugins that fitcard does not use."""
    loader = ModuleType("pydantic.plugin._loader")
    loader.get_plugins = tuple  # type: ignore[attr-defined]  # a module made here has what is put into it
    sys.modules.setdefault(loader.__name__, loader)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        with _imported_quickly():
            command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _SUMMARIES[name]) for name in COMMANDS])


_SUMMARIES = {
    "gpus": "Which GPUs run which quantization of a model.",
    "fit": "Whether a model fits one GPU, and the sum in bytes.",
    "models": "What runs on a GPU, or in so much memory.",
    "detect": "This machine's GPUs, and what runs on them.",
    "accuracy": "Predictions against every measurement there is.",
    "calibrate": "Fit the speed model on all measurements.",
    "profile": "Really run a model on this machine and record it.",
    "trace": "Trace a model without its weights.",
    "add": "Begin a model's file, or a GPU's entry, for you to finish.",
    "build": "Build the website.",
    "serve": "Serve the website and rebuild it on changes.",
    "check": "Check the catalog and list what is unverified.",
    "import": "Take results that others measured into the catalog.",
    "diff": "What changed in the catalog since a revision, and what follows.",
}


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__)
@click.option(
    "--catalog", "root", type=click.Path(file_okay=False, path_type=Path), envvar="FITCARD_CATALOG",
    help="Folder of another catalog.  [env: FITCARD_CATALOG]",
)  # fmt: skip
@click.pass_context
def cli(ctx: click.Context, root: Path | None) -> None:
    """Will this model, in this quantization, run on this GPU, and how fast?

    Every number is measured, published or predicted, and says which.
    """
    ctx.obj = root


@contextmanager
def _ended_cleanly() -> Generator[None]:
    """Ctrl-C and SIGTERM end the program as any exit does, with 130 and 143: files are put in order, processes ended.

    A second one does not cut that short. Whoever starts fitcard may have had them ignored, as `nohup` does.
    """
    numbers = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        numbers = []

    def end(number: int, _: object) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """Run the command line; an error that a user can mend is one line each, never a traceback."""
    try:
        with _ended_cleanly():
            cli(prog_name="fitcard")
    except FitcardError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        click.echo(f"{error.filename or 'a file'}: {error.strerror}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name not in {"torch", "transformers", "numpy", "gguf", "psutil", "safetensors"}:
            raise
        click.echo(f"this command needs {error.name}: pip install 'fitcard[profile]'", err=True)
        sys.exit(1)
