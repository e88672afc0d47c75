"""Making outputs: pages by MkDocs, files as they are, in as many processes as there are cores.

MkDocs builds sites whole, so it is handed a part as if that were all: the pages to make, hand-written documents with the pages
that they link to, and the templates as they were when the build began. What it makes of a page does not depend on the others.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from mkdocs.commands.build import build as mkdocs_build
from mkdocs.config import load_config  # pyright: ignore[reportUnknownVariableType] - MkDocs' own types are partial
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.parallel import cores, dealt, spread
from fitcard.catalog.storage.hashing import digest, file_digest
from fitcard.site.generator.engine.digests import Sources, is_static, links, template_fault
from fitcard.site.generator.outputs import OF_GROUPS, SITE, Asset, Group, Output, Page

TOGETHER = 8
"""Fewer outputs are made in this process, since to start others takes as long."""
WHOLE = 16
"""Outputs of one model or card, or of labels, that are never cut into parts: a new run makes fewer stale, and they have much in common."""
AT_MOST = 1000
"""Outputs that one call of MkDocs makes: it holds them all in memory."""


@dataclass(frozen=True)
class Document:
    """A hand-written page of site/docs."""

    source: str
    linked: tuple[str, ...]
    """The other source files that it links to, whether they exist or not."""


@dataclass(frozen=True)
class Drawn:
    """A page that a template draws without a view."""

    template: str


@dataclass(frozen=True)
class Made:
    """One file of the site, and what it is made from."""

    path: str
    inputs: tuple[str, ...]
    words: tuple[str, ...]
    """What else it is made from: title, description, template."""
    output: Output | Document | Drawn
    work: str = ""
    """Outputs with the same have much to be worked out in common."""


@dataclass(frozen=True)
class Part:
    """What MkDocs is handed."""

    pages: Sequence[Output]
    documents: Mapping[str, str] = field(default_factory=dict[str, str])
    linked: Sequence[str] = ()
    templates: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    folder: Path = Path()
    """Where the templates were."""
    code: str = ""
    """Identifies the code that compiles them."""

    def template(self, name: str) -> tuple[str, str, None] | None:
        """The text of a template with the path that tracebacks name."""
        content = self.templates.get(name)
        return None if content is None else (content.decode(), str(self.folder / name), None)


@dataclass(frozen=True)
class Subject:
    """A group of outputs, to be listed only when something that it is made from has changed."""

    name: str
    inputs: tuple[str, ...]
    """Empty where it is always listed."""
    listed: Callable[[], dict[str, Made]]
    """Its outputs by path."""


def everything(groups: Iterable[Group], sources: Sources, references: Mapping[str, Sequence[str]]) -> list[Subject]:
    """Every file of the site by what it is about; what is written by hand belongs to the site itself."""
    found: list[Subject] = []
    for group in groups:
        inputs = ("code", "templates", *group.inputs) if group.inputs else ()
        found.append(Subject(group.name, inputs, partial(_listed, group, sources, references)))
    return found


def _listed(group: Group, sources: Sources, references: Mapping[str, Sequence[str]]) -> dict[str, Made]:
    """The outputs of a group by path. Raises FitcardError when two would have the same, or one that another group may have."""
    made = [_made(output, references, group.work) for output in group.outputs()]
    if group.name == SITE:
        made += [_document(name, content, references) for name, content in sources.docs.items() if name.endswith(".md")]
        for folder, files in (("theme", sources.theme), ("doc", sources.docs)):
            made += [
                Made(name, (f"{folder}:{name}",), (), Asset(name, (), partial(files.__getitem__, name)))
                for name in files if is_static(name)
            ]  # fmt: skip
        made.append(Made("404.html", ("code", *_templates("404.html", references)), (), Drawn("404.html")))
    found: dict[str, Made] = {}
    for one in made:
        if one.path in found:
            raise FitcardError(f"two outputs have the address /{one.path}: rename one of the files behind them")
        if group.name == SITE and one.path.startswith(OF_GROUPS) and not isinstance(one.output, Page):
            raise FitcardError(
                f"/{one.path} would lie among what is about models, cards and runs, or the search: move the file behind it"
            )
        found[one.path] = one
    return found


def _templates(name: str, references: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(f"template:{inner}" for inner in references[name])


def _made(output: Output, references: Mapping[str, Sequence[str]], work: str) -> Made:
    if isinstance(output, Asset):
        return Made(output.path, ("code", *output.inputs), (), output, work)
    names = ("code", *_templates(output.template, references), *output.inputs)
    return Made(f"{output.path}index.html", names, (output.title, output.description, output.template), output, work)


def _document(name: str, content: bytes, references: Mapping[str, Sequence[str]]) -> Made:
    """A document may name any template in its head, so it depends on all of them."""
    stem = name.removesuffix(".md")
    folder, _, last = stem.rpartition("/")
    path = "/".join(filter(None, (folder if last in ("index", "README") else stem, "index.html")))
    linked = tuple(dict.fromkeys(links(name, content)))
    names = (
        "code",
        *(f"template:{template}" for template in references),
        f"doc:{name}",
        *(f"link:{link}" for link in linked),
    )
    return Made(path, names, (), Document(name, linked))


def source_of(made: Made) -> str:
    """The source file by which documents link to an output."""
    if isinstance(made.output, Page):
        return f"{made.output.path}index.md"
    return made.output.source if isinstance(made.output, Document) else made.path


def configured(root: Path, folder: Path) -> MkDocsConfig:
    """How MkDocs is to build into a folder."""
    return load_config(str(root / "mkdocs.yml"), site_dir=str(folder), strict=True)


def render(stale: Sequence[Made], sources: Sources, there: Container[str], folder: Path) -> dict[str, tuple[str, str]]:
    """Make outputs in folders below `folder`: where each is and the digest of its content, by path.

    `there` are the source files that documents may link to. Raises FitcardError, whatever MkDocs calls it.
    """
    config = configured(sources.root, folder)
    # What has something in common goes to one part, which then works it out once. What tells of all runs takes long, so that is begun
    # first.
    long, rest = dict[str, list[Made]](), dict[str, list[Made]]()
    for output in stale:
        (long if "runs" in output.inputs else rest).setdefault(_work(output), []).append(output)
    count = max(4 * cores(), -(-len(stale) // AT_MOST))
    early = sorted(long.values(), key=len, reverse=True)
    parts = [[*stale]] if len(stale) < TOGETHER else early + dealt(rest.values(), count, whole=WHOLE)
    found: dict[str, tuple[str, str]] = {}
    for one in spread(partial(_render, config, sources, there, folder), list(enumerate(parts))):
        found |= one
    return found


def _work(made: Made) -> str:
    """What an output has in common with others: that of its group, all labels together, what happened, how far predictions are off, or
    else nothing."""
    if made.work:
        return made.work
    if made.path.startswith("quantizations/"):
        return "labels"
    if made.path in ("changes/index.html", "feed.xml"):
        return "history"
    if made.path in ("numbers/index.html", "accuracy/index.html"):
        return "accuracy"
    return made.path


def _render(
    config: MkDocsConfig, sources: Sources, there: Container[str], folder: Path, part: tuple[int, Sequence[Made]]
) -> dict[str, tuple[str, str]]:
    number, made = part
    place = folder / str(number)
    documents = [one.output for one in made if isinstance(one.output, Document)]
    pages = [one.output for one in made if isinstance(one.output, Page)]
    drawn = {one.output.template for one in made if isinstance(one.output, Drawn)}
    mine = {source_of(one) for one in made if not isinstance(one.output, Asset)}
    if pages or documents or drawn:
        config.site_dir = str(place)
        config.theme.static_templates = drawn
        config.extra["part"] = Part(
            pages, {document.source: sources.docs[document.source].decode() for document in documents},
            sorted({link for document in documents for link in document.linked if link in there} - mine), sources.templates, sources.root / "site/theme", sources.code,
        )  # fmt: skip
        _mkdocs(config)
    found: dict[str, tuple[str, str]] = {}
    folders: set[str] = set()
    for one in made:
        path = f"{place}/{one.path}"
        if not isinstance(one.output, Asset):
            found[one.path] = (path, file_digest(path))
            continue
        # Tens of thousands of files, and a Path costs more than its system call.
        content, parent = one.output.content(), path.rpartition("/")[0]
        if parent not in folders:
            os.makedirs(parent, exist_ok=True)  # noqa: PTH103
            folders.add(parent)
        with open(path, "wb", buffering=0) as file:  # noqa: PTH123
            file.write(content)
        found[one.path] = (path, digest(content))
    return found


class _Heard(logging.Handler):
    """What MkDocs says, kept for the one who hears that the build failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _mkdocs(config: Any) -> None:
    """Let MkDocs build. Raises FitcardError with what it says when it gives up."""
    logger, heard = logging.getLogger("mkdocs"), _Heard()
    before = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.addHandler(heard)
    logger.propagate = False
    try:
        mkdocs_build(config)
    except Abort:
        raise FitcardError("\n".join(heard.lines)) from None
    except TemplateError as error:
        raise template_fault(error) from error
    finally:
        logger.removeHandler(heard)
        logger.level, logger.propagate = before
