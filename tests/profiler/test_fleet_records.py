"""What comes back from the nodes of a fleet, each record held to what was asked for."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.parse import read_runs
from fitcard.catalog.schema.run import run_key, sealed
from fitcard.catalog.schema.workload import Variant
from fitcard.profiler.fleet import Asked, _collect

SO400M = "google/siglip-so400m-patch14-384"
Fields = dict[str, Any]


class RayError(Exception):
    """As Ray raises it."""


def genuine(real: Catalog, label: str = "BF16") -> Fields:
    run = next(
        run for run in real.runs_of(SO400M)
        if (run.machine.device, run.component, run.quantization, run.status) == ("h100-sxm", "vision", label, "ok")
    )  # fmt: skip
    return run.model_dump(mode="json", exclude={"key"})


def collected(real: Catalog, folder: Path, answers: list[Any], label: str = "BF16") -> tuple[list[str], str]:
    """The keys of the records that were added, and what was said of the others."""
    config = real.models[SO400M].config_sha256
    asked = Asked("H100", Variant(SO400M, "vision", label), config, (1, 8, 64), "eager", None)

    def get(job: int, timeout: float) -> Any:
        answer = answers[job]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def wait(jobs: list[int], timeout: float) -> tuple[list[int], list[int]]:
        return jobs[:1], jobs[1:]

    ray = SimpleNamespace(get=get, wait=wait, exceptions=SimpleNamespace(RayError=RayError))
    keys: list[str] = []
    try:
        for run in _collect(
            ray, real, dict.fromkeys(range(len(answers)), asked), folder, Console(file=io.StringIO()), lambda run: run
        ):
            keys.append(run.key)
    except FitcardError as error:
        return keys, str(error)
    return keys, ""


def answer(fields: Fields) -> Fields:
    return sealed(fields).model_dump(mode="json")


def put(*place: str | int, value: Any) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        inner: Any = fields
        for part in place[:-1]:
            inner = inner[part]
        inner[place[-1]] = value

    return change


def fast(fields: Fields) -> None:
    for speed in fields["speed"]:
        speed["samples_s"] = [[sample / 1e6 for sample in samples] for samples in speed["samples_s"]]


def other_batch(fields: Fields) -> None:
    for rows in (fields["memory"], fields["speed"]):
        rows[-1]["batch"] = 128


OTHERS: dict[str, tuple[Callable[[Fields], None], str]] = {
    "model": (put("model", value="google/siglip-large-patch16-384"), "another model: google/siglip-large"),
    "a model that nobody knows": (put("model", value="no/such"), "another model: no/such"),
    "component": (put("component", value="text"), "another component: text, and vision was asked for"),
    "label": (put("quantization", value="FP16"), "another quantization: FP16, and BF16 was asked for"),
    "mode": (put("mode", value="compiled"), "another mode: compiled, and eager was asked for"),
    "configuration": (put("config_sha256", value="0" * 64), "another config_sha256: 0000"),
    "cap": (put("memory_limit_bytes", value=80_000_000_000), "another memory_limit_bytes: 80000000000, and None"),
    "vendor": (put("machine", "device_vendor", value="CPU"), "a device of CPU, not of NVIDIA or AMD"),
    "device": (put("machine", "device_name", value="NVIDIA A10G"), "is of NVIDIA A10G, and H100 was asked for"),
    "id of a device": (put("machine", "device", value="h200-sxm"), "its record cannot be: machine.device_name is"),
    "batch": (other_batch, "has batch 128, which was not asked for"),
    "speed": (fast, "its record cannot be: speed.0.samples_s has a pass"),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_a_record_of_something_else_is_refused(what: str, real: Catalog, tmp_path: Path) -> None:
    """Whatever of it differs from what was asked for, with a key that is right; it costs its case, and the next is added."""
    change, message = OTHERS[what]
    fields = genuine(real)
    change(fields)
    good = answer(genuine(real))
    keys, said = collected(real, tmp_path, [answer(fields), good])
    assert keys == [good["key"]]
    assert said.startswith("1 of 2 cases have no record:\nH100 vision BF16: ")
    assert message in said
    assert [run.key for path in tmp_path.rglob("*.yaml") for run in read_runs(path)] == keys


MALFORMED: list[Any] = [
    None, 7, "text", [], {}, {"key": "x"}, {"machine": None}, RayError("the worker died"), OSError("no route"),
    TypeError("it cannot be unpickled"), ModuleNotFoundError("no module"), RecursionError("too deep"), KeyError("x"),
    {"key": "\x1b[2J", "model": "\x1b[2J"},
]  # fmt: skip


def test_a_malformed_record_costs_one_case(real: Catalog, tmp_path: Path) -> None:
    """Each kind of it one line, without control characters; the others finish."""
    good = answer(genuine(real))
    keys, said = collected(real, tmp_path, [*MALFORMED, good])
    assert keys == [good["key"]]
    assert said.startswith(f"{len(MALFORMED)} of {len(MALFORMED) + 1} cases have no record:")
    assert len(said.splitlines()) == len(MALFORMED) + 1
    assert "\x1b" not in said


def test_what_was_asked_for_is_added(real: Catalog, tmp_path: Path) -> None:
    fields = genuine(real)
    assert collected(real, tmp_path, [answer(fields)]) == ([run_key(sealed(fields))], "")
