"""Loading the whole catalog. Validation is loading: there is no second validator that could drift from this one.

`parse.py` reads and checks single files. Here is what files say of each other, checked every time on the summaries of the files;
records are read when somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from fitcard.catalog.catalog import Catalog, Runs
from fitcard.catalog.errors import CatalogError, Problem
from fitcard.catalog.parse import Edited, Files, gpus_of, read_checked_runs, read_checked_trace, refuse_links_out
from fitcard.catalog.schema.matmul import MatmulFile
from fitcard.catalog.schema.quantization import Quantizations
from fitcard.catalog.schema.record import ID_RULE, is_id
from fitcard.catalog.schema.restore import restore
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.signers import SignersFile
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.schema.waivers import ExceptionsFile
from fitcard.catalog.storage import hashing
from fitcard.catalog.storage.reads import Table
from fitcard.catalog.summaries import GpuSummary, RunSummary
from fitcard.catalog.yaml_file import line_of, read_yaml

HERE = Path(__file__).resolve().parent
"""The catalog that comes with the package."""

ATTEMPTS = 5
"""How often loading begins again because a file was edited meanwhile."""
TRACES_IN_MEMORY = 256
RUN_FILES_IN_MEMORY = 16
"""These are the large records, so no more of them stay."""
_OPTIONAL = ("matmul.yaml", "speed.yaml", "exceptions.yaml", "signers.yaml")


def load(root: Path | None = None, *, traces_needed: bool = True, digests: Mapping[str, str] | None = None) -> Catalog:
    """Read and check the catalog under `root` (the one that comes with the package by default).

    `traces_needed=False` leaves the traces out, for making them. `digests` are those of its files where they are known already.
    Raises CatalogError with one line for each fault, of all files at once.
    """
    root = HERE if root is None else root
    if not root.is_dir():
        message = "is not a folder: --catalog takes the folder that holds quantizations.yaml"
        raise CatalogError([Problem(root, 1, "", message)])
    for folder in hashing.PLACES:
        refuse_links_out(root / folder, root)
    for _ in range(ATTEMPTS):
        try:
            return _load(root, digests or hashing.catalog_digests(root), traces_needed)
        except Edited:
            digests = None
    raise CatalogError([Problem(root, 1, "", "is being edited all the time: wait, and run the command again")])


class _Parts(NamedTuple):
    """The files of a catalog by folder, as paths below its root."""

    root: Path
    files: Files
    placed: Mapping[str, Sequence[str]]

    def summaries(self, folder: str) -> dict[str, Any]:
        """The summary of each file of a folder that is right, by path."""
        right = self.files.summaries
        return {name: right[name] for name in self.placed.get(folder, ()) if name in right}

    def by_id(self, folder: str) -> dict[str, Any]:
        """The same by id."""
        return {hashing.id_of(name): summary for name, summary in self.summaries(folder).items()}

    def digests(self, folder: str) -> dict[str, str]:
        """The digest of each file of a folder, by id."""
        return {hashing.id_of(name): self.files.digests[name] for name in self.summaries(folder)}


def _load(root: Path, digests: Mapping[str, str], traces_needed: bool) -> Catalog:
    """Read and check everything. Raises Edited when a file changed since its digest was taken."""
    misplaced = [name for name in digests if "/" in name and not _well_placed(name)]
    faults = [_misplaced(root, name) for name in misplaced]
    folders = [folder for folder in hashing.PLACES if traces_needed or folder != "traces"]
    placed = {
        folder: [name for name in hashing.in_folder(digests, folder) if name not in misplaced] for folder in folders
    }
    single = ["quantizations.yaml", "runtimes.yaml", *(name for name in _OPTIONAL if name in digests)]
    read = {
        name: digests.get(name, hashing.UNREADABLE) for name in (*single, *(n for ns in placed.values() for n in ns))
    }
    parts = _Parts(root, Files(root, read), placed)
    faults += parts.files.faults
    singles = {name: parts.files.record(name) for name in single if name in parts.files.summaries}
    runtimes: Runtimes | None = singles.get("runtimes.yaml")
    quantizations: Quantizations | None = singles.get("quantizations.yaml")
    file_of_gpu: dict[str, str] = {}
    for name, summary in parts.summaries("gpus").items():
        faults += _gpu_faults(root / name, summary.gpus, file_of_gpu, runtimes)
        file_of_gpu |= {key: name for key in summary.gpus if key not in file_of_gpu}
    for name, runs in parts.summaries("runs").items():
        faults += _moved_runs(root, name, runs)
    if faults or quantizations is None or runtimes is None:
        raise CatalogError(faults)
    excepted: ExceptionsFile | None = singles.get("exceptions.yaml")
    signing: SignersFile | None = singles.get("signers.yaml")
    begun = [Problem(root / name, *row) for name, summary in parts.summaries("gpus").items() for row in summary.begun]
    catalog = Catalog(
        root=root,
        models=_records(parts, "models", "models", "model_index"),
        gpus=_gpus(parts, file_of_gpu),
        traces=_traces(parts),
        runs=_runs(parts),
        quantization_file=quantizations,
        runtimes=runtimes,
        matmul=singles.get("matmul.yaml") or MatmulFile(reviewed="1970-01-01", sources={}, rates=()),
        speed=singles.get("speed.yaml"),
        begun_gpus=tuple(begun),
        exceptions=excepted.exceptions if excepted else (),
        signers=signing.signers if signing else {},
        gpu_files=_records(parts, "gpu_files", "gpus"),
        published=_records(parts, "published", "published", "published_index"),
    )
    # Only now: names that a faulty file would have given would seem to be missing.
    faults = [
        *_references(catalog),
        *_unknown(catalog, parts.summaries("runs")),
        *(_untraced(catalog) if traces_needed else ()),
    ]
    if faults:
        raise CatalogError(faults)
    return catalog


def _records(parts: _Parts, kind: str, folder: str, index: str | None = None) -> Table[Any]:
    """The records of a folder's files by id, one a file, and their summaries where lists ask for them."""
    summaries = Table.of(index, parts.by_id(folder)) if index else None
    return Table(
        kind, parts.digests(folder), lambda key: parts.files.record(f"{folder}/{key}.yaml"), summaries=summaries
    )


