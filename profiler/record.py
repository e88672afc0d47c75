"""A run's record: what every case says of itself, whatever it measured."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.run import Machine, Run, sealed
from fitcard.catalog.schema.workload import Variant
from fitcard.profiler.settings import Settings

METRICS_VERSION = 3


@dataclass(frozen=True)
class About:
    """What a case is about."""

    variant: Variant
    model: Model
    machine: Machine
    settings: Settings
    at_once: int = 1
    """How many cases were under way on the machine."""


def record(about: About, status: str, reason: str | None, **measured: Any) -> Run:
    """The record of a case: with what was measured, or with the reason why nothing was."""
    commit, dirty = _commit()
    fields: dict[str, Any] = {
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model": about.variant.model, "config_sha256": about.model.config_sha256, "metrics_version": METRICS_VERSION,
        "component": about.variant.component, "quantization": about.variant.quantization, "mode": about.settings.mode,
        "status": status, "reason": reason, "weights": about.settings.weights, "machine": about.machine,
        "memory_limit_bytes": about.settings.memory_limit_bytes, "cases_at_once": about.at_once,
        "fitcard_commit": commit, "fitcard_dirty": dirty, **measured,
    }  # fmt: skip
    return sealed(fields)


def _commit() -> tuple[str | None, bool | None]:
    """The commit that this code is at, and whether code or rules were changed since; None outside a checkout."""
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("rev-parse", "--show-toplevel") != str(root.resolve()):
        return None, None  # installed somewhere below another project's checkout
    rules = ("*.py", "catalog/quantizations.yaml", "catalog/runtimes.yaml")
    return git("rev-parse", "--short=12", "HEAD"), bool(git("status", "--porcelain", "--", *rules))
