"""What outputs are made from, as digests: an output is current exactly when those of all its inputs are what they were.

Names of inputs:

    model:ID models  trace:ID traces  published:ID published     files of the catalog
    name:ID names                                                what lists say of a model, whatever else its file holds
    card:ID cards                                                one card's own record, whatever else its file holds
    run:KEY runs:MODEL device:ID label:ID runs                   a run; those of a model, on a device, of a quantization; all
    quantizations runtimes matmul speed                          what every prediction rests on
    template:NAME theme:NAME doc:NAME link:SOURCE                files of site/theme and site/docs; whether a page exists
    templates                                                    all templates
    code                                                         all of our code, mkdocs.yml, and the packages that draw pages
"""

from __future__ import annotations

import importlib.metadata
import json
import posixpath
import re
import traceback
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from fitcard.catalog.errors import FitcardError, shown
from fitcard.catalog.storage import cache
from fitcard.catalog.storage.hashing import code_files, combined, digest, file_digest, in_folder, run_files

if TYPE_CHECKING:
    from fitcard.catalog import Catalog

ROOT = Path(__file__).resolve().parents[3]
_PACKAGES = ("jinja2", "markdown", "markupsafe", "mkdocs", "pydantic", "pyyaml")
_NOT_STATIC = (".html", ".md", ".py", ".pyc")
_LINK = re.compile(r"\]\(\s*<?([^)\s>#]+)|^\s*\[[^\]]+\]:\s*<?([^\s>#]+)", re.M)


@dataclass(frozen=True)
class Sources:
    """What the site is made from besides the catalog, as it was when the build began: edits made meanwhile are for the next one."""

    root: Path
    """The checkout that it was read from."""
    code: str
    theme: Mapping[str, bytes]
    """Templates and the files that are copied as they are, by path below site/theme."""
    docs: Mapping[str, bytes]
    """Hand-written pages and their pictures, by path below site/docs."""

    @cached_property
    def templates(self) -> dict[str, bytes]:
        return {name: content for name, content in self.theme.items() if name.endswith(".html")}

    @cached_property
    def key(self) -> str:
        """Identifies all of it."""
        files = {**{f"theme/{n}": c for n, c in self.theme.items()}, **{f"docs/{n}": c for n, c in self.docs.items()}}
        return combined((self.code, *(f"{name} {digest(content)}" for name, content in files.items())))


def configuration() -> Path:
    """The path of mkdocs.yml. Raises FitcardError outside a checkout."""
    path = ROOT / "mkdocs.yml"
    if not path.exists():
        raise FitcardError(f"the website is built from a checkout of fitcard: there is no {path}")
    return path


def documents_folder() -> Path:
    """Where hand-written pages are."""
    return ROOT / "site/docs"


def read_documents() -> dict[str, bytes]:
    """Hand-written pages and their pictures, by path below site/docs."""
    return _read(documents_folder())


def read_sources() -> Sources:
    """The sources of today. Raises FitcardError outside a checkout."""
    root = configuration().parent
    return Sources(root, code(root), _read(root / "site/theme"), read_documents())


def code(root: Path) -> str:
    """Identifies the code, mkdocs.yml, and the versions of the packages that draw pages."""
    files = [
        *code_files(root / "src/fitcard", root / "catalog", root / "advisor", root / "site/generator"),
        root / "mkdocs.yml",
    ]
    return combined((*_versions(), *(f"{path.relative_to(root)} {file_digest(path)}" for path in files)))


@lru_cache(maxsize=1)
def _versions() -> tuple[str, ...]:
    """Those of the packages that draw pages, as they are imported here."""
    return tuple(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)


def _read(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes() for name, path in found.items() if not any(p.startswith(".") for p in name.split("/"))
    }


def is_static(name: str) -> bool:
    """Whether a file of the theme or of the docs is copied as it is."""
    return not name.endswith(_NOT_STATIC)


