"""What many outputs ask for, worked out before they are made: once, and spread over the cores."""

from __future__ import annotations

from fitcard.advisor import accuracy, device_runs, kept
from fitcard.catalog import Catalog
from fitcard.catalog.twins import first_alike
from fitcard.site.generator.data import api, csv_tables
from fitcard.site.generator.pages import events, quantization_page, variants, vram_tiers

MANY = 64
"""Stale outputs from which it is worth looking for everything that is not kept yet; fewer find it out as they are made."""


def prepare(catalog: Catalog) -> None:
    """Work out what is not kept yet of all that outputs ask for."""
    firsts = dict.fromkeys(first_alike(catalog, model) for model in catalog.models)
    facts = (
        device_runs.TIMED,
        accuracy.MEMORY,
        quantization_page.SEEN,
        csv_tables.LINES,
        csv_tables.MODEL,
        events.EVENTS,
        api.ENTRY,
    )
    of_firsts = ((variants.HELD, firsts), (vram_tiers.PICKS, firsts))
    kept.prepare(catalog, [*of_firsts, *((fact, catalog.models) for fact in facts)], {})
    events.newest(catalog)  # from events that are kept by now
