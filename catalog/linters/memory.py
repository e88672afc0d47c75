"""Memory sizes that no number of chips on the bus makes."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.gpu import GpuSpec

NAME = "memory"
SCOPE = "pages"

GDDR_GIB = (0.5, 1, 2, 3, 4, 6, 8)
"""GiB on 32 bits of a GDDR bus: one chip of 4 to 32 Gbit there, or two that share it."""
HBM_GIB = (4, 8, 12, 16, 24, 32, 36, 48, 64)
"""GiB of a stack of HBM, which has 1024 bits: 4 to 16 layers of 8 to 32 Gbit (JESD235, JESD238)."""
SPARE = 0.03
"""Share of a stack that makers leave out for yield: the H200 has 141 GB of its 144."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Cards whose memory is no plausible multiple for the width of their bus."""
    for key, card in catalog.gpus.items():
        if message := _fault(card.spec):
            yield catalog.gpu_problem(key, ("memory_gib",), f"{message} (got {card.spec.memory_gib:g})")


def _fault(spec: GpuSpec) -> str | None:
    kind, bits = (spec.memory_type or "").upper(), spec.memory_bus_bits
    if not bits:
        return None
    if kind.startswith("GDDR"):
        each = spec.memory_gib / (bits / 32)
        if each not in GDDR_GIB:
            return f"makes {each:.4g} GiB on each 32 of {bits} bits; {kind} chips make {_listed(GDDR_GIB)}"
    if kind.startswith("HBM"):
        stacks, rest = divmod(bits, 1024)
        each = spec.memory_gib / stacks if stacks else 0.0
        if rest:
            return f"is on {bits} bits, which is no whole number of {kind} stacks of 1024"
        if not any(size * (1 - SPARE) <= each <= size for size in HBM_GIB):
            return f"makes {each:.4g} GiB a stack on {bits} bits; stacks have {_listed(HBM_GIB)}"
    if kind.startswith("LPDDR") and (spec.memory_gib * 64 / bits) % 1:
        return f"makes {spec.memory_gib * 64 / bits:.4g} GiB on each 64 of {bits} bits; packages make whole numbers"
    return None


def _listed(sizes: tuple[float, ...]) -> str:
    return f"{', '.join(f'{size:g}' for size in sizes[:-1])} or {sizes[-1]:g}"
