"""The adapter to MkDocs: hands it the outputs as generated files, and the views as contexts. Nothing is decided here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page as MkDocsPage

from catalog import load
from catalog.errors import FitcardError
from generator.outputs import Asset, Page, outputs
from generator.words import FILTERS

_pages: dict[str, Page] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every output of the generator."""
    root = os.environ.get("FITCARD_CATALOG")
    _pages.clear()
    try:
        made = outputs(load(Path(root) if root else None))
    except FitcardError as error:
        # Abort ends a build, and leaves the last good site standing while serving; others would be a traceback.
        raise Abort(str(error)) from error
    for output in made:
        if isinstance(output, Asset):
            # Under another name: MkDocs would take a README.md for a page.
            file = File.generated(config, f"{output.path}.file", content=output.content())
            file.dest_uri = output.path
            files.append(file)
            continue
        source = f"{output.path}index.md"
        meta = {"title": output.title, "description": output.description, "template": output.template}
        front = "\n".join(f"{key}: {json.dumps(value)}" for key, value in meta.items())
        files.append(
            File.generated(config, source, content=f"---\n{front}\n---\n", inclusion=InclusionLevel.NOT_IN_NAV)
        )
        _pages[source] = output
    return files


def on_env(env: Environment, config: MkDocsConfig, files: Files) -> Environment:
    """Escape everything by default, and fail on a name that no view gives."""
    env.autoescape = True
    env.undefined = StrictUndefined
    env.trim_blocks = env.lstrip_blocks = True
    for name, function in FILTERS.items():
        env.filters[name] = function  # pyright: ignore[reportUnknownMemberType] - Jinja leaves the type of filters open
    return env


def on_page_context(context: dict[str, Any], page: MkDocsPage, config: MkDocsConfig, nav: Navigation) -> dict[str, Any]:
    """Give the page's view to its template."""
    output = _pages.get(page.file.src_uri)
    return {**context, "view": output.view() if output else {}}
