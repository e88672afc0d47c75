"""Pictures that show up where somebody shares a page: what stands on them, a name and four figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from fitcard.advisor import fit
from fitcard.advisor.recommend import picks_on
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import NumberType
from fitcard.site.generator.data import api
from fitcard.site.generator.engine.output import Asset
from fitcard.site.generator.pages.vram_tiers import pick, proof
from fitcard.site.generator.text import gb, millions, rate

_SIZE = 8
"""GB of the GPU that the picture speaks of: what most people have at least."""

_RATES: tuple[tuple[NumberType, str], ...] = (("bf16", "BF16"), ("fp16", "FP16"), ("fp32", "FP32"))
"""The first that is known is shown."""


def of_model(catalog: Catalog, key: str) -> Iterator[Asset]:
    """The picture of a model, as an output."""
    yield Asset(f"share/models/{key}.png", partial(model, catalog, key))


def of_gpu(catalog: Catalog, key: str) -> Iterator[Asset]:
    """The picture of a GPU, as an output."""
    yield Asset(f"share/gpus/{key}.png", partial(gpu, catalog, key))


def model(catalog: Catalog, key: str) -> bytes:
    """The picture of a model."""
    from fitcard.site.generator.media.picture import picture  # Pillow takes long to import, and few builds draw one

    names = (catalog.models[key].name, key, "A model")
    return picture(names, "fitcard: will it run, and how fast?", model_figures(catalog, key))


def model_figures(catalog: Catalog, key: str) -> list[tuple[str, str]]:
    """Parameters, what it needs, what a GPU of 8 GB runs of it, and its highest known speed: values and what they are."""
    component = fit.default_component(catalog, key)
    chosen = pick(catalog, key, _SIZE)
    seen = proof(catalog, key, _SIZE)
    how = ("measured" if seen.on_gpu else "measured on a CPU") if seen else "predicted"
    runs = seen.run.quantization if seen else chosen.best.quantization if chosen.best else "no"
    need = chosen.nearest
    parameters = millions(catalog.traces[key].parameters(component))
    figures = [
        (parameters, f"parameters, {COMPONENTS[component].title.lower()}"),
        (gb(need.memory.required_bytes), f"memory in {need.quantization}, predicted"),
        (runs, f"runs on {_SIZE} GB, {how}"),
    ]
    speeds = [(fit["speed"], gpu) for gpu, fit in api.fits(catalog, key).items() if fit["speed"]]
    if speeds:
        best, gpu = max(speeds, key=lambda one: _rank(one[0]))
        evidence = f"{best['evidence']}, {catalog.gpus[gpu].spec.name}"
        figures.append((f"{rate(best['per_second'])} {best['unit']}", evidence))
    return figures


def _rank(speed: Mapping[str, Any]) -> tuple[int, float]:
    """Measured before published before predicted, then by speed."""
    return ("predicted", "published", "measured").index(speed["evidence"]), speed["per_second"]


def gpu(catalog: Catalog, key: str) -> bytes:
    """The picture of a GPU."""
    from fitcard.site.generator.media.picture import picture  # Pillow takes long to import, and few builds draw one

    names = (catalog.gpus[key].name, key, "A GPU")
    return picture(names, "fitcard: what runs on it, and how fast?", gpu_figures(catalog, key))


def gpu_figures(catalog: Catalog, key: str) -> list[tuple[str, str]]:
    """Memory, bandwidth, arithmetic, and how many models fit: values and what they are."""
    gpu = catalog.gpus[key]
    figures = [(f"{gpu.spec.memory_gib:g} GiB", "memory")]
    if gpu.spec.bandwidth_gb_per_s:
        figures.append((f"{gpu.spec.bandwidth_gb_per_s:,.0f} GB/s", "bandwidth"))
    rates = [(name, flops) for kind, name in _RATES if (flops := gpu.peak_flops(kind))]
    if rates:
        name, flops = rates[0]
        figures.append((f"{flops / 1e12:,.3g} TFLOP/s", f"{name}, dense, by its maker"))
    if catalog.models:
        best = [pick.best for pick in picks_on(catalog, key).values()]
        measured = sum(answer is not None and answer.evidence == "measured" for answer in best)
        fitting = sum(answer is not None for answer in best)
        figures.append((f"{fitting} of {len(best)}", f"models fit, {measured} measured"))
    return figures