def links(source: str, content: bytes) -> Iterator[str]:
    """The other source files that a hand-written page links to."""
    for found in _LINK.finditer(content.decode("utf-8", "replace")):
        target = found[1] or found[2]
        if "//" not in target and not target.startswith(("/", "mailto:")):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def references(templates: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Each template with all that it extends, imports or includes, directly or not, and itself."""
    made_by = f"{importlib.metadata.version('jinja2')} {file_digest(__file__)}"
    key = combined(("references", made_by, *(f"{name} {digest(content)}" for name, content in templates.items())))
    return dict[str, list[str]](json.loads(cache.kept(key, lambda: json.dumps(_references(templates)).encode())))


def _references(templates: Mapping[str, bytes]) -> dict[str, list[str]]:
    from jinja2 import Environment, TemplateSyntaxError, meta

    from fitcard.site.generator.engine.fragments import Kept

    environment = Environment(extensions=[Kept])
    direct: dict[str, list[str]] = {}
    for name, content in templates.items():
        try:
            named = set(
                meta.find_referenced_templates(
                    environment.parse(content.decode(), name, str(ROOT / "site/theme" / name))
                )
            )
        except TemplateSyntaxError as error:
            raise template_fault(error) from error
        # A name that is only known when the page is drawn may be any.
        direct[name] = sorted(templates) if None in named else sorted(n for n in named if n and n in templates)
    found: dict[str, list[str]] = {}
    for name in templates:
        seen, new = {name}, [name]
        while new:
            new = [inner for outer in new for inner in direct[outer] if inner not in seen]
            seen.update(new)
        found[name] = sorted(seen)
    return found


def template_fault(error: Exception) -> FitcardError:
    """A fault in a template as one line, with its place: where it was noticed, in the innermost template."""
    place = getattr(error, "filename", None), getattr(error, "lineno", None)
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.endswith(".html"):
            place = frame.filename, frame.lineno
    where = f"{shown(Path(place[0]))}:{place[1] or 1}" if place[0] else "site/theme"
    return FitcardError(f"{where}: {error}".splitlines()[0])


class Inputs:
    """The digests of all inputs of one build, by their names."""

    pages: Container[str] = ()
    """The source files that documents may link to."""

    def __init__(self, catalog: Catalog, sources: Sources) -> None:
        self.catalog, self.sources = catalog, sources
        self._together: dict[tuple[str, ...], str] = {}
        self._general: dict[tuple[str, ...], str] = {}
        self._found: dict[str, str] = {}
        self._of_model: dict[str, list[str]] = {}
        self._of_device: dict[str, list[str]] = {}
        for name, device, model in run_files(catalog.digests):
            self._of_device.setdefault(device, []).append(name)
            self._of_model.setdefault(model, []).append(name)

    def __getitem__(self, name: str) -> str:
        if name not in self._found:
            self._found[name] = self._digest(name)
        return self._found[name]

    def together(self, names: tuple[str, ...], *words: str) -> str:
        """The digest of some inputs and words. Many outputs have the same inputs, so those are put together once."""
        if names not in self._together:
            general = tuple(name for name in names if ":" not in name)
            if general not in self._general:
                self._general[general] = combined(f"{name} {self[name]}" for name in general)
            own = (f"{name} {self[name]}" for name in names if ":" in name)
            self._together[names] = combined((self._general[general], *own))
        return combined((self._together[names], *words)) if words else self._together[names]

    def _digest(self, name: str) -> str:
        kind, colon, key = name.partition(":")
        if colon and kind in self._of_one:
            return self._of_one[kind](key)
        if name in self._of_all:
            return self._of_all[name]()
        raise ValueError(f"no input is called {name!r}: the names are in {__name__}")

    @cached_property
    def _of_one(self) -> dict[str, Callable[[str], str]]:
        """What gives the digest of one thing, by its kind."""
        catalog, sources = self.catalog, self.sources
        return {
            "model": lambda key: self._file(f"models/{key}.yaml"),
            "trace": lambda key: self._file(f"traces/{key}.json"),
            "published": lambda key: self._file(f"published/{key}.yaml"),
            "name": lambda key: self._names.get(key, "none"),
            "card": lambda key: catalog.gpu_index[key].digest if key in catalog.gpu_index else "none",
            "run": str,  # its key is the hash of the run
            "runs": lambda key: self._files(self._of_model.get(key, ())),
            "device": lambda key: self._files(self._of_device.get(key, ())),
            "label": lambda key: combined(self._labels.get(key, ())),
            "template": lambda key: digest(sources.theme[key]),
            "theme": lambda key: digest(sources.theme[key]),
            "doc": lambda key: digest(sources.docs[key]) if key in sources.docs else "none",
            "link": lambda key: "there" if key in self.pages else "none",
        }

    @cached_property
    def _of_all(self) -> dict[str, Callable[[], str]]:
        """What gives the digest of all of a kind, by its name."""
        catalog = self.catalog
        folders = ("models", "traces", "published", "runs")
        files = ("quantizations", "runtimes", "matmul")
        return {
            **{folder: partial(self._folder, folder) for folder in folders},
            **{name: partial(self._file, f"{name}.yaml") for name in files},
            "code": lambda: self.sources.code,
            "templates": lambda: combined(f"{name} {digest(text)}" for name, text in self.sources.templates.items()),
            "names": lambda: combined(f"{model} {name}" for model, name in self._names.items()),
            "cards": lambda: combined(f"{card} {entry.digest}" for card, entry in catalog.gpu_index.items()),
            "speed": self._speed,
        }

    @cached_property
    def _names(self) -> dict[str, str]:
        """What lists say of each model."""
        return {model: digest(str(entry).encode()) for model, entry in self.catalog.model_index.items()}

    def _speed(self) -> str:
        """Predictions also ask who made the cards that it was fitted on."""
        catalog = self.catalog
        fitted = catalog.speed.known if catalog.speed else ()
        makers = (f"{gpu} {catalog.gpu_index[gpu].vendor}" for gpu in fitted if gpu in catalog.gpu_index)
        return combined((self._file("speed.yaml"), *makers))

    @cached_property
    def _labels(self) -> dict[str, list[str]]:
        """By label, what identifies the runs of each model, and those of BF16 that they are compared with. Imported here, since it takes
        longer than finding out that nothing changed."""
        from fitcard.advisor.evidence import labels_run

        found: dict[str, list[str]] = {}
        for model, labels in labels_run(self.catalog).items():
            for label, runs in labels.items():
                found.setdefault(label, []).append(f"{model} {runs}")
        return found

    def _file(self, name: str) -> str:
        return self.catalog.digests.get(name, "none")

    def _folder(self, folder: str) -> str:
        return self._files(in_folder(self.catalog.digests, folder))

    def _files(self, names: Iterable[str]) -> str:
        return combined(f"{name} {self.catalog.digests[name]}" for name in names)
