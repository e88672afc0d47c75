"""Runs under the name of somebody who signs theirs, without their signature."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem, shorten
from fitcard.catalog.linters.over_runs import Fault, KeyedFaults, faults_of, problems_of
from fitcard.catalog.schema.run import Run
from fitcard.catalog.signatures import is_signed
from fitcard.catalog.storage.memo import memo

NAME = "run_signatures"
SCOPE = "pages"


def check(catalog: Catalog) -> Iterator[Problem]:
    """Signatures that are missing, of nobody in `signers.yaml`, or not over what the record says."""
    yield from problems_of(catalog, _of_model)


@memo
def _of_model(catalog: Catalog, model: str) -> KeyedFaults:
    return faults_of(catalog, model, faults)


def faults(catalog: Catalog, run: Run) -> Iterator[Fault]:
    """What is wrong with the signature of one run."""
    keys = catalog.signers.get(run.recorded_by or "", ())
    who = shorten(run.recorded_by)
    if run.signature is None:
        if keys:
            yield Fault("signature", f"is missing: {who} signs every run, as signers.yaml says")
    elif not keys:
        yield Fault("signature", f"is of {who}, who has no key in signers.yaml")
    elif not is_signed(run, keys):
        yield Fault("signature", f"is not one that {who} gave to this record")
