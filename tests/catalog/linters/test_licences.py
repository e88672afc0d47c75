"""Licence ids."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fitcard.catalog import Catalog
from fitcard.catalog.linters import licences
from tests.catalog.linters.conftest import Plant

KEY = "google/siglip-base-patch16-384"
MODEL = f"models/{KEY}.yaml"


def licensed(catalog: Catalog, given: str) -> list[str]:
    """What the linter says of a catalog in which one model has that licence."""
    model = catalog.models[KEY]
    changed = model.model_copy(update={"license": model.license.model_copy(update={"id": given})})
    return [problem.message for problem in licences.check(replace(catalog, models={**catalog.models, KEY: changed}))]


def test_an_id_that_nobody_knows(plant: Plant) -> None:
    (line,) = plant(licences, MODEL, "  id: apache-2.0\n", "  id: Apache-2.0\n")
    message = (
        "is neither an SPDX identifier in the hub's spelling nor the hub's own (near it: apache-2.0) (got 'Apache-2.0')"
    )
    assert re.fullmatch(rf"{MODEL}:\d+: license\.id: {re.escape(message)}", line)


def test_an_id_near_to_none(real: Catalog) -> None:
    (message,) = licensed(real, "proprietary")
    assert "(where it has no id, `other`, and its name in `conditions`) (got 'proprietary')" in message


@pytest.mark.parametrize("given", ["cc-by-nc-4.0", "apple-amlr"])
def test_commercial_use_that_the_licence_rules_out(given: str, real: Catalog) -> None:
    assert licensed(real, given) == [f"is `allowed`, but {given} is for uses that are not commercial"]


@pytest.mark.parametrize("given", ["other", "gemma", "mit", "TO WRITE: the licence"])
def test_ids_that_are_in_order_or_still_to_be_written(given: str, real: Catalog) -> None:
    assert licensed(real, given) == []
