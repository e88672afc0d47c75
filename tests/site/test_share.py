"""Share pictures: the right size, small, the same every time, with the advisor's figures, for a name in any script."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import pytest
from PIL import Image

from fitcard.advisor.hardware import gpus_by_memory
from fitcard.advisor.recommend import picks as picks_of
from fitcard.catalog import Catalog
from fitcard.site.generator.engine.output import Asset
from fitcard.site.generator.media import share
from fitcard.site.generator.media.picture import drawable, picture
from fitcard.site.generator.text import gb, millions
from tests.advisor.asking import ask
from tests.catalog.test_store import MODEL


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def _all(catalog: Catalog, of: Callable[[Catalog, str], Iterable[Asset]], keys: Iterable[str]) -> list[Asset]:
    return [asset for key in keys for asset in of(catalog, key)]


def test_pictures_are_small_and_the_same_every_time(sample: Catalog) -> None:
    """A quarter of them, since drawing takes time."""
    for asset in [*_all(sample, share.of_model, sample.models), *_all(sample, share.of_gpu, sample.gpus)][::4]:
        content = asset.content()
        image = opened(content)
        assert (image.size, image.format, image.mode) == ((1200, 630), "PNG", "P")
        assert len(content) < 40_000, asset.path
        assert asset.content() == content


def test_figures_of_a_model_are_the_advisors(sample: Catalog) -> None:
    parameters, memory, runs, speed = share.model_figures(sample, MODEL)
    trace = sample.traces[MODEL]
    assert parameters == (millions(trace.parameters("vision")), "parameters, vision encoder")
    need = ask(sample, MODEL, "rtx-4060", "BF16", with_speed=False).memory
    assert memory == (gb(need.required_bytes), "memory in BF16, predicted")
    assert runs[1] == "runs on 8 GB, measured"
    of_pick = [run for run in sample.runs_of(MODEL) if run.machine.device == "h100-sxm" and run.quantization == "BF16"]
    best = max(s.per_second for run in of_pick if run.component == "vision" for s in run.speed)
    assert speed == (f"{best:,.0f} images/s", "measured, H100 SXM")


def test_figures_of_a_card_are_the_advisors(sample: Catalog) -> None:
    for key in ("rtx-4090", next(iter(gpus_by_memory(sample))), "apple-m4-max-40-core-64gb"):
        card = sample.gpus[key]
        figures = {what: value for value, what in share.gpu_figures(sample, key)}
        assert figures["memory"] == f"{card.spec.memory_gib:g} GiB"
        picks = [picks_of(sample, model)[key] for model in sample.models]
        fitting = [p for p in picks if p.best]
        measured = sum(p.nearest.evidence == "measured" for p in fitting)
        assert figures[f"models fit, {measured} measured"] == f"{len(fitting)} of {len(picks)}"


@pytest.mark.parametrize("name", ["漢字", "עברית", "emoji 🙂", "", " ", "a\nb", "\x07", "W" * 500, "x" * 60 + " é ü ß"])
def test_a_name_in_any_script_makes_a_picture(name: str) -> None:
    """What the font cannot draw gives way to the id; what is too long is cut."""
    image = opened(picture((name, "org/name", "A model"), "line", [("1", "one"), ("W" * 90, "W" * 200)]))
    assert image.size == (1200, 630)
    instead = opened(picture(("org/name", "org/name", "A model"), "line", [("1", "one"), ("W" * 90, "W" * 200)]))
    assert (image.tobytes() == instead.tobytes()) == (not drawable(name))
    edge = image.crop((1200 - 40, 0, 1200, 630)).getcolors()
    assert edge is not None and len(edge) == 1, "nothing runs over the right edge"


def test_what_the_font_can_draw() -> None:
    assert drawable("SigLIP SO400M (patch14-384), 1.5 & @ #")
    assert not any(map(drawable, ("漢字", "עברית", "a\nb", "\x00", "", " ")))
