"""The drawing of the pictures that `share.py` fills: PNG, 1200 x 630 pixels.

A picture has sixteen colours: fifteen shades from the background to the writing, and the accent. It is drawn as shades of
grey, which then become indices of that palette, four bits each; that is quick, small, and the same every time.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1200, 630
_MARGIN = 72
_BACKGROUND, _WRITING, _ACCENT = (16, 22, 34), (255, 255, 255), (94, 200, 160)
_FULL, _MUTED, _MARKED = 240, 160, 255
"""As grey: writing, writing of less weight, and the accent, which is beyond the shades."""
_SHADES = 15
_PACKED = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""For zlib: pictures are mostly runs of one colour, so looking for more takes twice as long for a tenth less."""


def picture(names: Sequence[str], line: str, figures: Sequence[tuple[str, str]]) -> bytes:
    """A PNG with the first of `names` that the font can draw, a line, and up to four figures, each a value and what it is."""
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
    image = image.point(_INDICES)
    image.putpalette(_PALETTE)
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
    """As much of a text as fits a width, and how far its corner is from where it is anchored. Cached, since most stand on
    many pictures."""
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
    length = len(text)
    while length and font.getlength(f"{text[:length].rstrip()}...") > room:
        length -= max(1, length // 16)
    return f"{text[:length].rstrip()}..."


def _indices() -> list[int]:
    """The index in the palette for each grey."""
    return [_SHADES if grey == _MARKED else round(min(grey / _FULL, 1) * (_SHADES - 1)) for grey in range(256)]


def _palette() -> list[int]:
    shades = [
        round(low + (high - low) * shade / (_SHADES - 1))
        for shade in range(_SHADES)
        for low, high in zip(_BACKGROUND, _WRITING, strict=True)
    ]
    return [*shades, *_ACCENT]


_INDICES, _PALETTE = _indices(), _palette()
