"""The views of the home page and of the two lists."""

from __future__ import annotations

from typing import Any

from advisor import answers
from catalog import Catalog
from catalog.check import check


def view(catalog: Catalog) -> dict[str, Any]:
    """The home page: entry by model and by card, and the newest runs."""
    good = [run for run in catalog.runs if run.status == "ok"]
    return {**models(catalog), **gpus(catalog), "newest": good[::-1][:8], "counts": check(catalog).counts}


def models(catalog: Catalog) -> dict[str, Any]:
    """All models with their sizes."""
    rows: list[dict[str, Any]] = []
    for key, model in catalog.models.items():
        trace = catalog.traces[key]
        main = answers.default_component(catalog, key)
        runs = [run for run in catalog.runs_of(key) if run.status == "ok"]
        rows.append({
            "id": key, "model": model, "parameters": trace.parameters(), "tower": trace.parameters(main), "main": main,
            "cost": trace.phase(main).multiply_adds() / 1e9, "runs": len(runs),
        })  # fmt: skip
    return {"models": rows}


def gpus(catalog: Catalog) -> dict[str, Any]:
    """All cards by vendor and memory."""
    cards = [catalog.cards[key] for key in answers.cards_by_memory(catalog)]
    vendors = dict.fromkeys(sorted(card.vendor for card in cards))
    return {"vendors": [(vendor, [card for card in cards if card.vendor == vendor]) for vendor in vendors]}
