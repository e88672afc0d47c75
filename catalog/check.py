"""What the catalog holds, counted, and what of it nobody has verified. What is wrong with it, catalog/linters find."""

from __future__ import annotations

from dataclasses import dataclass

from fitcard.catalog.catalog import Catalog


@dataclass(frozen=True)
class CheckReport:
    """What `fitcard check` counts."""

    counts: dict[str, int]
    figures: int
    """Figures that need a source."""
    unverified: tuple[str, ...]
    """`file: figure` of those that nobody has read."""


def check(catalog: Catalog) -> CheckReport:
    """Count through a catalog that has been loaded, and so is well-formed."""
    cards = catalog.gpu_index.values()
    unverified = [f"gpus: {key}: {figure}" for key, card in catalog.gpu_index.items() for figure in card.unverified]
    unverified += [f"models: {key}: {fact}" for key, model in catalog.model_index.items() for fact in model.unverified]
    unverified += [f"runtimes: {name}" for name in catalog.runtimes.unverified()]
    unverified += [f"quantizations: {name}" for name in catalog.quantization_file.unverified()]
    runtimes = catalog.runtimes
    figures = (
        sum({(card.vendor, card.generation, card.units): card.unit_figures for card in cards}.values())
        + sum(card.figures for card in cards)
        + sum(model.facts for model in catalog.model_index.values())
    )
    figures += (
        len(runtimes.context)
        + len(runtimes.reserve)
        + len(runtimes.allocator_slack)
        + 1
        + sum(len(entry.speeds) for entry in catalog.published_index.values())
    )
    return CheckReport(counts(catalog), figures, tuple(unverified))


def counts(catalog: Catalog) -> dict[str, int]:
    """How much of each kind there is."""
    return {
        "models": len(catalog.models), "GPUs": len(catalog.gpus), "quantizations": len(catalog.quantizations),
        "runs": len(catalog.run_index), "published speeds": sum(len(entry.speeds) for entry in catalog.published_index.values()),
    }  # fmt: skip
