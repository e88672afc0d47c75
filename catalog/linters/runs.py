"""Runs of what a label meant once. A record says itself what it held, and pages show that; the run is to be made again all the same."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.quantization import Census, predicted_census
from fitcard.catalog.schema.trace import Component

NAME = "runs"
SCOPE = "files"


def check(catalog: Catalog) -> Iterator[Problem]:
    """Runs of today's configuration in which the label became other tensor types than its rule says today."""

    @cache
    def expected(model: str, component: Component, label: str) -> Census:
        return predicted_census(catalog.labels_of(component)[label], catalog.traces[model].tensors_of(component))

    for run in (run for model in catalog.models for run in catalog.runs_of(model)):
        if run.status != "ok" or run.config_sha256 != catalog.model_index[run.model].config_sha256:
            continue
        rule = expected(run.model, run.component, run.quantization)
        if run.census != rule:
            message = f"is no longer what {run.quantization} means: run it again (got {_words(run.census)}; the rule: {_words(rule)})"
            yield catalog.run_problem(run.key, "census", message)


def _words(census: Census) -> str:
    return ", ".join(f"{name} x{row.tensors}" for name, row in census.items())
