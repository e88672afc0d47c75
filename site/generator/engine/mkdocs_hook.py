"""The adapter to MkDocs: hands it the outputs as generated files, and the views as contexts. Nothing is decided here.

`mkdocs build` gives the whole site; `fitcard build` hands over a part of it in `extra`, see `render.py`.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from jinja2 import Environment, FunctionLoader, StrictUndefined, nodes, pass_context
from jinja2.bccache import Bucket, BytecodeCache
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from markupsafe import Markup, escape
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page as MkDocsPage
from mkdocs.utils import normalize_url
from mkdocs.utils.templates import url_filter

from fitcard.catalog import load
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.storage import cache
from fitcard.site.generator.engine.fragments import Kept
from fitcard.site.generator.engine.render import Part
from fitcard.site.generator.outputs import Asset, Output, Page, outputs
from fitcard.site.generator.text import FILTERS


class _Generated(MkDocsPage):
    """A page that its template draws from a view: there is no Markdown to read, and none to make HTML of."""

    def __init__(self, output: Page, file: File, config: MkDocsConfig) -> None:
        super().__init__(output.title, file, config)
        self.output = output
        self.view: dict[str, Any] = {}
        self.meta = {"title": output.title, "description": output.description, "template": output.template}

    def read_source(self, config: MkDocsConfig) -> None:
        self.markdown = ""

    def render(self, config: MkDocsConfig, files: Files) -> None:
        self.content = ""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every output of the generator, or the part of the site that is asked for."""
    part = _part(config)
    if part:
        files = Files(())
        for source, content in part.documents.items():
            files.append(File.generated(config, source, content=content))
        for source in part.linked:
            files.append(File.generated(config, source, content="", inclusion=InclusionLevel.EXCLUDED))
    for output in part.pages if part else _all():
        if isinstance(output, Asset):
            # Under another name: MkDocs would take a README.md for a page.
            file = File.generated(config, f"{output.path}.file", content=output.content())
            file.dest_uri = output.path
            files.append(file)
            continue
        file = File.generated(config, f"{output.path}index.md", content="", inclusion=InclusionLevel.NOT_IN_NAV)
        _Generated(output, file, config)
        files.append(file)
    return files


def _part(config: MkDocsConfig) -> Part | None:
    extra = cast(dict[str, Any], config.extra)
    return extra.get("part")


def _all() -> list[Output]:
    root = os.environ.get("FITCARD_CATALOG")
    try:
        return outputs(load(Path(root) if root else None))
    except FitcardError as error:
        # Abort ends a build, and leaves the last good site standing while serving; others would be a traceback.
        raise Abort(str(error)) from error


def on_env(env: Environment, config: MkDocsConfig, files: Files) -> Environment:
    """Escape everything by default, and fail on a name that no view gives."""
    env.add_extension(Kept)
    if part := _part(config):
        cast(Kept, env.extensions[Kept.identifier]).by(part.code, part.templates)
        env.loader = FunctionLoader(part.template)
        env.bytecode_cache = _Compiled(part.code)
    env.autoescape = True
    env.code_generator_class = _Quick
    env.globals |= {"escaped": escaped, "texts": _texts}  # pyright: ignore[reportUnknownMemberType] - Jinja leaves the type of globals open
    env.undefined = StrictUndefined
    env.trim_blocks = env.lstrip_blocks = True
    env.filters["url"] = url  # pyright: ignore[reportUnknownMemberType] - Jinja leaves the type of filters open
    for name, function in FILTERS.items():
        env.filters[name] = function  # pyright: ignore[reportUnknownMemberType] - Jinja leaves the type of filters open
    return env


class _Quick(CodeGenerator):
    """Writes templates for pages of ten thousand values: most were put out before, so their escaped texts are remembered; what our
    filters give needs no escaping; and attributes are asked for by Python's own function before Jinja's, which takes three times as
    long."""

    def write_commons(self) -> None:
        super().write_commons()
        self.writeline("texts, escaped = environment.globals['texts'], environment.globals['escaped']")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if _as_usual(frame, finalize):
            super()._output_child_pre(node, frame, finalize)
        else:
            self.write("(" if _ours(node) else "(texts[v] if type(v := ")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if _as_usual(frame, finalize):
            super()._output_child_post(node, frame, finalize)
        else:
            self.write(")" if _ours(node) else ") is str else escaped(v))")

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:
        # Views are mappings. What has no such attribute may be another mapping, or undefined: that is for Jinja to say.
        name = repr(node.attr)
        if hasattr(dict, node.attr):
            self.write("(a if (a := getattr((o := ")
            self.visit(node.node, frame)
            self.write(f"), {name}, missing)) is not missing else environment.getattr(o, {name}))")
        else:
            self.write("(o[" + name + "] if type(o := ")
            self.visit(node.node, frame)
            self.write(
                f") is dict and {name} in o else a if (a := getattr(o, {name}, missing)) is not missing else environment.getattr(o, {name}))"
            )


def _as_usual(frame: Frame, finalize: Any) -> bool:
    return bool(frame.eval_ctx.volatile or not frame.eval_ctx.autoescape or finalize.src is not None)


def _ours(node: nodes.Expr) -> bool:
    return isinstance(node, nodes.Filter) and node.name in FILTERS


class Texts(dict[str, str]):
    """Texts and what they are as HTML."""

    def __missing__(self, text: str) -> str:
        if len(self) >= 1 << 16:
            self.clear()
        found = self[text] = escape(text)
        return found


def escaped(value: object) -> str:
    """A value that is no text as HTML; what is HTML already stays as it is."""
    if type(value) is Markup:
        return value
    return str(value) if type(value) is int or type(value) is float else escape(value)


@pass_context
def url(context: Context, value: str) -> str:
    """MkDocs' filter of this name: an address below the site's root as seen from the page. Most lead to another folder at the root, and
    what those look like follows from the page's depth alone, so they are remembered."""
    page = context["page"]
    if page is None:
        return url_filter(cast(Any, context), value)
    here: str = page.url
    first = here.partition("/")[0]
    if value.partition("/")[0] == first or not here.endswith("/"):
        return url_filter(cast(Any, context), value)
    return _from_depth(value, here.count("/"))


@lru_cache(maxsize=1 << 16)
def _from_depth(value: str, depth: int) -> str:
    return normalize_url(value, cast(MkDocsPage, _Deep("\0/" * depth)))


_texts = Texts()


class _Deep(NamedTuple):
    """A page in folders that nothing else is in."""

    url: str


class _Compiled(BytecodeCache):
    """Templates compiled before. What is compiled also depends on our filters, so the code is in the key."""

    def __init__(self, code: str) -> None:
        self.code = code

    def load_bytecode(self, bucket: Bucket) -> None:
        key = f"template {self.code} {bucket.key} {bucket.checksum}"
        if key in (kept := cache.read([key])):
            bucket.bytecode_from_string(kept[key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        cache.write({f"template {self.code} {bucket.key} {bucket.checksum}": bucket.bytecode_to_string()})


def on_page_context(context: dict[str, Any], page: MkDocsPage, config: MkDocsConfig, nav: Navigation) -> dict[str, Any]:
    """Give the page's view to its template."""
    if isinstance(page, _Generated):
        page.view.update(page.output.view())
        return {**context, "view": page.view}
    return {**context, "view": {}}


def on_post_page(output: str, page: MkDocsPage, config: MkDocsConfig) -> str:
    """Let go of what the page was drawn from: macros refer to the context that they are in, so otherwise it would stay as garbage."""
    if isinstance(page, _Generated):
        page.view.clear()
    return output
