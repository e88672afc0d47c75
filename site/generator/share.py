"""Pictures that show up where somebody shares a page: 1200 x 630 pixels, a name and four figures.

A picture has sixteen colours: fifteen shades from the background to the writing, and the accent. It is drawn as shades of
grey, which then become indices of that palette, four bits each; that is quick, small, and the same every time.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from advisor import answers
from advisor.picks import on_card
from catalog import Catalog
from catalog.gpu import NumberType
from generator import api
from generator.outputs import RULES, Asset
from generator.sizes import pick, proof
from generator.words import gb, millions, rate

WIDTH, HEIGHT = 1200, 630
_MARGIN = 72
_BACKGROUND, _WRITING, _ACCENT = (16, 22, 34), (255, 255, 255), (94, 200, 160)
_FULL, _MUTED, _MARKED = 240, 160, 255
"""As grey: writing, writing of less weight, and the accent, which is beyond the shades."""
_SHADES = 15
_PACKED = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""For zlib: pictures are mostly runs of one colour, so looking for more takes twice as long for a tenth less."""
_TOWERS = {"vision": "image tower", "text": "text tower", "all": "whole model"}
_SIZE = 8
"""GB of the card that the picture speaks of: what most people have at least."""

_RATES: tuple[tuple[NumberType, str], ...] = (("bf16", "BF16"), ("fp16", "FP16"), ("fp32", "FP32"))
"""The first that is known is shown."""

Figure = tuple[str, str]
"""A value and what it is."""


def of_model(catalog: Catalog, key: str) -> Iterator[Asset]:
    """The picture of a model, as an output."""
    inputs = (f"model:{key}", "traces", "cards", f"published:{key}", f"runs:{key}", *RULES)
    yield Asset(f"share/models/{key}.png", inputs, partial(model, catalog, key))


def of_card(catalog: Catalog, key: str) -> Iterator[Asset]:
    """The picture of a card, as an output."""
    inputs = ("names", "traces", f"card:{key}", "published", f"device:{key}", *RULES)
    yield Asset(f"share/gpus/{key}.png", inputs, partial(gpu, catalog, key))


def model(catalog: Catalog, key: str) -> bytes:
    """The picture of a model."""
    return picture(
        (catalog.models[key].name, key, "A model"), "fitcard: will it run, and how fast?", model_figures(catalog, key)
    )


def model_figures(catalog: Catalog, key: str) -> list[Figure]:
    """Parameters, what it needs, what a card of 8 GB runs of it, and its highest known speed."""
    component = answers.default_component(catalog, key)
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
        said = f"{best['evidence']}, {catalog.cards[card].spec.name}"
        figures.append((f"{rate(best['per_second'])} {best['unit']}", said))
    return figures


def _rank(speed: Mapping[str, Any]) -> tuple[int, float]:
    """Measured before published before predicted, then by speed."""
    return ("predicted", "published", "measured").index(speed["evidence"]), speed["per_second"]


def gpu(catalog: Catalog, key: str) -> bytes:
    """The picture of a card."""
    return picture(
        (catalog.cards[key].name, key, "A card"), "fitcard: what runs on it, and how fast?", gpu_figures(catalog, key)
    )


def gpu_figures(catalog: Catalog, key: str) -> list[Figure]:
    """Memory, bandwidth, arithmetic, and how many models fit."""
    card = catalog.cards[key]
    figures = [(f"{card.spec.memory_gib:g} GiB", "memory")]
    if card.spec.bandwidth_gb_per_s:
        figures.append((f"{card.spec.bandwidth_gb_per_s:,.0f} GB/s", "bandwidth"))
    rates = ((name, card.peak_flops(kind)) for kind, name in _RATES)
    if known := next(((name, found) for name, found in rates if found), None):
        figures.append((f"{known[1] / 1e12:,.3g} TFLOP/s", f"{known[0]}, dense, by its maker"))
    if catalog.models:
        best = [pick.best for pick in on_card(catalog, key).values()]
        measured = sum(answer is not None and answer.evidence == "measured" for answer in best)
        fitting = sum(answer is not None for answer in best)
        figures.append((f"{fitting} of {len(best)}", f"models fit, {measured} measured"))
    return figures


