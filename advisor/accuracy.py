"""The predictor held against every measurement there is."""

from __future__ import annotations

from collections.abc import Iterator

from advisor.evidence import good_runs
from advisor.memory import need
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
    """Every good run in eager mode, batch by batch."""
    for run in (run for model in catalog.models for run in reversed(good_runs(catalog, model)) if run.mode == "eager"):
        for memory in run.memory:
            bits = 32 if run.activation_type == "float32" else 16
            predicted = need(
                catalog, run.model, run.component, run.quantization, memory.batch, run.machine.device_vendor, bits
            )
            yield MemoryRow(
                model=run.model, component=run.component, quantization=run.quantization, gpu=run.machine.device, batch=memory.batch,
                record=run.key, predicted_bytes=predicted.required_bytes, measured_bytes=memory.total_bytes,
            )  # fmt: skip
