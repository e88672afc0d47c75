"""A small catalog, a copy of the checkout around it, and the edits that people make to them."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import yaml

from fitcard.catalog import Catalog, load
from fitcard.catalog.loader import HERE
from fitcard.catalog.parse import read_trace
from fitcard.catalog.storage.hashing import file_digest
from fitcard.catalog.storage.writer import add_run
from fitcard.site.generator.engine import manifest
from tests.catalog.test_store import counted, made_run
from tests.conftest import ROOT
from tests.sample import cut

POOL = (
    "BAAI/bge-small-en-v1.5", "facebook/dinov2-small", "sentence-transformers/all-MiniLM-L6-v2", "facebook/dinov2-base",
    "intfloat/e5-base-v2",
)  # fmt: skip
CARDS = ("apple-m6", "nvidia-datacenter-pascal", "amd-cdna1", "intel-lunar-lake")
LABELS = ("FP32", "BF16", "FP16", "Q8_0", "Q4_K_M")


def small_catalog(root: Path) -> Path:
    """Three models, two files of GPUs, five quantizations and three runs: the least that shows every kind of edit, as it is built often."""
    cut(root, (), (), LABELS)
    for model in POOL[:3]:
        copy_model(root, model)
    for cards in CARDS[:2]:
        shutil.copy(HERE / f"gpus/{cards}.yaml", root / "gpus")
    for seed, device in enumerate(("cpu-test", "apple-m6-12-core-16gb", "apple-m6-12-core-16gb")):
        new_run(root, POOL[seed % 2], device, seed)
    return root


def copy_model(root: Path, model: str) -> None:
    """A model of the pool; one of them names another in its prose."""
    for name in (f"models/{model}.yaml", f"traces/{model}.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / name, root / name)
    path = root / f"models/{model}.yaml"
    text = re.sub(r"(?m)^successor: .*\n", "", path.read_text())
    if model == "facebook/dinov2-base":
        text = text.replace("verdict: ", "verdict: Beside {gmacs.facebook/dinov2-small} GMAC. ", 1)
    path.write_text(text)


def new_run(root: Path, model: str, device: str, seed: int) -> None:
    trace = read_trace(root / f"traces/{model}.json")
    component = trace.components()[0]
    machine = {**made_run().machine.model_dump(mode="json"), "device": device}
    if gpu := real().gpus.get(device):
        machine |= {"device_vendor": gpu.vendor, "device_name": gpu.name}
    counts = counted(trace, component, real().quantizations[LABELS[seed % len(LABELS)]])
    run = made_run(seed, model=model, machine=machine, measured_at=f"2026-09-{1 + seed % 28:02}T03:04:05Z", **counts)
    add_run(root / "runs", run)


@cache
def real() -> Catalog:
    """The catalog that all of these are parts of."""
    return load()


def copy_checkout(target: Path) -> Path:
    """What a build reads of the checkout, so that code, templates and documents can be edited."""
    for folder in ("catalog", "advisor", "profiler", "site"):
        shutil.copytree(
            ROOT / folder,
            target / folder,
            ignore=shutil.ignore_patterns("__pycache__", "models", "gpus", "published", "traces", "runs"),
        )
    shutil.copy(ROOT / "mkdocs.yml", target / "mkdocs.yml")
    shutil.copytree(ROOT / "src", target / "src", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def tree(site: Path) -> dict[str, bytes]:
    """Every file of a site, the manifest too."""
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in sorted(site.rglob("*")) if path.is_file()}


def is_whole(site: Path) -> bool:
    """Whether a site is exactly what its manifest says, file by file."""
    said = manifest.read(site)
    if said is None:
        return False
    found = {path.relative_to(site).as_posix(): file_digest(path) for path in site.rglob("*") if path.is_file()}
    del found[manifest.NAME]
    return found == {path: entry.content for path, entry in said.outputs.items()}


Edit = Callable[[Path, Path, random.Random], None]


def _ids(root: Path, folder: str) -> list[str]:
    return sorted(
        path.relative_to(root / folder).as_posix().rpartition(".")[0]
        for path in (root / folder).rglob("*.*")
        if path.is_file() and not path.name.startswith(".")
    )


def _sub(path: Path, old: str, new: str) -> None:
    path.write_text(re.sub(old, new, path.read_text(), count=1))


def add_model(root: Path, checkout: Path, chance: random.Random) -> None:
    copy_model(root, chance.choice(POOL))


def remove_model(root: Path, checkout: Path, chance: random.Random) -> None:
    if models := _ids(root, "models"):
        _remove(root, chance.choice(models))


def _remove(root: Path, model: str) -> None:
    for path in [
        root / f"models/{model}.yaml",
        root / f"traces/{model}.json",
        root / f"published/{model}.yaml",
        *root.glob(f"runs/*/{model}.yaml"),
    ]:
        path.unlink(missing_ok=True)


def rename_model(root: Path, checkout: Path, chance: random.Random) -> None:
    """Its file and its trace move; runs and figures of the old name go."""
    if models := _ids(root, "models"):
        old = chance.choice(models)
        new = f"renamed/{old.split('/')[1]}"
        for folder, ending in (("models", "yaml"), ("traces", "json")):
            (root / folder / "renamed").mkdir(exist_ok=True)
            (root / folder / f"{old}.{ending}").rename(root / folder / f"{new}.{ending}")
        _remove(root, old)


def edit_model(root: Path, checkout: Path, chance: random.Random) -> None:
    if models := _ids(root, "models"):
        key = chance.choice(("name", "verdict", "family", "overview"))
        letter = chance.choice("abcdefgh")
        _sub(root / f"models/{chance.choice(models)}.yaml", rf"(?m)^{key}: (?![|>])(.*)$", rf"{key}: {letter} \1")


def add_cards(root: Path, checkout: Path, chance: random.Random) -> None:
    shutil.copy(HERE / f"gpus/{chance.choice(CARDS)}.yaml", root / "gpus")


def remove_cards(root: Path, checkout: Path, chance: random.Random) -> None:
    if files := _ids(root, "gpus"):
        (root / f"gpus/{chance.choice(files)}.yaml").unlink()


def edit_card(root: Path, checkout: Path, chance: random.Random) -> None:
    if files := _ids(root, "gpus"):
        path = root / f"gpus/{chance.choice(files)}.yaml"
        names = re.findall(r"(?m)^    name: (.*)$", path.read_text())
        name = chance.choice(names)
        path.write_text(
            path.read_text().replace(f"    name: {name}\n", f"    name: {name} {chance.choice('XYZ')}\n", 1)
        )


def edit_sources_of_cards(root: Path, checkout: Path, chance: random.Random) -> None:
    if files := _ids(root, "gpus"):
        _sub(root / f"gpus/{chance.choice(files)}.yaml", r"(?m)^    title: (.*)$", r"    title: \1 again")


def add_a_run(root: Path, checkout: Path, chance: random.Random) -> None:
    models = [model for model in _ids(root, "models") if (root / f"traces/{model}.json").exists()]
    if models:
        new_run(
            root,
            chance.choice(models),
            chance.choice(("cpu-test", "apple-m6-12-core-16gb", "tesla-p40")),
            chance.randrange(100),
        )


def remove_runs(root: Path, checkout: Path, chance: random.Random) -> None:
    if files := _ids(root, "runs"):
        (root / f"runs/{chance.choice(files)}.yaml").unlink()


def edit_published(root: Path, checkout: Path, chance: random.Random) -> None:
    """Figures of others appear, change or go."""
    if not (models := _ids(root, "models")):
        return
    path = root / f"published/{chance.choice(models)}.yaml"
    if path.exists() and chance.random() < 0.3:
        path.unlink()
        return
    cards = re.findall(
        r"(?m)^  ([a-z0-9-]+):\n    name",
        "".join((root / f"gpus/{name}.yaml").read_text() for name in _ids(root, "gpus")),
    )
    if not cards:
        return
    trace = read_trace(root / f"traces/{path.relative_to(root / 'published').as_posix()[:-5]}.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({
        "reviewed": "2026-01-01", "sources": {"a": {"title": "A", "publisher": "B", "url": "https://example.com/a", "read": "2026-01-01"}},
        "speeds": [{
            "gpu": chance.choice(cards), "component": trace.components()[0], "quantization": chance.choice(LABELS[:3]), "mode": "eager", "batch": 64,
            "per_second": float(chance.randrange(1, 999)), "settings": "none", "where": "row 1", "source": "a",
        }],
    }))  # fmt: skip


def edit_rules(root: Path, checkout: Path, chance: random.Random) -> None:
    file, old, new = chance.choice((
        ("quantizations.yaml", r"(?m)^(    summary: ['\"]?)", r"\1Really, "), ("runtimes.yaml", r"bytes: (\d+)000000,", r"bytes: \g<1>100000,"),
        ("runtimes.yaml", r"a desktop with a browser open", "a desktop with two browsers open"),
        ("speed.yaml", r"slower: (\d)\.", r"slower: \1.0"),
    ))  # fmt: skip
    _sub(root / file, old, new)


def edit_template(root: Path, checkout: Path, chance: random.Random) -> None:
    path = (
        checkout
        / "site/theme"
        / chance.choice(("main.html", "macros.html", "model.html", "gpu.html", "home.html", "404.html", "run.html"))
    )
    path.write_text(path.read_text().replace("</p>", f" {chance.choice('abc')}</p>", 1) + "\n")


def edit_style(root: Path, checkout: Path, chance: random.Random) -> None:
    path = checkout / "site/theme/css" / chance.choice(("fitcard.css", "more.css"))
    if path.exists() and path.name == "more.css":
        path.unlink()
    else:
        path.write_text(f"{path.read_text() if path.exists() else ''}\n/* {chance.random()} */\n")


def edit_documents(root: Path, checkout: Path, chance: random.Random) -> None:
    """A document changes, comes with a link to a page, or goes."""
    docs = checkout / "site/docs"
    path = docs / chance.choice(("policy.md", "new.md", "folder/other.md", "folder/picture.svg"))
    if path.exists() and path.name != "policy.md" and chance.random() < 0.5:
        path.unlink()
        return
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# A page {chance.random()}\n\nAbout [models]({'../' * (path.parent != docs)}models/index.md).\n")


def link_to_a_model(root: Path, checkout: Path, chance: random.Random) -> None:
    """The page stands only as long as what it links to."""
    if models := _ids(root, "models"):
        (checkout / "site/docs/linked.md").write_text(f"# A link\n\n[This](models/{chance.choice(models)}/index.md)\n")


def set_the_clock_back(root: Path, checkout: Path, chance: random.Random) -> None:
    """A change of the same length, in a file that says it is older than before."""
    if models := _ids(root, "models"):
        path = root / f"models/{chance.choice(models)}.yaml"
        path.write_text(
            re.sub(
                r"(?m)^reviewed: .?20\d\d-(\d\d)-(\d\d).?$",
                f'reviewed: "20{chance.randrange(10, 26)}-\\1-\\2"',
                path.read_text(),
            )
        )
        os.utime(path, (86400, 86400))


def spoil(root: Path, checkout: Path, chance: random.Random) -> None:
    """What a half-saved file looks like."""
    folder = chance.choice(("models", "gpus", "runs", "traces"))
    if files := list((root / folder).rglob("*.*")):
        path = chance.choice(
            sorted(path for path in files if path.is_file() and not path.name.startswith("."))
            or [root / "runtimes.yaml"]
        )
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


EDITS: tuple[Edit, ...] = (
    add_model, remove_model, rename_model, edit_model, edit_model, add_cards, remove_cards, edit_card, edit_card, edit_sources_of_cards,
    add_a_run, add_a_run, add_a_run, remove_runs, edit_published, edit_published, edit_rules, edit_template, edit_style, edit_documents,
    link_to_a_model, set_the_clock_back, spoil,
)  # fmt: skip


def sequence(seed: int) -> Iterator[tuple[Edit, random.Random]]:
    """Edits of one working day."""
    chance = random.Random(seed)
    for _ in range(chance.randrange(2, 6)):
        yield chance.choice(EDITS), chance
