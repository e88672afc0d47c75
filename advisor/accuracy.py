"""The predictor held against every measurement there is."""

from __future__ import annotations

from collections.abc import Iterator

from advisor.answers import card_of, fit
from catalog import Catalog
from catalog.record import Record
from catalog.trace import Component


class MemoryRow(Record):
    """One batch of one run: the memory that was predicted and the memory that was seen."""

    model: str
    component: Component
    quantization: str
    gpu: str
    batch: int
    record: str
    predicted_bytes: int
    measured_bytes: int

    @property
    def error(self) -> float:
        """Signed relative error: positive when the prediction is too high."""
        return self.predicted_bytes / self.measured_bytes - 1


def memory_errors(catalog: Catalog) -> Iterator[MemoryRow]:
    """Every good run, batch by batch."""
    for run in catalog.runs:
        if run.status != "ok" or run.config_sha256 != catalog.models[run.model].config_sha256:
            continue
        device = run.machine.device
        card_of(catalog, device)
        for memory in run.memory:
            answer = fit(
                catalog,
                run.model,
                device,
                run.quantization,
                component=run.component,
                batch=memory.batch,
                only_predicted=True,
            )
            seen = memory.peak_bytes if memory.reserved_bytes is None else memory.runtime_bytes + memory.reserved_bytes
            yield MemoryRow(
                model=run.model, component=run.component, quantization=run.quantization, gpu=device, batch=memory.batch,
                record=run.key, predicted_bytes=answer.memory.required_bytes, measured_bytes=seen,
            )  # fmt: skip
