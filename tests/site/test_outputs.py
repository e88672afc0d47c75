"""The list of outputs: no two share an address, and a group holds only what follows from its own inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fitcard.catalog import Catalog, FitcardError
from fitcard.site.generator.outputs import Asset, Group, groups, outputs
from tests.catalog.test_store import MODEL


def test_every_output_stands_in_one_group(real: Catalog) -> None:
    found = [output.path for group in groups(real) for output in group.outputs()]
    assert len({path.lower() for path in found}) == len(found) == len(outputs(real))


def test_ids_that_differ_in_capitals_only_are_refused(real: Catalog) -> None:
    """Half of all file systems would give them one page."""
    twin = MODEL.upper()
    more = replace(
        real, models={**real.models, twin: real.models[MODEL]}, traces={**real.traces, twin: real.traces[MODEL]}
    )
    with pytest.raises(FitcardError, match="differ in capitals only"):
        groups(more)


@pytest.mark.parametrize(
    ("path", "inputs"),
    [
        ("models/a/b.json", ("cards",)), ("models/a/b.json", ("model:a/b", "device:x")), ("models/a/b.json", ("run:1", "runs")), ("models/a/b.json", ("trace:c/d",)),
        ("elsewhere/a/b.json", ("model:a/b",)),
    ],
)  # fmt: skip
def test_a_group_has_no_output_that_could_change_without_it(path: str, inputs: tuple[str, ...]) -> None:
    """Else a build that does not list the group would leave it as it was."""
    group = Group("models/a/b", ("model:a/b", "runs:a/b", "traces"), lambda: iter([Asset(path, inputs, bytes)]))
    with pytest.raises(ValueError, match="is no output of"):
        group.outputs()
    fine = replace(group, each=lambda: iter([Asset("models/a/b.json", ("model:a/b", "traces", "run:1"), bytes)]))
    assert len(fine.outputs()) == 1


def test_two_outputs_of_a_group_with_one_address_are_refused() -> None:
    group = Group("site", (), lambda: iter([Asset("a", (), bytes), Asset("A", (), bytes)]))
    with pytest.raises(FitcardError, match="two outputs have the address /A"):
        group.outputs()
