"""Pictures that show up where somebody shares a page: what stands on them, a name and four figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from fitcard.advisor import fit
from fitcard.advisor.recommend import picks_on
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import NumberType
from fitcard.site.generator.data import api
from fitcard.site.generator.engine.output import Asset
from fitcard.site.generator.pages.vram_tiers import pick, proof
from fitcard.site.generator.text import gb, millions, rate

if TYPE_CHECKING:
    from fitcard.site.generator.media.picture import Figure

_TOWERS = {"vision": "image tower", "text": "text tower", "all": "whole model"}
_SIZE = 8
"""GB of the card that the picture speaks of: what most people have at least."""

_RATES: tuple[tuple[NumberType, str], ...] = (("bf16", "BF16"), ("fp16", "FP16"), ("fp32", "FP32"))
"""The first that is known is shown."""


def of_model(catalog: Catalog, key: str) -> Iterator[Asset]:
    """The picture of a model, as an output."""
    yield Asset(f"share/models/{key}.png", partial(model, catalog, key))


def of_gpu(catalog: Catalog, key: str) -> Iterator[Asset]:
    """The picture of a card, as an output."""
    yield Asset(f"share/gpus/{key}.png", partial(gpu, catalog, key))


def model(catalog: Catalog, key: str) -> bytes:
    """The picture of a model."""
    from fitcard.site.generator.media.picture import (
        picture,  # here, since few builds draw one, and Pillow takes long to import
    )

    return picture(
        (catalog.models[key].name, key, "A model"), "fitcard: will it run, and how fast?", model_figures(catalog, key)
    )


def model_figures(catalog: Catalog, key: str) -> list[Figure]:
    """Parameters, what it needs, what a card of 8 GB runs of it, and its highest known speed."""
    component = fit.default_component(catalog, key)
    chosen = pick(catalog, key, _SIZE)
    seen = proof(catalog, key, _SIZE)
    how = ("measured" if seen.on_card else "measured on a CPU") if seen else "predicted"
    runs = seen.run.quantization if seen else chosen.best.quantization if chosen.best else "no"
    need = chosen.nearest
    figures = [
        (millions(catalog.traces[key].parameters(component)), f"parameters, {_TOWERS[component]}"),
        (gb(need.memory.required_bytes), f"memory in {need.quantization}, predicted"),
        (runs, f"runs on {_SIZE} GB, {how}"),
    ]
    speeds = [(fit["speed"], card) for card, fit in api.fits(catalog, key).items() if fit["speed"]]
    if speeds:
        best, card = max(speeds, key=lambda one: _rank(one[0]))
        said = f"{best['evidence']}, {catalog.gpus[card].spec.name}"
        figures.append((f"{rate(best['per_second'])} {best['unit']}", said))
    return figures


def _rank(speed: Mapping[str, Any]) -> tuple[int, float]:
    """Measured before published before predicted, then by speed."""
    return ("predicted", "published", "measured").index(speed["evidence"]), speed["per_second"]


def gpu(catalog: Catalog, key: str) -> bytes:
    """The picture of a card."""
    from fitcard.site.generator.media.picture import (
        picture,  # here, since few builds draw one, and Pillow takes long to import
    )

    return picture(
        (catalog.gpus[key].name, key, "A card"), "fitcard: what runs on it, and how fast?", gpu_figures(catalog, key)
    )


def gpu_figures(catalog: Catalog, key: str) -> list[Figure]:
    """Memory, bandwidth, arithmetic, and how many models fit."""
    card = catalog.gpus[key]
    figures = [(f"{card.spec.memory_gib:g} GiB", "memory")]
    if card.spec.bandwidth_gb_per_s:
        figures.append((f"{card.spec.bandwidth_gb_per_s:,.0f} GB/s", "bandwidth"))
    rates = ((name, card.peak_flops(kind)) for kind, name in _RATES)
    if known := next(((name, found) for name, found in rates if found), None):
        figures.append((f"{known[1] / 1e12:,.3g} TFLOP/s", f"{known[0]}, dense, by its maker"))
    if catalog.models:
        best = [pick.best for pick in picks_on(catalog, key).values()]
        measured = sum(answer is not None and answer.evidence == "measured" for answer in best)
        fitting = sum(answer is not None for answer in best)
        figures.append((f"{fitting} of {len(best)}", f"models fit, {measured} measured"))
    return figures
