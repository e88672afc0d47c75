"""Badges to embed: whether a model runs on a GPU of so many GB, and how that is known.

What a badge says, by the rule of `vram_tiers.py`:

- `measured`: a run on a GPU was seen to take no more, at batch 1, than a GPU of that size has available.
- `measured on CPU`: the same of a run on a processor. The bytes are measured, but a GPU's runtime takes other amounts.
- `predicted`, or `predicted, tight`: no such run; some quantization fits by the advisor's sum.
- `no`: no such run, and by that sum no quantization fits.

The component is the one that the pages are about; the title names it, with quantization, bytes and device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from html import escape

from fitcard.advisor.recommend import Pick
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.site.generator.engine.output import Asset
from fitcard.site.generator.pages.vram_tiers import TIERS_GB, Proof, pick, proof
from fitcard.site.generator.text import gb, xml_text

_HEIGHT, _PAD, _SIZE = 20, 6, 11
_LABEL_COLOUR = "#3a3f47"
_COLOURS = {"measured": "#1b6e3c", "predicted": "#1f5a99", "no": "#8f2d2d"}
"""White on each of them has a contrast above 4.5."""
_EM = 2048
_ADVANCES = (
    ("ijl", 569),
    (" ,", 651),
    ("t", 803),
    ("r", 842),
    ("s", 1067),
    ("c", 1126),
    ("P", 1235),
    ("o", 1253),
    ("a", 1255),
    ("e", 1260),
    ("hnu", 1298),
    ("bdgp", 1300),
    ("0123456789", 1303),
    ("B", 1405),
    ("C", 1430),
    ("U", 1499),
    ("G", 1587),
    ("m", 1995),
)
_WIDTHS = {letter: width for letters, width in _ADVANCES for letter in letters}
"""How far letters advance, in 2048ths of the size of the type, from the table `hmtx` of DejaVu Sans 2.37; Verdana is as wide."""


def of_model(catalog: Catalog, key: str) -> Iterator[Asset]:
    """A badge of a model for every size."""
    for size in TIERS_GB:
        yield Asset(f"badges/models/{key}/{size}gb.svg", partial(badge, catalog, key, size))


def message(catalog: Catalog, key: str, size: int) -> tuple[str, str]:
    """What the badge says, and its title. The badge and its width ask for it, and so do pages."""
    chosen = pick(catalog, key, size)
    component = COMPONENTS[chosen.nearest.component].title.lower()
    if seen := proof(catalog, key, size):
        says, how = _measured(seen, component)
    else:
        says, how = _predicted(chosen, component)
    return says, f"{catalog.models[key].name} runs on {size} GB: {says} ({how})"


def _measured(seen: Proof, component: str) -> tuple[str, str]:
    run = seen.run
    cap = f", under a cap of {gb(run.memory_limit_bytes)}" if run.memory_limit_bytes else ""
    took = f"{component} in {run.quantization} took {gb(seen.bytes)} on {run.machine.device_name}{cap}"
    return "measured" if seen.on_gpu else "measured on CPU", f"{took}, {run.measured_at[:10]}"


def _predicted(chosen: Pick, component: str) -> tuple[str, str]:
    answer = chosen.nearest
    available = gb(answer.memory.available_bytes)
    if chosen.best is None:
        least = gb(chosen.least_bytes)
        return "no", f"{component} needs {least} at least, and {available} are available, predicted"
    says = "predicted, tight" if answer.verdict == "tight" else "predicted"
    required = gb(answer.memory.required_bytes)
    return says, f"{component} in {answer.quantization} needs {required} of {available} at batch 1"


def _width(text: str) -> int:
    """Pixels that a text takes. Browsers stretch it to that, so other fonts fit too."""
    return math.ceil(sum(_WIDTHS[letter] for letter in text) * _SIZE / _EM)


def width(catalog: Catalog, key: str, size: int) -> int:
    """How wide the badge is, so that a page can keep its place."""
    return _width(_label(size)) + _width(message(catalog, key, size)[0]) + 4 * _PAD


def _label(size: int) -> str:
    return f"runs on {size} GB"


def badge(catalog: Catalog, key: str, size: int) -> bytes:
    """The badge as SVG."""
    says, title = message(catalog, key, size)
    label = _label(size)
    left, right = _width(label), _width(says)
    split, whole = left + 2 * _PAD, width(catalog, key, size)
    colour = _COLOURS[says.split(",")[0].split()[0]]
    text = f'font-family="DejaVu Sans,Verdana,Geneva,sans-serif" font-size="{_SIZE}" fill="#fff"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{_HEIGHT}" '
        f'viewBox="0 0 {whole} {_HEIGHT}" role="img">\n'
        f"<title>{escape(xml_text(title))}</title>\n"
        f'<rect width="{split}" height="{_HEIGHT}" fill="{_LABEL_COLOUR}"/>\n'
        f'<rect x="{split}" width="{whole - split}" height="{_HEIGHT}" fill="{colour}"/>\n'
        f'<text x="{_PAD}" y="14" textLength="{left}" {text}>{label}</text>\n'
        f'<text x="{split + _PAD}" y="14" textLength="{right}" {text}>{says}</text>\n'
        "</svg>\n"
    ).encode()
