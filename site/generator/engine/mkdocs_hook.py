"""The adapter to MkDocs: `mkdocs build` gives the whole site; `fitcard build` has it render the hand-written pages alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FunctionLoader
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.structure.files import File, Files, InclusionLevel

from fitcard.catalog import load
from fitcard.catalog.errors import FitcardError
from fitcard.site.generator.engine.documents import RenderedPart
from fitcard.site.generator.engine.output import Asset, Document, Page
from fitcard.site.generator.engine.render import draw
from fitcard.site.generator.engine.sources import World, read_sources
from fitcard.site.generator.engine.templates import environment
from fitcard.site.generator.outputs import source_of, whole_site


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every generated page and file, or give the documents that are asked for and what they link to."""
    if part := _part(config):
        files = Files(())
        for source, text in part.documents.items():
            files.append(File.generated(config, source, content=text))
        for source in part.linked:
            files.append(File.generated(config, source, content="", inclusion=InclusionLevel.EXCLUDED))
        return files
    root = os.environ.get("FITCARD_CATALOG")
    try:
        catalog, sources = load(Path(root) if root else None), read_sources()
        outputs = [planned.output for planned in whole_site(catalog, sources)]
        env = environment(World(catalog, sources, {source_of(output) for output in outputs}))
        for output in outputs:
            if isinstance(output, Document):
                continue
            content = output.content() if isinstance(output, Asset) else draw(env, output)
            # Under another name: MkDocs would take a README.md for a page.
            file = File.generated(config, f"{output.file}.file", content=content)
            file.dest_uri = output.file
            if files.get_file_from_path(output.file) is None:
                files.append(file)
            if isinstance(output, Page):  # for links to it
                files.append(File.generated(config, source_of(output), content="", inclusion=InclusionLevel.EXCLUDED))
    except FitcardError as error:
        # Abort ends a build, and leaves the last good site standing while serving; others would be a traceback.
        raise Abort(str(error)) from error
    return files


def on_env(env: Environment, config: MkDocsConfig, files: Files) -> Environment:
    """Draw documents as all other pages are drawn."""
    part = _part(config)
    ours = environment(World(cast(Any, None), part.sources if part else read_sources(), ()))
    if part:
        env.loader = cast(FunctionLoader, ours.loader)
    env.autoescape, env.undefined = True, ours.undefined
    env.trim_blocks = env.lstrip_blocks = True
    env.globals["view"] = ours.globals["view"]  # pyright: ignore[reportUnknownMemberType] - Jinja leaves the type of globals open
    env.filters |= {name: ours.filters[name] for name in ours.filters if name not in env.filters}  # pyright: ignore[reportUnknownMemberType] - Jinja leaves the type of filters open
    env.filters["url"] = ours.filters["url"]  # MkDocs' own gives `/.` for the home page where a page has no place
    return env


def _part(config: MkDocsConfig) -> RenderedPart | None:
    return cast(dict[str, Any], config.extra).get("part")
