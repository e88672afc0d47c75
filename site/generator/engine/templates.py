"""Templates: the environment that draws them, which of them each needs, and how a fault in one is told."""

from __future__ import annotations

import traceback
from functools import lru_cache
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

from jinja2 import BytecodeCache, Environment, FunctionLoader, StrictUndefined, TemplateSyntaxError, meta, pass_context
from jinja2.bccache import Bucket
from jinja2.runtime import Context
from mkdocs.utils import get_relative_url
from mkdocs.utils.yaml import yaml_load  # pyright: ignore[reportUnknownVariableType] - MkDocs' own types are partial

from fitcard.catalog.errors import FitcardError, shown
from fitcard.site.generator.engine.sources import World
from fitcard.site.generator.pages.view import PageView
from fitcard.site.generator.text import FILTERS


class _Compiled(BytecodeCache):
    """Templates as Python, by their names and texts: a process compiles each text once, in however many builds."""

    _codes: ClassVar[dict[tuple[str, str], CodeType]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code:
            self._codes[bucket.key, bucket.checksum] = bucket.code


@lru_cache(maxsize=1)
def environment(world: World) -> Environment:
    """Templates as they were when the build began. Everything is escaped, and a name that no view gives is an error."""

    def load(name: str) -> tuple[str, str, None] | None:
        content = world.sources.templates.get(name)
        return None if content is None else (content.decode(), str(world.sources.root / "site/theme" / name), None)

    configured: dict[str, Any] = yaml_load((world.sources.root / "mkdocs.yml").read_text("utf-8"))
    env = Environment(
        loader=FunctionLoader(load), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        bytecode_cache=_Compiled(),
    )  # fmt: skip
    env.filters |= {**FILTERS, "url": _url}  # pyright: ignore[reportUnknownMemberType] - Jinja leaves the type of filters open
    site_url = str(configured.get("site_url") or "").strip()
    site = SimpleNamespace(site_url=site_url, site_description=configured["site_description"])
    env.globals |= {"config": site, "view": PageView()}  # pyright: ignore[reportUnknownMemberType] - Jinja leaves the type of globals open
    return env


@pass_context
def _url(context: Context, value: str) -> str:
    """An address below the site's root as seen from the page; from the root where the page may be shown anywhere."""
    page = context["page"]
    if urlsplit(value).scheme or value.startswith(("/", "#")):
        return value
    if page is None:
        return urljoin(urlsplit(context["config"].site_url or "/").path, value)
    return get_relative_url(value, page.url)


@lru_cache(maxsize=1)
def references(world: World) -> dict[str, list[str]]:
    """Each template with all that it extends, imports or includes, directly or not, and itself."""
    direct = {name: _named_in(world, name, content) for name, content in world.sources.templates.items()}
    every: dict[str, list[str]] = {}
    for name in direct:
        seen, new = {name}, [name]
        while new:
            new = [inner for outer in new for inner in direct[outer] if inner not in seen]
            seen.update(new)
        every[name] = sorted(seen)
    return every


@lru_cache(maxsize=128)
def _names_in(content: bytes, name: str, path: str) -> frozenset[str | None]:
    """What a template names, None for what only drawing it tells."""
    try:
        return frozenset(meta.find_referenced_templates(Environment().parse(content.decode(), name, path)))
    except TemplateSyntaxError as error:
        raise template_fault(error) from error


def _named_in(world: World, name: str, content: bytes) -> list[str]:
    templates = world.sources.templates
    names = _names_in(content, name, str(world.sources.root / "site/theme" / name))
    # A name that is only known when the page is drawn may be any.
    return sorted(templates) if None in names else sorted(n for n in names if n and n in templates)


def template_fault(error: Exception) -> FitcardError:
    """A fault in a template as one line, with its place: where it was noticed, in the innermost template."""
    place = getattr(error, "filename", None), getattr(error, "lineno", None)
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.endswith(".html"):
            place = frame.filename, frame.lineno
    where = f"{shown(Path(place[0]))}:{place[1] or 1}" if place[0] else "site/theme"
    return FitcardError(f"{where}: {error}".splitlines()[0])