def picture(names: Sequence[str], line: str, figures: Sequence[Figure]) -> bytes:
    """A PNG with the first of `names` that the font can draw, a line, and up to four figures."""
    image = Image.new("L", (WIDTH, HEIGHT), 0)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 15, HEIGHT), fill=_MARKED)
    name = next(name for name in names if drawable(name))
    room = WIDTH - 2 * _MARGIN
    _write(image, (_MARGIN, 64), line, room, 30, _MUTED, "la")
    _write(image, (_MARGIN, 150), name, room, _fitting(name, room, 76, 44), _FULL, "la")
    second = next((other for other in names[1:-1] if drawable(other) and other != name), "")
    _write(image, (_MARGIN, 252), second, room, 30, _MUTED, "la")
    for at, (value, what) in enumerate(figures[:4]):
        x, y = _MARGIN + at % 2 * (room // 2), 330 + at // 2 * 130
        half = room // 2 - 24
        draw.rectangle((x, y, x + 3, y + 96), fill=_MARKED)
        _write(image, (x + 20, y + 56), value, half, _fitting(value, half, 56, 30), _FULL, "ls")
        _write(image, (x + 20, y + 90), what, half, 26, _MUTED, "ls")
    image = image.point(_indices())
    image.putpalette(_palette())
    out = io.BytesIO()
    image.save(out, "PNG", bits=4, **_PACKED)
    return out.getvalue()


def drawable(text: str) -> bool:
    """Whether Pillow's own font has every character of a text; it has those of ASCII."""
    return bool(text.strip()) and all(character == " " or _has(character) for character in text)


@lru_cache(maxsize=4096)
def _has(character: str) -> bool:
    return character.isprintable() and _drawn(character) != _drawn("\U0010ffff")


def _drawn(character: str) -> bytes:
    image = Image.new("L", (64, 64))
    ImageDraw.Draw(image).text((8, 8), character, fill=_FULL, font=_font(30))
    return image.tobytes()


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow without FreeType is not what `pyproject.toml` asks for
    return font


def _write(image: Image.Image, at: tuple[int, int], text: str, room: int, size: int, shade: int, anchor: str) -> None:
    """Write as much of a text as fits a width; `anchor` is Pillow's."""
    mask, (left, top) = _mask(text, room, size, anchor)
    image.paste(shade, (at[0] + left, at[1] + top), mask)


@lru_cache(maxsize=1024)
def _mask(text: str, room: int, size: int, anchor: str) -> tuple[Image.Image, tuple[int, int]]:
    """As much of a text as fits a width, and how far its corner is from where it is anchored. Kept, since most stand on many pictures."""
    font = _font(size)
    cut = _cut(text, room, font)
    left, top, right, bottom = map(int, font.getbbox(cut, anchor=anchor))
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), cut, fill=255, font=font, anchor=anchor)
    return mask, (left, top)


@lru_cache(maxsize=1024)
def _fitting(text: str, room: int, most: int, least: int) -> int:
    """The largest size at which a text fits a width, down to `least`."""
    wide = _font(most).getlength(text)
    return max(least, min(most, int(most * room / wide))) if wide else most


def _cut(text: str, room: int, font: ImageFont.FreeTypeFont) -> str:
    """A text, or as much of it as fits, with an ellipsis."""
    if font.getlength(text) <= room:
        return text
    kept = len(text)
    while kept and font.getlength(f"{text[:kept].rstrip()}...") > room:
        kept -= max(1, kept // 16)
    return f"{text[:kept].rstrip()}..."


@lru_cache(maxsize=1)
def _indices() -> list[int]:
    """The index in the palette for each grey."""
    return [_SHADES if grey == _MARKED else round(min(grey / _FULL, 1) * (_SHADES - 1)) for grey in range(256)]


@lru_cache(maxsize=1)
def _palette() -> list[int]:
    shades = [
        round(low + (high - low) * shade / (_SHADES - 1))
        for shade in range(_SHADES)
        for low, high in zip(_BACKGROUND, _WRITING, strict=True)
    ]
    return [*shades, *_ACCENT]
