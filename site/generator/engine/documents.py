"""Hand-written pages, rendered by MkDocs.

MkDocs builds sites whole, so it is handed the documents as if they were all, with the pages that they link to as files that it
does not build, and the templates as they were when the build began: `mkdocs_hook.py` takes them from its configuration.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError
from mkdocs.commands.build import build as mkdocs_build
from mkdocs.config import load_config  # pyright: ignore[reportUnknownVariableType] - MkDocs' own types are partial
from mkdocs.exceptions import Abort

from fitcard.catalog.errors import FitcardError
from fitcard.site.generator.engine.output import Document
from fitcard.site.generator.engine.sources import Sources, World, links
from fitcard.site.generator.engine.templates import template_fault


@dataclass(frozen=True)
class RenderedPart:
    """What MkDocs is handed."""

    documents: Mapping[str, str]
    """Source files and their text."""
    linked: Sequence[str]
    """Source files that they link to."""
    sources: Sources


def render_documents(world: World, documents: Sequence[Document], folder: Path) -> dict[str, bytes]:
    """The HTML of documents by their source files, made below `folder`. Raises FitcardError with what MkDocs says."""
    docs = world.sources.docs
    config = load_config(str(world.sources.root / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.theme.static_templates = set()
    texts = {document.source: docs[document.source].decode() for document in documents}
    targets = {link for source in texts for link in links(source, docs[source]) if link in world.linkable}
    config.extra["part"] = RenderedPart(texts, sorted(targets - texts.keys()), world.sources)
    logger, messages = logging.getLogger("mkdocs"), _Messages()
    before = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.addHandler(messages)
    logger.propagate = False
    try:
        mkdocs_build(config)
    except Abort:
        raise FitcardError("\n".join(messages.lines)) from None
    except TemplateError as error:
        raise template_fault(error) from error
    finally:
        logger.removeHandler(messages)
        logger.level, logger.propagate = before
    return {document.source: (folder / document.file).read_bytes() for document in documents}


class _Messages(logging.Handler):
    """What MkDocs says, kept for the one who hears that the build failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