def _gpus(parts: _Parts, file_of_gpu: Mapping[str, str]) -> Table[Any]:
    summaries: dict[str, GpuSummary] = {
        key: parts.files.summaries[name].gpus[key] for key, name in sorted(file_of_gpu.items())
    }
    by_file = Table("", dict.fromkeys(parts.placed["gpus"], ""), lambda name: gpus_of(parts.files.record(name)))
    digests = {key: summary.digest for key, summary in summaries.items()}
    index = Table.of("gpu_index", summaries)
    return Table("gpus", digests, lambda key: by_file.record(file_of_gpu[key])[key], summaries=index)


def _traces(parts: _Parts) -> Table[Trace]:
    # Fine-tunes of one architecture have one and the same trace: then all get the same object, by which what follows from it
    # is worked out once.
    digests = parts.digests("traces")
    keys = {digest: key for key, digest in digests.items()}
    by_content = Table(
        "", keys, lambda digest: read_checked_trace(parts.root / f"traces/{keys[digest]}.json"), most=TRACES_IN_MEMORY
    )
    index = Table.of("trace_index", parts.by_id("traces"))
    return Table("traces", digests, lambda key: by_content.record(digests[key]), summaries=index, most=1)


def _runs(parts: _Parts) -> Runs:
    files: Table[dict[str, Any]] = Table(
        "",
        dict.fromkeys(parts.placed["runs"], ""),
        lambda name: read_checked_runs(parts.root / name),
        most=RUN_FILES_IN_MEMORY,
    )
    summaries: list[RunSummary] = [run for runs in parts.summaries("runs").values() for run in runs]
    summaries.sort(key=attrgetter("measured_at", "key"))
    return Runs(summaries, lambda run: restore(Run, files.record(_file_of(run))[run.key]))


def _gpu_faults(
    path: Path, gpus: Mapping[str, GpuSummary], file_of_gpu: Mapping[str, str], runtimes: Runtimes | None
) -> Iterator[Problem]:
    """GPUs that another file has too, and those that no runtime knows."""

    @lru_cache(maxsize=1)
    def line(key: str) -> int:
        return line_of(read_yaml(path)[1], ("gpus", key))

    for key, gpu in gpus.items():
        at = f"gpus.{key}"
        if key in file_of_gpu:
            other = Path(file_of_gpu[key]).name
            yield Problem(path, line(key), at, f"is also in {other}: an id names one GPU, rename one")
            continue
        if runtimes and gpu.vendor not in runtimes.context:
            vendors = ", ".join(runtimes.context)
            yield Problem(path, 1, "vendor", f"runtimes.yaml knows no runtime of {gpu.vendor} (it knows: {vendors})")
        if runtimes and gpu.segment not in runtimes.reserve:
            yield Problem(path, line(key), f"{at}.segment", f"runtimes.yaml has no reserve for {gpu.segment}")


