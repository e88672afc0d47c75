"""What many outputs ask for, worked out before they are made: once, and spread over the cores."""

from __future__ import annotations

from advisor import accuracy, evidence, kept, picks
from catalog import Catalog
from catalog.twins import first_alike
from generator import api, export, history, labels, quantization_page, sizes

MANY = 64
"""Stale outputs from which it is worth looking for everything that is not kept yet; fewer find it out as they are made."""


def prepare(catalog: Catalog) -> None:
    """Work out what is not kept yet of all that outputs ask for."""
    firsts = dict.fromkeys(first_alike(catalog, model) for model in catalog.models)
    facts = (
        evidence.TIMED,
        accuracy.MEMORY,
        quantization_page.SEEN,
        export.LINES,
        export.MODEL,
        history.EVENTS,
        api.ENTRY,
    )
    of_firsts = ((labels.HELD, firsts), (sizes.PICKS, firsts))
    kept.prepare(catalog, [*of_firsts, *((fact, catalog.models) for fact in facts)], picks.not_kept(catalog))
    history.newest(catalog)  # from events that are kept by now
