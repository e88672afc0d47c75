"""The plan of the site: no two outputs share an address."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fitcard.catalog import Catalog, FitcardError
from fitcard.site.generator.engine.sources import read_sources
from fitcard.site.generator.outputs import whole_site
from tests.catalog.test_store import MODEL


def test_ids_that_differ_in_capitals_only_are_refused(sample: Catalog) -> None:
    """Half of all file systems would give them one page."""
    twin = MODEL.upper()
    more = replace(
        sample,
        models={**sample.models, twin: sample.models[MODEL]},
        traces={**sample.traces, twin: sample.traces[MODEL]},
    )
    with pytest.raises(FitcardError, match="two outputs have the address /models/"):
        whole_site(more, read_sources())


def test_two_files_with_one_address_are_refused(sample: Catalog) -> None:
    sources = read_sources()
    more = replace(sources, docs={**sources.docs, "js/fitcard.js": b""})
    with pytest.raises(FitcardError, match=r"two outputs have the address /js/fitcard\.js"):
        whole_site(sample, more)