def _moved_runs(root: Path, name: str, runs: Sequence[RunSummary]) -> list[Problem]:
    """The runs of a file that belong into another."""
    return [
        Problem(root / name, 1, f"runs.{index}", f"is a run of {run.model} on {run.device}: move it to {_file_of(run)}")
        for index, run in enumerate(runs)
        if _file_of(run) != name
    ]


def _file_of(run: RunSummary) -> str:
    """The path of the file that a run is in, below the catalog."""
    return f"runs/{run.device}/{run.model}.yaml"


def _well_placed(name: str) -> bool:
    folder, *inside = name.split("/")
    depth, ending = hashing.PLACES[folder]
    return (
        len(inside) == depth
        and name.endswith(ending)
        and all(map(is_id, (*inside[:-1], inside[-1].removesuffix(ending))))
    )


def _misplaced(root: Path, name: str) -> Problem:
    """A file that would never be read: at another depth, with another ending, or with a name that is no id."""
    folder, _, rest = name.partition("/")
    if not all(map(is_id, rest.split("/"))):
        return Problem(root / name, 1, "", f"has a name that is no id: {ID_RULE}")
    depth, ending = hashing.PLACES[folder]
    parts = "/".join(["..."] * (depth - 1) + [f"name{ending}"])
    return Problem(root / name, 1, "", f"would not be read: files here are {folder}/{parts}")


def _references(catalog: Catalog) -> Iterator[Problem]:
    """Faults between files: names that nothing answers to, and one that two answer to."""
    towers: dict[str, str] = {}
    for key, model in catalog.model_index.items():
        if model.timm and towers.setdefault(model.timm, key) != key:
            yield catalog.problem("models", key, ("timm",), f"is also that of {towers[model.timm]}: keep one")
        if model.successor and model.successor not in catalog.models:
            yield catalog.problem("models", key, ("successor",), f"no model {model.successor} in the catalog")
    for key in catalog.traces:
        if key not in catalog.models:
            path = catalog.root / "traces" / f"{key}.json"
            yield Problem(path, 1, "", "belongs to no model: delete it, or add the model")
    for key, file in catalog.published_index.items():
        if key not in catalog.models:
            yield catalog.problem("published", key, (), "belongs to no model: delete it, or add the model")
        for index, (gpu, quantization) in enumerate(file.speeds):
            if gpu not in catalog.gpus:
                yield catalog.problem("published", key, ("speeds", index, "gpu"), f"no GPU {gpu!r} in the catalog")
            if quantization not in catalog.quantizations:
                yield catalog.problem(
                    "published", key, ("speeds", index, "quantization"), f"no quantization {quantization!r}"
                )
    for index, rate in enumerate(catalog.matmul.rates):
        if rate.gpu not in catalog.gpus:
            yield catalog.problem("", "matmul", ("rates", index, "gpu"), f"no GPU {rate.gpu!r} in the catalog")


def _unknown(catalog: Catalog, run_files: Mapping[str, Sequence[RunSummary]]) -> Iterator[Problem]:
    """Runs of models and of quantizations that are not in the catalog."""
    models, labels = set(catalog.models), set(catalog.every_label)
    for name, runs in run_files.items():
        for run in runs:
            if run.model not in models:
                yield Problem(catalog.root / name, 1, run.key, f"no model {run.model} in the catalog")
            if run.quantization not in labels:
                yield Problem(catalog.root / name, 1, run.key, f"no quantization {run.quantization!r} in the catalog")


def _untraced(catalog: Catalog) -> Iterator[Problem]:
    """Models whose configuration has not been traced."""
    for key, model in catalog.model_index.items():
        if key not in catalog.traces:
            yield catalog.problem("models", key, (), f"has no trace: run `fitcard trace {key}`")
        elif catalog.trace_index[key].config_sha256 != model.config_sha256:
            yield catalog.problem(
                "models", key, ("config",), f"is not the one that was traced: run `fitcard trace {key}`"
            )
