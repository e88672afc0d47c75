"""What an interrupted profile had done, so that the same command goes on from there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.parse import read_runs
from fitcard.catalog.schema.run import Machine, Run
from fitcard.catalog.schema.workload import Variant
from fitcard.catalog.storage.writer import write_atomically
from fitcard.profiler.record import METRICS_VERSION
from fitcard.profiler.settings import Settings


class Journal:
    """The keys of the records that a profile has written so far, in a file beside them until it is finished.

    Its name is the hash of all that the records depend on: another setting, library or model begins afresh.
    """

    def __init__(self, folder: Path, catalog: Catalog, model_id: str, machine: Machine, settings: Settings) -> None:
        settings_fields = {**asdict(settings), "device": settings.device.kind, "weights": repr(settings.weights)}
        labels = catalog.labels_of(settings.components[0])
        rules = [labels[label].model_dump(mode="json") for label in settings.quantizations]
        model = [model_id, catalog.models[model_id].config_sha256, METRICS_VERSION]
        facts = {"model": model, "rules": rules, "machine": machine.model_dump(mode="json"), **settings_fields}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:12]
        self.records = folder / machine.device / f"{model_id}.yaml"
        self.path = self.records.with_name(f".{self.records.stem}.{digest}.unfinished")
        self.keys: list[str] = []

    def done(self) -> dict[Variant, Run]:
        """The variants that an interrupted profile finished, with their records; none after a profile that finished."""
        for temporary in self.path.parent.glob(f".{self.path.name}.*.tmp"):
            temporary.unlink(missing_ok=True)
        try:
            self.keys = json.loads(self.path.read_text())["done"]
        except (OSError, ValueError, KeyError):
            return {}
        written = read_runs(self.records) if self.records.exists() else ()
        return {Variant(run.model, run.component, run.quantization): run for run in written if run.key in self.keys}

    def add(self, run: Run) -> None:
        """Note that a record is written."""
        self.keys.append(run.key)
        write_atomically(self.path, json.dumps({"done": self.keys}).encode())

    def finish(self) -> None:
        """The profile is complete: the next one measures everything again."""
        self.path.unlink(missing_ok=True)


def forget(folder: Path, device: str, model_id: str) -> None:
    """Forget every interrupted profile of a model on a device. Raises FitcardError when a journal cannot be removed."""
    records = folder / device / f"{model_id}.yaml"
    for path in records.parent.glob(f".{records.stem}.{'[0-9a-f]' * 12}.unfinished"):
        try:
            path.unlink()
        except OSError as error:
            raise FitcardError(f"{path} cannot be removed: {error.strerror}") from None
