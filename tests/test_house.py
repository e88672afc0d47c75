"""The house: which room may import which, no circles, no pickle, few caches, small modules, one class a name.

Read from the files with `ast`. Imports under `if TYPE_CHECKING` count too: a reader follows them like any other.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDERS = {
    "fitcard.catalog": ROOT / "catalog",
    "fitcard.advisor": ROOT / "advisor",
    "fitcard.profiler": ROOT / "profiler",
    "fitcard.site.generator": ROOT / "site/generator",
}
MAY_IMPORT = {
    "catalog": set[str](),
    "advisor": {"catalog"},
    "profiler": {"catalog"},
    "site": {"catalog", "advisor"},
}
"""Data flow from the catalog to the site, and imports point the other way."""
MOST_LINES = 400
MOST_CACHES = 2 / 1000
CACHES = {"cache", "lru_cache"}


def modules() -> dict[str, Path]:
    """Every module of the package by its full name."""
    return {
        ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for package, folder in FOLDERS.items()
        for path in sorted(folder.rglob("*.py"))
    }


MODULES = modules()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def imports(name: str, tree: ast.AST) -> Iterator[str]:
    """The modules of ours that a module imports, wherever in its text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for imported in names:
            if imported.startswith("fitcard"):
                yield imported if imported in MODULES else imported.rpartition(".")[0]


IMPORTS = {name: set(imports(name, tree)) & MODULES.keys() - {name} for name, tree in TREES.items()}


def room(name: str) -> str:
    return name.split(".")[1]


def test_imports_point_down() -> None:
    """From the site to the advisor and the catalog, from the profiler to the catalog."""
    upwards = {
        (name, imported)
        for name, each in IMPORTS.items()
        for imported in each
        if room(imported) not in {room(name), *MAY_IMPORT[room(name)]}
    }
    assert upwards == set()


def test_records_know_nothing_of_storage() -> None:
    """What a record is does not depend on where it is kept."""
    assert [
        (name, imported)
        for name, each in IMPORTS.items()
        for imported in each
        if name.startswith("fitcard.catalog.schema") and imported.startswith("fitcard.catalog.storage")
    ] == []


def test_no_module_imports_in_a_circle() -> None:
    """Modules that import none of the rest are put aside until none is left."""
    left = {name: set(each) for name, each in IMPORTS.items()}
    while free := [name for name, each in left.items() if not each & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}


def test_nothing_is_pickled() -> None:
    """Whoever can write a pickle runs code as whoever reads it."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "marshal", "shelve", "dill", "cloudpickle"} & set(names), name


@pytest.mark.parametrize("of", MAY_IMPORT)
def test_caches_are_few(of: str) -> None:
    """At most two in a thousand lines of each room; `memo` is the way to keep what takes long."""
    mine = [name for name in MODULES if room(name) == of]
    lines = sum(len(MODULES[name].read_text().splitlines()) for name in mine)
    caches = [(name, function.name) for name in mine for function in cached(TREES[name])]
    assert len(caches) <= MOST_CACHES * lines, caches


def cached(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [n.id for decorator in node.decorator_list for n in ast.walk(decorator) if isinstance(n, ast.Name)]
            if CACHES & set(names):
                yield node


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_small(name: str) -> None:
    assert len(MODULES[name].read_text().splitlines()) <= MOST_LINES


def test_no_class_name_is_used_for_two_things() -> None:
    where: defaultdict[str, list[str]] = defaultdict(list)
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(name)
    assert {name: places for name, places in where.items() if len(places) > 1} == {}


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, tree in TREES.items() if isinstance(tree, ast.Module) and not ast.get_docstring(tree)] == []
